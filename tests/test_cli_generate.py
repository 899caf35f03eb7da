"""``lakhnes generate``: every way to compose, what it writes, and what it says to bad input."""

import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import pytest
from bands import band
from small_models import small_transformer
from songs import tune

from lakhnes_lib.__main__ import main
from lakhnes_lib.listening import gallery
from lakhnes_lib.models import checkpoints
from lakhnes_lib.models.fast import engine
from lakhnes_lib.music import events, midi, nes
from lakhnes_lib.music.score import Score
from lakhnes_lib.training import own_music

ROOT = Path(__file__).resolve().parents[1]
SONG = tune(1, beats=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a checkpoint and a song."""
    folder = tmp_path_factory.mktemp("generate")
    checkpoints.save(small_transformer(), folder / "model")
    midi.write(SONG, folder / "song.mid")
    return folder


@pytest.fixture
def generate(folder, capsys):
    """Runs the verb; returns exit code, output and errors."""

    def run(*options, out="pieces"):
        command = [
            "generate",
            folder / "model",
            folder / out,
            "--device",
            "cpu",
            "--memory",
            "32",
            *([] if "--seed" in options else ["--seed", 0]),
            *options,
        ]
        code = main(list(map(str, command)))
        return code, *capsys.readouterr()

    return run


def test_from_nothing(generate, folder):
    code, out, _ = generate("-n", 2, "--length", 40, "--seed", 3, out="nothing")
    assert code == 0 and out.count(" notes\n") == 2 and "2 of " in out
    assert (folder / "model/step.int8.onnx").exists() or not engine.is_available()
    pieces = folder / "nothing"
    endings = ("json", "mid", "png", "tx1.txt", "vgm", "wav")
    assert sorted(path.name for path in pieces.iterdir()) == ["index.html"] + [
        f"seed3_0{i}.{ending}" for i in (0, 1) for ending in endings
    ]
    texts = [(pieces / f"seed3_0{i}.tx1.txt").read_text() for i in (0, 1)]
    assert texts[0] != texts[1]
    for i in (0, 1):
        score = midi.read(pieces / f"seed3_0{i}.mid")
        assert events.to_tx1(score) == texts[i]
        with wave.open(str(pieces / f"seed3_0{i}.wav")) as sound:
            assert sound.getnframes() == score.length
    page = (pieces / "index.html").read_text()
    assert "seed3_01.wav" in page and "seed 3; 2 of " in page, "what was left out is told"
    assert generate("--pieces", 1, "--length", 40, "--seed", 3, out="again")[0] == 0
    assert (folder / "again/seed3_00.tx1.txt").read_text() == texts[0]


def test_continue(generate, folder):
    option = ("--first-seconds", 0.9)
    code, out, err = generate(
        "-n", 2, "--length", 30, "--continue", folder / "song.mid", *option, out="on"
    )
    assert code == 0 and "its perplexity under the model is " in out and not err
    begun = [line for line in events.to_tx1(SONG).splitlines() if "WT_" not in line][:8]
    for number in (0, 1):
        made = (folder / f"on/seed0_0{number}.tx1.txt").read_text().splitlines()
        assert [line for line in made if "WT_" not in line][:8] == begun


def test_a_beginning_longer_than_the_memory_is_told(generate, folder):
    code, _, err = generate("-n", 1, "--length", 5, "--continue", folder / "song.mid")
    assert code == 0 and "the model keeps 32 in mind" in err


def test_rhythm(generate, folder):
    code, _, _ = generate(
        "-n", 1, "--rhythm", folder / "song.mid", "--first-seconds", 2, out="rhythm"
    )
    assert code == 0
    given, made = SONG.excerpt(0, 2), midi.read(folder / "rhythm/seed0_00.mid")
    for voice in range(4):
        assert abs(given.voice(voice)["start"] - made.voice(voice)["start"]).max(initial=0) < 500
    assert (given.voice(nes.NO)["pitch"] == made.voice(nes.NO)["pitch"]).all()
    assert (given.voice(nes.P1)["pitch"] != made.voice(nes.P1)["pitch"]).any()


def test_given(generate, folder):
    options = (
        "-n",
        1,
        "--given",
        "tr,NO",
        folder / "song.mid",
        "--candidates",
        3,
        "--first-seconds",
        2,
    )
    assert generate(*options, out="given")[0] == 0
    given, made = SONG.excerpt(0, 2), midi.read(folder / "given/seed0_00.mid")
    for voice in (nes.TR, nes.NO):
        assert (given.voice(voice)["pitch"] == made.voice(voice)["pitch"]).all()
    assert len(made.voice(nes.P1)) + len(made.voice(nes.P2))


def test_between_changes_the_span_alone(generate, folder):
    options = ("-n", 1, "--between", 2, 4, folder / "song.mid", "--only", "P1", "--candidates", 2)
    assert generate(*options, out="between")[0] == 0
    made = midi.read(folder / "between/seed0_00.mid")
    for voice in (nes.P2, nes.TR, nes.NO):
        assert (made.voice(voice) == SONG.voice(voice)).all()
    assert made.length == SONG.length and made != SONG
    page = (folder / "between/index.html").read_text()
    assert "from 2 s before what was composed" in page
    assert generate(*options, "--only", "P9", out="none")[0] == 2
    code, _, err = generate("--between", 2_000, 4_000, folder / "song.mid", out="none")
    assert code == 2 and "no span from 2000 s to 4000 s" in err
    beyond = ("--between", 2, "inf", folder / "song.mid", "--only", "P1", "--candidates", 1)
    assert generate("-n", 1, *beyond, out="beyond")[0] == 0
    assert f"with 2 to {SONG.seconds:.3g} s composed" in (folder / "beyond/index.html").read_text()


def test_a_loop_is_written_with_its_loop_point(generate, folder):
    code, out, _ = generate("-n", 1, "--loop", "--seconds", 6, out="loops")
    assert code == 0 and "a loop of " in out
    header = (folder / "loops/seed0_00.vgm").read_bytes()[:64]
    loop_offset, loop_samples = (int.from_bytes(header[i : i + 4], "little") for i in (0x1C, 0x20))
    assert loop_offset and loop_samples == midi.read(folder / "loops/seed0_00.mid").length
    assert " loop>" in (folder / "loops/index.html").read_text()


def test_nothing_is_overwritten_and_the_seed_is_said(generate, folder):
    for _ in range(2):
        assert generate("-n", 1, "--as-published", "--seed", 9, out="twice")[0] == 0
    first, second = (folder / f"twice/seed9_0{i}.tx1.txt" for i in (0, 1))
    assert first.read_bytes() == second.read_bytes()
    assert len(events.encode(midi.read(folder / "twice/seed9_00.mid"))) > 1000
    assert (
        main(["generate", str(folder / "model"), str(folder / "drawn"), "-n", "1", "--length", "9"])
        == 0
    )
    seed = next((folder / "drawn").glob("*.mid")).name.split("_")[0].removeprefix("seed")
    assert f"seed {seed}" in (folder / "drawn/index.html").read_text()


def test_as_published_sets_what_the_paper_sets(generate, folder):
    code, _, err = generate("--as-published", "--top-k", 3, out="none")
    assert code == 2 and "--as-published sets it" in err


def test_own_midi_is_read_by_role(generate, folder):
    own = folder / "own.mid"
    own.write_bytes(band(1, 2))
    options = ("-n", 1, "--length", 8, "--continue", own, "--first-seconds", 3, "--memory", 512)
    code, out, err = generate(*options, out="own")
    lines = [line.split("own.mid: ")[1] for line in err.splitlines()]
    assert code == 0 and "goes on" not in err and len(lines) == 4, err
    assert lines[3].startswith("NO plays track 4 (drums): ")
    code, out, err = generate(*options, "--voices", "P1=part 1,P2=,TR=1", out="own")
    assert code == 0 and "P1 plays track 2 (part 1): " in err and "P2 plays nothing" in err
    code, out, err = generate(*options, "--voices", "P1=flute", out="own")
    assert code == 2 and "has no track 'flute' (name one, or its number: track 1 (part 0), " in err
    code, out, err = generate("--voices", "P1=2", out="own")
    assert code == 2 and "goes with --continue, --rhythm, --given or --between" in err


def test_ctrl_c_keeps_what_is_done(folder):
    out = folder / "stopped"
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from lakhnes_lib.generation import sampling; plain = sampling.draw; steps = []\n"
        "def draw(*a, **k):\n"
        "    steps.append(1)\n"
        "    if len(steps) == 60: print('sixty', flush=True)\n"
        "    return plain(*a, **k)\n"
        "sampling.draw = draw\n"
        "from lakhnes_lib.__main__ import main; sys.exit(main())"
    )
    options = ["-n", "2", "--length", "200000", "--memory", "8", "--device", "cpu", "--seed", "0"]
    options += ["--no-audition"]
    command = [sys.executable, "-c", code, "generate", str(folder / "model"), str(out), *options]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout.readline() == "sixty\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert (process.returncode, err.strip().splitlines()[-1]) == (130, "interrupted")
    for number in (0, 1):
        assert len(midi.read(out / f"seed0_0{number}.mid").notes)
    assert (out / "index.html").exists()
    assert "stopped by Ctrl-C" in (out / "seed0_00.json").read_text()


def test_ctrl_c_while_pieces_are_saved_loses_none(generate, folder, monkeypatch):
    """Ctrl-C in the middle of the first file: everything is saved before the command stops."""
    write = gallery.write_song

    def pressed(score, path, **options):
        if path.endswith("_00.tx1.txt"):
            signal.raise_signal(signal.SIGINT)
        write(score, path, **options)

    monkeypatch.setattr(gallery, "write_song", pressed)
    code, out, err = generate("-n", "2", "--seed", "0", out="saved")
    assert (code, err.splitlines()[-1]) == (130, "interrupted")
    assert "stopping when the pieces are saved" in err
    for name in ("seed0_00", "seed0_01"):
        assert len(midi.read(folder / "saved" / f"{name}.mid").notes)
        assert (folder / "saved" / f"{name}.wav").exists() and f"{name}.mid" in out
    page = (folder / "saved" / "index.html").read_text(encoding="utf-8")
    assert page.count("<figure") == 2


def test_shipped_models_compose_without_pytorch(tmp_path):
    code = (
        "import sys; from lakhnes_lib.__main__ import main; code = main(); "
        "print('torch' in sys.modules); sys.exit(code)"
    )
    options = ["generate", "assets/pretrained/mini", str(tmp_path), "-n", "1", "--length", "20"]
    environment = {**os.environ, "LAKHNES_FAST": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, *options],
        cwd=ROOT, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.endswith("False\n")


def composing_commands() -> list[list[str]]:
    """What README.md's "Compose" and the help of the verb say, as words."""
    text = (
        (ROOT / "README.md")
        .read_text(encoding="utf-8")
        .partition("\n## Compose\n")[2]
        .partition("\n## ")[0]
    )
    return [line.split()[1:] for line in text.splitlines() if line.startswith("lakhnes ")]


def test_commands_of_the_readme_run(tmp_path, monkeypatch, capsys):
    """As they stand, but for less of everything."""
    monkeypatch.chdir(ROOT)
    done = set()
    for verb, *words in composing_commands():
        given = "--rhythm" in words or "--given" in words
        if "--between" in words:
            words[words.index("12")] = "9"
        if verb == "train":
            monkeypatch.setattr(own_music, "tune", lambda *a, **k: done.add("train") or sys.exit(0))
            assert main([verb, *words[:-1], "0"]) == 0 and "train: " in capsys.readouterr().out
        elif words[0] == "assets/pretrained/mini":
            less = ["--first-seconds", "1"] if given else ["--length", "60"]
            if "--between" in words:
                less = ["--candidates", "2"]
            elif "--loop" in words:
                less = ["--no-audition"]
                words[words.index("20")] = "4"
            assert (
                main(
                    [
                        verb,
                        words[0],
                        str(tmp_path / words[1]),
                        *words[2:],
                        *less,
                        "-n",
                        "1",
                        "--seed",
                        "0",
                    ]
                )
                == 0
            )
            done.add(words[1])
            assert (tmp_path / words[1] / "seed0_00.wav").stat().st_size > 1000
    assert len(done) == 7


def test_bad_input(generate, folder, tmp_path):
    silent, noise = tmp_path / "silent.tx1", tmp_path / "hum.mid"
    silent.write_text("WT_100\n")
    midi.write(Score.build([(nes.P1, 0, 50_000, 60, 9)], name="hum"), noise)
    (tmp_path / "damaged.mid").write_bytes(b"MThd")
    (tmp_path / "notes.pdf").touch()
    song = folder / "song.mid"
    for options, rule in (
        (("--continue", silent), "no note to go on from"),
        (("--continue", tmp_path / "damaged.mid"), "damaged"),
        (("--continue", tmp_path / "none.mid"), "none.mid: there is no such file"),
        (("--rhythm", silent), "so there is no pitch to choose"),
        (
            ("--continue", tmp_path / "notes.pdf"),
            "notes.pdf: its ending is none of those that can be read as music",
        ),
        (("--given", "NO", noise), "there is no note to compose around"),
    ):
        code, out, err = generate("-n", 1, *options)
        assert code == 1 and err.startswith("error: ") and err.count("\n") == 1 and rule in err, (
            options,
            err,
        )
    for options, rule in (
        (("--between", "nan", "inf", song), "no span from nan s"),
        (("--temperature", "inf"), "--temperature"),
        (("-n", 10**9), "-n"),
        (("--length", 10**12), "--length"),
        (("--seed", 10**30), "--seed"),
        (("--memory", 10**30), "--memory"),
        (("--temperature", 0), "--temperature"),
        (("--temperature", "1e-320"), "--temperature"),
        (("--temperature", "nan"), "--temperature"),
        (("--top-p", 0), "top-p must be above 0"),
        (("--precision", "fp8"), "precision must be one of"),
        (("--rhythm", song, "--first-seconds", 0), "'--first-seconds'"),
        (("--continue", song, "--first-seconds", "inf"), "'--first-seconds'"),
        (("--given", "BASS", song), "'BASS' is no voice"),
        (("--given", "P1,P2,TR,NO", song), "leave at least one to be composed"),
        (("-n", 0), "-n"),
        (("--top-k", -1), "--top-k"),
        (("--given", "NO"), "--given"),
        (("--continue", song, "--rhythm", song), "only one of them"),
        (("--first-seconds", 3), "goes with --continue, --rhythm or --given"),
        (("--between", 1, 2, song, "--first-seconds", 3), "goes with --continue, --rhythm or --gi"),
        (("--voices", "P1=1"), "goes with --continue, --rhythm, --given or --between"),
        (("--length", 9, "--seconds", 3), "with --length the events alone count"),
        (("--candidates", 3), "goes with --given or --between"),
        (("--rhythm", song, "--length", 9), "lasts as long as FILE"),
        (("--given", "NO", song, "--seconds", 9), "lasts as long as FILE"),
        (("--rhythm", song, "--loop"), "goes with pieces from nothing"),
        (("--rhythm", song, "--no-audition"), "lasts as long as FILE"),
        (("--only", "P1"), "goes with --between"),
        (("--given", "NO", song, "--free"), "--free: --given always keeps"),
    ):
        code, out, err = generate(*options, out="none")
        assert code == 2 and rule in err and not out and not (folder / "none").exists(), (
            options,
            err,
        )
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model.safetensors").write_bytes(
        (folder / "model/model.safetensors").read_bytes()
    )
    assert main(["generate", str(tmp_path / "model"), str(tmp_path / "out")]) == 1
