"""The pages that are made from results: the README, docs/results.md, docs/reproduction.md,
docs/scaling.md, the shipped models' cards."""

import json
from math import nan
from pathlib import Path

import cards
import findings_context
import findings_runs
import findings_table
import gpu_kit_section
import growth_section
import model_tables
import published_table
import reproduction_page
import scaling
import song_by_song
import trainings
from composing_speed import PRECISIONS, fastest_precision
from filling import fill, replaced, value
from perplexity_tables import NONE, VALID, left_out, table_2
from table_figures import figures

from lakhnes_lib import profiles
from lakhnes_lib.evaluation import musical_metrics
from lakhnes_lib.generation import auditions
from lakhnes_lib.listening import reproduction, results

NOT_MEASURED_BY_BENCHMARKS = ("known_answers", "findings")
"""Files of results/ with other contents: what others published, and runs of many machines."""
OF_README = ("composed", "six_findings")
"""Pictures of the README, which docs/results.md does not repeat."""


def hardware() -> dict:
    """Where the numbers were measured and the models trained, by which versions, and how perplexity
    was."""
    result, models = results.read("perplexity"), reproduction.measured()
    names = [path.stem for path in results.path_of("x").parent.glob("*.json")]
    names = [name for name in names if name not in NOT_MEASURED_BY_BENCHMARKS]
    machines = [results.read(name)["hardware"] for name in names]
    machines += [entry["measured"]["hardware"] for entry in models.values()]
    # Of a machine with a GPU it is the GPU that counts.
    gpus = {machine["gpu"] for machine in machines if "gpu" in machine}
    plain = [machine for machine in machines if "gpu" not in machine]
    return {
        "cores": sorted({machine["cores"] for machine in plain}),
        "processors": sorted({machine["cpu"] for machine in plain}),
        "gpus": sorted(gpus.union(trainings.devices(models))),
        "versions": _listed(result["versions"]),
        "gpu_versions": _listed(results.read("gpu")["versions"]),
        "protocol": result["values"],
        "test": models["random"]["test"],
        "without_versions": [
            name for name, entry in models.items() if "versions" not in entry["measured"]
        ],
    }


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{package} {version}" for package, version in versions.items())


def minutes() -> str:
    """The README's sentence on what its two commands take, empty before it is measured.

    On idle cores the first notebook runs alone, and so does what the runner itself computes, pages
    and gallery; the others share the cores.
    """
    cost = value("notebooks")
    if cost is None:
        return ""
    _, *others = (notebook["core_minutes"] for notebook in cost["notebooks"].values())
    tests = [row["minutes"] for row in value("suite.rows") or []]
    return fill(
        "readme_minutes.md.jinja",
        cost=cost,
        idle=cost["core_minutes"] - sum(others) + sum(others) / cost["jobs"],
        cpu=results.read("notebooks")["hardware"]["cpu"],
        tests=sorted({f"{each:.0f}" for each in tests}, key=float),
    )


def costs() -> list[tuple[str, list[str]]]:
    """Each notebook, and all solutions, with minutes of a core in smoke and in laptop."""
    profiles = [value(f"notebooks{end}.notebooks") or {} for end in ("", "_laptop")]
    minutes = [{name: each[name]["core_minutes"] for name in each} for each in profiles]
    for each in minutes:
        solved = [each.pop(name) for name in sorted(each) if name.startswith("solutions/")]
        each |= {"solutions of all": sum(solved)} if solved else {}
    return [(n, [f"{m[n]:.1f}" if n in m else "–" for m in minutes]) for n in sorted(minutes[0])]


