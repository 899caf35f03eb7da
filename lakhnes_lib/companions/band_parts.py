"""Piano and bass of a band, as REMI tokens: the pairs that the thesis learns from.

Paper: none; after M. Murhu (2024), §2.3.5, §3.1 and Table 1. Notebook: 10_complementary_tracks.
A REMI token is a bar, a position within it, or a note's pitch, velocity or duration. MidiTok makes
these *base tokens*, and its byte pair encoding merges frequent neighbours to further ones.
Differences from the thesis: all tracks of an instrument family are one part. ``mended``: as in
``paired_parts.py``. Four beats are a bar, whatever the file says; the thesis does the same.

A part is int64 (notes, 4), by time: position, duration in positions, pitch and velocity.
"""

import numpy as np

from lakhnes_lib.companions.paired_parts import BAR, CELL_TICKS, LEAST_NOTES, STARTS, start_of
from lakhnes_lib.music import midi, nes
from lakhnes_lib.music.score import Score

PIANO, BASS = 0, 1
PROGRAMS = (range(0, 8), range(32, 40))
"""MIDI programs of the two families."""
BEAT = 8
"""Positions of a beat."""
SYMBOLS = 500
"""Tokens after byte pair encoding, as in the thesis."""
BAR_ID, PITCHES, VELOCITIES, DURATIONS, POSITIONS = 4, 5, 93, 101, 165
"""The first base token of each kind; 0 to 3 are special, and 2 ends a target."""
_KIND_OF = np.repeat(range(6), (4, 1, 88, 8, 64, 32))
_SPECIAL, _BAR, _PITCH, _VELOCITY, _DURATION, _POSITION = range(6)
_FOLLOWS = np.zeros(
    (6, 6), bool
)  # whether a base token of a kind may be followed by one of another
for _kind, _next in ("00", "01", "10", "11", "15", "23", "34", "40", "41", "42", "45", "52"):
    _FOLLOWS[int(_kind), int(_next)] = True


def _part(start, end, pitch, velocity, positions: float) -> np.ndarray:
    """A part of notes whose times count ticks of so many positions each."""
    time, end = (np.rint(ticks * positions).astype(np.int64) for ticks in (start, end))
    part = np.stack([time, np.maximum(end - time, 1), pitch, velocity], 1)
    return part[np.lexsort((pitch, time))]


def parts_of(path) -> list[np.ndarray]:
    """Piano and bass of a MIDI file. Raises BadMidi."""
    song, parts = midi.parse_bytes(midi.read_bytes(path), path), []
    for programs in PROGRAMS:
        own = [part.program in programs and not part.is_drum for part in song.instruments]
        notes = song.notes[np.isin(song.notes.instrument, np.flatnonzero(own))]
        columns = notes.time, notes.end, notes.pitch, notes.velocity
        parts.append(_part(*columns, BEAT / song.resolution))
    return parts


def parts_of_score(score: Score) -> list[np.ndarray]:
    """The pulses of NES music as a piano, and its triangle as a bass."""
    parts = []
    for voices in ((nes.P1, nes.P2), (nes.TR,)):
        notes = score.only(voices).notes
        columns = notes["start"], notes["end"], notes["pitch"].astype(int), np.full(len(notes), 95)
        parts.append(_part(*columns, 1 / CELL_TICKS))
    return parts


