"""The trial of the kit for a lent GPU: the section of docs/scaling.md on
results/gpu_kit_trial.json."""

from itertools import groupby

from filling import fill, value

from lakhnes_lib.listening import results


def section() -> str:
    """The text between the marks ``gpu_kit`` of docs/scaling.md."""
    trial = value("gpu_kit_trial")
    about = {} if trial is None else {"result": results.read("gpu_kit_trial")}
    stages = [] if trial is None else stages_of(trial["stages"])
    return fill("gpu_kit.md.jinja", trial=trial, stages=stages, **about)


def stages_of(written: list[dict]) -> list[dict]:
    """What was written several times on end as one: from when to when, how often, and the kilobytes
    that were there in the end."""
    stages = []
    for name, group in groupby(written, key=lambda stage: stage["written"]):
        times = list(group)
        stages.append(
            {
                "name": name,
                "first": times[0]["seconds"],
                "last": times[-1]["seconds"],
                "times": len(times),
                "files": len(times[-1]["bytes"]),
                "kilobytes": sum(times[-1]["bytes"].values()) / 1000,
            }
        )
    return stages