def readme(text: str) -> str:
    """The README with its minutes and tables made anew. Raises LakhnesError if it has no marks for
    them."""
    section = fill(
        "readme_results.md.jinja",
        hardware=hardware(),
        findings=findings_table.sentences(),
        further=findings_table.further(measured_only=True),
        small=findings_context.small_models(),
        seeds=findings_context.about_seeds(),
        on_all_songs=findings_context.on_all_songs(),
        left_open=len(findings_context.left_open()),
        gains_less=": seen" in findings_table.diminishing(),
        ahead=song_by_song.ahead("paper_size") if "paper_size" in song_by_song.measured() else None,
        seen=sum(": here " in said for said in findings_table.sentences()),
        published=published_table.measured_rows(),
        table_2=[(*cells[:VALID], *cells[VALID + 1 :]) for cells in table_2()],
        full_size=reproduction_page.full_size(),
        lakh=reproduction_page.lakh_and_all(),
        paper_events=scaling.PAPER_EVENTS,
        most_epochs=max(max(each.values()) for each in reproduction_page.epochs_of_the_paper()),
        large_alone=song_by_song.measured().get("paper_size", {}).get("perplexity", nan),
        lakhnes=song_by_song.total(),
    )
    return replaced(replaced(text, "results", section), "minutes", minutes())


def own_way() -> str:
    """What results/auditions.json calls the way in which the library itself draws."""
    drawn = profiles.Sampling()
    name = f"temperature {drawn.temperature}, top-k {drawn.top_k or 'all'}, top-p {drawn.top_p}"
    name += f", notes up to {auditions.LET_GO_AFTER} s, times {auditions.LOOP_HEAT} in loops"
    return f"{name}, waits at {auditions.TIMING}"


def all_results() -> str:
    """docs/results.md."""
    best = song_by_song.best()
    heard = value("musical_metrics.sets.test.figures") or {}
    return fill(
        "results.md.jinja",
        hardware=hardware(),
        runs=findings_runs.rows(),
        valid=[(cells[0], cells[4], cells[VALID]) for cells in table_2() if cells[VALID] != NONE],
        recipe=findings_runs.changes(findings_table.XL_AUGMENTED),
        winners=findings_runs.winners(findings_table.XL_AUGMENTED),
        spread=findings_runs.spread(findings_table.XL_AUGMENTED),
        rates={
            findings_runs.rate(row): (findings_runs.changes(row), findings_runs.winners(row))
            for row in (findings_table.LSTM, findings_table.XL)
        },
        pictures={name: title for name, (title, _) in figures().items() if name not in OF_README},
        lakhnes=song_by_song.total(),
        per_song=song_by_song.measured(),
        best=best,
        shortest_listed=song_by_song.SHORTEST_LISTED,
        long_song=song_by_song.LONG,
        sampled=value("sampling"),
        auditions=value("auditions"),
        own_way=own_way(),
        composing=value("composing"),
        furthest=song_by_song.furthest(best) if best else None,
        ahead=song_by_song.ahead(best) if best else None,
        metrics={name: title for name, title in musical_metrics.METRICS.items() if name in heard},
        left_out=left_out(),
        longer=model_tables.longer(),
        sizes=model_tables.sizes(),
        scoring_time=model_tables.scoring_time(),
        costs=costs(),
        precisions=PRECISIONS,
        fastest_precision=fastest_precision,
    )


def scaling_page(text: str) -> str:
    """docs/scaling.md with its sections made anew. Raises as ``replaced``."""
    text = replaced(scaling.page(text), "growth", growth_section.section())
    return replaced(text, "gpu_kit", gpu_kit_section.section())


def pages() -> dict[Path, str]:
    """Every page that is made from results, with what it should say."""
    docs, front = profiles.root() / "docs", profiles.root() / "README.md"
    texts = {
        front: readme(front.read_text(encoding="utf-8")),
        docs / "results.md": all_results(),
        docs / "reproduction.md": reproduction_page.page(hardware()),
        docs / "scaling.md": scaling_page((docs / "scaling.md").read_text(encoding="utf-8")),
    }
    for folder, config in cards.shipped().items():
        texts[folder / "README.md"] = cards.card(folder.name, config)
        texts[folder / "config.json"] = json.dumps(config, indent=1) + "\n"
    return texts
