"""Works out all of Lakh from what results/lakh.json measured on a part: the tables of docs/scaling.md.

python results/scaling.py            writes them
python results/scaling.py --check    exits with 1 if the page says anything else
"""

import argparse
import sys
from textwrap import fill

from lakhnes_lib import profiles, results
from lakhnes_lib.data.lakh import SONGS_A_PART
from lakhnes_lib.listening.tables import table

PAGE = profiles.root() / "docs" / "scaling.md"
BEGIN, END = "<!-- scaling:begin -->", "<!-- scaling:end -->"
FILES, EXAMPLES = 176_581, 775_000  # LMD-full by its page, and the paper's examples of it
CORES = (1, 16, 256)
PAPER_EVENTS = 400_000 * 30 * 512  # steps, rows and events of a segment (§5, and the name of the checkpoint)


def duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def section() -> str:
    """What stands between the marks."""
    result = results.read("lakh")
    values, said = result["values"], result["values"]["published_examples"]
    seen = values["files"]["seen"]
    times = FILES / seen
    read = values["events_read_a_second"]
    coordinator = FILES / values["files_a_second_of_coordinator"]
    flow = times * values["source_bytes"]
    fastest = values["files_a_second_of_coordinator"] / values["files_a_second_and_worker"]
    counts = table(
        ("", f"measured, {seen:,} files", f"all of Lakh, {FILES:,} files"),
        ("MIDI files, unpacked", size(values["source_bytes"]), size(flow)),
        ("songs kept", f"{values['files']['accepted']:,}", f"{times * values['files']['accepted']:,.0f}"),
        ("notes kept", f"{values['notes']:,}", f"{times * values['notes'] / 1e6:,.0f} million"),
        ("corpus", size(values["packed_bytes"]), size(times * values["packed_bytes"])),
        ("corpus, xz", size(values["packed_bytes_xz"]), size(times * values["packed_bytes_xz"])),
        (
            "published examples",
            f"{said['examples']:,}",
            f"{times * said['examples']:,.0f} (paper: about {EXAMPLES:,})",
        ),
        ("their events", f"{said['events']:,}", f"{times * said['events'] / 1e9:.2f} billion"),
        ("their hours", f"{said['hours']:,.0f}", f"{times * said['hours']:,.0f}"),
        ("their events as 16-bit ids, for comparison", size(2 * said["events"]), size(2 * times * said["events"])),
    )
    work, rows = FILES / values["files_a_second_and_worker"], []
    for cores in CORES:
        whole = max((work + coordinator) / cores, coordinator)
        rows.append((cores, duration(work / cores), duration(coordinator), duration(whole), f"{size(flow / whole)}"))
    hours = table(("cores", "workers' share", "coordinator", "in all", "handed out a second"), *rows)
    passes = {  # events of one: an example of each song, or all
        "fresh, augmentation none": times * said["events"] / said["examples"] * values["files"]["accepted"],
        "published, augmentation none": times * said["events"],
    }
    reading = table(
        ("draws, augmentation", "events a second", "a pass over all songs, drawn by one core"),
        *(
            (name, f"{speed / 1e6:.1f} million", duration(passes[name] / speed) if name in passes else "–")
            for name, speed in read.items()
        ),
    )
    songs = times * values["songs"]["train"]
    parts = {draws: f"{songs / count:,.0f} of {count:,} with {draws} draws" for draws, count in SONGS_A_PART.items()}
    repeated, same = values["same_bytes"], [name for name, equal in values["same_bytes"].items() if equal is True]
    measured = (
        f"Measured by `{result['command']}` on one core of a shared {result['hardware']['cpu']}, in processor time. "
        f"A worker maps {values['files_a_second_and_worker']:.0f} files a second with at most "
        f"{values['peak_worker_megabytes']:.0f} MB of memory. The coordinator, which reads the files, hands them out, "
        f"writes shards and joins them, gets through {values['files_a_second_of_coordinator']:,.0f} a second with "
        f"{values['peak_coordinator_megabytes']:.0f} MB. Both on one core: {values['files_a_second_and_core']:.0f} "
        f"files a second. Mapped again, {repeated['files']:,} files gave the same bytes in {len(same)} of "
        f"{len(repeated) - 1} trials ({'; '.join(same)})."
    )
    limit = (
        f"The coordinator is one process: with more than about {fastest:.0f} workers it is what one waits for, and "
        "more cores give nothing."
    )
    epochs = (
        f"An epoch of the training streams is a part of the corpus. A pass over all of Lakh would have "
        f"{' or '.join(parts.values())}. The paper's {PAPER_EVENTS / 1e9:.1f} billion events of pre-training (400,000 "
        f"steps of 30 segments of 512) are {PAPER_EVENTS / (times * said['events']):.1f} times the published examples."
    )
    blocks = (measured, "### Counts and bytes", counts, "### Hours", hours, limit, "### Training", reading, epochs)
    return "\n\n".join(block if block[0] in "|#" else fill(block, 120, break_on_hyphens=False) for block in blocks)


def page(text: str) -> str:
    """The page with its section made anew."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{section()}\n\n{END}{rest.partition(END)[2]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if the page is not up to date")
    options = parser.parse_args()
    old = PAGE.read_text(encoding="utf-8")
    new = page(old)
    if options.check:
        return int(new != old)
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
