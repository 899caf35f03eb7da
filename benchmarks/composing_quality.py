"""Composing with something given, measured: around voices, between two cuts, on from a beginning.

python benchmarks/composing_quality.py [--songs 40] [--candidates 16] [--write]

What is given are the first seconds of songs of NES-MDB's test split (one of each game first) in
which all four voices play.
- around: P1 and P2 are composed around the triangle and the noise, by one candidate and by many.
  Drones are pieces with a composed note of more than 4 seconds. Key and rhythm: as in
  ``companions/agreement.py``, beside the composed voices of other pieces; p is the share of 10,000
  random pairings that agree as well or better. Likelihood: of the given events, in nats an event.
- between: 3 seconds in the middle are composed anew, by one candidate and by many; how likely the
  64 events after the span are then, beside the song's own span.
- continued: pieces that go on from the first 3 seconds, auditioned; how many had a fault.
- rhythm: the song's own rhythm with new pitches; everything else has to stay as it is.
Every piece is checked against the grammar and what was given. Pieces stay below
runs/composing_quality, in a folder for the checkpoint's weights, so that an interrupted run goes
on; remove it when the way of composing has changed. Needs NES-MDB. With --write the numbers go to
results/composing.json.
"""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
from _shared import arguments, corpus_at_hand, keep
from tqdm import tqdm

from lakhnes_lib import profiles
from lakhnes_lib.companions import agreement
from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.files import write_file
from lakhnes_lib.generation import (
    auditions,
    continuation,
    given_voices,
    infilling,
    rhythm,
    sampling,
)
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import events, grammar, nes
from lakhnes_lib.music.score import Score

DEFAULTS = profiles.Sampling()
SETTINGS = dict(temperature=DEFAULTS.temperature, top_k=None, top_p=DEFAULTS.top_p)
SETTINGS |= dict(memory_length=DEFAULTS.memory_length)
FAST = SETTINGS | dict(precision="int8")
SECONDS, PAIRINGS, DRONE = 12.0, 10_000, 4.0
GIVEN, FREE = (nes.TR, nes.NO), (nes.P1, nes.P2)
SPAN = SECONDS / 2 - 1.5, SECONDS / 2 + 1.5


def songs(split, count: int) -> list:
    """The first seconds of songs, in which every voice begins a note; of many games."""
    order = sorted(
        range(len(split)),
        key=lambda i: (sum(split.names[i][:3] == name[:3] for name in split.names[:i]), i),
    )
    chosen = []
    for number in order:
        score = split.score(number)
        part = score.excerpt(0, min(SECONDS, score.seconds)) if score.length else score
        if part.seconds >= SECONDS and all(len(part.voice(voice)) > 8 for voice in range(4)):
            chosen.append(part)
        if len(chosen) == count:
            break
    return chosen


def last(steps):
    *_, result = steps
    return result


@cache
def home_of(folder) -> Path:
    """Where pieces of a checkpoint stay; other weights have another folder."""
    weights = (Path(folder) / "model.safetensors").read_bytes()
    return profiles.root() / "runs/composing_quality" / hashlib.sha256(weights).hexdigest()[:8]


def stored(folder, name: str, make, *parameters):
    """Plain values that ``make(folder, *parameters)`` gave in this or an earlier run."""
    path = home_of(folder) / f"{name}.json"
    if not path.exists():
        write_file(path, json.dumps(make(folder, *parameters)))
    return json.loads(path.read_text(encoding="utf-8"))


def plain(score: Score) -> dict:
    return {"notes": score.notes.tolist(), "length": score.length}


def as_score(value: dict) -> Score:
    return Score.build([tuple(note) for note in value["notes"]], value["length"])


def drones(scores, voices=nes.MELODIC) -> float:
    """Share of the pieces in which one of these voices holds a note for more than 4 seconds."""
    longest = musical_metrics.measure([score.only(voices) for score in scores])["longest_note"]
    return float((longest > DRONE).mean())


def _far_apart(a: np.ndarray, b: np.ndarray) -> float:
    """Mean edit distance of two rhythms, two seconds by two seconds."""
    rows = min(len(a), len(b))
    return float(agreement.edit_distance(a[:rows], b[:rows]).mean())


def p_values(given: list, composed: list) -> dict:
    """How often random pairings of given and composed voices agree as well, in key and rhythm."""
    keys = [np.array([agreement.keys(score) for score in each]) for each in (given, composed)]
    known = ~(np.isnan(keys[0]).any(1) | np.isnan(keys[1]).any(1))
    fits = keys[0][known] @ keys[1][known].T  # how alike the keys' profiles are
    patterns = [[agreement.onsets(score) for score in each] for each in (given, composed)]
    far = np.array([[_far_apart(a, b) for b in patterns[1]] for a in patterns[0]])
    random = np.random.default_rng(0)
    values = {}
    for name, matrix, sign in (("key", fits, 1), ("rhythm", far, -1)):
        own = sign * np.trace(matrix)
        orders = (random.permutation(len(matrix)) for _ in range(PAIRINGS))
        others = [sign * matrix[np.arange(len(matrix)), order].sum() for order in orders]
        values[f"{name}_p"] = float((1 + np.sum(np.array(others) >= own)) / (1 + PAIRINGS))
        values[f"{name}_paired"] = float(sign * own / len(matrix))
        values[f"{name}_shuffled"] = float(sign * np.mean(others) / len(matrix))
    return values


