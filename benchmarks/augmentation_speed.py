"""Speed of augmentation: how many events a second one core draws, changes and encodes for training.

python benchmarks/augmentation_speed.py [CORPUS] [--write]

CORPUS is a packed corpus folder; without one it is NES-MDB (`lakhnes data fetch nesmdb-midi`, or
LAKHNES_MIRROR). Every song of the training split is drawn anew and encoded, three epochs of it;
seconds are processor time of this one thread, so that other work on the machine does not count.
Beside it stands the slow way: note by note in Python, over the first songs of the same split. With
--write the numbers go to results/augmentation.json.
"""

import time

import numpy as np
from _shared import arguments, corpus_at_hand, keep

from lakhnes_lib.data import corpus
from lakhnes_lib.music import augmentation, events, nes
from lakhnes_lib.music.score import Score

EPOCHS = 3
SLOW_SONGS = 40


def seconds(work) -> tuple[float, object]:
    """Processor seconds that some work takes, and what it returns."""
    begin = time.process_time()
    returned = work()
    return time.process_time() - begin, returned


def note_by_note(score: Score, change: np.void) -> Score:
    """One song changed in a plain loop."""
    semitones, speed, voices = change.tolist()
    notes = []
    for voice, start, end, pitch, velocity in score.notes.tolist():
        new, start, end = voices[voice], round(start / speed), round(end / speed)
        pitch += semitones if voice != nes.NO else 0
        if new == augmentation.DROPPED or start == end:
            continue
        if nes.LOWEST_PITCH[new] <= pitch <= nes.HIGHEST_PITCH[new]:
            notes.append((new, start, end, pitch, min(velocity, int(nes.HIGHEST_VELOCITY[new]))))
    return Score.build(notes, round(score.length / speed))


def measure(train: corpus.Split) -> dict:
    """Events of the unchanged split a second, by setting; the steps of ``paper`` alone; and the
    slow way.
    """
    packed = np.array(train.notes), train.offsets, np.array(train.songs["length"])
    total = len(train.ids()[0])
    values = {"train_events": total, "epochs": EPOCHS}
    for setting in augmentation.SETTINGS:
        spent, events_left = [], []
        for epoch in range(EPOCHS):
            taken, songs = seconds(
                lambda s=setting, e=epoch: augmentation.framed_songs(
                    s, *packed, np.random.default_rng(e)
                )
            )
            spent.append(taken)
            events_left.append(sum(len(song) - 2 for song in songs))
        values[setting] = {
            "events_left": events_left,
            "seconds_an_epoch": spent,
            "million_events_read_a_second": total * EPOCHS / sum(spent) / 1e6,
            "million_events_made_a_second": sum(events_left) / sum(spent) / 1e6,
        }
    changes = augmentation.draw("paper", np.ones((len(train), 4), bool), np.random.default_rng(0))
    begin = time.process_time()
    for first in range(0, len(train), 64):
        borders = train.offsets[first : first + 65]
        part = (
            packed[0][borders[0] : borders[-1]],
            borders - borders[0],
            packed[2][first : first + 64],
        )
        augmentation.change_songs(*part, changes[first : first + 64])
    values["million_events_a_second_changed_but_not_encoded"] = (
        total / (time.process_time() - begin) / 1e6
    )
    songs = [train.score(number) for number in range(min(SLOW_SONGS, len(train)))]
    read = sum(len(events.encode(song)) for song in songs)
    slow, _ = seconds(
        lambda: [events.encode(note_by_note(*pair)) for pair in zip(songs, changes, strict=False)]
    )
    values["note_by_note_million_events_a_second"] = read / slow / 1e6
    return values


def main():
    parser = arguments("augmentation", __doc__)
    parser.add_argument("corpus", nargs="?", default="nesmdb-midi", help="a packed corpus folder")
    options = parser.parse_args()
    data = corpus_at_hand(options.corpus)
    keep("augmentation", measure(data["train"]), options.write, corpus=data)


if __name__ == "__main__":
    main()
