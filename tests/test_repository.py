"""The rules of the house: versions, imports, size of modules, and documents that are true."""

import ast
import io
import re
import runpy
import shutil
import subprocess
import sys
import tokenize
import tomllib
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "lakhnes_lib"
MODULES = sorted(LIBRARY.rglob("*.py"))
SCRIPTS = sorted(path for path in LIBRARY.rglob("*") if path.suffix in (".js", ".css"))
MODULE_LINES = 260

# Lines of code, which are neither blank nor comment nor docstring. These limits are not raised.
CORE_LINES, ALL_LINES, LINE_LENGTH = 4500, 9500, 100
CORE = ("music", "data", "models", "training", "evaluation", "generation")
FAST = "lakhnes_lib.models.fast"

# The floors of the house, from bottom to top. Nobody imports from a higher floor; on one floor a
# unit imports nothing of another unit.
FLOORS = [
    ["errors"],
    ["files"],
    ["music"],
    ["profiles", "sound"],
    ["songbook", "models"],
    ["data", "evaluation"],
    ["training"],
    ["generation"],
    ["listening"],
    ["study", "companions"],
    ["cli"],
    ["__main__"],
]
FLOOR = {unit: number for number, units in enumerate(FLOORS) for unit in units}

# What requirements.txt holds for its command or its plug-in: nothing here imports it.
TOOLS = {"ipykernel", "ipywidgets", "jupyterlab", "nbval", "nox", "onnxscript", "papermill", "ruff"}


def committed_files() -> list[Path]:
    """Every file that is or would be committed."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout, so what is committed is not known")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def module_name(path: Path) -> str:
    """The dotted name of a library file; a package has the name of its folder."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """Full names of what a file imports: `a.b` for `import a.b` and for `from a import b`."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: imports are written in full, not relative"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def library_graph() -> dict[str, set[str]]:
    """Which library module imports which. Of `from a import b` it is `a.b`, or `a` that holds b."""
    paths = {module_name(path): path for path in MODULES}
    graph = {}
    for name, path in paths.items():
        imported = {full if full in paths else full.rpartition(".")[0] for full in imports_of(path)}
        graph[name] = (imported & paths.keys()) - {name, "lakhnes_lib"}
    return graph


def unit_of(module: str) -> str:
    """The part of the house that a module belongs to: the name below `lakhnes_lib`."""
    return (module.split(".") + [""])[1]


def test_every_unit_has_its_floor():
    units = {unit_of(name) for name in library_graph() if name != "lakhnes_lib"}
    assert units <= FLOOR.keys()


def test_nobody_imports_upward_or_sideways():
    wrong = [
        f"{importer} imports {imported}"
        for importer, targets in library_graph().items()
        for imported in targets
        if unit_of(imported) != unit_of(importer)
        and FLOOR[unit_of(imported)] >= FLOOR[unit_of(importer)]
    ]
    assert not wrong


def test_no_two_modules_import_each_other():
    graph = {name: set(targets) for name, targets in library_graph().items()}
    while free := [name for name, targets in graph.items() if not targets]:
        for name in free:
            del graph[name]
        for targets in graph.values():
            targets.difference_update(free)
    assert not graph, f"a circle of imports among {sorted(graph)}"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_module_is_small_and_says_what_it_is(path):
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)) or not text.strip(), "no docstring"
    assert len(text.splitlines()) <= MODULE_LINES


