"""Complementary tracks: a voice of NES music beside the other ways to get one."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from _complementary_measures import in_chord
from _complementary_parts import DRAWING, HEARD, composed, notes_of, usual_density, when_asked
from composing_quality import DRONE, FAST, songs
from tqdm import tqdm

from lakhnes_lib import profiles
from lakhnes_lib.companions import accompanying, agreement
from lakhnes_lib.companions.paired_parts import BAR, CELL_TICKS
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.files import write_file
from lakhnes_lib.generation import given_voices
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score

JUDGE = profiles.root() / "assets" / "pretrained" / "mini"
CANDIDATES = 16  # of which the best is taken
SONGS = 40  # of test, at most


def excerpts(corpus, settings: dict) -> list[Score]:
    """The beginnings of test songs in which all voices play."""
    parts = [song.excerpt(0, settings["seconds"]) for song in songs(corpus["test"], 2 * SONGS)]
    return [part for part in parts if min(map(len, map(part.voice, range(4)))) > 2][:SONGS]


def with_voice(song: Score, voice: int, notes: np.ndarray) -> Score:
    """The song with another part in one voice."""
    others = song.notes[song.notes["voice"] != voice]
    notes = notes[notes["start"] < song.length].copy()
    notes["end"] = np.minimum(notes["end"], song.length)
    return Score.build(np.concatenate([others, notes]), song.length, name=song.name)


def by_model(model, task, given, voice: int, drawing: dict, seed: int) -> list[Score]:
    usual, pairs = usual_density(task), []
    for song in given:
        source, target = task.pair(song, voice)
        pairs.append((source, target))
    made = composed(model, task, pairs, drawing, usual, seed)
    return [
        with_voice(song, voice, events.decode(target[1:]).voice(voice))
        for song, target in zip(given, made, strict=True)
    ]


def by_candidates(given, voice: int, candidates: int) -> list[Score]:
    """The method of notebook 09: drawn by the language model, the best of some taken."""
    made, others = [], [other for other in range(4) if other != voice]
    for number, song in enumerate(tqdm(given, desc=f"{candidates} candidates", unit="piece")):
        options = dict(candidates=candidates, seed=[0, number]) | FAST
        first = int(song.only(others).notes["start"].min())
        wanted = given_voices.given_events(song, others)
        work = given_voices.Accompaniment(JUDGE, wanted, [voice], **options)
        while not work.done:
            work.step()
        notes = events.decode(work.best()).voice(voice).copy()
        notes["start"] += first  # such a piece begins with its first given event
        notes["end"] += first
        made.append(with_voice(song, voice, notes))
    return made


def figures(pieces, voice: int, judge) -> dict:
    """What is measured of each piece, lists with a number for each; None where there is none."""
    others = [other for other in range(4) if other != voice]
    given = [piece.only(others) for piece in pieces]
    alone = [piece.only([voice]) for piece in pieces]
    keys = [np.array([agreement.keys(score) for score in each]) for each in (given, alone)]
    framed = [events.frame(events.encode(piece)) for piece in pieces]
    scores = perplexity.exact(judge, framed, memory_length=512, progress=False)
    values = defaultdict(list)
    for number, (a, b) in enumerate(zip(given, alone, strict=True)):
        known = not np.isnan([keys[0][number], keys[1][number]]).any()
        same = keys[0][number].argmax() == keys[1][number].argmax() if known else None
        values["same_key"].append(same if same is None else float(same))
        far = agreement.edit_distance(agreement.onsets(a), agreement.onsets(b))
        values["rhythm"].append(float(far.mean()))
        values["nats_an_event"].append(-float(scores.songs[number].mean()))
        values["notes_a_second"].append(len(b.notes) / b.seconds)
        length = (b.notes["end"] - b.notes["start"]).max(initial=0) / nes.TICKS_PER_SECOND
        values["drone"].append(float(length > DRONE))
        parts = [notes_of(score) for score in (a, b)]
        bars = -(-a.length // (BAR * CELL_TICKS))
        shared = in_chord(parts[0], parts[1], bars)
        values["in_chord"].append(float(shared.mean()) if len(shared) else None)
    return dict(values)


def summary(values: dict) -> dict:
    """Means, and the middle 95 % of the means of 10,000 resamplings of the pieces."""
    random, out = np.random.default_rng(0), {}
    for name, numbers in values.items():
        known = np.array([number for number in numbers if number is not None])
        if not len(known):
            continue
        means = known[random.integers(len(known), size=(10_000, len(known)))].mean(1)
        low, high = np.quantile(means, (0.025, 0.975))
        out[name] = {"mean": known.mean(), "low": low, "high": high, "pieces": len(known)}
    return out


def described(pieces, voice: int, judge) -> dict:
    """The summary of some pieces, and the events of the first, to be heard."""
    heard = [events.encode(piece).tolist() for piece in pieces[:HEARD]]
    return summary(figures(pieces, voice, judge)) | {"composed": heard}


def baselines(corpus, judge, settings: dict, runs: Path) -> dict:
    """The ways that need no training here; kept in a file, for they take minutes."""
    path, voice = runs / "other_ways.json", nes.TR
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    given = excerpts(corpus, settings)
    copied = given[1:] + given[:1]
    ways = {
        "real": given,
        "copied": [
            with_voice(a, voice, b.voice(voice)) for a, b in zip(given, copied, strict=True)
        ],
        "one_candidate": by_candidates(given, voice, 1),
        "candidates": by_candidates(given, voice, CANDIDATES),
    }
    values = {name: described(pieces, voice, judge) for name, pieces in ways.items()}
    runs.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(values, default=lambda value: value.tolist()))
    return values


def measure_nes(model, task, seed: int, corpus, settings: dict) -> dict:
    judge, given = checkpoints.load(JUDGE), excerpts(corpus, settings)
    values = {"valid_loss": accompanying.valid_loss(model, task, 16)}
    values["usual_density"] = usual_density(task)
    values["asked"] = when_asked(model, task, seed)
    for way, drawing in DRAWING.items():
        values[way] = {}
        for voice in range(4):
            pieces = by_model(model, task, given, voice, drawing, seed)
            values[way][nes.VOICES[voice]] = described(pieces, voice, judge)
    return values
