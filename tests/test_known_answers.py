"""The known answers: all 5,278 songs of NES-MDB against the authors' own texts and figures.

Skipped, with the reason, where no archives are at hand.
"""

import hashlib
import tarfile

import numpy as np
import pytest

from lakhnes_lib.data.corpus import SPLITS
from lakhnes_lib.models.checkpoints import VOCABULARY_FINGERPRINT
from lakhnes_lib.music import events, grammar, midi, nes

SONGS = {"train": 4502, "valid": 403, "test": 373}
RAW_EVENTS = {"train": 8_390_590, "valid": 641_729, "test": 407_268}


@pytest.fixture(scope="module")
def ids(nesmdb):
    """Raw events of each split: ids and offsets."""
    return {name: nesmdb[name].ids() for name in SPLITS}


def each_song(packed):
    """The ids of each song of a split."""
    ids, offsets = packed
    return [ids[a:b] for a, b in zip(offsets[:-1], offsets[1:], strict=True)]


def test_every_file_is_a_song(nesmdb):
    assert {name: len(nesmdb[name]) for name in SPLITS} == SONGS
    assert nesmdb.manifest["rejected"] == {}
    assert sum(split.seconds for split in nesmdb.splits.values()) / 3600 == pytest.approx(
        46.1, abs=0.05
    )
    voices = [
        sum(
            len(np.unique(split.notes["voice"][a:b])) == 4
            for a, b in zip(split.offsets, split.offsets[1:], strict=False)
        )
        for split in nesmdb.splits.values()
    ]
    assert sum(voices) == 2821


def test_vocabulary_is_the_authors(mirror):
    """``vocab.txt`` lies beside the songs in the archive of event texts; it is not among what is
    unpacked."""
    with tarfile.open(next(mirror.glob("nesmdb_tx1.tar*"))) as archive:
        member = next((m for m in archive if m.name.endswith("vocab.txt")), None)
        if member is None:
            pytest.skip("this archive of event texts holds no vocab.txt")
        published = archive.extractfile(member).read().decode().split()
    assert len(published) == 630
    assert list(events.VOCABULARY) == ["<S>", *published]
    names = "\n".join(events.VOCABULARY)
    assert VOCABULARY_FINGERPRINT in {
        hashlib.sha256(text.encode()).hexdigest()[:16] for text in (names, names + "\n")
    }


# Every song is compared with the authors' text. The slower ways back are tried on all songs of the
# test split, and on every tenth of the others.
STEP = {"train": 10, "valid": 10, "test": 1}


@pytest.mark.parametrize("name", SPLITS)
def test_text_is_the_authors_line_for_line_and_a_fixed_point(name, nesmdb, tx1_files, ids):
    split, quantised = nesmdb[name], {}
    songs = each_song(ids[name])
    for number, title in enumerate(split.names):
        published = (tx1_files / name / f"{title}.tx1.txt").read_text()
        score = split.score(number)
        # The published texts have no end after the last line.
        lines, ours = published.split("\n"), events.to_tx1(score).removesuffix("\n").split("\n")
        if ours != lines:
            pairs = enumerate(zip(ours, lines, strict=False), 1)
            line = next((number for number, (a, b) in pairs if a != b), "the last")
            pytest.fail(f"{title}: line {line} differs from the published text")
        if number % STEP[name]:
            continue
        again = events.from_tx1(published)
        assert again.length == score.length, title
        for field in ("voice", "start", "end", "pitch"):
            assert np.array_equal(again.notes[field], score.notes[field]), (title, field)
        # Each line has one id: its own, or the nearest wait's.
        for line in set(lines).difference(quantised):
            quantised[line] = nearest(line)
        assert songs[number].tolist() == [quantised[line] for line in lines], title


def nearest(line: str) -> int:
    """The id of a line, by looking at every wait there is; a tie goes to the shorter."""
    if line in events.VOCABULARY:
        return events.VOCABULARY.index(line)
    ticks = int(line.removeprefix("WT_"))
    wait = min(events.WAIT_TICKS.tolist(), key=lambda value: (abs(value - ticks), value))
    return events.VOCABULARY.index(f"WT_{wait}")


@pytest.mark.parametrize("name", SPLITS)
def test_number_of_events_and_ids_are_a_fixed_point_and_keep_the_grammar(name, ids):
    assert len(ids[name][0]) == RAW_EVENTS[name]
    for song in each_song(ids[name])[:: STEP[name]]:
        assert np.array_equal(events.encode(events.decode(song)), song)
        grammar.check(song)


def test_grammar_allows_every_step_of_every_test_song(nesmdb):
    """Step by step, all songs at once, to the ``<S>`` that ends each."""
    songs = nesmdb["test"].framed()
    songs = sorted(
        (song[1:].astype(np.int64) for song in songs if len(song) > 2), key=len, reverse=True
    )
    lengths = np.array([len(song) for song in songs])
    state = grammar.start(len(songs))
    for step in range(3000):
        going = int((lengths > step).sum())
        state = grammar.State(state.sounding[:going], state.last[:going], state.waiting[:going])
        event = np.array([song[step] for song in songs[:going]])
        assert grammar.allowed(state, end=True)[np.arange(going), event].all(), step
        state = grammar.advance(state, event)
    assert going < len(songs)


def test_midi_comes_back_as_it_was(nesmdb, tmp_path):
    """Notes, velocities, timbre and length of every tenth test song survive being written and
    read."""
    split = nesmdb["test"]
    for number in range(0, len(split), 10):
        midi.write(split.score(number), tmp_path / "song.mid")
        assert midi.read(tmp_path / "song.mid") == split.score(number), split.names[number]


def test_velocities_and_timbres_are_those_of_the_chip(nesmdb):
    for split in nesmdb.splits.values():
        voice = split.notes["voice"]
        assert (split.notes["velocity"][voice == nes.TR] == 1).all()
        assert len(split.controls) > len(split.notes) / 10
        split.score(len(split) - 1)  # checks its own rules
