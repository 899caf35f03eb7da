"""Mapping a folder or an archive: the same corpus, whatever holds the files and whoever works."""

import dataclasses
import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
from bands import FILES_A_SHARD, SONGS, band, content, files

from lakhnes_lib.data import lakh_mapping
from lakhnes_lib.data.corpora import prepare
from lakhnes_lib.data.lakh_mapping import map_corpus
from lakhnes_lib.errors import BadArchive, Rejected
from lakhnes_lib.music import events, filters, mapping


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(lakh_mapping, "FILES_A_SHARD", FILES_A_SHARD)


def test_corpus_holds_what_the_mapping_gives(mapped, music):
    packed, examples, splits = prepare(mapped), {}, {}
    for name in files():
        if not name.endswith(".txt") and "/." not in f"/{name}":
            try:
                song = mapping.candidates(music / name)
                examples[song.content_hash] = mapping.examples(song, 0)
            except Rejected as error:
                assert packed.manifest["rejected"][name] == error.reason
    for split, part in packed.splits.items():
        hashes = [song.content_hash for song in map(part.candidates, range(len(part)))]
        assert hashes == sorted(hashes)
        splits[split] = hashes
        for index, content_hash in enumerate(hashes):
            assert mapping.examples(part.candidates(index), 0) == examples[content_hash]
            assert (int(content_hash[:8], 16) % 10 == 0) == (split == "valid")
    assert sorted(splits["train"] + splits["valid"]) == sorted(examples) and len(examples) == SONGS


def test_manifest_counts_everything(mapped, music):
    said = json.loads((mapped / "corpus.json").read_text())
    drawn = [
        score
        for seed in range(SONGS)
        for score in mapping.map_to_nes(music / f"{seed % 3}/song {seed}.mid")
    ]
    assert said["published_examples"] == {
        "examples": len(drawn),
        "events": sum(len(events.encode(score)) for score in drawn),
        "hours": round(sum(score.seconds for score in drawn) / 3600, 3),
        "voices": {
            name: sum(bool(len(s.voice(v))) for s in drawn)
            for v, name in enumerate(("P1", "P2", "TR", "NO"))
        },
    }
    reasons = {
        "duplicate": 2,
        "only_drums": 0,
        "polyphonic": 1,
        "too_large": 1,
        "too_short": 1,
        "unreadable": 3,
    }
    assert said["files"] == {
        "seen": SONGS + 8,
        "accepted": SONGS,
        "rejected": {reason: count for reason, count in reasons.items() if count},
    }
    assert (
        said["rejected"]["2/huge.mid"] == "too_large"
        and said["rejected"]["2/empty.mid"] == "unreadable"
    )
    # Of three files with one content the first by name stays.
    assert {name for name, reason in said["rejected"].items() if reason == "duplicate"} == {
        "1/copy of song 5.midi",
        "2/song 5.mid",
    }
    names = prepare(mapped)["train"].names + prepare(mapped)["valid"].names
    assert "again" in names and "song 5" not in names
    assert said["settings"] == {"seed": 0, "options": dataclasses.asdict(mapping.PUBLISHED)}
    assert set(said["rejected"].values()) <= {"duplicate", *filters.REASONS}


def archive(path: Path) -> Path:
    """All files in one archive, in no order."""
    rows = sorted(files().items(), key=lambda row: row[1])
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
def test_archive_gives_the_same_corpus(mapped, tmp_path, name):
    packed = archive(tmp_path / name)
    map_corpus(packed, tmp_path / "corpus", workers=2, progress=False)
    assert content(tmp_path / "corpus") == content(mapped)
    assert {path.name for path in tmp_path.iterdir()} == {name, "corpus"}


def test_names_that_lead_out_of_an_archive_do_no_harm(tmp_path):
    """Nothing is unpacked: a name is only a name."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for name in ("../outside.mid", "/etc/outside.mid"):
            packed.writestr(name, band(len(name)))
    map_corpus(tmp_path / "a.zip", tmp_path / "in" / "corpus", workers=1, progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip", "in"}
    (corpus,) = (tmp_path / "in").iterdir()
    assert sum(len(part) for part in prepare(corpus).splits.values()) == 2


def test_a_name_that_stands_twice(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        for data in (b"one", b"two", band(1, 1)):
            member = tarfile.TarInfo("./song.mid")
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    corpus = map_corpus(tmp_path / "a.tar", tmp_path / "corpus", workers=1, progress=False)
    assert corpus.manifest["files"] == {"seen": 3, "accepted": 1, "rejected": {"unreadable": 2}}


@pytest.mark.parametrize("name", ["music.tar.xz", "music.tar"])
def test_an_archive_without_end_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(lakh_mapping, "MOST_BYTES", 100_000)
    with pytest.raises(BadArchive, match=f"{name}: unpacks to more than 100,000 bytes"):
        map_corpus(archive(tmp_path / name), tmp_path / "corpus", workers=1, progress=False)


def test_encrypted_member_is_left_out(tmp_path):
    whole = bytearray(archive(tmp_path / "music.zip").read_bytes())
    position = whole.index(b"PK\x01\x02")  # the first entry of the directory: the empty file
    whole[position + 8] |= 1
    (tmp_path / "music.zip").write_bytes(whole)
    corpus = map_corpus(tmp_path / "music.zip", tmp_path / "corpus", workers=1, progress=False)
    assert corpus.manifest["rejected"]["2/empty.mid"] == "no_access" and len(corpus["train"]) > 1


def test_damaged_archive_keeps_what_was_done(mapped, tmp_path):
    whole = archive(tmp_path / "music.tar").read_bytes()
    position = whole.index(band(4, 1))  # far enough in
    (tmp_path / "music.tar").write_bytes(whole[:position] + b"\xff" * 4096)
    with pytest.raises(BadArchive, match="music.tar: is damaged or cut off"):
        map_corpus(tmp_path / "music.tar", tmp_path / "corpus", workers=1, progress=False)
    assert not (tmp_path / "corpus").exists()


def test_number_of_workers_changes_nothing(mapped, music, tmp_path):
    map_corpus(music, tmp_path / "corpus", workers=3, progress=False)
    assert content(tmp_path / "corpus") == content(mapped)


def test_lakh_files_as_found_in_the_wild(mirror, tmp_path):
    sample = mirror / "lmd_full_5_sample.tar.xz"
    if not sample.exists():
        pytest.skip("the folder of archives has no sample of Lakh")
    corpus = map_corpus(sample, tmp_path / "corpus", workers=2, progress=False)
    files, drawn = corpus.manifest["files"], corpus.manifest["published_examples"]
    assert files["seen"] == 400 == files["accepted"] + sum(files["rejected"].values())
    assert 4 < drawn["examples"] / 400 < 5  # the published script: 4.7 examples a file
    assert (
        files["rejected"]["unreadable"] < 10
        and not {"crashed", "too_slow"} & files["rejected"].keys()
    )
