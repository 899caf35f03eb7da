"""Piano rolls of a whole data set, a bit for each step and pitch, in one compressed file.

Source: X. Liang, J. Wu and J. Cao, "MIDI-Sandwich2" (2019), §IV.A. Notebook: 11_midi_sandwich.
Differences from the paper: it took the Lakh Pianoroll Dataset; here folder 5 of Lakh is drawn anew,
and NES-MDB beside it.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from lakhnes_lib import profiles
from lakhnes_lib.companions import piano_rolls
from lakhnes_lib.companions.piano_rolls import BAR, LAKH, NES, Kind
from lakhnes_lib.data import corpora, fetching
from lakhnes_lib.data.corpus import SPLITS, Corpus, split_of
from lakhnes_lib.errors import BadCorpus, BadMidi
from lakhnes_lib.files import replacing
from lakhnes_lib.music import midi


@dataclass(frozen=True)
class Rolls:
    """Bars of a data set; four that follow one another are a phrase.

    splits: by the split's name, uint8 (bars, tracks, 96, 11), a bit for each pitch. left_out: how
    many files gave nothing, by reason.
    """

    kind: Kind
    splits: dict[str, np.ndarray]
    left_out: dict[str, int] = field(default_factory=dict)

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """Packed rolls of any shape as bool (…, pitches)."""
        return np.unpackbits(packed, axis=-1, count=self.kind.pitches).view(bool)


def _packed(kind: Kind, songs: Iterable[tuple[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The bars of songs by split; songs: split and phrases of each."""
    empty = np.zeros((0, len(kind.tracks), BAR, -(-kind.pitches // 8)), np.uint8)
    parts = {split: [empty] for split in SPLITS}
    for split, phrases in songs:
        parts[split] += list(np.packbits(phrases, axis=-1))
    return {split: np.concatenate(part) for split, part in parts.items()}


def of_corpus(corpus: Corpus, most: int | None = None) -> Rolls:
    """Phrases of NES songs, ``most`` of each, in the splits of the corpus."""
    songs = (
        (name, piano_rolls.phrases(piano_rolls.nes_roll(split.score(index)), most))
        for name, split in corpus.splits.items()
        for index in range(len(split))
    )
    return Rolls(NES, _packed(NES, songs))


def of_files(paths: Iterable, most: int | None = None, progress: bool = True) -> Rolls:
    """Phrases of MIDI files, ``most`` of each; a tenth of the files, by their content, is for
    valid. Files that are damaged, or have no phrase, are counted."""
    left_out = {"damaged": 0, "no_phrase": 0}

    def songs():
        for path in tqdm(paths, desc="piano rolls", unit="file", disable=not progress):
            try:
                data = midi.read_bytes(path)
                phrases = piano_rolls.phrases(piano_rolls.lakh_roll(data, path), most)
            except BadMidi:
                left_out["damaged"] += 1
                continue
            left_out["no_phrase"] += not len(phrases)
            yield split_of(hashlib.sha256(data).hexdigest()), phrases

    return Rolls(LAKH, _packed(LAKH, songs()), left_out)


def prepare(name: str, most: int | None = None) -> Rolls:
    """Phrases of a data set, ``most`` of each song: ``songbook`` or ``nesmdb-midi`` for the NES;
    ``band`` (assets/band), ``lmd-full-5`` or another data set of MIDI files for five tracks.

    Those of the registry are kept packed beside their source. Raises what ``fetching.fetch`` does,
    and BadCorpus if the packed file is damaged.
    """
    kind = NES if name in (corpora.SONGBOOK, *corpora.PACKED) else LAKH
    path = fetching.home() / "packed" / f"rolls-{name}-{most}.npz"
    if path.exists():
        return _loaded(path, kind)
    if kind is NES:
        rolls = of_corpus(corpora.prepare(name), most)
    else:
        folder = profiles.root() / "assets/band" if name == "band" else fetching.fetch(name)
        rolls = of_files(sorted(Path(folder).rglob("*.mid")), most)
    if name not in (corpora.SONGBOOK, "band"):
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **rolls.splits, **rolls.left_out)
    return rolls


def _loaded(path: Path, kind: Kind) -> Rolls:
    try:
        with np.load(path, allow_pickle=False) as file:
            left_out = {name: int(file[name]) for name in file.files if name not in SPLITS}
            return Rolls(kind, {name: file[name] for name in SPLITS}, left_out)
    except Exception as error:  # NumPy raises whatever it meets in a damaged file
        reason = f"is damaged ({error}); delete it, and it is built anew"
        raise BadCorpus(f"{path}: {reason}") from None
