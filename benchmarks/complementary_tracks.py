"""Complementary tracks: an encoder-decoder as in the thesis, mended, and beside other ways.

python benchmarks/complementary_tracks.py [--only RUN] [--seeds 0 1] [--minutes M] [--write]

Trains the laptop's models by the clock, each 30 minutes of one core, and measures them; what was
stopped goes on, and what has ended is not done again. Runs: ``bass`` and ``piano`` are composed to
the other one on folder 5 of Lakh, ``nes`` is any voice to the other three on NES-MDB;
``…_thesis`` is as in the thesis (M. Murhu, 2024), ``…_mended`` has a clock of musical time, asks
for a density, learns from no silent targets, and transposes. Needs NES-MDB, and Lakh's folder 5 as
data/lmd_full_5 (``lakhnes data fetch lmd-full-5``), and MidiTok. Writes
runs/complementary_tracks/RUN/seedN/; with --write the numbers go to
results/complementary_tracks.json.
"""

import json
from collections import defaultdict
from contextlib import suppress

import numpy as np
import torch
from _shared import arguments, corpus_at_hand, keep
from composing_quality import DRONE, FAST, songs
from tqdm import tqdm

from lakhnes_lib import profiles
from lakhnes_lib.companions import accompanying, agreement, band_parts, fitting
from lakhnes_lib.companions.band_parts import BASS, PIANO, BandPairs
from lakhnes_lib.companions.encoder_decoder import EncoderDecoder
from lakhnes_lib.companions.paired_parts import BAR, CELL_TICKS, STARTS, NesPairs, start_of
from lakhnes_lib.data.corpus import split_of
from lakhnes_lib.errors import BadMidi
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.files import write_file
from lakhnes_lib.generation import given_voices
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import events, nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.training import snapshots

ROOT = profiles.root()
RUNS = ROOT / "runs" / "complementary_tracks"
LAKH = ROOT / "data" / "lmd_full_5"
NAMES = [f"{task}_{way}" for task in ("nes", "bass", "piano") for way in ("thesis", "mended")]
PIECES_A_FILE, PIECES, PAIRS, PROBED = 6, 300, 100_000, 12
JUDGE = ROOT / "assets" / "pretrained" / "mini"
CANDIDATES, SONGS, HEARD = 16, 40, 2
LONGEST = 400  # tokens that are composed at most
DRAWING = {
    "thesis": dict(top_k=3, masked=False),
    "mended": dict(top_p=0.95, masked=True),
}


# Data


