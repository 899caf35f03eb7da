"""Lakh to NES: speed, what becomes of the files, and how our reading agrees with pretty_midi's.

python benchmarks/mapping_speed.py [--set lmd-full-5] [--files N] [--write]

Needs Lakh files (README, “Data”). pretty_midi is the reference because the authors used it; it
takes a tenth of a second a file. --files takes the first N in order of their names, which are
hashes of their content. With --write the numbers go to results/mapping.json.
"""

import time
import warnings
from collections import Counter
from unittest.mock import patch

import numpy as np
import pretty_midi
from _shared import arguments, at_hand, keep
from tqdm import tqdm

from lakhnes_lib.data import fetching
from lakhnes_lib.errors import BadMidi, Rejected
from lakhnes_lib.music import filters, mapping, nes
from lakhnes_lib.music.tracks import TRACK_NOTE, Track, parse_tracks

warnings.filterwarnings("ignore", category=RuntimeWarning, module="pretty_midi")
pretty_midi.pretty_midi.MAX_TICK = 1e8


def reference(path) -> tuple[list[Track], int] | None:
    """Tracks and length in ticks of 1/44,100 s as pretty_midi reads them; None if it cannot."""
    try:
        song = pretty_midi.PrettyMIDI(str(path))
    except Exception:  # it lets through whatever the file makes it stumble over
        return None
    tracks = []
    for part in song.instruments:
        seconds = np.array([(note.start, note.end) for note in part.notes]).reshape(-1, 2)
        notes = np.empty(len(seconds), TRACK_NOTE)
        notes["start"], notes["end"] = np.rint(seconds * nes.TICKS_PER_SECOND).T
        notes["pitch"] = [note.pitch for note in part.notes]
        notes["velocity"] = [note.velocity for note in part.notes]
        notes = notes[notes["end"] > notes["start"]]
        if len(notes):
            order = np.lexsort((notes["pitch"], notes["end"], notes["start"]))
            tracks.append(Track(part.program, part.is_drum, part.name, notes[order]))
    return tracks, round(song.get_end_time() * nes.TICKS_PER_SECOND)


def snapped(tracks: list[Track], to: list[Track]) -> list[Track]:
    """The same tracks; a time that is one tick beside a time of the other reader is moved there."""
    known = np.unique(
        np.concatenate([[-9], *(track.notes[field] for track in to for field in ("start", "end"))])
    )
    moved = []
    for track in tracks:
        notes = track.notes.copy()
        for field in ("start", "end"):
            index = np.clip(np.searchsorted(known, notes[field] - 1), 0, len(known) - 1)
            close = np.abs(known[index] - notes[field]) <= 1
            notes[field] = np.where(close, known[index], notes[field])
        moved.append(Track(track.program, track.is_drum, track.name, np.sort(notes)))
    return moved


def contents(tracks: list[Track], instruments: bool = True) -> list:
    """What is compared: each track's program, drum flag and notes, sorted; or all notes as one."""
    if instruments:
        return sorted(
            (track.program, track.is_drum, np.sort(track.notes).tobytes()) for track in tracks
        )
    return np.sort(
        np.concatenate([np.zeros(0, TRACK_NOTE), *(track.notes for track in tracks)])
    ).tolist()


def difference(ours: list[Track], theirs: list[Track]) -> str:
    """How two readings of a file differ: a key of EXPLAINED, or "same"."""
    theirs = snapped(theirs, ours)
    if contents(ours) == contents(theirs):
        return "same"
    mine, others = contents(ours, False), contents(theirs, False)
    if mine == others:
        return "instrument"
    onsets, other_onsets = ({note[0] for note in notes} for notes in (mine, others))
    return "tempo" if len(onsets - other_onsets) > len(onsets) / 10 else "release"


EXPLAINED = {
    "instrument": "the same notes, some in another instrument: "
    "the program changed while they sounded",
    "release": "a few notes missing, or ended elsewhere: struck again without enough note-offs",
    "tempo": "other times: tempo changes outside the first track, which pretty_midi passes over",
}


def outcome(tracks: list[Track], length: int) -> tuple[str, list, list]:
    """By the library's filters: a reason or "accepted", melodies, onsets of the thinned drums."""
    try:
        with patch.object(filters, "parse_tracks", lambda *_: (tracks, length)):
            song = filters.candidates_of(b"", "")
    except Rejected as error:
        return error.reason, [], []
    return (
        "accepted",
        sorted(melody.tobytes() for melody in song.melodies),
        sorted(hits["start"].tobytes() for hits in song.drums),
    )


def main():
    parser = arguments("mapping", __doc__)
    parser.add_argument("--set", default="lmd-full-5", help="data set of the registry")
    parser.add_argument("--files", type=int, help="only so many files")
    chosen = parser.parse_args()
    folder = at_hand(fetching.fetch, chosen.set)
    paths = sorted(folder.rglob("*.mid"))[: chosen.files]

    reasons, songs, begin = Counter(), [], time.process_time()
    for path in tqdm(paths, desc="candidates", unit="file"):
        try:
            songs.append(mapping.candidates(path))
        except Rejected as error:
            reasons[error.reason] += 1
    reading = time.process_time() - begin
    begin = time.process_time()
    examples = notes = 0
    for song in tqdm(songs, desc="examples", unit="song"):
        scores = mapping.examples(song)
        examples, notes = examples + len(scores), notes + sum(len(score.notes) for score in scores)
    drawing = time.process_time() - begin

    agreement, decisions, theirs_seconds = Counter(), Counter(), 0.0
    for path in tqdm(
        [p for p in paths if p.stat().st_size <= mapping.PUBLISHED.most_bytes], desc="pretty_midi"
    ):
        try:
            ours = parse_tracks(path.read_bytes(), path)
        except BadMidi:
            ours = None
        begin = time.process_time()
        theirs = reference(path)
        theirs_seconds += time.process_time() - begin
        if ours is None or theirs is None:
            only = "here" if ours else "pretty_midi" if theirs else "neither"
            agreement[
                f"readable_by_{only}" if only == "neither" else f"readable_only_by_{only}"
            ] += 1
            continue
        agreement["readable_by_both"] += 1
        agreement[difference(ours[0], theirs[0])] += 1
        mine, other = outcome(*ours), outcome(snapped(theirs[0], ours[0]), theirs[1])
        decisions["compared"] += 1
        decisions["same_decision"] += mine[0] == other[0]
        decisions[f"{other[0]} by pretty_midi, {mine[0]} here"] += mine[0] != other[0]
        if mine[0] == other[0] == "accepted":
            decisions["accepted_by_both"] += 1
            decisions["same_melodies"] += mine[1] == other[1]
            decisions["same_drum_onsets"] += mine[2] == other[2]
    values = {
        "files": len(paths),
        "accepted": len(songs),
        "rejected": dict(reasons.most_common()),
        "examples": examples,
        "examples_a_file": examples / len(paths),
        "files_read_per_second": len(paths) / reading,
        "examples_drawn_per_second": examples / drawing,
        "notes_drawn_per_second": notes / drawing,
        "files_per_second": len(paths) / (reading + drawing),
        "pretty_midi_files_per_second": sum(
            agreement[k] for k in agreement if k.startswith("readable")
        )
        / theirs_seconds,
        "readers": dict(agreement.most_common()),
        "readers_explained": EXPLAINED,
        "decisions": {key: count for key, count in decisions.most_common() if count},
    }
    keep("mapping", values, chosen.write, packages=("numpy", "symusic", "pretty_midi"))


if __name__ == "__main__":
    main()
