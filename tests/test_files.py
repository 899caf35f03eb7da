"""Output folders: an earlier product is replaced, and nothing else is ever lost."""

import os
import shutil

import pytest
from songs import tune

from lakhnes_lib import files
from lakhnes_lib.__main__ import main
from lakhnes_lib.data import build, corpus, lakh_mapping
from lakhnes_lib.errors import BadMidi, LakhnesError, OutOfSpace
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import midi

OLD, NEW = {"a.txt": "old", "b.txt": "old"}, {"a.txt": "new"}


def fill(folder, texts):
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def replace(path, names=("a.txt", "b.txt")):
    with files.replacing(path, folder=True, names=names) as temporary:
        fill(temporary, NEW)


@pytest.mark.parametrize("before", [None, {}, OLD], ids=["nothing", "empty", "earlier product"])
def test_a_folder_takes_its_place(tmp_path, before):
    out = tmp_path / "out"
    if before is not None:
        out.mkdir()
        fill(out, before)
    replace(out)
    assert content(out) == {"a.txt": b"new"} and list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    "name", ["thesis.txt", "keep/thesis.txt", "keep/a.txt", ".git/HEAD", "b.txt/thesis.txt"]
)
def test_a_folder_that_holds_anything_else_stays_as_it_is(tmp_path, name):
    out = tmp_path / "out"
    fill(out, {"a.txt": "old", name: "years of work"})
    before = content(out)
    with pytest.raises(
        LakhnesError, match=rf"out: holds {name.split('/')[0]}, which would be lost"
    ):
        replace(out)
    assert content(out) == before and list(tmp_path.iterdir()) == [out]


def test_what_comes_into_the_folder_during_the_work_stays_too(tmp_path):
    out = tmp_path / "out"
    with (
        pytest.raises(LakhnesError, match="holds thesis.txt"),
        files.replacing(out, folder=True, names=("a.txt",)) as temporary,
    ):
        fill(temporary, NEW)
        fill(out, {"thesis.txt": "years of work"})
    assert content(tmp_path) == {"out/thesis.txt": b"years of work"}


def test_a_file_where_a_folder_goes_stays(tmp_path):
    (tmp_path / "out").write_text("years of work")
    with pytest.raises(LakhnesError, match="out: is a file, and a folder is to be written"):
        replace(tmp_path / "out")
    assert content(tmp_path) == {"out": b"years of work"}


def test_the_folder_one_is_in(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    with pytest.raises(LakhnesError, match=r"\.: is the folder you are in"):
        replace(".")
    with pytest.raises(LakhnesError, match=r"\.\.: holds in, which would be lost"):
        replace("..")
    for path in (".", ".."):
        with pytest.raises(LakhnesError, match=r"cannot be written \("):
            files.write_file(path, "text")
    assert list(tmp_path.rglob("*")) == [tmp_path / "in"]


def test_a_link_to_a_folder_is_followed(tmp_path):
    fill(tmp_path / "real", OLD)
    (tmp_path / "link").symlink_to("real")
    replace(tmp_path / "link")
    assert os.readlink(tmp_path / "link") == "real" and content(tmp_path / "real") == {
        "a.txt": b"new"
    }
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link"}


# What is no file


def test_pipes_devices_and_folders_are_not_read(tmp_path):
    """A pipe without a writer never answers, and a device never ends."""
    os.mkfifo(tmp_path / "pipe.mid")
    (tmp_path / "zeros.mid").symlink_to("/dev/zero")
    (tmp_path / "folder.mid").mkdir()
    (tmp_path / "broken.mid").symlink_to("nowhere")
    for name in ("pipe.mid", "zeros.mid", "folder.mid", "broken.mid"):
        with pytest.raises(BadMidi, match=rf"{name}: cannot be read \("):
            files.read_bytes(tmp_path / name, BadMidi)
    with open(tmp_path / "large", "wb") as file:
        file.truncate(files.MOST_BYTES + 1)
    with pytest.raises(LakhnesError, match="large: has over 16 MB"):
        files.read_bytes(tmp_path / "large")


@pytest.mark.parametrize("ending", ["mid", "abc", "vgm", "tx1", "yaml", "csv", "zip"])
def test_every_reader_refuses_a_pipe(tmp_path, ending, capsys):
    path = tmp_path / f"pipe.{ending}"
    os.mkfifo(path)
    command = {
        "yaml": ["train", "--profile", path],
        "csv": ["study", "merge", tmp_path / "all.csv", path],
        "zip": ["map", path, tmp_path / "out"],
    }.get(ending, ["tokens", path])
    assert main(list(map(str, command))) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path}: ")


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.wav").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link.wav"):
        with pytest.raises(LakhnesError, match=f"{name}: is a pipe or a device"):
            files.write_file(tmp_path / name, "text")
    assert (tmp_path / "pipe").is_fifo() and len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_by_its_name(tmp_path):
    """NumPy only says how much it has written."""
    with (
        pytest.raises(OutOfSpace, match="out: the disk is full"),
        files.replacing(tmp_path / "out"),
    ):
        raise OSError("37261 requested and 33122 written")


