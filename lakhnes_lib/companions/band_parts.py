"""Piano and bass of a band, as REMI tokens: the pairs that the thesis learns from.

Paper: none; after M. Murhu (2024), §2.3.5, §3.1 and Table 1. Notebook: 10_complementary_tracks.
A REMI token is a bar, a position within it, or a note's pitch, velocity or duration. MidiTok writes
parts in these *base tokens*, and reads them; its byte pair encoding merges frequent neighbours to
further tokens.
Differences from the thesis: all tracks of an instrument family are one part. ``mended``: as in
``paired_parts.py``. Four beats are a bar, whatever the file says; the thesis does the same.

A part is int64 (notes, 4), by time: position, duration in positions, pitch and velocity.
"""

import miditok
import numpy as np
import symusic
from miditok.constants import CHR_ID_START

from lakhnes_lib.companions.paired_parts import BAR, LEAST_NOTES, STARTS, start_of
from lakhnes_lib.companions.piano_rolls import LAKH, band_notes
from lakhnes_lib.music import augmentation, midi

PIANO, BASS = 0, 1
BEAT = 8
"""Positions of a beat."""
SYMBOLS = 500
"""Tokens after byte pair encoding, as in the thesis."""


def parts_of(path) -> list[np.ndarray]:
    """Piano and bass of a MIDI file. Raises BadMidi."""
    song = midi.parse_bytes(midi.read_bytes(path), path)
    track, start, end = band_notes(song, BEAT)
    part = np.stack([start, end - start, song.notes.pitch, song.notes.velocity], 1)
    in_time = np.lexsort((song.notes.pitch, start))
    part, names = part[in_time], np.array([*LAKH.tracks, ""])[track[in_time]]
    return [part[names == name] for name in ("Piano", "Bass")]


def snippets(parts: list[np.ndarray], bars: int) -> list[list[np.ndarray]]:
    """The parts in pieces of so many bars, from the first bar in which a part plays.

    As in the thesis there are none if a part never plays at all; but a piece in which only one of
    the parts plays is one.
    """
    if not all(map(len, parts)):
        return []
    first, pieces = min(int(part[0, 0]) for part in parts) // BAR * BAR, []
    piece_of = [(part[:, 0] - first) // (bars * BAR) for part in parts]
    for number in np.unique(np.concatenate(piece_of)):
        inside = [part[own == number] for part, own in zip(parts, piece_of, strict=True)]
        begin = first + number * bars * BAR
        pieces.append([part - [begin, 0, 0, 0] for part in inside])
    return pieces


def remi() -> miditok.REMI:
    """MidiTok's REMI tokenizer with the settings of the thesis, not yet trained."""
    settings = dict(pitch_range=(21, 108), beat_res={(0, BEAT): BEAT}, num_velocities=8)
    settings |= dict(use_time_signatures=False, time_signature_range={4: [4]})
    settings |= dict(use_pitchdrum_tokens=False, encode_ids_split="no")
    return miditok.REMI(miditok.TokenizerConfig(**settings))


def tokens_of(tokenizer: miditok.REMI, part: np.ndarray) -> list[int]:
    """Tokens of a part, without start and end: merged ones, if the tokenizer is trained."""
    song, track = symusic.Score(BEAT), symusic.Track()
    track.notes = symusic.Note.from_numpy(*map(np.array, part.T, ("i4", "i4", "i1", "i1")))
    song.tracks.append(track)
    sequences = tokenizer.encode(song)  # none, if no note is within the tokenizer's pitches
    return sequences[0].ids if sequences else []


def trained(pieces) -> miditok.REMI:
    """A tokenizer that has learned its merges from the parts of these pieces."""
    tokenizer = remi()
    sentences = [tokens_of(tokenizer, part) for piece in pieces for part in piece]
    texts = ["".join(chr(CHR_ID_START + token) for token in ids) for ids in sentences]
    tokenizer.train(vocab_size=SYMBOLS, model="BPE", iterator=texts)
    return tokenizer


class BandPairs:
    """Piano and bass in pieces of so many bars: one is given, the other is the target.

    pieces: a split's name -> pieces of ``snippets``. tokenizer: as of ``trained``. target:
    ``PIANO`` or ``BASS``. What a task has: see ``NesPairs``.
    """

    starts = STARTS

    def __init__(self, pieces: dict, tokenizer, bars: int, target=BASS, mended: bool = False):
        self.pieces, self.tokenizer, self.bars = pieces, tokenizer, bars
        self.target, self.mended, self.vocabulary = target, mended, len(tokenizer)
        self.end = tokenizer["EOS_None"]
        names = [[tokenizer[base] for base in self.base([n])] for n in range(self.vocabulary)]
        kinds = [[name.split("_")[0] for name in row] for row in names]
        self._last = [row[-1] for row in kinds]
        self._bars = np.array([row.count("Bar") for row in kinds])
        first, marks = [row[0] for row in kinds], {"PAD", "BOS", "EOS", "MASK"}
        graph = tokenizer.tokens_types_graph | {"start": {"Bar"}}
        self._follows = {kind: np.isin(first, list(after - marks)) for kind, after in graph.items()}
        for kind in ("start", "Bar", "Duration"):  # a note is whole
            self._follows[kind][self.end] = True
        stands = {"Bar_None": 0.0} | {f"Position_{n}": float(n) for n in range(BAR)}
        moves = [[-1.0, *(stands[name] for name in row if name in stands)] for row in names]
        self.clock = (1.0 * BAR * self._bars).tolist(), [row[-1] for row in moves]

    def base(self, ids) -> list[int]:
        """The base tokens of these tokens; a start has none."""
        merged = [int(token) for token in ids if token < self.vocabulary]
        sequence = miditok.TokSequence(ids=merged, are_ids_encoded=True)
        self.tokenizer.decode_token_ids(sequence)
        return sequence.ids

    def part(self, ids) -> np.ndarray:
        """The part of a source or a target. Tokens that make no whole note are passed over."""
        song = self.tokenizer.decode([miditok.TokSequence(ids=self.base(ids))])
        notes = [*song.tracks, symusic.Track()][0].notes.numpy()
        columns = [notes[name] for name in ("time", "duration", "pitch", "velocity")]
        return np.stack(columns, 1).astype(np.int64)

    def pair(self, piece) -> tuple[list[int], list[int]]:
        """Source, and target with its start and end, of piano and bass.

        The start asks for the piece's own density if the task is ``mended``.
        """
        given, wanted = piece[1 - self.target], piece[self.target]
        density = start_of(len(wanted), self.bars) if self.mended else 0
        tokens = tokens_of(self.tokenizer, wanted)
        return tokens_of(self.tokenizer, given), [self.vocabulary + density, *tokens, self.end]

    def draw(self, split: str, random: np.random.Generator) -> tuple[list[int], list[int]]:
        """A pair from a random piece of a split in which the given part plays."""
        least = LEAST_NOTES * self.bars * self.mended
        while True:
            piece = self.pieces[split][int(random.integers(len(self.pieces[split])))]
            if self.mended and split == "train":
                semitones = int(random.choice(augmentation.SEMITONES))
                piece = [part + [0, 0, semitones, 0] for part in piece]
            source, target = self.pair(piece)
            if source and len(piece[self.target]) >= least:
                return source, target

    def able(self, target: list[int]) -> np.ndarray:
        """Which tokens may follow a start and the tokens after it: bool (vocabulary,)."""
        last = self._last[target[-1]] if len(target) > 1 else "start"
        left = self.bars - self._bars[target[1:]].sum()
        return self._follows[last] & (self._bars <= left)
