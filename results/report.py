"""Writes the README's tables of results from the JSON files in this folder, between the README's two markers.

python results/report.py            writes them
python results/report.py --check    exits with 1 if the README says anything else
"""

import argparse
import sys

from lakhnes_lib import profiles, results
from lakhnes_lib.errors import DataNotFound, LakhnesError

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def table(head: tuple[str, ...], rows: list[tuple]) -> str:
    """A Markdown table; rows with None in them are left out."""
    lines = [head, ("---",) * len(head), *(row for row in rows if None not in row)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def find(name: str, path: str, form: str) -> str | None:
    """One number of a result, by its dotted path, in a format; None if that benchmark was not run.

    Raises LakhnesError if the result lacks the number.
    """
    try:
        value = results.read(name)["values"]
    except DataNotFound:
        return None
    for key in path.split("."):
        if not isinstance(value, dict) or key not in value:
            raise LakhnesError(f"results/{name}.json: its values lack {path!r}")
        value = value[key]
    return form.format(value)


def known_answers() -> str:
    events = ", ".join(find("representation", f"known.events.{s}", "{:,}") for s in ("train", "valid", "test"))
    rows = [
        (
            "MIDI → TX1 text equals the authors', songs",
            "5,278",
            find("representation", "text.equal_to_authors", "{:,}"),
        ),
        ("events → score → events comes back, songs", "5,278", find("representation", "known.ids_fixed_point", "{:,}")),
        ("songs that keep the grammar", "5,278", find("representation", "known.grammatical", "{:,}")),
        ("raw events: train, valid, test", "8,390,590, 641,729, 407,268", events),
        (
            "seconds that 512 events last, on average",
            "9",
            find("representation", "seconds_of_512_events.train.overall", "{:.2f}"),
        ),
        ("VGM written and read back exactly, songs", "–", find("vgm", "exactly_back", "{:,}")),
    ]
    return table(("known answer, on all of NES-MDB", "published", "measured here"), rows)


def perplexities() -> str:
    rows = []
    for key, title, paper in (
        ("random", "random", ("0", "631.00", "")),
        ("unigram", "unigram", ("631", "198.14", "")),
        ("mini", "`assets/pretrained/mini`, a small Transformer-XL", ("41 M", "3.501", "4.099")),
    ):
        size = find("perplexity", f"{key}.parameters", "{:,}") if key == "mini" else paper[0]
        here = [find("perplexity", f"{key}.{split}.perplexity", "{:.3f}") for split in ("test", "valid")]
        rows.append((title, size, *here, paper[1] + (" (41 M parameters)" if key == "mini" else "")))
    return table(("model", "parameters", "test PPL, exact", "valid PPL, exact", "paper's test PPL"), rows)


def speeds() -> str:
    rows = [
        (
            "rendering, times real time (mean of 50 test songs; worst)",
            find("apu", "speed.times_real_time_mean", "{:.0f} ×"),
            find("apu", "speed.times_real_time_worst", "worst {:.0f} ×; one core"),
        ),
        (
            "worst pitch error of a triangle note against its timer",
            find("apu", "pitch.cents_from_timer_worst.TR", "{:.4f} cent"),
            "every note of the range",
        ),
        (
            "inharmonic sound (aliasing), worst note",
            find("apu", "aliasing.worst_dB", "{:.0f} dB"),
            "notes 84, 96, 108, all duties",
        ),
        (
            "NES-MDB from MIDI to packed corpus",
            find("representation", "speed.pack_seconds", "{:.1f} s"),
            "5,278 songs, two cores; published converter: 170 s on one",
        ),
        (
            "event ids of the packed training split",
            find("representation", "speed.training_ids_seconds", "{:.2f} s"),
            "8.4 million events",
        ),
        (
            "MIDI → TX1 text",
            find("representation", "text.songs_a_second", "{:.0f} songs/s"),
            "published code: 31 songs/s",
        ),
    ]
    return table(("what", "measured", "note"), rows)


def hardware() -> str:
    result = results.read("perplexity")
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    cores = "two cores" if result["hardware"]["cores"] == 2 else f"{result['hardware']['cores']} cores"
    return (
        f"Measured on {cores} of a shared {result['hardware']['cpu']} machine without a GPU ({versions}) by "
        "`make bench`; every number, with its command, data fingerprint and date, is in [`results`](results). "
        "“Exact” scores each event of each song once, with nothing but that song's own past (371 test songs, "
        "407,130 events; segments of 128, memory 896); the paper's protocol carries memory across songs and leaves "
        "part of the split unscored."
    )


def section() -> str:
    """What stands between the markers."""
    parts = ["### Known answers", known_answers(), "### Perplexity", perplexities(), "### Speed and sound", speeds()]
    return "\n\n".join([hardware(), *parts])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the README differs")
    chosen = parser.parse_args()
    readme = profiles.root() / "README.md"
    text = readme.read_text(encoding="utf-8")
    try:
        before, rest = text.split(BEGIN)
        after = rest.split(END)[1]
        new = f"{before}{BEGIN}\n\n{section()}\n\n{END}{after}"
    except (ValueError, IndexError):
        print(f"{readme}: has no place for results ({BEGIN} … {END})", file=sys.stderr)
        return 1
    except LakhnesError as error:
        print(error, file=sys.stderr)
        return 1
    if chosen.check:
        if new != text:
            print(f"{readme}: differs from results/; run `make report`", file=sys.stderr)
        return int(new != text)
    readme.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
