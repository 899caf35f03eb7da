"""The command line as a user meets it: exit codes, one line on stderr, help that reads well."""

import functools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from lakhnes_lib.__main__ import app, main

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


@pytest.mark.skipif(
    not os.environ.get("LAKHNES_MIRROR"), reason="LAKHNES_MIRROR names no folder of real archives"
)
def test_data_fetch(capsys, tmp_path):
    for _ in range(2):  # fetched, then found
        assert main(["data", "fetch", "lmd-full-5-sample", "--home", str(tmp_path)]) == 0
        out, err = capsys.readouterr()
        assert Path(out.strip()) == tmp_path / "lmd_full_5_sample" and err == ""


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
