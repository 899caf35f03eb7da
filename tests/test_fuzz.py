"""Damaged files of every format: each gives a result or one sentence, within time and memory.

The mutants are drawn by seeds, so that they are the same each time. A mutant has a minute, though
it takes some milliseconds, and all together may not need two gigabytes more than before.
"""

import gzip
import io
import json
import random
import resource
import shutil
import signal
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from bands import files as band_files

from lakhnes_lib import profiles
from lakhnes_lib.data import archives, build, corpus, lakh_mapping
from lakhnes_lib.data.corpus import LakhSplit, Split
from lakhnes_lib.errors import LakhnesError, Rejected
from lakhnes_lib.listening import gallery
from lakhnes_lib.models import checkpoints
from lakhnes_lib.music import events, mapping, midi
from lakhnes_lib.songbook import tunes
from lakhnes_lib.sound import song_files, vgm
from lakhnes_lib.study import answers, clips, designs, study_page

SECONDS_EACH, MORE_MEMORY = 60, 2_000_000_000
PIECES = [b"\xff" * 4, b"\0" * 8, b"\x7f\xff\xff\xff", b"\x80", b"999999999999", b"-1", b"nan"]
PIECES += [b"1e400", b".inf", b"|:", b":|", b"[", b"]", b"(9", b"{", b"}", b"*a", b"&a", b"\n"]
PIECES += [b'"', b"'", b"\xed\xa0\x80", b"null", b"true", b"[]", b"{}", b"2147483647", b",", b":"]


def mutant(random, data: bytes, others: list[bytes]) -> bytes:
    """The data after one to sixteen changes: bits, bytes, pieces put in, taken out, or repeated,
    a cut, and the end of another one."""
    data = bytearray(data)
    for _ in range(random.choice([1, 1, 1, 2, 4, 16])):
        at, kind = random.randrange(len(data) or 1), random.randrange(8)
        if kind == 0 and data:
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[at : at + 1] = random.randbytes(1)
        elif kind == 2:
            del data[at : at + random.choice([1, 2, 4, 16, 64])]
        elif kind == 3:
            data[at:at] = random.choice(PIECES) * random.choice([1, 1, 1, 50])
        elif kind == 4:
            data[at:at] = data[at : at + random.randrange(1, 64)] * random.choice([1, 2, 100])
        elif kind == 5:
            del data[at:]
        elif kind == 6:
            other = random.choice(others)
            data[at:] = other[random.randrange(len(other)) :]
        else:
            data[at : at + 4] = random.randbytes(4)
    return bytes(data)


