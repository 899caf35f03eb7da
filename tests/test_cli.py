"""The command line as a user meets it: exit codes, one line on stderr, help that reads well."""

import contextlib
import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import typer.main
from interrupts import interrupt

from lakhnes_lib.__main__ import app, main
from lakhnes_lib.models import checkpoints

ROOT = Path(__file__).resolve().parents[1]


def start(*arguments, code="from lakhnes_lib.__main__ import main; sys.exit(main())", **options):
    command = [sys.executable, "-c", f"import sys; {code}", *map(str, arguments)]
    options = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "cwd": ROOT,
    } | options
    return subprocess.Popen(command, **options)


COMMANDS = typer.main.get_command(app)


def commands(group=COMMANDS, path=()):
    """Every verb there is, as the words one types."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.fixture
def one_line(capsys):
    """Runs a command that must fail with exit code 1, and returns its one line."""

    def run(*arguments):
        assert main([str(argument) for argument in arguments]) == 1
        out, err = capsys.readouterr()
        assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n"), err
        assert "Traceback" not in out + err
        return err

    return run


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help(words, capsys):
    assert main([*words, "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Usage: lakhnes {' '.join(words)} ")
    command = functools.reduce(lambda group, word: group.commands[word], words, COMMANDS)
    for option in command.params:
        assert option.help, f"{option.name} is not explained"
        assert " ".join(option.help.split()[:3]) in out
    assert max(map(len, out.splitlines())) <= 100


def test_help_of_all(capsys):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for words in commands():
        assert f"\n  {words[0]} " in out


@pytest.mark.parametrize("words", [["--help"], ["generate", "--help"], ["evaluate"]], ids=str)
def test_help_and_usage_errors_import_nothing_heavy(words):
    heavy = {"torch", "numpy", "yaml", "matplotlib", "lakhnes_lib.profiles"}
    code = (
        "from lakhnes_lib.__main__ import main; main(sys.argv[1:]); "
        f"print('imported:', sorted({heavy} & set(sys.modules)))"
    )
    assert start(*words, code=code).communicate()[0].endswith("imported: []\n")


@pytest.mark.parametrize(
    "arguments", [[], ["data"], ["nothing"], ["data", "fetch"], ["data", "list", "--colour"]]
)
def test_usage_errors(arguments, capsys):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert "Usage: lakhnes" in out + err


def test_version(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"lakhnes \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_data_list(capsys, tmp_path):
    (tmp_path / "nesmdb_tx1").mkdir()
    assert main(["data", "list", "--home", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^nesmdb-midi +12 MB +- ", out, re.M)
    assert re.search(r"^nesmdb-tx1 +10 MB +here ", out, re.M)
    assert re.search(r"^lmd-full-5 +76 MB +mirror only ", out, re.M)
    assert (
        "CC BY 4.0" in out and "ISMIR 2018" in out and "ISMIR 2019" in out and str(tmp_path) in out
    )


def test_data_fetch_errors(one_line, tmp_path):
    assert "'nesmdb' is not in the registry" in one_line(
        "data", "fetch", "nesmdb", "--home", tmp_path
    )
    (tmp_path / "mirror").mkdir()
    arguments = [
        "data",
        "fetch",
        "nesmdb-midi",
        "--home",
        tmp_path / "home",
        "--mirror",
        tmp_path / "mirror",
    ]
    assert "holds no nesmdb_midi.tar.gz" in one_line(*arguments)
    (tmp_path / "mirror/nesmdb_midi.tar.gz").write_bytes(b"rubbish")
    assert "damaged or cut off" in one_line(*arguments)
    assert not list((tmp_path / "home").glob("[!.]*"))


# Files


@pytest.fixture(scope="module")
def song():
    from lakhnes_lib.songbook import tunes

    return tunes.scores("test")[0].excerpt(0, 3)


def test_every_form_of_file(song, tmp_path, capsys):
    """MIDI to everything and back: notes and timing stay, sound sounds."""
    from lakhnes_lib.music import events, midi

    midi.write(song, tmp_path / "a.mid")
    text = events.to_tx1(song)
    for ending in ("tx1.txt", "TX1", "vgm", "vgz", "midi"):
        assert main(["render", str(tmp_path / "a.mid"), str(tmp_path / f"b.{ending}")]) == 0
        assert (
            main(["render", str(tmp_path / f"b.{ending}"), str(tmp_path / f"back.{ending}.mid")])
            == 0
        )
        assert events.to_tx1(midi.read(tmp_path / f"back.{ending}.mid")) == text
        assert capsys.readouterr().out.startswith(
            f"{tmp_path / 'b'}.{ending}: 3.0 s, {len(song.notes)} notes\n"
        )
        assert main(["tokens", str(tmp_path / f"b.{ending}")]) == 0
        assert capsys.readouterr() == (text, "")
    assert main(["tokens", str(tmp_path / "b.vgm"), str(tmp_path / "c.tx1.txt")]) == 0
    assert (tmp_path / "c.tx1.txt").read_bytes().decode() == text
    assert (
        main(["render", str(tmp_path / "b.vgz"), str(tmp_path / "new/c.wav"), "--rate", "11025"])
        == 0
    )
    with wave.open(str(tmp_path / "new/c.wav")) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (11025, -(-song.length // 4))
        assert np.abs(np.frombuffer(sound.readframes(-1), "<i2")).max() > 1000


def test_file_errors(song, tmp_path, one_line):
    from lakhnes_lib.music import midi

    midi.write(song, tmp_path / "a.mid")
    (tmp_path / "bad.mid").write_bytes(b"MThd")
    assert "a.mp3: its ending is none of those" in one_line(
        "render", tmp_path / "a.mid", tmp_path / "a.mp3"
    )
    assert "bad.mid" in one_line("render", tmp_path / "bad.mid", tmp_path / "a.wav")
    assert "none.vgm" in one_line("tokens", tmp_path / "none.vgm")
    (tmp_path / "a.mp3").touch()
    assert (
        "a.mp3: its ending is none of those that can be read as music (.mid, .midi, .rmi, "
        in one_line("tokens", tmp_path / "a.mp3")
    )
    (tmp_path / "bad.tx1.txt").write_text("P1_NOTEON_60\nHELLO\n")
    assert f"{tmp_path / 'bad.tx1.txt'}: line 2 holds 'HELLO'" in one_line(
        "tokens", tmp_path / "bad.tx1.txt"
    )
    (tmp_path / "bad.tx1.txt").unlink()
    (tmp_path / "a.mp3").unlink()
    assert "written as event text" in one_line("tokens", tmp_path / "a.mid", tmp_path / "a.wav")
    assert "a.mid" in one_line("render", tmp_path / "a.mid", tmp_path / "a.mid/a.wav")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mid", "bad.mid"]
    assert (
        main(["tokens", str(tmp_path)])
        == 2
        == main(["tokens", str(tmp_path / "a.mid"), "--workers", "1"])
    )


def test_lead_sheets(tmp_path, capsys, one_line):
    """ABC is read: the songbook's pieces as arranged there, others in a style of their metre."""
    from lakhnes_lib.data import build
    from lakhnes_lib.music import midi
    from lakhnes_lib.songbook import tunes

    assert build.read_song(tunes.FOLDER / "cancan.abc") == tunes.score("cancan")
    text = (tunes.FOLDER / "greensleeves.abc").read_text()
    (tmp_path / "mine.abc").write_text(text.replace("T:Greensleeves", "T:Mine"))
    assert main(["render", str(tmp_path / "mine.abc"), str(tmp_path / "mine.mid")]) == 0
    mine = midi.read(tmp_path / "mine.mid")
    assert mine.name == "mine" and all(len(mine.voice(voice)) for voice in range(4))
    for broken in (
        "",
        "no music\n",
        text.replace("K:Am", ""),
        text.replace("M:6/8", "M:1/0"),
        text.replace("M:6/8", "M:999999999/1"),
    ):
        (tmp_path / "bad.abc").write_text(broken)
        assert "bad.abc: " in one_line("tokens", tmp_path / "bad.abc")
    assert "none.abc: there is no such file" in one_line("tokens", tmp_path / "none.abc")


