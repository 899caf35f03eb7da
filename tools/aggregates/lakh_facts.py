"""The facts of ``lakh.json``: what becomes of the files of a Lakh folder, what their songs are like
as NES music, and how far that lies from NES-MDB."""

import re

import event_counts
import lakh_tokens
import nesmdb_facts
import numpy as np
import torch
from note_counts import quantiles
from polyphonic_parts import polyphonic

from lakhnes_lib.data import corpus as corpora
from lakhnes_lib.data import fetching
from lakhnes_lib.errors import DataNotFound
from lakhnes_lib.listening import aggregates
from lakhnes_lib.models.ngram import NGram
from lakhnes_lib.music import events, filters, nes

ORDER = (
    "too_large",
    "unreadable",
    "no_notes",
    "too_short",
    "too_long",
    "only_drums",
    "out_of_range",
    "polyphonic",
)
"""Reasons in the order in which a file is asked."""
STAGES = (
    "512 KiB or smaller",
    "readable",
    "with notes",
    "5 s or longer",
    "10 minutes or shorter",
    "more than drums",
    "in reach of the NES",
    "one note at a time",
)
"""What is left after each reason."""
SAMPLE = 4
"""The tempo of one file in so many is read."""
TEMPO_EVENT = re.compile(rb"\xff\x51\x03(...)", re.DOTALL)
"""A MIDI file's change of tempo: three bytes of microseconds a quarter note follow."""
TEMPO_EDGES = np.append(np.arange(20, 301, 10), 10_000)
SMOOTHING = 0.5
"""Added to every count before two histograms are compared."""


def funnel(manifest: dict) -> dict:
    """One fact: how many files are left after each filter, and what is made of them."""
    files = manifest["files"]
    left = [files["seen"]]
    for reason in ORDER:
        left.append(left[-1] - files["rejected"].get(reason, 0))
    assert left[-1] == files["accepted"]
    made = manifest["published_examples"]
    return {
        "description": "Files of the folder that are left after each filter of the mapping, those "
        "refused by reason, and the examples that the published draws make of the rest.",
        "stages": ["all files", *STAGES],
        "files": left,
        "reasons": {name: filters.REASONS[name] for name in ORDER},
        "refused": {reason: files["rejected"].get(reason, 0) for reason in ORDER},
        "examples": made["examples"],
        "examples_a_file": made["examples"] / files["seen"],
        "examples_a_song": made["examples"] / files["accepted"],
        "events": made["events"],
        "hours": made["hours"],
        "examples_with_voice": made["voices"],
    }


def parts(lakh) -> dict:
    """One fact: how many melodies and drum tracks a song has, and how many examples it gives."""
    melodies, drums, dealt, examples = [], [], [], []
    for split in lakh.splits.values():
        most = split.options.most_examples
        for index in range(len(split)):
            tracks = split.candidates(index)
            count = min(len(tracks.melodies), split.options.most_instruments)
            orders = {1: 3, 2: 6}.get(count, count * (count - 1) * (count - 2))
            melodies.append(len(tracks.melodies))
            drums.append(len(tracks.drums))
            dealt.append(orders)
            examples.append(min(orders, most))
    return {
        "description": "Songs by their melodies that play one note at a time and by their drum "
        "tracks, from 0 on; quantiles of how many ways there are to deal the melodies to P1, P2 "
        "and TR; and songs by how many of these are drawn (3, 6 or 16).",
        "songs_by_melodies": np.bincount(melodies),
        "songs_by_drum_tracks": np.bincount(drums),
        "quantiles_percent": nesmdb_facts.note_counts.QUANTILES,
        "ways_to_deal": quantiles(np.array(dealt)),
        "songs_by_draws": {str(n): examples.count(n) for n in sorted(set(examples))},
    }


def tempos() -> dict:
    """One fact: tempo of the files as they were found; without counts if the files are not here."""
    fact = {
        "description": "Files by the first tempo that is written in them, and the share that has "
        "more than one; of every fourth file with any. All of NES-MDB is written at 120 beats a "
        "minute, which says nothing of its music.",
        "unit": "beats a minute",
        "edges": TEMPO_EDGES,
        "files": 0,
    }
    first, changes = [], 0
    for path in sorted(fetching.folder("lmd-full-5").rglob("*.mid"))[::SAMPLE]:
        # Only meta events have a byte of 255, so the bytes are found without reading all the rest.
        written = TEMPO_EVENT.findall(path.read_bytes())
        beats = [60e6 / int.from_bytes(each) for each in written if any(each)]
        if beats:
            first.append(beats[0])
            changes += len(set(beats)) > 1
    if not first:
        return fact
    counts = np.histogram(np.clip(first, 20, 9999), TEMPO_EDGES)[0]
    shares = {"median": np.median(first), "changing_share": changes / len(first)}
    return fact | {"files": len(first), "counts": counts} | shares


def mapped(lakh) -> corpora.Split:
    """One example of every song, drawn with seed 0; those without notes are left out.

    Drawn, since the first of the published ones is no fair example: they are in order, and in the
    first of them a song's only melody is always the triangle's.
    """
    scores = [s.fresh(index, 0, 0) for s in lakh.splits.values() for index in range(len(s))]
    return corpora.pack("mapped", [score for score in scores if len(score.notes)])