@pytest.fixture(autouse=True)
def bounds():
    """A mutant that takes a minute raises TimeoutError, one that takes two gigabytes MemoryError;
    neither is a LakhnesError."""

    def late(number, frame):
        raise TimeoutError(f"more than {SECONDS_EACH} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + MORE_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    handler = signal.signal(signal.SIGALRM, late)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
    resource.setrlimit(resource.RLIMIT_AS, before)


def outcome(use, *arguments) -> str:
    """ "read", or "refused" by one sentence; anything else is an error of the test."""
    signal.alarm(SECONDS_EACH)
    try:
        use(*arguments)
        return "read"
    except Rejected:
        return "refused"
    except LakhnesError as error:
        assert 10 < len(str(error)) < 1000 and "\n" not in str(error), str(error)
        return "refused"
    finally:
        signal.alarm(0)


def both(outcomes: list[str], least: int = 1) -> None:
    """Some mutants are harmless and some are not; otherwise they are no test."""
    counts = {kind: outcomes.count(kind) for kind in ("read", "refused")}
    assert min(counts.values()) >= least, counts


# Songs


@pytest.fixture(scope="module")
def song():
    return tunes.score("greensleeves").excerpt(0, 6)


@pytest.fixture(scope="module")
def songs(song):
    """Files of each form, as bytes."""
    packed = vgm.to_bytes(song)
    abc = [(tunes.FOLDER / f"{slug}.abc").read_bytes() for slug in list(tunes.pieces())[:4]]
    return {
        ".mid": [data for name, data in band_files().items() if name.endswith(".mid") and data],
        ".vgm": [packed, gzip.compress(packed, mtime=0)],
        ".tx1.txt": [events.to_tx1(song).encode()],
        ".abc": [b'X:1\nM:C|\nL:1/8\nQ:1/4=90\nK:Dm\n|:"Dm"A2(3def|1 ^g>a:|2[df]4||\n', *abc],
    }


def convert(path):
    """Reads a song, and writes it in every form but as sound, which takes long."""
    score, _ = build.read_with_remarks(path)
    for ending in (".mid", ".vgm", ".tx1.txt", *song_files.TRACKER):
        outcome(song_files.write_song, score, path.with_name(f"out{ending}"))


@pytest.mark.parametrize(
    ("ending", "number"), [(".mid", 300), (".vgm", 150), (".tx1.txt", 300), (".abc", 80)]
)
def test_songs(songs, tmp_path, ending, number):
    if ending == ".mid":
        song = build.read_song(tunes.FOLDER / "cancan.abc").excerpt(0, 4)
        midi.write(song, tmp_path / "nes.mid")
        songs[ending].append((tmp_path / "nes.mid").read_bytes())
    draw, path, outcomes = random.Random(ending), tmp_path / f"m{ending}", []
    for _ in range(number):
        path.write_bytes(mutant(draw, draw.choice(songs[ending]), songs[ending]))
        outcomes.append(outcome(convert, path))
        if ending == ".mid":
            outcome(mapping.map_to_nes, path)
    both(outcomes, least=5)


# Folders


def damaged(draw, folder: Path, copy: Path) -> Path:
    """A copy of a folder with one damaged file."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    path = draw.choice(sorted(path for path in copy.rglob("*") if path.is_file()))
    path.write_bytes(mutant(draw, path.read_bytes(), [path.read_bytes(), b"{}"]))
    return copy


def remade(draw, folder: Path, copy: Path) -> Path:
    """A copy of a corpus with impossible values, and with the fingerprint of these."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    manifest = json.loads((copy / "corpus.json").read_text())
    kind = Split if manifest["format"] == Split.FORMAT else LakhSplit
    arrays = {part: np.load(copy / f"train.{part}.npy") for part in kind.PARTS}
    array = arrays[draw.choice([part for part, rows in arrays.items() if len(rows)])]
    column = array[draw.choice(array.dtype.names)]
    values = {"S": [b"", b"zz", b"0"], "b": [True, False]}.get(column.dtype.kind)
    if values is None:
        whole = np.iinfo(column.dtype)
        values = [0, 1, 9, 200, whole.min, whole.max]
    column[draw.randrange(len(column))] = draw.choice(values)
    names = json.loads((copy / "train.names.json").read_text())
    split = kind("train", names, *arrays.values(), settings=manifest.get("settings"))
    split.save(copy)
    manifest["splits"]["train"] = split.described()
    (copy / "corpus.json").write_text(json.dumps(manifest))
    return copy


def use_corpus(folder):
    for split in corpus.open_corpus(folder).splits.values():
        split.framed()
        events.encode_songs(*split.packed(0, 0, "fresh"))


@pytest.mark.parametrize("make", [damaged, remade])
@pytest.mark.parametrize("kind", ["notes", "candidates"])
def test_corpora(song, tmp_path, make, kind):
    if kind == "notes":
        parts = [song.excerpt(start, start + 1) for start in range(4)]
        corpus.write_corpus({"train": parts[:3], "valid": parts[3:]}, tmp_path / "corpus")
    else:
        (tmp_path / "music").mkdir()
        for name, data in band_files().items():
            (tmp_path / "music" / Path(name).name).write_bytes(data)
        options = dict(workers=1, progress=False)
        lakh_mapping.map_corpus(tmp_path / "music", tmp_path / "corpus", **options)
    draw = random.Random(kind)
    copies = (make(draw, tmp_path / "corpus", tmp_path / "copy") for _ in range(80))
    outcomes = [outcome(use_corpus, copy) for copy in copies]
    if make is damaged:
        assert outcomes.count("refused") > 70, "the fingerprint tells"
    else:
        both(outcomes)


@pytest.mark.parametrize("architecture", ["unigram", "lstm"])
def test_checkpoints(tmp_path, architecture):
    sizes = {"embedding": 4, "units": 4} if architecture == "lstm" else {}
    checkpoints.save(checkpoints.build(architecture, **sizes), tmp_path / "model")
    draw = random.Random(architecture)
    copies = (damaged(draw, tmp_path / "model", tmp_path / "copy") for _ in range(60))
    both([outcome(checkpoints.load, copy) for copy in copies])


def use_study(folder):
    design = designs.open_design(folder)
    study_page.write(design, folder / "page.html")
    answers.read(design, [folder / "answers.csv"])


def test_studies(tmp_path):
    slugs = list(tunes.pieces())[:4]
    music = {"real": [tunes.score(slug) for slug in slugs[:2]]}
    music |= {"b": [tunes.score(slug) for slug in slugs[2:]]}
    options = dict(pairs=2, controls=1, seconds=0.5, progress=False)
    design = clips.make_study("turing", music, tmp_path / "design", **options)
    rows = [("someone", design.fingerprint, trial.id, "a", "now") for trial in design.trials]
    answers.write(tmp_path / "design/answers.csv", rows)
    draw = random.Random(0)
    copies = (damaged(draw, tmp_path / "design", tmp_path / "copy") for _ in range(60))
    both([outcome(use_study, copy) for copy in copies])


def test_pages_of_pieces(tmp_path):
    """A page is written whatever lies beside the pieces, and says what it leaves out."""
    (tmp_path / "piece.mid").touch()
    good = gallery.PieceDescription(title="a", caption="b", seconds=1).model_dump_json().encode()
    draw = random.Random(0)
    for _ in range(60):
        (tmp_path / "piece.json").write_bytes(mutant(draw, good, [good]))
        assert outcome(gallery.write_gallery, tmp_path) == "read"


# Other files


def load_profile(path):
    for sizes in profiles.load(path).models.values():
        if sizes["architecture"] in ("random", "unigram"):  # the others are large
            checkpoints.build(**sizes)


def test_profiles(tmp_path):
    texts = [(profiles.root() / f"profiles/{name}.yaml").read_bytes() for name in profiles.names()]
    texts.append(b"name: a\nseed: 0\ncorpus: a\nmodels: {a: {architecture: unigram}}\ntraining: {}")
    draw, path, outcomes = random.Random(0), tmp_path / "m.yaml", []
    for _ in range(60):
        path.write_bytes(mutant(draw, draw.choice([texts[-1], draw.choice(texts)]), texts))
        outcomes.append(outcome(load_profile, path))
    both(outcomes)


def archives_of(data: bytes) -> list[bytes]:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.mid", data)
        file.writestr("b/c.mid", data[::-1])
    archived = [packed.getvalue()]
    for mode in ("w", "w:gz", "w:xz", "w:bz2"):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode=mode) as file:
            entry = tarfile.TarInfo("a.mid")
            entry.size = len(data)
            file.addfile(entry, io.BytesIO(data))
        archived.append(packed.getvalue())
    return archived


def test_archives(songs, tmp_path):
    kinds, draw, outcomes = archives_of(songs[".mid"][0]), random.Random(0), []

    def read(path):
        archives.is_archive(path)
        list(archives.contents(path, 1_000_000, 1_000_000))

    for _ in range(400):
        (tmp_path / "m.zip").write_bytes(mutant(draw, draw.choice(kinds), kinds))
        outcomes.append(outcome(read, tmp_path / "m.zip"))
    both(outcomes, least=5)
