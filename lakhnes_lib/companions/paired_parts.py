"""Pairs to learn from: three voices of NES music are given, and the fourth complements them.

Paper: none; after M. Murhu, *Generating Complementary Instrument Tracks with a Transformer Model*
(master's thesis, 2024), whose task this is, on the music and in the 631 events of LakhNES.
Notebook: 10_complementary_tracks. The thesis's own task: ``band_parts.py``.
Differences from the thesis: with ``mended`` a target begins with a token that says how many notes
are wanted, excerpts in which the target all but rests are not drawn, pairs are transposed, and a
clock of musical time can be had. The thesis proposes all but the last in its conclusions.
"""

import numpy as np

from lakhnes_lib.companions.agreement import BAR, CELL_TICKS
from lakhnes_lib.generation import given_voices
from lakhnes_lib.music import augmentation, events, nes
from lakhnes_lib.music.score import Score

DENSITIES = np.array([0.5, 1, 2, 3, 4, 6, 8, 12])
"""Borders of the densities that can be asked for, in notes a bar."""
STARTS = 2 + len(DENSITIES)
"""Tokens with which a target may begin: the first leaves the density open."""
LEAST_NOTES = 0.5
"""Notes a bar of a target that ``mended`` learns from."""


def start_of(notes: int, bars: float) -> int:
    """The number of the start that asks for so many notes in so many bars: 1 to ``STARTS`` - 1."""
    return 1 + int(np.digitize(notes / bars, DENSITIES))


def voice_events(score: Score, voices) -> list[int]:
    """Events of some voices from the song's beginning to its end.

    Rests of any length are kept, by several waits where one is too short; and each event stands at
    its time, give or take half a step of the time grid, so that voices stay together.
    """
    times, timed = given_voices.timed_events(score, voices)
    now, before, ids = 0, 0, []
    for time, event in zip([*times, score.length], [*timed, events.START], strict=True):
        left = max(time - now, 1) if time > before else 0  # no note is left without length
        while left > 0:
            ids.append(int(events.wait_ids(np.array(left))))
            now += events.TICKS_OF[ids[-1]]
            left = time - now if left > events.LONGEST_WAIT else 0
        ids.append(int(event))
        before = time
    return ids[:-1]


class NesPairs:
    """Excerpts of NES songs: three voices are given, the fourth is the target.

    seconds: the length of an excerpt. tokens: pairs with more of them in all are not drawn.
    What is wanted of a task: ``vocabulary``, the number of tokens; ``end``, the token that ends a
    target; ``starts``, how many further tokens can begin one; ``clock``, for ``EncoderDecoder``;
    ``bars``, the length of an excerpt; and the methods.
    """

    vocabulary, end, starts = len(events.VOCABULARY), events.START, len(nes.VOICES) * STARTS
    clock = (events.TICKS_OF / CELL_TICKS).tolist(), [-1.0] * vocabulary

    def __init__(self, corpus, seconds: float, tokens: int = 1500, mended: bool = False):
        self.corpus, self.seconds, self.tokens, self.mended = corpus, seconds, tokens, mended
        self.bars = seconds * nes.TICKS_PER_SECOND / (BAR * CELL_TICKS)

    def pair(self, score: Score, voice: int) -> tuple[list[int], list[int]]:
        """Source, and target with its start and end.

        The start names the voice; if the task is ``mended``, it asks for the score's own density.
        """
        density = start_of(len(score.voice(voice)), self.bars) if self.mended else 0
        source = voice_events(score, [other for other in range(4) if other != voice])
        start = self.vocabulary + voice * STARTS + density
        return source, [start, *voice_events(score, [voice]), self.end]

    def draw(self, split: str, random: np.random.Generator) -> tuple[list[int], list[int]]:
        """A pair from a random excerpt of a random song of a split, and a voice that plays in it.

        Raises ValueError if there is hardly any.
        """
        songs, least = self.corpus[split], LEAST_NOTES * self.bars * self.mended
        for _ in range(1000):
            score, voice = songs.score(int(random.integers(len(songs)))), int(random.integers(4))
            if not len(score.voice(voice)):
                continue
            begin = random.uniform(0, max(0.0, score.seconds - self.seconds))
            part = score.excerpt(begin, begin + self.seconds)
            if self.mended and split == "train":
                part = augmentation.transpose(part, int(random.choice(augmentation.SEMITONES)))
            source, target = self.pair(part, voice)
            is_short = len(source) + len(target) <= self.tokens
            if is_short and least <= len(part.voice(voice)) < len(part.notes):
                return source, target
        raise ValueError(f"{split}: in no excerpt one voice plays with others")

    def able(self, target: list[int]) -> np.ndarray:
        """Which events may follow a start and the events after it: bool (vocabulary,)."""
        voice, before = (target[0] - self.vocabulary) // STARTS, target[1:]
        acts = (event for event in reversed(before) if not events.IS_WAIT[event])
        is_sounding = events.IS_NOTE_ON[next(acts, self.end)]
        able = np.zeros(self.vocabulary, bool)
        if not before or events.IS_WAIT[before[-1]]:
            able |= events.VOICE_OF == voice
            able[events.NOTE_OFF[voice]] = is_sounding
        if not before or events.TICKS_OF[before[-1]] in (0, events.LONGEST_WAIT):
            able |= events.IS_WAIT
        able[self.end] = not is_sounding
        return able
