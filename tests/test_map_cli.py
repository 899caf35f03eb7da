"""``lakhnes map``: any files in, the same corpus out, whatever the workers, interruptions and files do."""

import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from bands import band

from lakhnes_lib.__main__ import main
from lakhnes_lib.data import mapping_run
from lakhnes_lib.data.mapping_run import map_corpus
from lakhnes_lib.data.mapping_worker import Job, map_files
from lakhnes_lib.data.prepare import prepare
from lakhnes_lib.errors import BadArchive, BadCorpus, DataNotFound, LakhnesError, OutOfSpace
from lakhnes_lib.music import events, mapping

ROOT = Path(__file__).resolve().parents[1]
SONGS = 21


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(mapping_run, "FILES_A_SHARD", 4)


def files() -> dict[str, bytes]:
    """Songs of one to four melodies, and whatever else lies in folders of music."""
    found = {f"{seed % 3}/song {seed}.mid": band(seed, 1 + seed % 4) for seed in range(SONGS)}
    return found | {
        "0/again.MID": band(5, 2),
        "1/copy of song 5.midi": band(5, 2),
        "1/chords.mid": band(1, 0),
        "1/short.mid": band(1, 1, beats=2),
        "1/text.mid": b"not music",
        "2/cut.mid": band(3)[:-20],
        "2/empty.mid": b"",
        "2/huge.mid": band(2) + bytes(mapping.PUBLISHED.most_bytes),
        "2/notes.txt": b"no music",
        ".hidden/song.mid": band(99),
        "0/._song 0.mid": b"what a Mac leaves",
    }


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    folder = tmp_path_factory.mktemp("music")
    for name, data in files().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def made(music, tmp_path_factory):
    """What one worker makes of the folder in one go."""
    folder = tmp_path_factory.mktemp("made") / "corpus"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapping_run, "FILES_A_SHARD", 4)
        map_corpus(music, folder, workers=1, progress=False)
    assert [path.name for path in folder.parent.iterdir()] == ["corpus"]
    return folder


def test_corpus_holds_what_the_mapping_gives(made, music):
    packed, found, splits = prepare(made), {}, {}
    for name in files():
        if not name.endswith(".txt") and "/." not in f"/{name}":
            try:
                kept = mapping.candidates(music / name)
                found[kept.content_hash] = mapping.examples(kept, 0)
            except mapping.Rejected as error:
                assert packed.manifest["rejected"][name] == error.reason
    for split, part in packed.splits.items():
        hashes = [kept.content_hash for kept in map(part.candidates, range(len(part)))]
        assert hashes == sorted(hashes)
        splits[split] = hashes
        for index, content_hash in enumerate(hashes):
            assert mapping.examples(part.candidates(index), 0) == found[content_hash]
            assert (int(content_hash[:8], 16) % 10 == 0) == (split == "valid")
    assert sorted(splits["train"] + splits["valid"]) == sorted(found) and len(found) == SONGS


def test_manifest_counts_everything(made, music):
    said = json.loads((made / "corpus.json").read_text())
    drawn = [score for seed in range(SONGS) for score in mapping.map_to_nes(music / f"{seed % 3}/song {seed}.mid")]
    assert said["published_examples"] == {
        "examples": len(drawn),
        "events": sum(len(events.encode(score)) for score in drawn),
        "hours": round(sum(score.seconds for score in drawn) / 3600, 3),
        "voices": {name: sum(bool(len(s.voice(v))) for s in drawn) for v, name in enumerate(("P1", "P2", "TR", "NO"))},
    }
    reasons = {"duplicate": 2, "only_drums": 0, "polyphonic": 1, "too_large": 1, "too_short": 1, "unreadable": 3}
    assert said["files"] == {
        "seen": SONGS + 8,
        "accepted": SONGS,
        "rejected": {reason: count for reason, count in reasons.items() if count},
    }
    assert said["rejected"]["2/huge.mid"] == "too_large" and said["rejected"]["2/empty.mid"] == "unreadable"
    # Of three files with one content the first by name stays.
    assert {name for name, reason in said["rejected"].items() if reason == "duplicate"} == {
        "1/copy of song 5.midi",
        "2/song 5.mid",
    }
    names = prepare(made)["train"].names + prepare(made)["valid"].names
    assert "again" in names and "song 5" not in names
    assert said["settings"] == {"seed": 0, "options": dataclasses.asdict(mapping.PUBLISHED)}
    assert set(said["rejected"].values()) <= {*mapping_run.REASONS, *mapping.REASONS}


