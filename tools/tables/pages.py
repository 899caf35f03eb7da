"""The pages that are made from results: the README, docs/results.md, docs/scaling.md, the shipped models' cards."""

import json
from pathlib import Path

import cards
import scaling
from filling import replaced
from music_tables import music, studies
from perplexity_tables import gains, known_answers, perplexities
from speed_tables import complete, composing, short

from lakhnes_lib import profiles
from lakhnes_lib.listening import reproduction, results

MORE = (
    "Every other speed, and how exact the sound is, stands in [docs/results.md](docs/results.md)."
)
HEAD = """# More results

Written by `make report` from the files in [`results`](../results), as the tables of the [README](../README.md#results)
are; where and how the numbers were measured stands there. Weights in 32, 16 or 8 bits are what `lakhnes generate` takes
with `--precision fp32`, `fp16` or `int8`."""


def hardware() -> str:
    """Where the numbers were measured, and how perplexity was."""
    result = results.read("perplexity")
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    found = [
        results.read(path.stem)["hardware"] for path in results.place("x").parent.glob("*.json")
    ]
    found += [entry["measured"]["hardware"] for entry in reproduction.measured().values()]
    cores = sorted({entry["cores"] for entry in found})
    machines = sorted(
        {" with ".join(entry[key] for key in ("cpu", "gpu") if key in entry) for entry in found}
    )
    test, values = reproduction.measured()["random"]["test"], result["values"]
    return (
        f"Measured on {' or '.join(map(str, cores))} cores of shared machines ({', '.join(machines)}; {versions}) by "
        "`make bench`; the files in [`results`](results) hold every number, with the data's fingerprint, the last "
        "command and its date. “Exact” scores each event of each song once, with nothing but that song's own past "
        f"({test['songs']} test songs, {test['targets']:,} events; segments of {values['segment']}, memory "
        f"{values['memory_length']}); the paper's protocol carries memory across songs and leaves "
        f"{test['paper_unscored'] / test['targets']:.1%} of the test split unscored."
    )


def readme(text: str) -> str:
    """The README with its tables made anew. Raises LakhnesError if it has no place for them."""
    parts = [
        "### Known answers",
        known_answers(),
        "### Perplexity",
        perplexities(),
        "### Speed",
        short(),
        MORE,
    ]
    parts += ["### The music and the listening studies", music(), studies()]
    return replaced(text, "results", "\n\n".join([hardware(), *parts]))


def everything() -> str:
    """docs/results.md."""
    parts = [HEAD, "## Sound, data, training, evaluation", complete(), "## Composing", composing()]
    if changes := gains():
        parts += ["## The modern decoder without each of its changes", changes]
    return "\n\n".join(parts) + "\n"


def pages() -> dict[Path, str]:
    """Every page that is made from results, with what it should say."""
    docs, front = profiles.root() / "docs", profiles.root() / "README.md"
    found = {front: readme(front.read_text(encoding="utf-8")), docs / "results.md": everything()}
    found[docs / "scaling.md"] = scaling.page((docs / "scaling.md").read_text(encoding="utf-8"))
    for folder, config in cards.shipped().items():
        found[folder / "README.md"] = cards.card(folder.name, config)
        found[folder / "config.json"] = json.dumps(config, indent=1) + "\n"
    return found