def one_around(folder, song: Score, number: int, candidates: int) -> list:
    """Events of a piece around two voices, and its nats a given event."""
    wanted = given_voices.given_events(song, GIVEN)
    options = dict(candidates=candidates, seed=[0, number]) | FAST
    accompaniment = given_voices.Accompaniment(folder, wanted, FREE, **options)
    while not accompaniment.done:
        accompaniment.step()
    rows, ids = accompaniment.composed(), accompaniment.best()
    grammar.check(ids)
    ours = np.isin(events.VOICE_OF[ids], GIVEN)
    assert np.array_equal(ids[ours], wanted[1])
    row = next(i for i, each in enumerate(rows) if np.array_equal(each, ids))
    return [ids.tolist(), -accompaniment.fit[row] / len(wanted[1])]


def around(folder, given, candidates: int) -> tuple[dict, np.ndarray]:
    """What is measured of pieces around two voices, and each one's nats a given event."""
    pieces, nats = [], []
    for number, song in enumerate(tqdm(given, desc=f"around, {candidates}", unit="piece")):
        name = f"around_{candidates}_{number}"
        ids, nats_a_given_event = stored(folder, name, one_around, song, number, candidates)
        nats.append(nats_a_given_event)
        pieces.append(events.decode(np.array(ids)))
    given_parts, composed = ([s.only(each) for s in pieces] for each in (GIVEN, FREE))
    values = {
        "drones": drones(pieces, FREE),
        "faults": float(np.mean([bool(auditions.faults(s)) for s in composed])),
        "nats_a_given_event": float(np.mean(nats)),
        "agreement": agreement.agreement(given_parts, composed),
    }
    return values | p_values(given_parts, composed), np.array(nats)


def one_between(folder, song: Score, number: int, candidates: int) -> dict:
    """A song with ``SPAN`` composed anew."""
    options = dict(candidates=candidates, seed=number) | FAST
    return plain(last(infilling.compose(folder, song, *SPAN, **options))[0])


def between(folder, model, given, candidates: int) -> dict:
    """What is measured of songs with three seconds composed anew."""
    (begin, end), made = SPAN, []
    for number, song in enumerate(tqdm(given, desc=f"between, {candidates}", unit="piece")):
        name = f"between_{candidates}_{number}"
        piece = as_score(stored(folder, name, one_between, song, number, candidates))
        earlier = song.notes[song.notes["end"] <= round(begin * nes.TICKS_PER_SECOND)]
        assert set(earlier.tolist()) <= set(piece.notes.tolist())
        made.append(piece)
    tick = round(end * nes.TICKS_PER_SECOND)
    values = {"drones": drones(made)}
    for name, pieces in (("composed", made), ("own", given)):
        pairs = [continuation.split(piece, tick) for piece in pieces]
        pairs = [(before, after[: infilling.AFTER]) for before, after in pairs]
        fits = [infilling.likelihood(model, [pair], 512)[0] / len(pair[1]) for pair in pairs]
        values[f"nats_after_{name}"] = -float(np.mean(fits))
    return values


def one_continued(folder, song: Score, number: int) -> dict:
    """A piece that goes on from a song's beginning, and how many candidates had a fault."""
    prime = continuation.cut(song, seconds=3.0)
    result = last(auditions.compose(folder, prime, n=1, seconds=12.0, seed=number, **FAST))
    faulty = sum(bool(faults) for _, faults in result.left_out)
    return {"piece": plain(result.pieces[0]), "faulty": faulty}


def continued(folder, given) -> dict:
    taken, left_out = [], 0
    for number, song in enumerate(tqdm(given, desc="continued", unit="piece")):
        value = stored(folder, f"continued_{number}", one_continued, song, number)
        taken.append(as_score(value["piece"]))
        left_out += value["faulty"]
    return {"pieces": len(taken), "left_out": left_out, "drones": drones(taken)}


def one_to_rhythm(folder, song: Score, number: int) -> list:
    """Events of a piece to a song's rhythm."""
    return np.array(last(rhythm.compose(folder, song, n=1, seed=number, **FAST))[0]).tolist()


def to_rhythm(folder, given) -> dict:
    pieces = []
    for number, song in enumerate(tqdm(given, desc="rhythm", unit="piece")):
        ids = np.array(stored(folder, f"rhythm_{number}", one_to_rhythm, song, number))
        ids = sampling.beginning(ids)[1:]  # without the silence before the first note
        script = events.frame(events.encode(song))[1:-1]
        pitched = events.IS_NOTE_ON[script] & (events.VOICE_OF[script] != nes.NO)
        assert np.array_equal(ids[~pitched], script[~pitched])
        pieces.append(events.decode(ids))
    return {"pieces": len(pieces), "drones": drones(pieces)}


def main() -> None:
    parser = arguments("composing", __doc__)
    parser.add_argument("--songs", type=int, default=40)
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--checkpoint", default=str(profiles.root() / "assets/pretrained/mini"))
    chosen = parser.parse_args()
    corpus, folder = corpus_at_hand(), chosen.checkpoint
    model = checkpoints.load(folder)
    given = songs(corpus["test"], chosen.songs)
    parts = [[song.only(each) for song in given] for each in (GIVEN, FREE)]
    one, alone = around(folder, given, 1)
    many, best = around(folder, given, chosen.candidates)
    values = {
        "candidates": chosen.candidates,
        "seconds_given": SECONDS,
        "songs": len(given),
        "real": {"drones": drones(given, FREE), "agreement": agreement.agreement(*parts)}
        | p_values(*parts),
        "around_one_candidate": one,
        "around_candidates": many,
        "pieces_that_gain": int((best < alone).sum()),
        "between_one_candidate": between(folder, model, given, 1),
        "between_candidates": between(folder, model, given, chosen.candidates),
        "continued": continued(folder, given),
        "rhythm": to_rhythm(folder, given),
    }
    keep("composing", values, chosen.write, corpus=corpus, packages=("numpy", "torch"))


if __name__ == "__main__":
    main()