def divergence(one: np.ndarray, other: np.ndarray) -> dict:
    """How far two histograms lie apart, in nats: Kullback-Leibler both ways, and Jensen-Shannon."""
    p, q = (np.asarray(counts, float) + SMOOTHING for counts in (one, other))
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2

    def relative(a, b):
        return float((a * np.log(a / b)).sum())

    return {
        "nes_from_lakh": relative(p, q),
        "lakh_from_nes": relative(q, p),
        "jensen_shannon": (relative(p, middle) + relative(q, middle)) / 2,
    }


def compared(facts: dict, nes_facts: dict) -> dict:
    """One fact: the divergences of all histograms that both kinds of music have."""
    divergences = {}
    for name in ("pitches", "intervals", "note_lengths"):
        ours, theirs = (each[name]["splits"] for each in (nes_facts, facts))
        for voice in nes.VOICES:
            divergences[f"{name} {voice}"] = divergence(ours["all"][voice], theirs["mapped"][voice])
    rows = (
        ("events", "ids", None),
        ("waits", "waits", "counts"),
        ("times between onsets", "onsets", "counts"),
        ("pitch classes", "pitch_classes", None),
        ("voices sounding, in seconds", "together", "seconds_of_number"),
        ("sets of voices, in seconds", "together", "seconds_of_set"),
        ("events a second", "rates", "events_a_second"),
    )
    for title, name, part in rows:
        ours, theirs = nes_facts[name]["splits"]["all"], facts[name]["splits"]["mapped"]
        divergences[title] = divergence(
            ours[part] if part else ours, theirs[part] if part else theirs
        )
    return {
        "description": "How far the histograms of NES-MDB and of mapped Lakh lie apart, in nats, "
        "after half a count was added to every bin: 0 if they are the same; Jensen-Shannon is "
        "0.693 at most. nes_from_lakh is the mean surplus of nats that NES music costs when it is "
        "coded by Lakh's shares.",
        "divergences": divergences,
    }


def vocabulary(split, nesmdb) -> dict:
    """One fact: how much of the NES songs' events and n-grams mapped Lakh has."""
    ours, theirs = (event_counts.ids(each) for each in (nesmdb["train"], split))
    valid = NGram(order=5).fit(nesmdb["valid"].framed())
    lakh, train = (NGram(order=5).fit(each.framed()) for each in (split, nesmdb["train"]))
    shares = {"lakh": [], "train": []}
    for length in range(1, 6):
        keys, counts = (getattr(valid, f"{part}_{length}") for part in ("keys", "counts"))
        for name, model in (("lakh", lakh), ("train", train)):
            seen = torch.isin(keys, getattr(model, f"keys_{length}"))
            shares[name].append(float(counts.double()[seen].sum() / counts.double().sum()))
    return {
        "description": "Of the 631 events, how many occur in each; and which share of the n-grams "
        "of NES-MDB's valid songs, each occurrence counted, occurs in mapped Lakh (one example a "
        "song) and in NES-MDB's train.",
        "events_in_nes": (ours > 0).sum(),
        "events_in_lakh": (theirs > 0).sum(),
        "events_in_both": ((ours > 0) & (theirs > 0)).sum(),
        "events_in_all": len(events.VOCABULARY),
        "n": [1, 2, 3, 4, 5],
        "seen_in_lakh_share": shares["lakh"],
        "seen_in_train_share": shares["train"],
        "events_of_lakh": sum(map(len, split.framed())),
        "events_of_train": sum(map(len, nesmdb["train"].framed())),
    }


def all_facts(lakh, nesmdb) -> tuple[dict, dict]:
    """Every fact on mapped Lakh by name, and what else the file's head says."""
    split = mapped(lakh)
    facts = {"funnel": funnel(lakh.manifest), "parts": parts(lakh), "tempos": tempos()}
    facts |= {"polyphonic": polyphonic(lakh), "tokens": lakh_tokens.tokens()}
    facts |= nesmdb_facts.of_splits({"mapped": split}, nesmdb_facts.MUSIC)
    known = aggregates.load("nesmdb")
    if known["data_fingerprint"] != nesmdb.fingerprint:
        raise DataNotFound("nesmdb.json is of another NES-MDB; write it first")
    facts["divergences"] = compared(facts, known["facts"])
    facts["vocabulary"] = vocabulary(split, nesmdb)
    about = "mapped: one example of each of these songs, drawn with seed 0, if it has notes"
    more = {"settings": lakh.manifest["settings"], "examples": len(split), "splits": about}
    return facts, more | {"compared_with": nesmdb.fingerprint}


def alone(lakh, names) -> dict:
    """Some facts by name, measured without the others: the first ones, and those of ``MUSIC``."""
    ways = {"parts": parts, "tempos": lambda lakh: tempos(), "polyphonic": polyphonic}
    ways |= {"tokens": lambda lakh: lakh_tokens.tokens()}
    facts = {name: ways[name](lakh) for name in names if name in ways}
    if music := {name: nesmdb_facts.MUSIC[name] for name in names if name not in ways}:
        facts |= nesmdb_facts.of_splits({"mapped": mapped(lakh)}, music)
    return facts
