"""Mapping comes to the same corpus after bad files, a full disk, a signal or a lost worker."""

import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from bands import FILES_A_SHARD, SONGS, band, content

from lakhnes_lib.data import lakh_mapping, shards
from lakhnes_lib.data.lakh_mapping import map_corpus
from lakhnes_lib.data.mapping_worker import map_files
from lakhnes_lib.errors import LakhnesError, OutOfSpace
from lakhnes_lib.music import filters, mapping

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(lakh_mapping, "FILES_A_SHARD", FILES_A_SHARD)


# Files that do harm


def test_files_that_fail_are_left_out(tmp_path, monkeypatch, capfd):
    whole = filters.candidates_of

    def reads(data, name, options=filters.PUBLISHED):
        if name == "grows":
            raise MemoryError
        if name == "fails":
            raise KeyError(name)
        return whole(data, name, options)

    monkeypatch.setattr(filters, "candidates_of", reads)
    names = ("a", "grows", "b", "fails", "c")
    songs = [(f"{name}.mid", band(seed, 1)) for seed, name in enumerate(names)]
    split, details = map_files((0, filters.PUBLISHED), songs)
    assert details["files"] == ["a.mid", "b.mid", "c.mid"]
    assert details["rejected"] == {"grows.mid": "too_much_memory", "fails.mid": "crashed"}
    assert "fails.mid: Traceback" in capfd.readouterr().err
    plain = [whole(data, name) for name, data in songs if name in details["files"]]
    assert [split.candidates(i).content_hash for i in range(3)] == [
        song.content_hash for song in plain
    ]


def _killed(job, files):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_is_told_and_the_run_goes_on(mapped, music, tmp_path, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lakh_mapping, "map_files", _killed)
        with pytest.raises(LakhnesError, match="a process that maps was killed; the same command"):
            map_corpus(music, tmp_path / "corpus", workers=2, progress=False)
    map_corpus(music, tmp_path / "corpus", workers=2, progress=False)
    assert content(tmp_path / "corpus") == content(mapped)


def test_what_cannot_be_opened_is_counted(tmp_path, monkeypatch):
    for name in ("open/a.mid", "closed/b.mid"):
        (tmp_path / "music" / name).parent.mkdir(parents=True)
        (tmp_path / "music" / name).write_bytes(band(3, 1))
    (tmp_path / "music/open/gone.mid").symlink_to(tmp_path / "nowhere.mid")
    odd = os.fsencode(tmp_path / "music/open") + b"/caf\xe9.mid"
    with open(odd, "wb") as file:
        file.write(band(4, 2))
    scan = os.scandir

    def refusing(folder):
        if isinstance(folder, str) and Path(folder).name == "closed":
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refusing)  # whoever runs the tests may have every right
    corpus = map_corpus(tmp_path / "music", tmp_path / "corpus", workers=1, progress=False)
    assert corpus.manifest["rejected"] == {"closed": "no_access", "open/gone.mid": "no_access"}
    assert corpus.manifest["files"]["accepted"] == 2


# Interrupted