def band_data(bars: int) -> tuple[dict, object]:
    """Pieces of piano and bass by split, and the trained tokenizer; made once."""
    import miditok

    file, learned = RUNS / f"band_{bars}.npz", RUNS / f"band_{bars}.json"
    if not (file.exists() and learned.exists()):
        pieces = {"train": [], "valid": []}
        for path in tqdm(sorted(LAKH.rglob("*.mid")), desc="piano and bass of Lakh"):
            with suppress(BadMidi):
                cut = band_parts.snippets(band_parts.parts_of(path), bars)
                pieces[split_of(path.stem)] += cut[:: max(1, -(-len(cut) // PIECES_A_FILE))]
        RUNS.mkdir(parents=True, exist_ok=True)
        arrays = {}
        for split, some in pieces.items():
            parts = [part.astype(np.int32) for piece in some for part in piece]
            arrays |= {split: np.concatenate(parts), f"{split}_ends": np.cumsum([*map(len, parts)])}
        np.savez(file, **arrays)
        band_parts.trained(pieces["train"]).save(learned)
    return unpacked(file), miditok.REMI(params=learned)


def unpacked(file) -> dict:
    """The pieces that ``band_data`` has packed."""
    pieces = {}
    with np.load(file) as arrays:
        for split in ("train", "valid"):
            parts = np.split(arrays[split], arrays[f"{split}_ends"][:-1])
            pieces[split] = [parts[at : at + 2] for at in range(0, len(parts), 2)]
    return pieces


def task_of(name: str, settings: dict, corpus):
    """What a run learns from."""
    kind, way = name.split("_")
    mended = way == "mended"
    if kind == "nes":
        return NesPairs(corpus, settings["seconds"], settings["tokens"], mended)
    pieces, tokenizer = band_data(settings["bars"])
    target = {"bass": BASS, "piano": PIANO}[kind]
    return BandPairs(pieces, tokenizer, settings["bars"], target, mended)


# What is composed


def notes_of(score: Score) -> np.ndarray:
    """The notes of P1, P2 and TR as a part of ``band_parts``."""
    notes = score.only(nes.MELODIC).notes
    time, end = (notes[name] // CELL_TICKS for name in ("start", "end"))
    return np.stack([time, end - time, notes["pitch"], notes["velocity"]], 1).astype(int)


def part_of(task, target) -> np.ndarray:
    """A target's notes: position, duration, pitch, velocity."""
    if isinstance(task, BandPairs):
        return task.part(target)
    return notes_of(events.decode(target[1:]))


def notes_in(task, target) -> int:
    """How many notes a target has."""
    return len(part_of(task, target))


# Measures of parts


def onset_rows(part: np.ndarray, bars: int) -> np.ndarray:
    """At which positions a note of a part begins: bool (bars, 32). Later bars are left out."""
    rows = np.zeros(bars * BAR, bool)
    rows[part[part[:, 0] < bars * BAR, 0]] = True
    return rows.reshape(bars, BAR)


def in_chord(given: np.ndarray, composed: np.ndarray, bars: int, shift: int = 0) -> np.ndarray:
    """Of each composed note, whether a given note of its pitch class begins in the same bar: bool.

    shift: compare with the bar so many later, counted round, to learn what chance gives.
    """
    heard = np.zeros((bars, 12), bool)
    heard[given[:, 0] // BAR % bars, given[:, 2] % 12] = True
    return heard[(composed[:, 0] // BAR + shift) % bars, composed[:, 2] % 12]


def key_of(part: np.ndarray) -> np.ndarray:
    """What ``agreement.keys`` says of a score, of a part: float64 (24,)."""
    sounding = np.bincount(part[:, 2] % 12, part[:, 1], 12)
    if not np.ptp(sounding):
        return np.full(24, np.nan)
    return np.corrcoef(sounding, agreement.PROFILES)[0, 1:]


def ranks(given: np.ndarray, composed: np.ndarray) -> np.ndarray:
    """The rank, from 0, that the best key of each given piece has in each composed one.

    given, composed: floats (pieces, 24). Returns int64 (given, composed).
    """
    ranking = np.argsort(-composed, 1)
    return np.argmax(ranking[None] == given.argmax(1)[:, None, None], 2)


def usual_density(task, split="valid", count=200) -> dict:
    """For each target voice the number of the start that asks for the density most often met."""
    random, met = np.random.default_rng(0), defaultdict(list)
    for _ in range(count):
        _, target = task.draw(split, random)
        voice = (target[0] - task.vocabulary) // STARTS
        met[voice].append(start_of(notes_in(task, target), task.bars))
    return {voice: int(np.bincount(starts).argmax()) for voice, starts in met.items()}


def start_for(task, voice: int, usual: dict) -> int:
    density = usual.get(voice, 0) if task.mended else 0
    return task.vocabulary + voice * STARTS * isinstance(task, NesPairs) + density


def drawn(task, count: int) -> list:
    """The first pairs of valid that an unmended task draws: the same for both ways."""
    random, was, task.mended = np.random.default_rng(7), task.mended, False
    try:
        return [task.draw("valid", random) for _ in range(count)]
    finally:
        task.mended = was


def composed(model, task, pairs, drawing: dict, usual: dict, seed: int) -> list[list[int]]:
    made = []
    for first in range(0, len(pairs), 50):
        some = pairs[first : first + 50]
        voices = [(target[0] - task.vocabulary) // STARTS for _, target in some]
        starts = [start_for(task, voice, usual) for voice in voices]
        sources = [source for source, _ in some]
        options = dict(length=LONGEST, seed=seed * 1000 + first) | drawing
        made += accompanying.compose(model, task, sources, starts, **options)
    return made


def rhythm(real: np.ndarray, made: np.ndarray, random) -> dict:
    """Levenshtein distances of random pairs of bars: of those composed, and of the mock bars."""
    mock = random.random(made.shape) < made.mean()
    chosen = real[random.integers(len(real), size=PAIRS)]
    values = {"positions": made.mean(0), "notes_a_bar": made.sum(1).mean()}
    for name, rows in (("distance", made), ("distance_of_mock", mock)):
        others = rows[random.integers(len(rows), size=PAIRS)]
        values[name] = agreement.edit_distance(chosen, others).mean()
    return values


def tonality(given, made) -> dict:
    """For k = 1 to 24: share of pieces whose given key is among the composed part's best k."""
    keys = [np.array([key_of(part) for part in each]) for each in (given, made)]
    known = ~(np.isnan(keys[0]).any(1) | np.isnan(keys[1]).any(1))
    rank = ranks(keys[0][known], keys[1][known])
    own = np.eye(len(rank), dtype=bool)
    curve = lambda values: [float((values < k).mean()) for k in range(1, 25)]  # noqa: E731
    if not len(rank):
        return {"pieces": 0}
    values = {"pieces": len(rank), "top_k": curve(rank[own])}
    return values | ({"top_k_shuffled": curve(rank[~own])} if len(rank) > 1 else {})


def chords(given, made, bars: int) -> dict:
    """Share of composed notes of whose pitch class a given note begins in the same bar, and in the
    other bars of the piece."""
    same, other = [], []
    for a, b in zip(given, made, strict=True):
        same += in_chord(a, b, bars).tolist()
        for shift in range(1, bars):
            other += in_chord(a, b, bars, shift).tolist()
    mean = lambda values: float(np.mean(values)) if values else None  # noqa: E731
    return {"same_bar": mean(same), "other_bars": mean(other)}


def measure_band(model, task, seed: int) -> dict:
    """The analyses of the thesis (its Figures 14 to 17 and Table 2), of both ways to draw."""
    pairs, usual, bars = drawn(task, PIECES), usual_density(task), task.bars
    within = lambda part: part[part[:, 0] < bars * BAR]  # noqa: E731
    given = [within(task.part(source)) for source, _ in pairs]
    real = [within(part_of(task, target)) for _, target in pairs]
    real_rows = np.concatenate([onset_rows(part, bars) for part in real])
    values = {"usual_density": usual, "valid_loss": accompanying.valid_loss(model, task, 16)}
    random = np.random.default_rng(seed)
    for way in ("real", *DRAWING):
        made = real
        if way != "real":
            ids = composed(model, task, pairs, DRAWING[way], usual, seed)
            made = [within(part_of(task, target)) for target in ids]
        rows = np.concatenate([onset_rows(part, bars) for part in made])
        values[way] = {
            "rhythm": rhythm(real_rows, rows, random),
            "tonality": tonality(given, made),
            "chords": chords(given, made, bars),
            "silent_pieces": float(np.mean([not len(part) for part in made])),
            "silent_bars": float((~rows.any(1)).mean()),
            "notes_a_bar": float(np.mean([len(part) for part in made]) / bars),
        }
    values["resting"] = resting(model, task)
    values["asked"] = when_asked(model, task, seed)
    values["snippet"] = on_snippet(model, task, usual, seed)
    return values


@torch.inference_mode()
def resting(model, task, count: int = 200) -> list[float]:
    """Mean probability that no further note comes in a bar, wherever that is possible in targets of
    valid: of all tokens, and of the three likeliest."""
    random, means = np.random.default_rng(0), []
    first = [(task.base([token]) or [0])[0] for token in range(task.vocabulary)]
    rests = torch.tensor([base == 4 for base in first])
    rests[task.end] = True
    for _ in range(count):
        source, target = task.draw("valid", random)
        logits = model(accompanying.padded([source]), torch.tensor([target[:-1]]))[0]
        last = [(task.base([token]) or [0])[-1] for token in target[:-1]]
        free = torch.tensor([base == 4 or 101 <= base < 165 for base in last])
        if free.any():
            p = logits[free].softmax(-1)
            kept, tokens = p.topk(3)
            top = (kept * rests[tokens]).sum(-1) / kept.sum(-1)
            means.append((float(p[:, rests].sum(-1).mean()), float(top.mean())))
    return np.mean(means, axis=0).tolist()


def when_asked(model, task, seed: int, count: int = 40) -> list[float]:
    """Notes a bar that are composed when each of the densities is asked for, in turn."""
    pairs = drawn(task, count)
    notes = []
    for density in range(1, STARTS):
        usual = dict.fromkeys(range(4), density)
        made = composed(model, task, pairs, DRAWING["mended"], usual, seed)
        notes.append(float(np.mean([notes_in(task, target) for target in made]) / task.bars))
    return notes


def progression(bars: int) -> list[np.ndarray]:
    """Piano and bass of I-V-vi-IV in B flat, a chord a bar; notebook 10 explains it."""
    roots, piano, bass = (46, 41, 43, 39), [], []
    chords = (62, 65, 70), (60, 65, 69), (62, 67, 70), (63, 67, 70)
    for bar in range(bars):
        root, chord = roots[bar % 4], chords[bar % 4]
        for time in (BAR * bar, BAR * bar + 16):
            piano += [(time, 16, pitch, 79) for pitch in chord]
            bass += [(time, 12, root, 79), (time + 12, 4, root, 79)]
        piano.append((BAR * bar + 28, 4, chord[-1] + 2, 79))
    return [np.array(sorted(part)) for part in (piano, bass)]


def on_snippet(model, task, usual: dict, seed: int) -> dict:
    """The progression of the thesis's Figure 18, as many bars of it as a piece has."""
    given = progression(task.bars)[1 - task.target]
    source = band_parts.tokens_of(task.tokenizer, given)
    values = {}
    for way, drawing in DRAWING.items():
        pairs = [(source, [task.vocabulary])] * 20
        ids = composed(model, task, pairs, drawing, usual, seed)
        made = [task.part(target) for target in ids]
        made = [part[part[:, 0] < task.bars * BAR] for part in made]
        values[way] = {"chords": chords([given] * len(made), made, task.bars)}
        values[way]["composed"] = [part.tolist() for part in made[:HEARD]]
    return values


def symbols(name: str, settings: dict) -> dict:
    """How often each token stands in the targets of train, before and after merging."""
    task = task_of(f"{name}_thesis", settings, None)
    base, merged = np.zeros(197, int), np.zeros(task.vocabulary, int)
    for piece in task.pieces["train"]:
        ids = band_parts.tokens_of(task.tokenizer, piece[task.target])
        base += np.bincount(task.base(ids), minlength=197)
        merged += np.bincount(ids, minlength=task.vocabulary)
    return {"pieces": len(task.pieces["train"]), "base": base, "merged": merged}


# NES music beside the other ways


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


def baselines(corpus, judge, settings: dict) -> dict:
    """The ways that need no training here; kept in a file, for they take minutes."""
    path, voice = RUNS / "other_ways.json", nes.TR
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
    RUNS.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(values, default=lambda value: value.tolist()))
    return values


def described(pieces, voice: int, judge) -> dict:
    """The summary of some pieces, and the events of the first, to be heard."""
    heard = [events.encode(piece).tolist() for piece in pieces[:HEARD]]
    return summary(figures(pieces, voice, judge)) | {"composed": heard}


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


# The runs


def watch_of(task, model, seed: int, count: int):
    """Measures a model in training: its loss on valid, and the notes a bar that it composes as in
    the thesis, beside those of the same real targets."""
    pairs, usual = drawn(task, PROBED), usual_density(task)
    real = np.mean([notes_in(task, target) for _, target in pairs]) / task.bars

    def watch() -> dict:
        made = composed(model, task, pairs, DRAWING["thesis"], usual, seed)
        notes = np.mean([notes_in(task, target) for target in made]) / task.bars
        values = {"valid_loss": accompanying.valid_loss(model, task, count)}
        return values | {"notes_a_bar": float(notes), "real_notes_a_bar": float(real)}

    return watch


def trained(task, folder, settings: dict, how: dict, seed: int) -> tuple[EncoderDecoder, list]:
    """The model of a run and its log; trained, if it is not there."""
    if not snapshots.exists(folder):
        torch.manual_seed(seed)
        clock, sizes = task.clock if task.mended else None, settings["sizes"]
        model = EncoderDecoder(task.vocabulary, task.starts, clock=clock, **sizes)

        def loss(random):
            return model.loss(*accompanying.batch_of(task, "train", how["batch"], random))

        watch = watch_of(task, model, seed, how["batch"])
        fitting.save(model, folder, fitting.fit(model, loss, how, seed=seed, watch=watch))
    return fitting.load(EncoderDecoder, folder)


def run(name: str, seed: int, settings: dict, minutes: float | None, corpus) -> dict:
    """Trains and measures one run, or reads what it gave."""
    folder = RUNS / name / f"seed{seed}"
    path = folder / "result.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    task = task_of(name, settings, corpus)
    how = settings["training"] | ({"minutes": minutes} if minutes else {})
    model, log = trained(task, folder, settings, how, seed)
    log = [{"step": step} | row for step, row in enumerate(log, 1) if "valid_loss" in row]
    values = {"log": log, "parameters": sum(each.numel() for each in model.parameters())}
    if isinstance(task, BandPairs):
        values |= measure_band(model, task, seed)
    else:
        values |= measure_nes(model, task, seed, corpus, settings)
    write_file(path, json.dumps(values, indent=1, default=lambda value: value.tolist()))
    return values


def main() -> None:
    parser = arguments("complementary_tracks", __doc__)
    parser.add_argument("--only", choices=NAMES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--minutes", type=float, help="of training, in place of the profile's")
    parser.add_argument("--profile", default="laptop")
    chosen = parser.parse_args()
    settings = profiles.load(chosen.profile).companions["complementary_tracks"]
    corpus, ended = corpus_at_hand(), defaultdict(dict)
    for seed in chosen.seeds:
        for name in [chosen.only] if chosen.only else NAMES:
            ended[name][seed] = run(name, seed, settings, chosen.minutes, corpus)
            print(name, seed, ended[name][seed]["valid_loss"], flush=True)
    values = {"settings": settings, "songs": SONGS, "candidates": CANDIDATES, "runs": ended}
    values["other_ways"] = baselines(corpus, checkpoints.load(JUDGE), settings)
    if LAKH.is_dir():
        values["symbols"] = {name: symbols(name, settings) for name in ("bass", "piano")}
    shown = {name: list(seeds) for name, seeds in ended.items()}
    if chosen.write and ended.keys() != set(NAMES):
        raise SystemExit("the results are written when all runs have ended, without --only")
    packages = ("numpy", "torch", "miditok", "symusic")
    keep(
        "complementary_tracks", values, chosen.write, shown=shown, corpus=corpus, packages=packages
    )


if __name__ == "__main__":
    main()