def test_a_name_that_is_no_text(tmp_path):
    """Names in another encoding come as half characters, which UTF-8 cannot hold."""
    files.write_file(tmp_path / os.fsdecode(b"a\xff.txt"), "in a\udcff.txt")
    (path,) = tmp_path.iterdir()
    assert os.fsencode(path.name) == b"a\xff.txt" and path.read_bytes() == b"in a?.txt"


# Who writes folders


@pytest.fixture
def music(tmp_path):
    """Three songs as MIDI."""
    for seed in range(3):
        midi.write(tune(seed, beats=2), tmp_path / f"music/{seed}.mid")
    return tmp_path / "music"


def test_a_checkpoint_replaces_a_checkpoint_alone(tmp_path):
    model = checkpoints.build("unigram")
    checkpoints.save(model, tmp_path / "model")
    fill(
        tmp_path / "model", {"README.md": "the card", "log.jsonl": "{}\n"}
    )  # as a shipped one has them
    checkpoints.save(model, tmp_path / "model", note="again")
    assert checkpoints.details(tmp_path / "model")["note"] == "again"
    for name in ("README.md", "best/model.safetensors", "snapshot.pt"):
        fill(tmp_path / name.split(".")[0], {name: "years of work"})
        with pytest.raises(LakhnesError, match="which would be lost"):
            checkpoints.save(model, tmp_path / name.split(".")[0])
        assert content(tmp_path / name.split(".")[0]) == {name: b"years of work"}


def test_a_corpus_replaces_a_corpus_of_any_kind(music, tmp_path):
    out = tmp_path / "out"
    build.build_corpus(music, out, workers=1, progress=False)
    (music / "test").mkdir()
    shutil.copy(music / "0.mid", music / "test")
    build.build_corpus(music, out, workers=1, progress=False)
    assert list(corpus.open_corpus(out).splits) == ["test"]
    lakh_mapping.map_corpus(music, out, workers=1, progress=False)
    assert set(content(out)) == {path.name for path in out.iterdir()} < corpus.NAMES
    build.build_corpus(music, out, workers=1, progress=False)
    assert list(corpus.open_corpus(out).splits) == ["test"]


@pytest.mark.parametrize("verb", ["tokens", "map"])
@pytest.mark.parametrize("out", ["mine", "mine/thesis.txt", "music", "."])
def test_a_corpus_is_refused_before_the_work(verb, out, music, tmp_path, monkeypatch, capsys):
    fill(tmp_path / "mine", {"thesis.txt": "years of work"})
    monkeypatch.chdir(tmp_path)
    before = content(tmp_path)
    monkeypatch.setattr(build, "find_files", None)
    monkeypatch.setattr(lakh_mapping, "_list", None)
    assert main([verb, "music", out, "--workers", "1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {out}: ") and line.endswith(
        ("folder", "another one", "another path")
    )
    assert content(tmp_path) == before


def test_a_folder_called_as_that_of_shards_stays(music, tmp_path):
    fill(tmp_path / "out.partial", {"thesis.txt": "years of work"})
    for source in (music, tmp_path / "out.partial"):
        with pytest.raises(
            LakhnesError, match="out.partial: holds thesis.txt, which would be lost"
        ):
            lakh_mapping.map_corpus(source, tmp_path / "out", workers=1, progress=False)
    assert content(tmp_path / "out.partial") == {"thesis.txt": b"years of work"}