def test_nothing_is_written_over(song, tmp_path, capsys):
    from lakhnes_lib.music import midi
    from lakhnes_lib.sound import song_files

    for ending in ("mid", "tx1.txt"):
        song_files.write_song(song, tmp_path / f"a.{ending}")
    assert main(["render", str(tmp_path), str(tmp_path / "out"), "--to", "vgm"]) == 0
    out, err = capsys.readouterr()
    assert "out: 1 files rendered, 1 left out" in out and "a.tx1.txt: would become " in err
    before = (tmp_path / "a.mid").read_bytes()
    assert (
        main(["render", str(tmp_path), str(tmp_path), "--to", "mid", "--volume", "3"]) == 0
    )  # out/a.vgm alone
    assert (tmp_path / "a.mid").read_bytes() == before and midi.read(tmp_path / "out/a.mid")


def test_what_is_read_is_not_written(song, tmp_path, monkeypatch, capsys, one_line):
    from lakhnes_lib.sound import song_files

    for name in ("a.mid", "a.tx1"):
        song_files.write_song(song, tmp_path / name)
    (tmp_path / "link.mid").symlink_to("a.mid")
    monkeypatch.chdir(tmp_path)
    before = (tmp_path / "a.mid").read_bytes()
    for words in ("a.mid a.mid", "a.mid ./a.mid", "a.mid link.mid", "link.mid a.mid"):
        assert f"{words.split()[1][-5:]}: is the file that is read" in one_line(
            "render", *words.split(), "--volume", 3
        )
    assert "a.tx1: is the file that is read" in one_line("tokens", "a.tx1", "a.tx1")
    (tmp_path / "same").symlink_to(".")
    assert main(["render", ".", "same", "--to", "mid", "--volume", "3"]) == 1
    assert "which is taken" in capsys.readouterr().err
    assert (tmp_path / "a.mid").read_bytes() == before
    for note in ("", ", in place of an earlier file"):
        assert main(["render", "a.mid", "b.vgm"]) == 0
        out = capsys.readouterr().out
        assert out == f"b.vgm: 3.0 s, {len(song.notes)} notes{note}\n"


