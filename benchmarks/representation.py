"""The event representation on all of NES-MDB: known answers, the cost of the time grid, speed.

python benchmarks/representation.py [--write]

Needs NES-MDB as MIDI and as TX1 (`lakhnes data fetch nesmdb-midi`, `... nesmdb-tx1`, or
LAKHNES_MIRROR). With --write the numbers go to results/representation.json. Speeds are processor
time of one core; packing on all cores is also given in seconds on the clock, for which the machine
has to be left alone.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from _shared import arguments, at_hand, corpus_at_hand, keep

from lakhnes_lib.data import build, fetching
from lakhnes_lib.data.corpus import SPLITS, Corpus, Split
from lakhnes_lib.errors import BadEvents
from lakhnes_lib.music import events, grammar, midi, nes, timing

WINDOW = 512


def known_answers(corpus: Corpus) -> dict:
    """Events a split, and on how many songs each law of the representation holds."""
    counts = {"songs": 0, "ids_fixed_point": 0, "grammatical": 0}
    for split in corpus.splits.values():
        ids, offsets = split.ids()
        for first, last in zip(offsets[:-1], offsets[1:], strict=True):
            song = ids[first:last]
            counts["songs"] += 1
            counts["ids_fixed_point"] += np.array_equal(events.encode(events.decode(song)), song)
            try:
                grammar.check(song)
                counts["grammatical"] += 1
            except BadEvents as error:
                print(error)
    counts["vocabulary"] = len(events.VOCABULARY)
    return counts | {"events": {name: len(split.ids()[0]) for name, split in corpus.splits.items()}}


def authors_text(midi_folder: Path, text_folder: Path) -> dict:
    """MIDI to TX1 against the authors' files, line for line, and the songs a second of it."""
    counts, spent = {"files": 0, "equal_to_authors": 0, "text_fixed_point": 0}, 0.0
    for path in [path for name in SPLITS for path in sorted((midi_folder / name).glob("*.mid"))]:
        begin = time.process_time()
        text = events.to_tx1(midi.read(path))
        spent += time.process_time() - begin
        published = (text_folder / path.parent.name / f"{path.stem}.tx1.txt").read_text(
            encoding="utf-8"
        )
        counts["files"] += 1
        counts["equal_to_authors"] += text.splitlines() == published.splitlines()
        counts["text_fixed_point"] += events.to_tx1(events.from_tx1(text)) == text
    return counts | {"songs_a_second": counts["files"] / spent}


def time_grid(corpus: Corpus) -> dict:
    """Errors of waits and onsets in milliseconds, waits off the grid and on a tie, songs cut."""
    parts = [
        (s, timing.grid_loss(s.notes, s.offsets, s.songs["length"])) for s in corpus.splits.values()
    ]
    waits, written, late, cut = (
        np.concatenate([getattr(loss, name) for _, loss in parts])
        for name in ("waits", "written", "onset_errors", "cut")
    )
    in_whole_song = np.repeat(
        cut == 0, np.concatenate([np.diff(split.offsets) for split, _ in parts])
    )
    middles = events.WAIT_TICKS[1:] + events.WAIT_TICKS[:-1]
    return {
        "waits": len(waits),
        "waits_off_the_grid": np.mean(waits != written),
        "waits_on_a_tie": np.isin(2 * waits, middles).sum(),
        "ties_of_all_events": np.isin(2 * waits, middles).sum()
        / sum(len(s.ids()[0]) for s, _ in parts),
        "wait_error_ms": timing.spread(written - waits),
        "wait_error_ms_without_cut_waits": timing.spread(
            (written - waits)[waits <= events.LONGEST_WAIT]
        ),
        "onset_error_ms": timing.spread(late),
        "onset_error_ms_in_songs_without_cut": timing.spread(late[in_whole_song]),
        "songs_cut": np.count_nonzero(cut),
        "waits_cut": np.count_nonzero(waits > events.LONGEST_WAIT),
        "seconds_cut": cut.sum() / nes.TICKS_PER_SECOND,
        "seconds_cut_worst": cut.max() / nes.TICKS_PER_SECOND,
    }


def window_seconds(split: Split, size: int = WINDOW) -> np.ndarray:
    """float (windows,): seconds of each run of ``size`` events, from every song's first note on."""
    lasting = []
    for ids in split.framed():
        whole = len(ids) // size
        ticks = events.TICKS_OF[ids[: whole * size]].reshape(whole, size)  # (windows, size)
        lasting.append(ticks.sum(1) / nes.TICKS_PER_SECOND)
    return np.concatenate(lasting)


def windows(corpus: Corpus) -> dict:
    """Median and mean seconds of 512 events, and overall: all music over all events, a split."""
    values = {}
    for name, split in corpus.splits.items():
        lasting = window_seconds(split)
        ids, _ = split.ids()
        overall = WINDOW * events.TICKS_OF[ids].sum() / nes.TICKS_PER_SECOND / len(ids)
        values[name] = {"median": np.median(lasting), "mean": lasting.mean(), "overall": overall}
    return values


def speed(midi_folder: Path, corpus: Corpus) -> dict:
    """Seconds from MIDI files to a packed corpus, and from the packed training split to its ids."""
    with tempfile.TemporaryDirectory() as folder:
        clock = time.perf_counter()
        build.build_corpus(midi_folder, Path(folder) / "all", progress=False)
        clock = time.perf_counter() - clock
        begin = time.process_time()
        packed = build.build_corpus(midi_folder, Path(folder) / "one", workers=1, progress=False)
        packing = time.process_time() - begin
        assert packed.fingerprint == corpus.fingerprint
    begin = time.process_time()
    corpus["train"].ids()
    ids = time.process_time() - begin
    return {
        "pack_clock_seconds": clock,
        "pack_one_core_seconds": packing,
        "training_ids_seconds": ids,
    }


def measure(corpus: Corpus) -> dict:
    """All values; the program ends if the files that the corpus was made of are not here."""
    midi_folder, text_folder = (
        at_hand(fetching.fetch, name) for name in ("nesmdb-midi", "nesmdb-tx1")
    )
    values = {"speed": speed(midi_folder, corpus)}
    values["text"] = authors_text(midi_folder, text_folder)
    values |= {
        "known": known_answers(corpus),
        "time_grid": time_grid(corpus),
        "seconds_of_512_events": windows(corpus),
    }
    return values


def main():
    chosen, corpus = arguments("representation", __doc__).parse_args(), corpus_at_hand()
    keep("representation", measure(corpus), chosen.write, corpus=corpus)


if __name__ == "__main__":
    main()