def archive(path: Path, unsafe: bool = False) -> Path:
    """All files in one archive, in no order."""
    rows = sorted(files().items(), key=lambda row: row[1])
    rows += [("../outside.mid", band(50)), ("/etc/outside.mid", band(51))] if unsafe else []
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, data in rows:
                packed.writestr(name, data)
    else:
        with tarfile.open(path, "w:xz" if path.suffix == ".xz" else "w") as packed:
            for name, data in rows:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                packed.addfile(member, io.BytesIO(data))
            link = tarfile.TarInfo("0/link.mid")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            packed.addfile(link)
    return path


@pytest.mark.parametrize("name", ["music.tar.xz", "music.zip"])
def test_archive_gives_the_same_corpus(made, tmp_path, name):
    packed = archive(tmp_path / name)
    map_corpus(packed, tmp_path / "corpus", workers=2, progress=False)
    assert content(tmp_path / "corpus") == content(made)
    assert {path.name for path in tmp_path.iterdir()} == {name, "corpus"}


@pytest.mark.parametrize("name", ["music.tar", "music.zip"])
def test_names_that_lead_out_of_an_archive_are_left_out(made, tmp_path, name):
    unsafe = map_corpus(archive(tmp_path / name, unsafe=True), tmp_path / "corpus", workers=1, progress=False)
    said = {name for name, reason in unsafe.manifest["rejected"].items() if reason == "unsafe_name"}
    assert said == {"../outside.mid", "/etc/outside.mid"}
    assert unsafe.fingerprint == prepare(made).fingerprint and unsafe.manifest["files"]["seen"] == SONGS + 10


