"""The test suite on every supported Python and PyTorch, and the wheel in an empty environment.

    nox                        all that this machine has an interpreter for
    nox -s "suite-3.13(torch='2.13.0')"
    nox -s wheel

Versions come from requirements.txt. The workflow runs the same sessions.
"""

import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
LINES = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
TORCH = next(line for line in LINES if line.startswith("torch==")).removeprefix("torch==")
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
OLDEST_TORCH = "2.11.0"
SONG = "greensleeves"

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False


@nox.session(python=PYTHONS)
@nox.parametrize("torch", [TORCH, OLDEST_TORCH])
def suite(session: nox.Session, torch: str) -> None:
    """Every test but the notebooks, which `make test` runs too; words after -- go to pytest.

    What a whole run counted becomes a row of results/suite.json.
    """
    with tempfile.TemporaryDirectory() as folder:
        others = Path(folder) / "requirements.txt"
        others.write_text("\n".join(line for line in LINES if not line.startswith("torch==")))
        session.install(f"torch=={torch}")
        session.install("-r", str(others))
    session.install("--no-deps", "--editable", ".")
    report = Path(session.virtualenv.location) / "suite.xml"
    words = session.posargs or [f"--junitxml={report}"]
    codes = [0] if session.posargs else [0, 1]
    session.run("python", "-m", "pytest", "tests", *words, success_codes=codes)
    if not session.posargs:  # exits with 1 if a test failed
        session.run("python", "tools/suite_result.py", str(report))


@nox.session(python=PYTHONS)
def wheel(session: nox.Session) -> None:
    """The wheel by itself composes from the songbook with the small model, in an empty folder."""
    session.install("build")
    with tempfile.TemporaryDirectory() as folder:
        session.run("python", "-m", "build", "--outdir", folder, silent=True)
        (built,) = Path(folder).glob("*.whl")
        session.install(f"torch=={TORCH}")
        session.install(str(built))
        session.chdir(folder)
        session.run(
            "python", "-c", "import importlib.util as u; assert not u.find_spec('jupyterlab')"
        )
        session.run("lakhnes", "render", f"assets/songbook/{SONG}.abc", "song.wav")
        options = ["--continue", f"assets/songbook/{SONG}.abc", "--first-seconds", "5"]
        options += ["--seconds", "10", "-n", "1", "--no-audition", "--seed", "1"]
        session.run("lakhnes", "generate", "assets/pretrained/mini", "pieces", *options)
        session.run("lakhnes", "train", "--profile", "smoke", "--max-minutes", "0.2")
        missing = [name for name in ("song.wav", "pieces/index.html") if not Path(name).exists()]
        if missing:
            session.error(f"the wheel made no {missing}")
