"""The mapping of Lakh to the NES, said again literally: plain Python, one note at a time, in ticks
of 1/44,100 s.

An instrument is ``(program, is_drum, [(start, end, pitch, velocity), ...])`` with its notes in the
order in which they end. What the fast code draws at random is handed in.
"""

from itertools import permutations

SECOND = 44_100
RANGES = {0: (33, 108), 1: (33, 108), 2: (21, 108)}


def keep(instruments, length):
    """``(reason, [], [])`` for a song that is refused, else ``("", melodies, drum tracks)``: lists
    of notes.
    """
    if not instruments:
        return "no_notes", [], []
    if length < 5 * SECOND:
        return "too_short", [], []
    if length > 600 * SECOND:
        return "too_long", [], []
    drums = [
        sorted(notes, key=lambda note: note[0]) for _, is_drum, notes in instruments if is_drum
    ]
    melodies = [notes for _, is_drum, notes in instruments if not is_drum]
    if not melodies:
        return "only_drums", [], []
    reaching = []
    for notes in melodies:
        if max(note[2] for note in notes) >= 21 and min(note[2] for note in notes) <= 108:
            reaching.append(sorted(notes, key=lambda note: note[0]))
    if not reaching:
        return "out_of_range", [], []
    single = []
    for notes in reaching:
        overlap = False
        for before, after in zip(notes, notes[1:], strict=False):
            if before[1] > after[0]:
                overlap = True
        if not overlap:
            single.append(notes)
    if not single:
        return "polyphonic", [], []
    seen, unlike = set(), []
    for notes in single:
        text = ",".join(f"{pitch}:{start / SECOND:.1f}" for start, _, pitch, _ in notes)
        if text not in seen:
            seen.add(text)
            unlike.append(notes)
    return "", unlike, drums


def orders(count):
    """Every assignment of ``count`` melodies to P1, P2 and TR, before some are drawn."""
    if count == 1:
        return {(0, -1, -1), (-1, 0, -1), (-1, -1, 0)}
    if count == 2:
        return {(-1, 0, 1), (-1, 1, 0), (0, -1, 1), (0, 1, -1), (1, -1, 0), (1, 0, -1)}
    return set(permutations(range(count), 3))


def example(melodies, drums, order, drum, noise, loudest=False):
    """``(rows, length)`` of one example, rows being ``(voice, start, end, pitch, velocity)``.

    drum: number of the drum track, or -1. noise: noise type of each drum pitch.
    """
    given = []
    for voice, number in enumerate(order):
        if number >= 0:
            low, high = RANGES[voice]
            given.append((voice, [note for note in melodies[number] if low <= note[2] <= high]))
    if drum >= 0:
        given.append((3, loudest_hits(drums[drum]) if loudest else first_hits(drums[drum])))
    everything = [note for _, notes in given for note in notes]
    if not everything:
        return [], 0
    start, end = min(note[0] for note in everything), max(note[1] for note in everything)
    if end - start > 180 * SECOND:
        end = start + 180 * SECOND
    rows = []
    for voice, notes in given:
        for first, last, pitch, velocity in notes:
            if last <= end:
                loudness = 1 if voice == 2 else int(round(1.0 + 14.0 * velocity / 127.0))
                kind = noise[pitch] if voice == 3 else pitch
                rows.append((voice, first - start, last - start, kind, loudness))
    return sorted(rows, key=lambda row: (row[1], row[0])), end - start


def first_hits(hits):
    """Published: a hit that starts before the last kept one has ended is skipped."""
    chosen = []
    for hit in hits:
        if not chosen or hit[0] >= chosen[-1][1]:
            chosen.append(hit)
    return chosen


def loudest_hits(hits):
    """A hit that overlaps the last kept one replaces it if it is louder."""
    chosen = []
    for hit in hits:
        if not chosen or hit[0] >= chosen[-1][1]:
            chosen.append(hit)
        elif hit[3] > chosen[-1][3]:
            chosen[-1] = hit
    return chosen