def test_a_name_that_stands_twice(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        for data in (b"one", b"two", band(1, 1)):
            member = tarfile.TarInfo("./song.mid")
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    found = map_corpus(tmp_path / "a.tar", tmp_path / "corpus", workers=1, progress=False)
    assert found.manifest["files"] == {"seen": 3, "accepted": 1, "rejected": {"unreadable": 2}}


@pytest.mark.parametrize("name", ["music.tar.xz", "music.tar"])
def test_an_archive_without_end_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(mapping_run, "MOST_BYTES", 100_000)
    with pytest.raises(BadArchive, match=f"{name}: unpacks to more than 100,000 bytes"):
        map_corpus(archive(tmp_path / name), tmp_path / "corpus", workers=1, progress=False)


def test_encrypted_member_is_left_out(tmp_path):
    whole = bytearray(archive(tmp_path / "music.zip").read_bytes())
    place = whole.index(b"PK\x01\x02")  # the first entry of the directory: the empty file
    whole[place + 8] |= 1
    (tmp_path / "music.zip").write_bytes(whole)
    found = map_corpus(tmp_path / "music.zip", tmp_path / "corpus", workers=1, progress=False)
    assert found.manifest["rejected"]["2/empty.mid"] == "unsafe_name" and len(found["train"]) > 1


def test_damaged_archive_keeps_what_was_done(made, tmp_path):
    whole = archive(tmp_path / "music.tar").read_bytes()
    place = whole.index(band(4, 1))  # far enough in
    (tmp_path / "music.tar").write_bytes(whole[:place] + b"\xff" * 4096)
    with pytest.raises(BadArchive, match="music.tar: is damaged or cut off"):
        map_corpus(tmp_path / "music.tar", tmp_path / "corpus", workers=1, progress=False)
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize("workers", [2, 3])
def test_number_of_workers_changes_nothing(made, music, tmp_path, workers):
    map_corpus(music, tmp_path / "corpus", workers=workers, progress=False)
    assert content(tmp_path / "corpus") == content(made)


# --- files that do harm


@pytest.fixture
def harm(monkeypatch, tmp_path):
    """Lets the process that reads crash, hang, or ask for too much, at files of such names."""
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch/sitecustomize.py").write_text(
        "import os, re, signal\n"
        "from lakhnes_lib.music import mapping\n"
        "whole = mapping.candidates_of\n"
        "def reads(data, name, options):\n"
        "    if name == 'hangs': re.match('(a+)+b', 'a' * 60)\n"
        "    if name == 'crashes': os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if name == 'ends': os._exit(0)\n"
        "    if name == 'grows': bytearray(1 << 40)\n"
        "    if name == 'fails': raise KeyError(name)\n"
        "    if name == 'prints': os.write(1, b'x' * 100)\n"
        "    return whole(data, name, options)\n"
        "mapping.candidates_of = reads\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "patch"))


def test_files_that_crash_hang_or_grow_are_left_out(harm, tmp_path, capfd):
    names = ("a", "hangs", "b", "crashes", "ends", "grows", "c", "fails", "prints")
    songs = [(f"{name}.mid", band(seed, 1)) for seed, name in enumerate(names)]
    found = map_files(Job(seconds=2.0), songs)
    assert found.files == ["a.mid", "b.mid", "c.mid", "prints.mid"]
    assert found.rejected == {
        "hangs.mid": "too_slow",
        "crashes.mid": "crashed",
        "ends.mid": "crashed",
        "grows.mid": "too_much_memory",
        "fails.mid": "crashed",
    }
    assert "KeyError: 'fails'" in capfd.readouterr().err
    plain = [mapping.candidates_of(data, name[:-4]) for name, data in songs if name in found.files]
    assert [found.songs.candidates(i).content_hash for i in range(4)] == [kept.content_hash for kept in plain]


def test_a_process_that_cannot_start_is_told(monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os; os._exit(7)")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(LakhnesError, match=r"a process to read files in cannot be started \(it ended with 7\)"):
        map_files(Job(seconds=3.0), [("a.mid", b"")])


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
    found = map_corpus(tmp_path / "music", tmp_path / "corpus", workers=1, progress=False)
    assert found.manifest["rejected"] == {"closed": "no_access", "open/gone.mid": "no_access"}
    assert found.manifest["files"]["accepted"] == 2


# --- interrupted


PROGRAM = """
import sys, time
from lakhnes_lib.data import mapping_run
mapping_run.FILES_A_SHARD = 4
read = mapping_run._read
mapping_run._read = lambda *place: (time.sleep(0.1), read(*place))[1]  # slow enough to be stopped half way
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
def test_killed_run_goes_on_to_the_same_bytes(made, music, tmp_path, how):
    out = tmp_path / "corpus"
    command = [sys.executable, "-c", PROGRAM, "map", str(music), str(out), "--workers", "1"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    partial = tmp_path / "corpus.partial"
    while len(list(partial.glob("[0-9]*.npz"))) < 2:
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
        assert told.splitlines()[-2:] == ["what is done is kept; the same command goes on from there", "interrupted"]
    done = content(partial)
    assert map_and_count(music, out) <= SONGS + 8 - 4 * (len(done) - 1)
    assert content(out) == content(made) and not partial.exists()


def map_and_count(music, out, **options) -> int:
    """Maps, and tells how many files were read for it."""
    count, read = [], mapping_run._read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapping_run, "_read", lambda *place: count.append(place) or read(*place))
        map_corpus(music, out, workers=1, progress=False, **options)
    return len(count)


@pytest.fixture
def half(music, tmp_path, monkeypatch):
    """A run that a full disk ended after three shards."""
    save, saved = np.savez, []

    def filling(*args, **arrays):
        saved.append(1)
        if len(saved) > 3:
            raise OSError(28, "No space left on device")
        save(*args, **arrays)

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", filling)
        with pytest.raises(OutOfSpace, match="the disk is full"):
            map_corpus(music, tmp_path / "corpus", workers=1, progress=False)
    partial = tmp_path / "corpus.partial"
    assert {path.suffix for path in partial.iterdir()} == {".json", ".npz"} and len(content(partial)) == 4
    return partial


def test_full_disk_keeps_what_is_done(made, music, half, tmp_path):
    assert map_and_count(music, tmp_path / "corpus") == SONGS + 8 - 12
    assert content(tmp_path / "corpus") == content(made)


def test_a_cut_shard_is_made_anew(made, music, half, tmp_path):
    cut = sorted(half.glob("*.npz"))[1]
    cut.write_bytes(cut.read_bytes()[:-30])
    assert map_and_count(music, tmp_path / "corpus") == SONGS + 8 - 8
    assert content(tmp_path / "corpus") == content(made)


def test_a_changed_shard_is_told(music, half, tmp_path):
    changed = sorted(half.glob("*.npz"))[1]
    whole = changed.read_bytes()
    changed.write_bytes(whole[:400] + b"\0" * 400 + whole[800:])
    with pytest.raises(BadCorpus, match=f"{changed.name}: is missing or damaged .* remove it and begin again"):
        map_corpus(music, tmp_path / "corpus", workers=1, progress=False)


def test_other_options_or_files_do_not_go_on(music, half, tmp_path):
    others = [(music, Job(seed=1)), (music, Job(options=mapping.MappingOptions(drums=False))), (music / "0", Job())]
    for source, job in others:
        with pytest.raises(LakhnesError, match="corpus.partial: was begun from other files or with other options"):
            map_corpus(source, tmp_path / "corpus", job, workers=1, progress=False)


# --- the verb


def test_verb_tells_what_it_did(music, tmp_path, capsys):
    assert main(["map", str(music), str(tmp_path / "corpus"), "--workers", "1", "--seed", "7"]) == 0
    told = capsys.readouterr().out
    assert "published draws: " in told and "left out: 3 unreadable" in told and "songs, " in told
    assert prepare(tmp_path / "corpus")["train"].seed == 7


def test_verb_tells_what_is_wrong(tmp_path, capsys):
    def error(*words):
        assert main(["map", *map(str, words), str(tmp_path / "out"), "--workers", "1"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "nothing: there is no such folder or archive" in error(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    assert "empty: holds no MIDI file (.mid, .midi)" in error(tmp_path / "empty")
    assert not list(tmp_path.glob("*.partial"))
    (tmp_path / "a.tar").write_bytes(b"no archive")
    assert "a.tar: is damaged or cut off" in error(tmp_path / "a.tar")
    (tmp_path / "notes.pdf").write_bytes(b"no archive")
    assert "notes.pdf: is neither a folder of MIDI files nor an archive" in error(tmp_path / "notes.pdf")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.mid").write_bytes(b"no music")
    assert "bad: none of its 1 files can be used; " in error(tmp_path / "bad")
    with pytest.raises(DataNotFound):
        prepare(tmp_path / "nothing")


# --- on a cluster


def test_a_killed_cluster_worker_loses_and_doubles_nothing(made, music, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(2, processes=True, threads_per_worker=1, dashboard_address=None) as cluster:
        keep, killed = mapping_run._keep, []

        def killing(path, shard):
            if not killed:
                killed.append(list(cluster.workers.values())[0].pid)
                os.kill(killed[0], signal.SIGKILL)
            keep(path, shard)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(mapping_run, "_keep", killing)
            map_corpus(music, tmp_path / "corpus", scheduler=cluster.scheduler_address, progress=False)
    assert killed and content(tmp_path / "corpus") == content(made)


@pytest.mark.parametrize("address", ["nowhere", "tcp://127.0.0.1:1"])
def test_no_scheduler(music, tmp_path, monkeypatch, address):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(distributed, "Client", partial(distributed.Client, timeout=1))
    with pytest.raises(LakhnesError, match=f"{address}: no Dask scheduler answers there"):
        map_corpus(music, tmp_path / "corpus", scheduler=address, progress=False)


def test_cluster_package_is_missing(music, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(LakhnesError, match="a cluster needs the package `distributed`, which is not installed"):
        map_corpus(music, tmp_path / "corpus", scheduler="tcp://host:1", progress=False)


# --- real files


def test_lakh_files_as_found_in_the_wild(mirror, tmp_path):
    sample = mirror / "lmd_full_5_sample.tar.xz"
    if not sample.exists():
        pytest.skip("the folder of archives has no sample of Lakh")
    found = map_corpus(sample, tmp_path / "corpus", workers=2, progress=False)
    files, drawn = found.manifest["files"], found.manifest["published_examples"]
    assert files["seen"] == 400 == files["accepted"] + sum(files["rejected"].values())
    assert 4 < drawn["examples"] / 400 < 5  # the published script: 4.7 examples a file
    assert files["rejected"]["unreadable"] < 10 and not {"crashed", "too_slow"} & files["rejected"].keys()


@pytest.mark.parametrize("verb", ["map", "tokens"])
@pytest.mark.parametrize("workers", ["0", "-2"])
def test_a_number_of_workers_that_is_none(verb, workers, tmp_path, capsys):
    assert main([verb, str(tmp_path), str(tmp_path / "out"), "--workers", workers]) == 2
    assert "-1 is one for each core" in capsys.readouterr().err


def test_workers_and_a_scheduler(tmp_path, capsys):
    assert main(["map", str(tmp_path), str(tmp_path / "out"), "--workers", "2", "--scheduler", "tcp://host:1"]) == 2
    assert "--scheduler has workers of its own" in capsys.readouterr().err
