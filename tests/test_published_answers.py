"""`make published`, driven whole: archives in a mirror folder, with files of the published format,
are fetched, converted and evaluated, and stand beside the published numbers."""

import hashlib
import io
import re
import subprocess
import sys
import tarfile
from dataclasses import replace

import pages
import published_checkpoints
import published_table
import pytest
import reproduction_page
import test_published
from songs import tune

from lakhnes_lib import profiles
from lakhnes_lib.data import registry
from lakhnes_lib.data.corpus import write_corpus
from lakhnes_lib.evaluation import perplexity
from lakhnes_lib.listening import reproduction, results
from lakhnes_lib.models import checkpoints

AT_HAND = ("nes", "lakhnes-400k")

program = test_published.program


@pytest.fixture
def mirror(program, tmp_path, monkeypatch):
    """A folder with an archive for each of AT_HAND, whose model is another for each; the registry
    holds their hashes. Returns the folder of the loose model files."""
    mirror, loose = tmp_path / "mirror", tmp_path / "loose"
    mirror.mkdir()
    loose.mkdir()
    for width, name in enumerate(AT_HAND):
        sizes = test_published.SIZES | {"n_layer": 1 + width}
        model = test_published.published_model(program, **sizes)
        data = test_published.store(model, loose / f"{name}.pt").read_bytes()
        entry = registry.REGISTRY[name]
        top = entry.folder.removeprefix("published/")
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w:gz") as archive:
            for inner, content in (("model.pt", data), ("vocab.txt", b"WT_1\n")):
                member = tarfile.TarInfo(f"{top}/{inner}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        (mirror / f"{top}.tar.gz").write_bytes(out.getvalue())
        known = replace(entry, sha256=hashlib.sha256(out.getvalue()).hexdigest(), url=None)
        monkeypatch.setitem(registry.REGISTRY, name, known)
    for name, entry in registry.REGISTRY.items():  # none is asked for over the network
        monkeypatch.setitem(registry.REGISTRY, name, replace(entry, url=None))
    monkeypatch.setenv("LAKHNES_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAKHNES_MIRROR", str(mirror))
    return loose


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """A corpus whose valid and test fill ten streams."""
    songs = {
        name: [tune(first + seed, beats=48) for seed in range(16)]
        for name, first in (("train", 0), ("valid", 20), ("test", 40))
    }
    corpus = write_corpus(songs, tmp_path / "corpus")
    monkeypatch.setattr(published_checkpoints, "corpus_at_hand", lambda: corpus)
    return corpus


def run(monkeypatch, *options) -> int:
    monkeypatch.setattr(
        sys, "argv", ["tools/published_checkpoints.py", "--device", "cpu", *options]
    )
    return published_checkpoints.main()


def test_from_archives_to_paper_measured_difference(mirror, corpus, monkeypatch, capsys):
    assert run(monkeypatch) == 1, "four checkpoints are not at hand"
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "checkpoint | protocol | paper | measured | difference"
    printed = [line.split(" | ") for line in lines[1:] if line.count(" | ") == 4]
    known = {row["name"]: row for row in reproduction.known_answers()["published"]}
    expected = []
    for name in AT_HAND:
        row, model = known[f"published/{name}"], convert(mirror / f"{name}.pt")
        protocols = [("paper's, test", row["test"], streams(model, corpus["test"]))]
        protocols += [("paper's, valid", row["valid"], streams(model, corpus["valid"]))]
        if name == "lakhnes-400k":
            songs = [perplexity.whole(corpus["test"].score(n)) for n in range(16)]
            alone = perplexity.per_song(model, songs, progress=False).perplexity
            protocols += [("song by song, test", 2.4519956, alone)]
        for protocol, paper, value in protocols:
            difference = f"{value / paper - 1:+.2%}"
            cells = [row["title"], protocol, f"{paper:.3f}", f"{value:.3f}", difference]
            expected.append(cells)
    assert printed == expected and len({cells[3] for cells in printed}) == 5
    for row in known.values():
        name = row["name"].removeprefix("published/")
        unmeasured = re.search(f"^{re.escape(row['title'])}: .*holds no", out, re.M)
        assert (unmeasured is None) == (name in AT_HAND), name
        assert (name in err.removeprefix("not measured: ").strip().split(", ")) != (name in AT_HAND)


def streams(model, split) -> float:
    return perplexity.paper(model, split.framed(), split.names, progress=False).perplexity


def convert(file):
    folder = file.with_suffix("")
    checkpoints.convert_published(file, folder)
    return checkpoints.load(folder)


def test_one_checkpoint_written_and_measured_again(mirror, corpus, monkeypatch, tmp_path, capsys):
    real = results.path_of
    paths = {"published": tmp_path / "published.json"}
    path_of = lambda name, folder=None: paths.get(name) or real(name, folder)  # noqa: E731
    monkeypatch.setattr(results, "path_of", path_of)
    assert run(monkeypatch, "--only", "nes", "--write") == 0
    first = capsys.readouterr().out
    values = results.read("published")["values"]
    assert values.keys() == {"nes"} and values["nes"].keys() == {"test", "valid"}
    # The next one is added, and the first one's rows stand on the page.
    assert run(monkeypatch, "--only", "lakhnes-400k", "--write") == 0
    assert results.read("published")["values"].keys() == {"nes", "lakhnes-400k"}
    rows = published_table.measured_rows()
    assert " | ".join(rows[0]) in first and len(rows) == 5
    assert f"| {' | '.join(rows[4])} |" in reproduction_page.page(pages.hardware())


def test_a_forged_archive_is_named_and_not_read(mirror, corpus, monkeypatch, capsys):
    forged = replace(registry.REGISTRY["nes"], sha256="0" * 64)
    monkeypatch.setitem(registry.REGISTRY, "nes", forged)
    assert run(monkeypatch, "--only", "nes") == 1
    out, err = capsys.readouterr()
    assert "is not the published file" in out and err.strip() == "not measured: nes"


def test_make_published_runs_it():
    command = ["make", "-n", "-C", str(profiles.root()), "published"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "tools/published_checkpoints.py --write" in said