def test_files_of_a_folder_that_cannot_be_read_are_named(song, tmp_path, capsys):
    from lakhnes_lib.music import midi

    for name in "abc":
        midi.write(song, tmp_path / f"music/{name}.mid")
    (tmp_path / "music/broken.mid").symlink_to("nowhere")
    os.mkfifo(tmp_path / "music/pipe.vgm")
    assert main(["tokens", str(tmp_path / "music"), str(tmp_path / "out"), "--workers", "1"]) == 0
    out, err = capsys.readouterr()
    assert "left out: 2 files" in out
    assert "broken.mid: cannot be read" in err and "pipe.vgm: cannot be read" in err


def test_paths_that_are_not_there_or_not_of_their_kind(song, tmp_path, monkeypatch, one_line):
    monkeypatch.chdir(tmp_path)
    assert "music: there is no such file or folder" in one_line("render", "music", "out")
    assert "music: there is no such file or folder" in one_line("tokens", "music")
    (tmp_path / "a.abc").write_text("X:1")
    assert "out: has no ending" in one_line("render", "a.abc", "out")
    assert "a.abc: is a file, and a folder" in one_line(
        "train", "--profile", "smoke", "--out", "a.abc"
    )
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.safetensors").touch()
    assert "model: holds model.safetensors, which would be lost" in one_line(
        "convert", "model.pt", "model"
    )


@pytest.mark.parametrize(
    "words",
    [
        "train --profile smoke --seed 99999999999999999999",
        "train --profile smoke --max-minutes nan",
        "evaluate MODEL --memory 99999999999999999999",
        "map music out --seed 99999999999999999999",
        "study make turing out --method a=b --batches 99999999999999999999",
        "study make turing out --method a=b --length 9999999",
        "study page design answers.csv",
        "study report design a.csv --min-batches 99999999999999999999",
    ],
)
def test_numbers_and_names_out_of_bounds(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "answers.csv").write_text("precious")
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert err.splitlines()[-1].startswith("Error: Invalid value for ") and not out
    assert (tmp_path / "answers.csv").read_text() == "precious"
    assert os.listdir(tmp_path) == ["answers.csv"]


def test_workers_are_at_most_one_for_each_core(song, tmp_path, monkeypatch):
    from lakhnes_lib.data import build
    from lakhnes_lib.music import midi

    midi.write(song, tmp_path / "music/a.mid")
    asked = []
    monkeypatch.setattr(build, "build_corpus", lambda *_, workers, **__: asked.append(workers))
    for number in (1, -1, 10**9):
        with contextlib.suppress(AttributeError):  # there is no corpus
            main(["tokens", str(tmp_path / "music"), "out", "--workers", str(number)])
    assert asked == [1, -1, os.cpu_count()]


