"""Composing measured: pieces of every way, all checked, and what particles gain.

python benchmarks/composing_quality.py [--pieces 100] [--around 100] [--checkpoint FOLDER] [--write]

What is given are the first seconds of songs of NES-MDB's test split (one of each game first) in
which all four voices play. Pieces from nothing; on from a beginning; to a rhythm; around triangle
and noise by one particle and by many, and how well these fit what was given. Every piece is checked
against the grammar and what was given, and rendered. Needs NES-MDB. With --write the numbers go to
results/composing.json.
"""

import time

import numpy as np
from _shared import arguments, corpus_at_hand, keep
from tqdm import tqdm

from lakhnes_lib import profiles
from lakhnes_lib.companions import agreement
from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.generation import continuation, given_voices, rhythm, sampling
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import events, grammar, nes
from lakhnes_lib.sound import apu

SETTINGS = dict(temperature=0.95, top_k=32, top_p=1.0, memory_length=512)
SECONDS, LENGTH, BATCH = 6.0, 256, 20
GIVEN, FREE = (nes.TR, nes.NO), (nes.P1, nes.P2)


def songs(split, count: int) -> list:
    """The first seconds of songs, in which every voice begins a note; of many games."""
    order = sorted(
        range(len(split)),
        key=lambda i: (sum(split.names[i][:3] == name[:3] for name in split.names[:i]), i),
    )
    found = []
    for number in order:
        score = split.score(number)
        part = score.excerpt(0, min(SECONDS, score.seconds)) if score.length else score
        if part.seconds >= SECONDS and all(len(part.voice(voice)) > 1 for voice in range(4)):
            found.append(part)
        if len(found) == count:
            break
    return found


def last(steps) -> list[np.ndarray]:
    *_, made = steps
    return [np.array(ids) for ids in made]


def check(pieces: list[np.ndarray]) -> list:
    """The scores of pieces that keep the grammar, come back from their events, and sound."""
    scores = []
    for ids in pieces:
        grammar.check(ids)
        scores.append(events.decode(ids))
        assert np.array_equal(
            events.frame(events.encode(scores[-1]))[1:-1], events.frame(ids)[1:-1]
        )
        assert np.abs(apu.render(scores[-1], sample_rate=11_025)).max() > 0
    return scores


def from_nothing(model, _, count):
    for first in range(0, count, BATCH):
        yield from last(
            continuation.compose(
                model, n=min(BATCH, count - first), length=LENGTH, seed=first, **SETTINGS
            )
        )


def continued(model, given, _):
    for first in range(0, len(given), BATCH):
        primes = [
            continuation.cut(song, seconds=SECONDS / 2) for song in given[first : first + BATCH]
        ]
        steps = sampling.stream(
            model,
            n=len(primes),
            length=LENGTH,
            seed=first,
            prime=list(map(np.array, primes)),
            **SETTINGS,
        )
        grown = np.stack(list(steps), 1)
        for prime, row in zip(primes, grown, strict=True):
            yield np.concatenate([prime, row[row >= 0]])


def to_rhythm(model, given, _):
    for number, song in enumerate(given):
        (ids,) = last(rhythm.compose(model, song, n=1, seed=number, **SETTINGS))
        script = events.frame(events.encode(song))[1:-1]
        pitched = events.IS_NOTE_ON[script] & (events.VOICE_OF[script] != nes.NO)
        assert np.array_equal(ids[~pitched], script[~pitched])
        yield ids


def around(model, given, particles: int, found: dict):
    """Pieces around two voices; evidence and timing errors go into ``found``."""
    found |= {"evidence": [], "given_events": [], "milliseconds": [], "multiplied": []}
    for number, song in enumerate(given):
        wanted = given_voices.given_events(song, GIVEN)
        search = given_voices.Search(
            model, wanted, GIVEN, particles=particles, seed=[0, number], **SETTINGS
        )
        while not search.done:
            search.step()
        ids = search.best().astype(np.int64)
        ours = np.isin(events.VOICE_OF[ids], GIVEN)
        assert np.array_equal(ids[ours], wanted[1])
        late = np.cumsum(events.TICKS_OF[ids])[ours] - (wanted[0] - wanted[0][0])
        found["milliseconds"] += (np.abs(late) / nes.TICKS_PER_SECOND * 1000).tolist()
        found["evidence"].append(search.evidence)
        found["given_events"].append(len(wanted[0]))
        found["multiplied"].append(search.resampled)
        yield ids


def main():
    parser = arguments("composing", __doc__)
    parser.add_argument("--pieces", type=int, default=100, help="of every way")
    parser.add_argument(
        "--around", type=int, default=100, help="of them around given voices, which takes longest"
    )
    parser.add_argument("--particles", type=int, default=16)
    parser.add_argument("--checkpoint", default=str(profiles.root() / "assets/pretrained/mini"))
    chosen = parser.parse_args()
    corpus = corpus_at_hand()
    model = checkpoints.load(chosen.checkpoint)
    given = songs(corpus["test"], chosen.pieces)
    one, many = {}, {}
    ways = {
        "from_nothing": from_nothing(model, given, chosen.pieces),
        "continued": continued(model, given, chosen.pieces),
        "to_rhythm": to_rhythm(model, given, chosen.pieces),
        "one_particle": around(model, given[: chosen.around], 1, one),
        "particles": around(model, given[: chosen.around], chosen.particles, many),
    }
    values = {
        "particle_count": chosen.particles,
        "seconds_given": SECONDS,
        "parameters": model.parameter_count(),
    }
    measured = {"real": musical_metrics.measure(given)}
    pieces = {}
    for name, way in ways.items():
        begin = time.perf_counter()
        ids = list(tqdm(way, desc=name, unit="piece"))
        seconds = time.perf_counter() - begin
        pieces[name] = check(ids)
        measured[name] = musical_metrics.measure(pieces[name])
        values[name] = {
            "pieces": len(ids),
            "valid": len(pieces[name]),
            "events": sum(map(len, ids)),
        }
        values[name] |= {"seconds": seconds, "events_a_second": sum(map(len, ids)) / seconds}
    for name, found in (("one_particle", one), ("particles", many)):
        late = np.array(found["milliseconds"])
        values[name] |= {
            "nats_a_given_event": sum(found["evidence"]) / sum(found["given_events"]),
            "multiplied_a_piece": float(np.mean(found["multiplied"])),
            "milliseconds_off": {
                "median": np.median(late),
                "p99": np.percentile(late, 99),
                "worst": late.max(),
            },
            "agreement": agreement.agreement(
                [score.only(GIVEN) for score in pieces[name]],
                [score.only(FREE) for score in pieces[name]],
            ),
        }
    gains = (np.array(many["evidence"]) - one["evidence"]) / np.array(one["given_events"])
    values["gain"] = {
        "nats_a_given_event": float(gains.mean()),
        "pieces_that_gain": int((gains > 0).sum()),
    }
    values["real_songs_agreement"] = agreement.agreement(
        [s.only(GIVEN) for s in given], [s.only(FREE) for s in given]
    )
    values["figures_median"] = {
        name: {
            figure: None if np.isnan(all_).all() else float(np.nanmedian(all_))
            for figure, all_ in found.items()
        }
        for name, found in measured.items()
    }
    keep("composing", values, chosen.write, corpus=corpus, packages=("numpy", "torch"))


if __name__ == "__main__":
    main()