def snippets(parts: list[np.ndarray], bars: int, most: int | None = None) -> list[list[np.ndarray]]:
    """The parts in pieces of so many bars, evenly spaced if there are more than ``most``.

    As in the thesis there are none if a part never plays at all; but a piece in which only one of
    the parts plays is one.
    """
    if not all(map(len, parts)):
        return []
    first = min(int(part[0, 0]) for part in parts) // BAR
    pieces = np.arange(first, max(int(part[-1, 0]) for part in parts) // BAR + 1, bars)
    cut = []
    for begin in pieces[:: -(-len(pieces) // (most or len(pieces)))]:
        inside = [part[np.isin(part[:, 0] // BAR, begin + np.arange(bars))] for part in parts]
        cut.append([part - [begin * BAR, 0, 0, 0] for part in inside])
    return [piece for piece in cut if any(map(len, piece))]


def remi():
    """MidiTok's REMI tokenizer with the settings of the thesis, not yet trained."""
    import miditok

    settings = dict(pitch_range=(21, 108), beat_res={(0, BEAT): BEAT}, num_velocities=8)
    settings |= dict(use_time_signatures=False, time_signature_range={4: [4]})
    settings |= dict(special_tokens=["PAD", "BOS", "EOS", "MASK"], encode_ids_split="no")
    return miditok.REMI(miditok.TokenizerConfig(use_pitchdrum_tokens=False, **settings))


def tokens_of(tokenizer, part: np.ndarray) -> list[int]:
    """Base tokens of a part, without start and end."""
    import symusic

    song, track = symusic.Score(BEAT), symusic.Track("", 0, False)
    columns = map(np.array, part.T, ("i4", "i4", "i1", "i1"))
    track.notes = symusic.Note.from_numpy(*columns)
    song.tracks.append(track)
    return tokenizer.encode(song, encode_ids=False)[0].ids if len(part) else []


def part_of(ids) -> np.ndarray:
    """The part of base tokens. Those that make no whole note are passed over."""
    ids = np.asarray(ids, np.int64)
    kind = _KIND_OF[ids]
    set_at = np.where((kind == _BAR) | (kind == _POSITION), np.arange(len(ids)), 0)
    position = ids[np.maximum.accumulate(set_at)] - POSITIONS  # below 0 where a bar has begun
    bar = np.maximum(np.cumsum(kind == _BAR) - 1, 0)  # what comes before the first is in it, too
    time = BAR * bar + np.maximum(position, 0)
    at = np.flatnonzero((kind[:-2] == _PITCH) & (kind[1:-1] == _VELOCITY) & (kind[2:] == _DURATION))
    duration, velocity = ids[at + 2] - DURATIONS + 1, (ids[at + 1] - VELOCITIES + 1) * 127 // 8
    return np.stack([time[at], duration, ids[at] - PITCHES + 21, velocity], 1)


def learned(parts: dict[str, list], bars: int, most: int | None = None) -> tuple[dict, object]:
    """Base tokens of all pieces by split, as ``BandPairs`` takes them, and a tokenizer that has
    learned its merges from train.

    parts: a split's name -> piano and bass of each song. bars, most: as of ``snippets``.
    """
    from miditok.constants import CHR_ID_START

    tokenizer, pairs = remi(), {}
    for split, songs in parts.items():
        pieces = (piece for song in songs for piece in snippets(song, bars, most))
        pairs[split] = [[tokens_of(tokenizer, part) for part in piece] for piece in pieces]
    sentences = (part for piece in pairs["train"] for part in piece)
    texts = ["".join(chr(CHR_ID_START + token) for token in ids) for ids in sentences]
    tokenizer.train(vocab_size=SYMBOLS, model="BPE", iterator=texts)
    return pairs, tokenizer


class BandPairs:
    """Piano and bass in pieces of so many bars: one is given, the other is the target.

    pairs: a split's name -> for each piece the base tokens of piano and bass. tokenizer: of
    ``learned``. target: ``PIANO`` or ``BASS``. What a task has: see ``NesPairs``.
    """

    end, starts = 2, STARTS

    def __init__(self, pairs: dict, tokenizer, bars: int, target=BASS, mended: bool = False):
        self.pairs, self.tokenizer, self.bars = pairs, tokenizer, bars
        self.target, self.mended, self.vocabulary = target, mended, len(tokenizer)
        self._base = [self._recoded([token], True) for token in range(self.vocabulary)]
        kinds = [_KIND_OF[base] for base in self._base]
        self._first, self._last = (np.array([kind[at] for kind in kinds]) for at in (0, -1))
        self._bars = np.array([(kind == _BAR).sum() for kind in kinds])
        moves = [[0, *(t for t in base if t == BAR_ID or t >= POSITIONS)] for base in self._base]
        position = [max(row[-1] - POSITIONS, 0) if row[-1] else -1 for row in moves]
        self.clock = BAR * self._bars, np.array(position)

    def _recoded(self, ids, merged: bool) -> list[int]:
        """Merged tokens as base tokens, or the other way round."""
        import miditok

        sequence = miditok.TokSequence(ids=list(map(int, ids)), are_ids_encoded=merged)
        code = self.tokenizer.decode_token_ids if merged else self.tokenizer.encode_token_ids
        code(sequence)
        return sequence.ids

    def merged(self, base) -> list[int]:
        """Base tokens as the tokenizer writes them."""
        return self._recoded(base, False) if len(base) else []

    def base(self, ids) -> list[int]:
        """The base tokens of a target or source; what begins and ends it is left out."""
        return [each for token in ids if 3 < token < self.vocabulary for each in self._base[token]]

    def pair(self, piece) -> tuple[list[int], list[int]]:
        """Source, and target with its start and end, of the base tokens of piano and bass.

        The start asks for the piece's own density if the task is ``mended``.
        """
        given, wanted = piece[1 - self.target], piece[self.target]
        density = start_of(len(part_of(wanted)), self.bars) if self.mended else 0
        return self.merged(given), [self.vocabulary + density, *self.merged(wanted), self.end]

    def draw(self, split: str, random: np.random.Generator) -> tuple[list[int], list[int]]:
        """A pair from a random piece of a split in which the given part plays."""
        enough, pieces = LEAST_NOTES * self.bars * self.mended, self.pairs[split]
        while True:
            piece = pieces[int(random.integers(len(pieces)))]
            if len(piece[1 - self.target]) and len(part_of(piece[self.target])) >= enough:
                moved = self.mended and split == "train"
                return self.pair(transposed(piece, random) if moved else piece)

    def able(self, target: list[int]) -> np.ndarray:
        """Which tokens may follow a start and the tokens after it: bool (vocabulary,)."""
        last = self._last[target[-1]] if len(target) > 1 else _SPECIAL
        left = self.bars - self._bars[target[1:]].sum()
        able = _FOLLOWS[last][self._first] & (self._bars <= left)
        able[[0, 1, 3]] = False
        return able


def transposed(piece, random: np.random.Generator) -> list[np.ndarray]:
    """Base tokens of parts, moved together by -6 to 5 semitones, but not out of the range."""
    parts = [np.asarray(part, np.int64) for part in piece]
    pitched = [_KIND_OF[part] == _PITCH for part in parts]
    pitches = np.concatenate(parts)[np.concatenate(pitched)]
    low, high = PITCHES - pitches.min(), VELOCITIES - 1 - pitches.max()
    semitones = int(random.integers(max(-6, low), min(5, high) + 1))
    return [part + semitones * its for part, its in zip(parts, pitched, strict=True)]