@pytest.mark.parametrize(
    "options",
    [
        "a.mid a.vgm --rate 8000",
        "a.mid a.wav --rate 1",
        "a.mid a.tx1 --duty 1",
        "a.mid a.wav --to wav",
        ". out --rate 1",
        ". out --to mp3",
        ". out --to mid --rate 8000",
        ". out --to tx1.txt --volume 3",
    ],
)
def test_options_of_render_that_do_not_fit(song, tmp_path, monkeypatch, capsys, options):
    from lakhnes_lib.music import midi

    midi.write(song, tmp_path / "a.mid")
    monkeypatch.chdir(tmp_path)
    assert main(["render", *options.split()]) == 2
    assert "Error: Invalid value for " in capsys.readouterr().err and os.listdir(tmp_path) == [
        "a.mid"
    ]


def test_folders(song, tmp_path, capsys, one_line):
    from lakhnes_lib.data import corpus
    from lakhnes_lib.music import midi

    for name in ("train/a", "valid/b.c", "test/d"):
        midi.write(song, tmp_path / f"music/{name}.mid")
    (tmp_path / "music/train/bad.mid").write_bytes(b"MThd")
    assert main(["render", str(tmp_path / "music"), str(tmp_path / "out"), "--to", "tx1.txt"]) == 0
    out, err = capsys.readouterr()
    assert (
        out == f"{tmp_path / 'out'}: 3 files rendered, 1 left out\n"
        and err.startswith("left out: ")
        and "bad.mid" in err
    )
    names = sorted(
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")
    )
    assert names == ["test/d.tx1.txt", "train/a.tx1.txt", "valid/b.c.tx1.txt"]
    assert (
        main(["tokens", str(tmp_path / "music"), str(tmp_path / "packed"), "--workers", "1"]) == 0
    )
    out, err = capsys.readouterr()
    assert (
        re.search(r"^train: 1 songs, [\d,]+ notes, 0.00 h$", out, re.M)
        and "left out: 1 files" in out
    )
    opened = corpus.open_corpus(tmp_path / "packed")
    assert opened["test"].score(0) == song and list(opened.manifest["rejected"])
    (tmp_path / "empty").mkdir()
    assert "empty" in one_line("render", tmp_path / "empty", tmp_path / "nothing")
    assert "empty" in one_line("tokens", tmp_path / "empty", tmp_path / "nothing")
    (tmp_path / "empty/bad.mid").write_bytes(b"MThd")
    assert "none of its 1 files" in one_line(
        "tokens", tmp_path / "empty", tmp_path / "nothing", "--workers", 1
    )


# Models


PROFILE = """
name: tiny
seed: 1
corpus: songbook
models: {transformer_xl: {architecture: transformer_xl, layers: 1, width: 16, heads: 2,
  head_width: 8, feed_forward: 16, memory_length: 16}}
training: {transformer_xl: {steps: 4, batch: 2, segment: 16, learning_rate: 0.01,
  evaluate_every: 2, valid_songs: 1}}
evaluation: {batch: 2, segment: 64, memory_length: 64}
"""


def train_command(folder, out) -> list[str]:
    """Training the tiny profile in a folder, with its run in another."""
    profile = str(folder / "tiny.yaml")
    return ["train", "--profile", profile, "--out", str(out), "--device", "cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of four steps, stopped after none and resumed, and what was printed.

    On one thread: for so small a model, several only wait for each other.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(PROFILE)
    train = train_command(folder, folder / "run")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*train, "--max-minutes", "0"]) == 0
        assert main([*train, "--resume"]) == 0
    yield folder, out.getvalue()
    torch.set_num_threads(threads)


def test_train(trained):
    folder, out = trained
    assert "no valid perplexity measured yet" in out
    assert re.search(r"^4 of 4 steps, [\d,]+ events, [\d.]+ minutes$", out, re.M)
    assert re.search(r"^best valid perplexity: \d+\.\d+, at step [24]: .*best$", out, re.M)
    assert (folder / "run/best/model.safetensors").is_file()


def test_interrupted_training_goes_on(trained, tmp_path, monkeypatch, capsys):
    train = train_command(trained[0], tmp_path / "run")
    with monkeypatch.context() as patch:
        interrupt(patch, 3)
        assert main(train) == 130
    said = capsys.readouterr()
    assert (
        said.out == ""
        and said.err.strip() == "stopping after this step; Ctrl-C again stops at once\ninterrupted"
    )
    assert main([*train, "--resume"]) == 0
    assert "4 of 4 steps" in capsys.readouterr().out
    assert (tmp_path / "run/best/model.safetensors").read_bytes() == (
        trained[0] / "run/best/model.safetensors"
    ).read_bytes()


