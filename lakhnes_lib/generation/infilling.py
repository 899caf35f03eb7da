"""Between two cuts: a span of a song is composed anew, and all around it stays as it is.

Paper: none (§8's tools only go on from a beginning). Notebook: 09_composing.
The span follows from what comes before it, and has to lead into what comes after. A model reads
from left to right, so several candidates are composed (``given_voices.py``), and the one is taken
after which the model predicts the next seconds of the song best. A loop is closed in the same way:
its seam is right if the piece's own beginning is what the model expects after its end.
"""

import os
from collections.abc import Iterator

import numpy as np

from lakhnes_lib.errors import BadSetting
from lakhnes_lib.evaluation import musical_metrics, perplexity
from lakhnes_lib.generation import auditions, continuation, given_voices, sampling
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score

AFTER = 64
"""So many events after the span, or after a loop's seam, say how well a candidate leads there."""
LAST_BARS = 4
"""A loop ends with one of so many last bars."""


def compose(
    model,
    score: Score,
    begin: float,
    end: float,
    voices=(0, 1, 2, 3),
    *,
    n: int = 1,
    candidates: int = 8,
    seed: int = 0,
    **options,
) -> Iterator[list[Score]]:
    """The song with its seconds ``begin`` to ``end`` composed anew in these voices, ``n`` times.

    Gives the songs that are ready after each event. Outside the span, and in the other voices,
    every note stays where it is; one that crosses a border is cut there. candidates: how many
    compete for each song; options: temperature, top_k, top_p, memory_length, precision.
    Raises BadSetting for an empty span and for settings out of range.
    """
    sampling.check(n, 1, seed=seed, **options)
    if not 0 <= begin < min(end, score.seconds):
        rule = f"lasts {score.seconds:.1f} s: no span from {begin:g} s to {end:g} s is in it"
        raise BadSetting(f"{score.name or 'song'}: {rule}")
    first, last = (round(at * nes.TICKS_PER_SECOND) for at in (begin, min(end, score.seconds)))
    given = sorted(set(range(len(nes.VOICES))) - set(voices))
    prime, prime_end = None, first
    if (score.notes["start"] < first).any():
        prime = continuation.cut(score, seconds=begin)
        prime_end = int(score.notes["start"].min() + events.TICKS_OF[prime].sum())
    times, ids = given_voices.timed_events(score.excerpt(begin, end), given)
    options |= dict(given=(times + first - prime_end, ids), prime=prime, end=last - prime_end)
    reader, done = reader_of(model), []
    for piece in range(n):
        own = dict(free=voices, candidates=candidates, seed=[seed, piece])
        accompaniment = given_voices.Accompaniment(model, **own, **options)
        while not accompaniment.done:
            accompaniment.step()
            yield done
        songs = [
            _spliced(score, events.decode(row), prime_end, first, last, voices)
            for row in accompaniment.composed()
        ]
        pairs = [continuation.split(song, last) for song in songs]
        fit = accompaniment.fit + likelihood(reader, pairs, options["memory_length"])
        spans = [song.excerpt(begin, end).only(voices) for song in songs]
        done.append(songs[auditions.best(spans, fit)])
    yield done


def _spliced(song: Score, composed: Score, offset: int, first: int, last: int, voices) -> Score:
    """The song with what was composed, which begins at tick ``offset``, in its span and voices."""
    free = np.isin(song.notes["voice"], list(voices))
    before, after = (song.notes[free].copy() for _ in range(2))
    before = before[before["start"] < first]
    before["end"] = np.minimum(before["end"], first)
    after = after[after["end"] > last]
    after["start"] = np.maximum(after["start"], last)
    inside = composed.notes[np.isin(composed.notes["voice"], list(voices))].copy()
    inside["start"] = np.clip(inside["start"] + offset, first, last)
    inside["end"] = np.clip(inside["end"] + offset, first, last)
    inside = inside[inside["end"] > inside["start"]]
    for voice in voices:  # as loud as the voice is elsewhere
        if len(song.voice(voice)):
            loud = np.median(song.voice(voice)["velocity"])
            inside["velocity"][inside["voice"] == voice] = loud
    tick, by = song.controls["tick"], song.controls["voice"]
    controls = song.controls[(tick < first) | (tick >= last) | ~np.isin(by, list(voices))]
    notes = np.concatenate([song.notes[~free], before, inside, after])
    return Score.build(notes, song.length, controls, song.name)


def reader_of(model):
    """The LanguageModel of a checkpoint folder; a model is its own."""
    return checkpoints.load(model) if isinstance(model, str | os.PathLike) else model


def likelihood(model, pairs, memory_length: int | None) -> np.ndarray:
    """Log-probability of what follows under a LanguageModel, in nats: float64 (pairs,).

    pairs: for each the ids before, without ``<S>``, and the ids that follow, of which as many count
    as the shortest has, and ``AFTER`` at most.
    """
    length = min(AFTER, *(len(after) for _, after in pairs))
    parts = [([events.START], before, after[:length]) for before, after in pairs]
    songs = [np.concatenate(part).astype(np.int64) for part in parts]
    options = dict(memory_length=memory_length, shortest=0, progress=False)
    scores = perplexity.exact(model, songs, **options).songs
    return np.array([score[len(score) - length :].sum(dtype=np.float64) for score in scores])


def loop(model, score: Score, memory_length: int | None = 512) -> tuple[Score, float]:
    """The piece up to the end of a bar after which its own beginning follows best.

    It lasts a whole number of bars, as ``musical_metrics.bar`` finds them, so that it goes round in
    time. Also how much less likely its first events are there, after the rest that may end it, than
    at the start of a piece, in nats an event: about 0 where nobody hears the seam.
    """
    bar, _ = musical_metrics.bar(score)
    starts, ends = score.notes["start"] - score.notes["start"].min(initial=score.length), []
    for end in (range(bar, score.length + 1, bar) if bar else ())[-LAST_BARS:]:
        onset = starts[abs(starts - end).argmin()]  # a bar is known to the frame only
        off = abs(onset - end) / nes.TICKS_PER_SECOND * musical_metrics.FRAMES_PER_SECOND
        ends.append(score.excerpt(0, (onset if off <= end // bar else end) / nes.TICKS_PER_SECOND))
    ends = ends or [score]
    opening = events.frame(events.encode(score))[1:-1][:AFTER]
    pairs = [(ids[events.IS_WAIT[ids].argmin() :], opening) for ids in map(events.encode, ends)]
    start, *fits = likelihood(reader_of(model), [([], opening), *pairs], memory_length)
    return ends[int(np.argmax(fits))], float(start - max(fits)) / len(opening)
