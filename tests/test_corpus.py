"""The packed corpus: what goes in comes out, and nothing that was changed is taken for it."""

import json
import shutil

import numpy as np
import pytest
from bands import band
from hypothesis import given, settings
from hypothesis import strategies as st
from songs import scores, tune

from lakhnes_lib.data import build, corpus
from lakhnes_lib.errors import BadCorpus, BadEvents, BadMidi, DataNotFound
from lakhnes_lib.music import events, midi
from lakhnes_lib.music.score import TIMBRE_CHANGE, VELOCITY_CHANGE, Score

FILES = {"corpus.json"} | {
    f"{split}.{part}"
    for split in ("train", "valid", "test")
    for part in ("notes.npy", "controls.npy", "songs.npy", "names.json")
}


def song(seed):
    """A small song with velocity and timbre changes."""
    plain = tune(seed, beats=8)
    return Score(
        plain.notes,
        plain.length,
        [(0, 5, VELOCITY_CHANGE, 3), (0, 5, TIMBRE_CHANGE, 2)],
        plain.name,
    )


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A corpus of three, two and one songs."""
    songs = {"train": [song(0), song(1), song(2)], "valid": [song(3), song(4)], "test": [song(5)]}
    return corpus.write_corpus(
        songs, tmp_path_factory.mktemp("packed") / "corpus", {"bad.mid": "is empty"}
    )


@pytest.fixture
def copy(packed, tmp_path):
    """A copy of it that may be changed."""
    return shutil.copytree(packed.folder, tmp_path / "corpus")


@settings(max_examples=30, deadline=None)
@given(st.lists(scores(with_controls=True), max_size=5))
def test_songs_come_out_as_they_went_in(tmp_path_factory, songs):
    songs = [one.renamed(f"song {number}") for number, one in enumerate(songs)]
    split = corpus.write_corpus({"train": songs}, tmp_path_factory.getbasetemp() / "any")["train"]
    assert len(split) == len(songs) and split.names == [one.name for one in songs]
    assert [split.score(number) for number in range(len(split))] == songs
    assert [split.score(number).name for number in range(len(split))] == split.names
    ids, offsets = split.ids()
    each = [events.encode(one).tolist() for one in songs]
    assert ids.dtype == np.uint16 and offsets.dtype == np.int64
    assert [ids[a:b].tolist() for a, b in zip(offsets, offsets[1:], strict=False)] == each
    assert [framed.tolist() for framed in split.framed()] == [
        events.frame(one).tolist() for one in each
    ]
    assert split.seconds == pytest.approx(sum(one.seconds for one in songs))


def test_what_it_says_of_itself(packed):
    assert {path.name for path in packed.folder.iterdir()} == FILES
    said = json.loads((packed.folder / "corpus.json").read_text())
    assert said["splits"]["train"]["songs"] == 3 and said["splits"]["train"]["notes"] == len(
        packed["train"].notes
    )
    assert said["rejected"] == {"bad.mid": "is empty"} == packed.manifest["rejected"]
    assert said["splits"]["test"]["fingerprint"] == packed["test"].fingerprint
    assert (
        "train" in packed
        and "other" not in packed
        and list(packed.splits) == ["train", "valid", "test"]
    )
    with pytest.raises(DataNotFound, match="has no split 'other', only train, valid, test"):
        packed["other"]
    with pytest.raises(IndexError, match="test has 1 songs, there is no song 1"):
        packed["test"].score(1)
    with pytest.raises(IndexError):
        packed["test"].score(-1)
    assert (
        isinstance(packed["train"].notes, np.memmap) and not packed["train"].notes.flags.writeable
    )


def test_fingerprint_knows_content_and_names(packed, tmp_path):
    def fingerprint(songs):
        return corpus.pack("train", songs).fingerprint

    songs = [song(0), song(1), song(2)]
    assert fingerprint(songs) == packed["train"].fingerprint
    others = [
        songs[:2],
        songs[::-1],
        [*songs[:2], songs[2].renamed("other")],
        [*songs[:2], song(9)],
    ]
    others.append(
        [*songs[:2], Score(songs[2].notes, songs[2].length + 1, songs[2].controls, songs[2].name)]
    )
    others.append(
        [*songs[:2], Score(songs[2].notes, songs[2].length, songs[2].controls[:1], songs[2].name)]
    )
    fingerprints = [fingerprint(other) for other in others]
    assert len({*fingerprints, packed["train"].fingerprint}) == 7


# --- changed, missing and foreign files


@pytest.mark.parametrize("name", sorted(FILES))
def test_any_changed_byte_is_noticed(copy, name):
    """Places all over each file; in the texts only bytes whose change means something."""
    path = copy / name
    whole = path.read_bytes()
    for position in np.linspace(0, len(whole) - 1, 25).astype(int):
        byte = whole[position : position + 1]
        if name.endswith(".json") and (byte.isspace() or b"rejected" in whole[:position]):
            continue
        if (
            name.endswith(".npy")
            and 10 <= position < 128
            and (byte.isspace() or whole[position:128].lstrip() == b"\n")
        ):
            continue  # the padding of the head
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 2]) + whole[position + 1 :])
        with pytest.raises((BadCorpus, DataNotFound)) as raised:
            corpus.open_corpus(copy)
        assert str(copy) in str(raised.value), position
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(BadCorpus, match="is incomplete or damaged|was changed"):
            corpus.open_corpus(copy)
    path.write_bytes(whole)
    corpus.open_corpus(copy)


@pytest.mark.parametrize("name", sorted(FILES))
def test_missing_file(copy, name):
    (copy / name).unlink()
    if name == "corpus.json":
        with pytest.raises(
            DataNotFound, match=r"corpus: is not a corpus \(it holds no corpus.json\)"
        ):
            corpus.open_corpus(copy)
    else:
        with pytest.raises(BadCorpus, match=f"corpus: is incomplete or damaged .*{name}"):
            corpus.open_corpus(copy)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"format": 2, "splits": {}}, "has the unknown format 2; build the corpus anew"),
        ({"splits": {}}, "has the unknown format None"),
        ([1], "is incomplete or damaged"),
        ({"format": 1}, "is incomplete or damaged"),
        ({"format": 1, "splits": ["train"]}, "is incomplete or damaged"),
        ({"format": 1, "splits": {"train": {}}}, "is incomplete or damaged|was changed"),
    ],
)
def test_other_manifests(copy, content, said):
    (copy / "corpus.json").write_text(json.dumps(content))
    with pytest.raises(BadCorpus, match=said):
        corpus.open_corpus(copy)


def test_other_arrays(copy):
    """Another type of record, a pickled object, an archive of arrays: refused, nothing is run."""
    for array in (np.zeros(3), np.zeros((2, 2), corpus.SONG), np.array([{}], object)):
        np.save(copy / "train.songs.npy", array, allow_pickle=True)
        with pytest.raises(
            BadCorpus, match="train.songs.npy is of another version|is incomplete or damaged"
        ):
            corpus.open_corpus(copy)
    with open(copy / "train.songs.npy", "wb") as file:
        np.savez(file, np.zeros(3))
    with pytest.raises(BadCorpus, match="is incomplete or damaged"):
        corpus.open_corpus(copy)
    (copy / "train.songs.npy").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(BadCorpus, match="is incomplete or damaged"):
        corpus.open_corpus(copy)


def test_a_failed_write_leaves_the_old_corpus(copy, monkeypatch):
    before = corpus.open_corpus(copy).fingerprint

    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(Exception, match="the disk is full"):
        corpus.write_corpus({"train": [song(9)]}, copy)
    monkeypatch.undo()
    assert corpus.open_corpus(copy).fingerprint == before
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


# --- from files


def test_folder_with_splits_and_bad_files(tmp_path):
    source = tmp_path / "music"
    for split, seeds in {"train": (0, 1), "valid": (2,), "test": (3,)}.items():
        for seed in seeds:
            midi.write(song(seed), source / split / f"{seed}.mid")
    (source / "train" / "text.tx1.txt").write_bytes(
        events.to_tx1(song(4)).replace("\n", "\r\n").encode()
    )
    (source / "train" / "empty.mid").write_bytes(b"")
    (source / "train" / "foreign.tx1").write_text("WT_5\nHELLO\n")
    (source / "valid" / "empty.mid").write_bytes(b"")
    (source / "valid" / "binary.tx1").write_bytes(b"\xff\xfe\x00")
    (source / "valid" / "notes.txt").write_text("not music")
    made = build.build_corpus(source, tmp_path / "packed", workers=1, progress=False)
    assert {name: split.names for name, split in made.splits.items()} == {
        "train": ["0", "1", "text"],
        "valid": ["2"],
        "test": ["3"],
    }
    assert made["train"].score(0) == song(0)
    assert np.array_equal(events.encode(made["train"].score(2)), events.encode(song(4)))
    reasons = made.manifest["rejected"]
    bad = {"train/empty.mid", "train/foreign.tx1", "valid/empty.mid", "valid/binary.tx1"}
    assert set(reasons) == bad
    assert "empty.mid: is empty" in reasons["train/empty.mid"]
    assert "line 2 holds 'HELLO'" in reasons["train/foreign.tx1"]
    assert "binary.tx1" in reasons["valid/binary.tx1"]
    again = build.build_corpus(source, tmp_path / "again", workers=2, progress=False)
    assert again.fingerprint == made.fingerprint


def test_music_for_any_instruments_is_read(tmp_path):
    """NES music as it is, other MIDI by role, however short it is."""
    midi.write(song(0), tmp_path / "nes_000.mid")
    assert build.read_any(tmp_path / "nes_000.mid") == song(0)
    assert build.read_any(tmp_path / "nes_000.mid").name == "nes_000"
    (tmp_path / "band.mid").write_bytes(band(1, 2, beats=4))
    with pytest.raises(BadMidi):
        build.read_song(tmp_path / "band.mid")
    mapped = build.read_any(tmp_path / "band.mid")
    assert mapped.name == "band" and len(mapped.notes) and mapped.seconds < 5


def test_folder_without_splits(tmp_path):
    """About one song in ten goes to valid, chosen by its bytes: the same whatever its name."""
    for seed in range(40):
        midi.write(tune(seed, beats=2), tmp_path / f"music/{seed}.mid")
        midi.write(tune(seed, beats=2), tmp_path / f"renamed/x{seed}.MID")
    one, other = build.find_files(tmp_path / "music"), build.find_files(tmp_path / "renamed")
    assert set(one) == {"train", "valid"} and 1 <= len(one["valid"]) <= 10
    assert {path.stem for path in one["valid"]} == {path.stem[1:] for path in other["valid"]}


def test_no_music(tmp_path):
    (tmp_path / "readme.txt").write_text("no music")
    with pytest.raises(DataNotFound, match="holds no music file"):
        build.build_corpus(tmp_path, tmp_path / "packed")
    with pytest.raises(DataNotFound, match="none: is not a folder"):
        build.find_files(tmp_path / "none")
    with pytest.raises(BadEvents, match="none.tx1: cannot be read"):
        build.read_song(tmp_path / "none.tx1")