def test_train_errors(trained, one_line):
    folder, _ = trained
    train = ["train", "--profile", folder / "tiny.yaml", "--out", folder / "run"]
    assert "already holds a training run" in one_line(*train)
    assert "no model 'lstm'" in one_line(*train, "--model", "lstm")
    assert "no such profile" in one_line("train", "--profile", "huge")
    assert "no snapshot" in one_line(*train[:-1], folder / "other", "--resume")
    assert "neither a corpus folder" in one_line(*train, "--data", "nesmdb")
    assert main(["train"]) == 2
    assert main([*map(str, train), "--device", "abacus"]) == 2


def test_evaluate(trained, capsys, one_line):
    folder, _ = trained
    command = [
        "evaluate",
        str(folder / "run/best"),
        "--data",
        "songbook",
        "--device",
        "cpu",
        "--memory",
        "64",
    ]
    assert main(command) == 0
    first = capsys.readouterr().out
    value, songs, targets = re.fullmatch(
        r"test: perplexity ([\d.]+), ([\d,]+) songs, ([\d,]+) events\n"
        r"Perplexity: among how many of the 631 .*\n",
        first,
    ).groups()
    assert 1 < float(value) < 1000 and int(songs) > 1 and int(targets.replace(",", "")) > 100
    assert main([*command, "--batch", "1"]) == 0
    again = re.search(r"perplexity ([\d.]+)", capsys.readouterr().out)[1]
    assert float(again) == pytest.approx(float(value), rel=1e-4)
    assert main([*command, "--json"]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line.pop("perplexity") == pytest.approx(float(value), abs=1e-4)
    assert line == {
        "model": str(folder / "run/best"),
        "split": "test",
        "protocol": "exact",
        "songs": int(songs),
        "events": int(targets.replace(",", "")),
        "parameters": checkpoints.load(folder / "run/best").parameter_count(),
    }
    assert "no such checkpoint" in one_line("evaluate", folder / "none")
    for wrong in (["--batch", "0"], ["--split", "dev"], ["--protocol", "paper", "--batch", "4"]):
        assert main([*command, *wrong]) == 2


@pytest.mark.skipif(
    not os.environ.get("LAKHNES_MIRROR"), reason="LAKHNES_MIRROR names no folder of real archives"
)
def test_data_fetch(capsys, tmp_path):
    for _ in range(2):  # fetched, then found
        assert main(["data", "fetch", "lmd-full-5-sample", "--home", str(tmp_path)]) == 0
        out, err = capsys.readouterr()
        assert Path(out.strip()) == tmp_path / "lmd_full_5_sample" and err == ""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 9.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
    ids=["python", "gpu", "cpu"],
)
def test_too_little_memory_is_one_line(error, trained, tmp_path, monkeypatch, one_line):
    from lakhnes_lib.training.trainer import TrainingRun

    def full(self):
        raise error

    monkeypatch.setattr(TrainingRun, "train_step", full)
    train = train_command(trained[0], tmp_path / "run")
    assert "not enough memory; take a smaller model, batch or file" in one_line(*train)


def test_another_error_of_pytorch_is_a_bug_and_shown_whole(trained, tmp_path, monkeypatch):
    from lakhnes_lib.training.trainer import TrainingRun

    def strange(self):
        raise RuntimeError("unsupported memory format option")

    monkeypatch.setattr(TrainingRun, "train_step", strange)
    with pytest.raises(RuntimeError, match="memory format"):
        main(train_command(trained[0], tmp_path / "run"))


def test_interrupt():
    """Ctrl-C: one line, exit code 130."""
    code = (
        "import signal, time; from lakhnes_lib.__main__ import main; "
        "from lakhnes_lib.data import fetching; "
        # A shell that runs the tests in the background leaves Ctrl-C ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler); "
        "fetching.fetch = lambda *a, **k: (print('begun', flush=True), time.sleep(600)); "
        "sys.exit(main())"
    )
    process = start("data", "fetch", "nes", code=code)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert (process.returncode, err.strip()) == (130, "interrupted")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes close in another way there")
def test_reader_that_goes_away():
    reader, writer = os.pipe()
    os.close(reader)
    process = start("data", "list", stdout=writer)
    os.close(writer)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 1 and err == ""


def test_module_and_script_are_the_same():
    """``python -m lakhnes_lib`` works, and pyproject.toml's script names ``main``."""
    done = subprocess.run(
        [sys.executable, "-m", "lakhnes_lib", "data", "list"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "nesmdb-midi" in done.stdout
    assert 'lakhnes = "lakhnes_lib.__main__:main"' in (ROOT / "pyproject.toml").read_text(
        encoding="utf-8"
    )
