"""Works out all of Lakh from what results/lakh.json measured on a part: the tables of docs/scaling.md."""

from textwrap import fill

from filling import replaced, table

from lakhnes_lib.data.lakh import SONGS_A_PART
from lakhnes_lib.listening import results

FILES, EXAMPLES = 176_581, 775_000  # LMD-full by its page, and the paper's examples of it
CORES = (1, 16, 256)
PAPER_EVENTS = (
    400_000 * 30 * 512
)  # steps, rows and events of a segment (§5, and the name of the checkpoint)


def duration(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def counts(values: dict, times: float) -> str:
    """The table of what comes out, measured and times as much."""
    said = values["published_examples"]
    head = ("", f"measured, {values['files']['seen']:,} files", f"all of Lakh, {FILES:,} files")
    rows = [
        (
            "MIDI files, unpacked",
            size(values["source_bytes"]),
            size(times * values["source_bytes"]),
        ),
        (
            "songs kept",
            f"{values['files']['accepted']:,}",
            f"{times * values['files']['accepted']:,.0f}",
        ),
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
        (
            "their events as 16-bit ids, for comparison",
            size(2 * said["events"]),
            size(2 * times * said["events"]),
        ),
    ]
    return table(head, rows)


def hours(values: dict, times: float) -> str:
    """The table of how long mapping takes."""
    work, rows = FILES / values["files_a_second_and_worker"], []
    coordinator, flow = (
        FILES / values["files_a_second_of_coordinator"],
        times * values["source_bytes"],
    )
    for cores in CORES:
        whole = max((work + coordinator) / cores, coordinator)
        rows.append(
            (
                cores,
                duration(work / cores),
                duration(coordinator),
                duration(whole),
                f"{size(flow / whole)}",
            )
        )
    return table(("cores", "workers' share", "coordinator", "in all", "handed out a second"), rows)


def reading(values: dict, times: float) -> str:
    """The table of how fast training streams come."""
    events = times * values["published_examples"]["events"]
    passes = {  # events of one: an example of each song, or all
        "fresh, augmentation none": events
        / values["published_examples"]["examples"]
        * values["files"]["accepted"],
        "published, augmentation none": events,
    }
    rows = [
        (
            name,
            f"{speed / 1e6:.1f} million",
            duration(passes[name] / speed) if name in passes else "–",
        )
        for name, speed in values["events_read_a_second"].items()
    ]
    return table(
        ("draws, augmentation", "events a second", "a pass over all songs, drawn by one core"), rows
    )


def section() -> str:
    """What stands between the marks."""
    result = results.read("lakh")
    values = result["values"]
    times = FILES / values["files"]["seen"]
    fastest = values["files_a_second_of_coordinator"] / values["files_a_second_and_worker"]
    songs = times * values["songs"]["train"]
    parts = {
        draws: f"{songs / count:,.0f} of {count:,} with {draws} draws"
        for draws, count in SONGS_A_PART.items()
    }
    repeated, same = (
        values["same_bytes"],
        [name for name, equal in values["same_bytes"].items() if equal is True],
    )
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
        f"steps of 30 segments of 512) are {PAPER_EVENTS / (times * values['published_examples']['events']):.1f} "
        "times the published examples."
    )
    blocks = [
        measured,
        "### Counts and bytes",
        counts(values, times),
        "### Hours",
        hours(values, times),
        limit,
    ]
    blocks += ["### Training", reading(values, times), epochs]
    return "\n\n".join(
        block if block[0] in "|#" else fill(block, 120, break_on_hyphens=False) for block in blocks
    )


def page(text: str) -> str:
    """The page with its section made anew. Raises LakhnesError if it has no place for it."""
    return replaced(text, "scaling", section())