def code_lines(path: Path) -> int:
    """How many lines of a file hold code."""
    text = path.read_text(encoding="utf-8")
    strings = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)]
    strings = [
        node
        for node in strings
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    prose = {number for node in strings for number in range(node.lineno, node.end_lineno + 1)}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    silent = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    spans = [(token.start[0], token.end[0]) for token in tokens if token.type not in silent]
    return len({number for first, last in spans for number in range(first, last + 1)} - prose)


def script_lines(path: Path) -> int:
    """How many lines of a script or a style are neither blank nor comment."""
    text = re.sub(r"/\*.*?\*/", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return sum(
        bool(line.strip()) and not line.strip().startswith("//") for line in text.split("\n")
    )


def test_core_is_thin():
    core = {name: path for path in MODULES if unit_of(name := module_name(path) + ".") in CORE}
    lines = {name: code_lines(path) for name, path in core.items() if not name.startswith(FAST)}
    assert sum(lines.values()) <= CORE_LINES, sorted(lines.items(), key=lambda item: -item[1])


def test_library_is_thin():
    assert sum(map(code_lines, MODULES)) + sum(map(script_lines, SCRIPTS)) <= ALL_LINES


def test_no_line_is_longer_than_a_page_is_wide():
    files = [path for path in committed_files() if path.suffix in (".py", ".js", ".css")]
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > LINE_LENGTH
    ]
    assert not wrong


def test_no_two_files_share_a_name():
    """`run.py`, `report.py` or `files.py` twice would have to be guessed apart."""
    files = [path for path in committed_files() if path.suffix == ".py" and path.stem[:2] != "__"]
    stems = [path.stem for path in files if path.relative_to(ROOT).parts[0] != "tests"]
    assert sorted(stems) == sorted(set(stems))


def test_environment_names_python_and_the_requirements_alone():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    python, pip, packages = environment["dependencies"]
    assert re.fullmatch(r"python=3\.\d+", python)
    assert pip == "pip"
    assert packages == {"pip": ["-r requirements.txt"]}


def test_project_reads_its_dependencies_from_the_requirements(monkeypatch):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert {"dependencies", "optional-dependencies"} <= set(project["project"]["dynamic"])
    given = {}
    setuptools = SimpleNamespace(setup=given.update)  # the environment of the tests may lack it
    monkeypatch.setitem(sys.modules, "setuptools", setuptools)
    runpy.run_path(str(ROOT / "setup.py"))
    library, course = given["install_requires"], given["extras_require"]["course"]
    assert [f"{name}=={version}" for name, version in requirements().items()] == library + course
    assert "torch" in library[0] and not any("jupyter" in line for line in library)


def requirements() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    unpinned = [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]
    assert not unpinned
    return dict(line.split("==") for line in lines)


def canonical(name: str) -> str:
    """A distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_requirements_are_pinned_and_torch_stands_first():
    assert next(iter(requirements())) == "torch"


def test_requirements_are_what_is_imported_and_nothing_else():
    listed = {canonical(name) for name in requirements()}
    folders = ("lakhnes_lib", "notebooks", "tests", "benchmarks", "tools")
    ours = {path.stem for folder in folders[1:] for path in (ROOT / folder).rglob("*.py")}
    ours.add("lakhnes_lib")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    tops = (
        {name.split(".")[0] for path in files for name in imports_of(path)}
        - ours
        - sys.stdlib_module_names
    )
    owners = metadata.packages_distributions()
    imported = {canonical(owners.get(top, [top])[0]) for top in tops}
    notebooks = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "notebooks").rglob("*.ipynb")
    )
    assert imported <= listed, "imported, and not in requirements.txt"
    named = {canonical(name) for name in re.findall(r"(?:import|from) (\w+)", notebooks)}
    assert listed - imported - named - TOOLS == set(), "in requirements.txt, and never imported"


def make_targets() -> dict[str, str]:
    """Targets of the Makefile with their `##` line."""
    lines = (ROOT / "Makefile").read_text(encoding="utf-8").splitlines()
    rules = [re.match(r"([a-z]+):(?:[^#]*## (.*))?", line) for line in lines]
    return {rule[1]: rule[2] for rule in rules if rule}


def test_make_help_lists_every_target():
    assert all(make_targets().values())
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    shown = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert set(re.findall(r"^  make ([a-z]+)", shown, re.MULTILINE)) == make_targets().keys()


def documents() -> list[Path]:
    return [path for path in committed_files() if path.suffix == ".md"]


def test_documents_name_only_targets_that_exist():
    missing = [
        f"{path.name}: make {target}"
        for path in documents()
        for target in re.findall(
            r"(?:`|^)make ([a-z]+)", path.read_text(encoding="utf-8"), re.MULTILINE
        )
        if target not in make_targets()
    ]
    assert not missing


def test_documents_link_only_to_files_that_exist():
    missing = [
        f"{path.relative_to(ROOT)}: {target}"
        for path in documents()
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists()
    ]
    assert not missing


def test_architecture_names_every_package():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    packages = {path.parent.name for path in MODULES if path.parent != LIBRARY}
    assert {name for name in packages if not re.search(rf"\b{name}\b", text)} == set()
    assert len(text.splitlines()) < 80


def test_architecture_says_where_each_concept_is():
    """Each row's names are defined or used in the files that the row links to."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = [row.split("|")[3:5] for row in text.splitlines() if re.match(r"\| .*\]\(", row)]
    assert len(rows) >= 15
    for files, names in rows:
        paths = [ROOT / "docs" / link for link in re.findall(r"\]\(([^)]+)\)", files)]
        code = "".join(path.read_text(encoding="utf-8") for path in paths)
        missing = [name for name in re.findall(r"`([^`]+)`", names) if name not in code]
        assert not missing, f"{files} lacks {missing}"


def test_readme_names_only_verbs_that_exist():
    command = [sys.executable, "-m", "lakhnes_lib", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    there = set(re.findall(r"^  +([a-z]+) ", shown[shown.index("Commands") :], re.MULTILINE))
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("| verb |")[1].split("\n\n")[0]
    named = {
        words.split()[0]
        for row in table.splitlines()[2:]
        for words in re.findall(r"`([^`]+)`", row.split("|")[1])
    }
    assert named and named <= there


def test_no_committed_text_names_a_path_of_one_machine():
    absolute = re.compile(r"(?<![\w.~$}/-])/(?:home|root|tmp|Users|work|opt|mnt)/\w+")
    wrong = []
    for path in committed_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [f"{path.relative_to(ROOT)}: {match}" for match in absolute.findall(text)]
    assert not wrong


def test_text_has_no_emojis():
    emoji = re.compile("[\U0001f300-\U0001faff\u2705\u274c\u2728]")
    endings = {".md", ".py", ".ipynb", ".yml", ".yaml", ".toml", ".txt", ".js", ".css"}
    files = [path for path in committed_files() if path.suffix in endings]
    wrong = [path.name for path in files if emoji.search(path.read_text(encoding="utf-8"))]
    assert not wrong


def test_workflow_runs_what_the_readme_says():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    commands = {
        step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step
    }
    assert {"make lint", "make test", "make reproduce", "make reproduce PROFILE=paper"} <= commands
    assert "self-hosted" in workflow["jobs"]["paper"]["runs-on"]
    assert {"push", "pull_request", "schedule", "workflow_dispatch"} <= workflow[
        True
    ].keys()  # YAML reads `on` as true