PROGRAM = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell leaves it ignored
from lakhnes_lib.data import lakh_mapping, shards
lakh_mapping.FILES_A_SHARD = 4
save = shards.save
shards.save = lambda *shard: (save(*shard), time.sleep(0.2))  # slow enough to be stopped half way
from lakhnes_lib.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def running(pid: int) -> bool:
    """Whether a process is there that is not merely waiting to be forgotten (Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_run_goes_on_to_the_same_bytes(mapped, music, tmp_path, how):
    out = tmp_path / "corpus"
    command = [sys.executable, "-c", PROGRAM, "map", str(music), str(out), "--workers", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    partial = tmp_path / "corpus.partial"
    while len(list(partial.glob("??????.json"))) < 2:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    children = [
        int(pid)
        for listed in Path(f"/proc/{process.pid}/task").glob("*/children")
        for pid in listed.read_text().split()
    ]
    process.send_signal(how)
    _, told = process.communicate()
    patience = time.monotonic() + 20
    while any(map(running, children)):
        assert time.monotonic() < patience, "the process that read files outlived the command"
        time.sleep(0.05)
    assert not out.exists() and partial.is_dir()
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert told.splitlines()[-2:] == [
            "what is done is saved; the same command goes on from there",
            "interrupted",
        ]
    done = list(partial.glob("??????.json"))
    assert map_and_count(music, out) <= SONGS + 8 - 4 * len(done)
    assert content(out) == content(mapped) and not partial.exists()


def map_and_count(music, out, **options) -> int:
    """Maps, and returns how many files were handed to workers."""
    count = []

    def counting(job, files):
        count.extend(files)
        return map_files(job, files)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lakh_mapping, "map_files", counting)
        map_corpus(music, out, workers=1, progress=False, **options)
    return len(count)


@pytest.fixture(scope="module")
def begun(music, tmp_path_factory):
    """The folder of shards of a run that a full disk ended after three of them."""
    folder = tmp_path_factory.mktemp("begun")
    save, saved = np.save, []

    def filling(*args, **options):
        saved.append(1)
        if len(saved) > 3 * 3 + 1:  # three arrays a shard: within the fourth
            raise OSError(28, "No space left on device")
        save(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lakh_mapping, "FILES_A_SHARD", FILES_A_SHARD)
        patch.setattr(np, "save", filling)
        with pytest.raises(OutOfSpace, match="the disk is full"):
            map_corpus(music, folder / "corpus", workers=1, progress=False)
    (partial,) = folder.iterdir()
    names = ["000000.json", "000001.json", "000002.json"]
    assert sorted(path.name for path in partial.glob("??????.json")) == names
    return partial


@pytest.fixture
def half(begun, tmp_path):
    """A copy of it that a test may go on with."""
    return shutil.copytree(begun, tmp_path / "corpus.partial")


def test_full_disk_keeps_what_is_done(mapped, music, half, tmp_path):
    assert map_and_count(music, tmp_path / "corpus") == SONGS + 8 - 12
    assert content(tmp_path / "corpus") == content(mapped)


@pytest.mark.parametrize("part", ["json", "names.json", "songs.npy", "tracks.npy", "notes.npy"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_shard_is_made_anew(mapped, music, half, tmp_path, part, damage):
    path = half / f"000001.{part}"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle])
    if damage == "changed":
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 2]) + whole[middle + 1 :])
    elif damage == "gone":
        path.unlink()
    again = map_and_count(music, tmp_path / "corpus")
    assert again == SONGS + 8 - 8
    assert content(tmp_path / "corpus") == content(mapped)


def test_other_options_or_files_do_not_go_on(music, half, tmp_path):
    others = [
        (music, {"seed": 1}),
        (music, {"options": mapping.MappingOptions(drums=False)}),
        (music / "0", {}),
    ]
    for source, settings in others:
        with pytest.raises(
            LakhnesError, match="corpus.partial: was begun from other files or with other options"
        ):
            map_corpus(source, tmp_path / "corpus", **settings, workers=1, progress=False)


# On a cluster


def test_a_killed_cluster_worker_loses_and_doubles_nothing(mapped, music, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        2, processes=True, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        save, killed = shards.save, []

        def killing(*shard):
            if not killed:
                killed.append(list(cluster.workers.values())[0].pid)
                os.kill(killed[0], signal.SIGKILL)
            save(*shard)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shards, "save", killing)
            map_corpus(
                music, tmp_path / "corpus", scheduler=cluster.scheduler_address, progress=False
            )
    assert killed and content(tmp_path / "corpus") == content(mapped)


@pytest.mark.parametrize("address", ["nowhere", "tcp://127.0.0.1:1"])
def test_no_scheduler(music, tmp_path, monkeypatch, address):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "Client", partial(distributed.Client, timeout=1))
    with pytest.raises(LakhnesError, match=f"{address}: no Dask scheduler answers there"):
        map_corpus(music, tmp_path / "corpus", scheduler=address, progress=False)
