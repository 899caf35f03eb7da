"""The README, the pages and the models' cards say what results/ says."""

import collections
import math

import cards
import composing_speed
import filling
import modern_decoder_changes
import numpy as np
import pages
import perplexity_table
import perplexity_tables
import pytest
import song_by_song

from lakhnes_lib import profiles
from lakhnes_lib.errors import DataNotFound, LakhnesError
from lakhnes_lib.listening import reproduction, results


@pytest.fixture
def measured(monkeypatch):
    """measured(name, values) makes a result say these values; None: it was never measured."""
    real, made, hardware = results.read, {}, pages.hardware()
    monkeypatch.setattr(pages, "hardware", lambda: hardware)

    def read(name):
        if name in made and made[name] is None:
            raise DataNotFound(name)
        return {"values": made[name], "hardware": {"cpu": "a CPU"}} if name in made else real(name)

    monkeypatch.setattr(results, "read", read)
    return made.__setitem__


def test_every_page_agrees_with_results():
    texts = pages.pages()
    names = {path.relative_to(profiles.root()).as_posix() for path in texts}
    documents = {f"docs/{name}.md" for name in ("results", "reproduction", "scaling")}
    assert documents | {"README.md"} < names
    assert {f"assets/pretrained/mini/{name}" for name in ("README.md", "config.json")} < names
    for path, text in texts.items():
        assert path.read_text(encoding="utf-8") == text, f"{path}: run `make report`"


def test_a_changed_number_is_noticed():
    text = (profiles.root() / "README.md").read_text(encoding="utf-8")
    perplexity = filling.number("perplexity.models.mini.test.exact", ".3f")
    assert perplexity in text
    forged = text.replace(perplexity, "1.000")
    assert pages.readme(forged) != forged


def test_minutes_of_the_commands_are_those_that_were_measured(measured):
    """First 1 minute alone, then 4 on two cores, and 1 that the runner itself computes: 4 by the
    clock."""
    notebooks = {name: {"core_minutes": cost} for name, cost in (("00", 1), ("01", 3), ("02", 1))}
    measured("notebooks", {"jobs": 2, "core_minutes": 6.0, "notebooks": notebooks})
    measured("suite", {"rows": [{"minutes": 11.6}, {"minutes": 9.1}]})
    sentence = pages.minutes()
    assert "take 6 minutes of a processor core (a CPU; " in sentence
    assert "and with 2 idle cores about 4 by" in sentence
    assert "tests took 9 to 12 minutes" in sentence
    measured("suite", {"rows": [{"minutes": 9.1}]})
    assert "tests took 9 minutes" in pages.minutes()
    measured("suite", None)
    assert "tests" not in pages.minutes()
    line = "before <!-- minutes:begin --> 5 <!-- minutes:end --> after"
    assert filling.replaced(line, "minutes", "6\n") == line.replace("5", "6")
    measured("notebooks", None)
    assert pages.minutes() == ""


def test_a_missing_number_and_missing_marks_are_named():
    with pytest.raises(LakhnesError, match="lack 'models.mini.train'"):
        filling.value("perplexity.models.mini.train")
    with pytest.raises(LakhnesError, match="no marks for results"):
        pages.readme("# A README without marks")


def test_a_line_that_needs_a_number_which_was_not_measured_is_left_out(tmp_path, monkeypatch):
    template = """| songs | {{ n("representation.known.songs", ",") }} |
| never | {{ n("never.measured") }} |

{{ n("never.measured", ".1f") }} times

| plain | {{ plain }} |"""
    (tmp_path / "page.md.jinja").write_text(template)
    monkeypatch.setattr(filling, "TEMPLATES", tmp_path)
    assert filling.fill("page.md.jinja", plain=1) == "| songs | 5,278 |\n\n| plain | 1 |\n"


def test_speed_of_evaluation_is_shown_once_it_was_measured(measured):
    measured("evaluation", None)
    assert "| evaluating" not in pages.all_results()
    size = {"best_events_a_second": 1234.5, "best_times_plain": 6.78}
    published = {"times_published_derived": 5.4321, "published_derived_events_a_second": 242.3}
    measured("evaluation", {"transformer_xl": size, "paper": size | published})
    shown = "| the same | 1,234 events/s | 5.4 times the published code (242 events/s"
    assert shown in pages.all_results()
    assert pages.all_results().count("6.8 times a plain version in the same run") == 2


def test_speed_of_composing_is_that_of_the_fastest_precision(measured):
    speeds = {"events_a_second": 1, "int8_events_a_second": 20}
    measured("sampling", {"memory": 512, "mini": {"full": speeds}})
    assert composing_speed.fastest_precision("mini", 1) == ("int8_", 8)
    measured("sampling", None)
    assert "composing one piece" not in pages.all_results()
    assert "## Composing" not in pages.all_results()


def test_the_librarys_own_way_of_drawing_is_marked_once():
    assert pages.own_way() in results.read("auditions")["values"]["grid"]
    assert pages.all_results().count(f"| **{pages.own_way()}**, the library's own |") == 1


def test_what_each_change_of_the_modern_decoder_gains(measured):
    measured("modern_decoder", None)
    assert perplexity_tables.left_out() is None
    assert "decoder without" not in pages.all_results()
    names = perplexity_tables.LEFT_OUT
    few = {name: {"valid_perplexity": 11.0} for name in names} | {"all": {"valid_perplexity": 10.0}}
    more = {name: {"valid_perplexity": 7.0} for name in names if name != "tied"}
    measured("modern_decoder", {"left_out": {"9": few, "100": more}})
    shown = pages.all_results()
    assert "| nothing | 10.000 | – |" in shown and "for 9 steps" in shown
    assert "| late keys | 11.000 | +0.095 |" in shown
    more["tied"] = {"valid_perplexity": 7.7}
    measured("modern_decoder", {"left_out": {"9": few, "100": more}})
    shown = pages.all_results()
    assert "| one table for inputs and outputs | 7.700 | +0.095 |" in shown
    assert "for 100 steps" in shown
    measured("modern_decoder", {"left_out": {"100": {"all": {"valid_perplexity": 7.0}}}})
    assert perplexity_tables.left_out() is None, "one variant is no comparison"


def test_every_variant_of_the_modern_decoder_has_a_title():
    assert modern_decoder_changes.VARIANTS.keys() == perplexity_tables.LEFT_OUT.keys()


# The shipped models' cards


def test_a_card_says_what_each_stage_ran_on():
    """Of mini most events were on a GPU, though its last stage was not."""
    texts = {folder.name: cards.card(folder.name, c) for folder, c in cards.shipped().items()}
    assert (
        "stage 1 on one NVIDIA H100 80GB HBM3 (93% of the events), stages 2 and 3 on"
        in (texts["mini"])
    )
    made = texts["mini"].split("## How it was made")[1]
    assert "Stage 1: `python tools/gpu_kit.py`" in made
    assert "Stages 2 and 3: `lakhnes train`" in made
    assert "`fix`, `fix2`. Their settings stand whole" in texts["mini"]
    assert "| 6,239 | 4,000 | 131,072,000 |" in texts["mini"]
    assert "| 1,280 | not known | 41,943,040 |" in texts["paper_size"]
    assert "best in stage 1 was not recorded" in texts["paper_size"]
    assert not any("was not recorded" in texts[name] for name in ("mini", "transformer_xl"))
    assert "**Training**: on one NVIDIA H200,\n" in texts["paper_size"]
    assert "lakhnes train" not in texts["paper_size"].split("## How it was made")[1]
    assert not any("Not in `profiles`" in texts[name] for name in ("paper_size", "transformer_xl"))


def test_a_card_cites_the_papers_model_that_was_trained_alike():
    cited = {
        folder.name: cards.counterpart(config["stages"])["test"]
        for folder, config in cards.shipped().items()
    }
    assert cited == {"mini": 2.741, "paper_size": 2.460, "transformer_xl": 3.501}


def test_a_card_says_what_its_training_takes_on_cores(monkeypatch):
    run = {"events": 10_000_000, "minutes": 60.0}
    made = {"laptop/transformer_xl_hours_end": run}
    monkeypatch.setattr(reproduction, "measured", lambda: made)
    stages = [{"events": 20_000_000}, {"events": 10_000_000}]
    assert cards.on_cores("transformer_xl", stages)["hours"] == pytest.approx(3)
    assert cards.on_cores("mini", stages) is None
    made.clear()
    assert cards.on_cores("transformer_xl", stages) is None


def test_stages_are_put_together_by_what_they_ran_on():
    stages = [{"device": device, "events": 1} for device in ("", "", "", "GPU", "")]
    assert cards.parts(stages) == [
        ("stages 1 to 3", "", 0.6),
        ("stage 4", "GPU", 0.2),
        ("stage 5", "", 0.2),
    ]
    assert cards.trained_on(cards.parts(stages[:2])) == "on shared CPU cores"


# Song by song


def test_songs_stand_in_the_same_order_as_the_published_ones():
    names, targets, known = song_by_song.published()
    assert names == sorted(names) and len(names) == 373 and targets.sum() == 407_641
    assert song_by_song.total() == 2.4519956
    for name, entry in song_by_song.measured().items():
        assert entry["targets"] == targets.sum() and len(entry["songs"]) == len(names), name
        mean = (targets * np.log(entry["songs"])).sum() / targets.sum()
        assert math.exp(mean) == pytest.approx(entry["perplexity"], rel=1e-4), name
        # Hard songs are hard for every model, so songs that were mixed up would be noticed.
        assert np.corrcoef(np.log(entry["songs"]), np.log(known))[0, 1] > 0.9, name


def test_shipped_models_were_measured_song_by_song():
    for folder in cards.shipped():
        entry = song_by_song.measured()[folder.name]
        assert entry["weights"] == perplexity_table.weights(folder), f"{folder.name}: measure again"


def test_the_songs_that_differ_most(measured):
    names, targets, known = song_by_song.published()
    long = np.flatnonzero(targets >= song_by_song.SHORTEST_LISTED)
    ours = known * 1.5
    ours[long[7]], ours[long[9]] = known[long[7]] / 2, known[long[9]] * 4
    ours[targets < 10] = known[targets < 10] / 3  # too short to be listed
    entry = {"perplexity": 3.5, "targets": 407_641, "songs": ours.tolist(), "seconds": 60}
    measured("per_song", {"models": {"mini": entry, "other": entry | {"perplexity": 4.0}}})
    assert song_by_song.best() == "mini"
    ahead, tiny = song_by_song.ahead("mini"), (targets < 10).sum()
    assert ahead.songs == (1 + tiny, 373) and ahead.p < 1e-9
    of_long = int(targets[long[7]] >= song_by_song.LONG)
    many = (targets >= song_by_song.LONG).sum()
    assert (ahead.long, ahead.short) == ((of_long, many), (1 + tiny - of_long, 373 - many))
    gains = collections.Counter()  # nats by game
    for name, count, theirs, mine in zip(names, targets, known, ours, strict=True):
        gains[tuple(name.split("_")[:2])] += count * math.log(theirs / mine)
    ((game, _),) = gains.most_common(1)
    assert ahead.game == game[1]
    others = [tuple(name.split("_")[:2]) != game for name in names]
    assert ahead.songs_of_game == 373 - sum(others)
    without = np.average(np.log(ours[others]), weights=targets[others])
    assert ahead.without_game[0] == pytest.approx(np.exp(without))
    assert list(song_by_song.furthest("mini")) == [
        "is ahead of LakhNES, or comes nearest to it",
        "falls furthest behind",
    ]
    nearest, furthest = song_by_song.furthest("mini").values()
    assert len(nearest) == len(furthest) == 10
    assert (nearest[0][0], nearest[0][-1]) == (names[long[7]], "0.50")
    assert (furthest[0][0], furthest[0][-1]) == (names[long[9]], "4.00")
    assert f"| {names[long[9]]} | {targets[long[9]]:,} |" in pages.all_results()
    for factor, title in ((0.9, "is furthest ahead of LakhNES"), (1.1, "comes nearest to LakhNES")):
        entry["songs"] = (known * factor).tolist()
        assert next(iter(song_by_song.furthest("mini"))) == title
    entry["songs"] = ours.tolist()
    assert song_by_song.picture("Songs").png().startswith(b"\x89PNG")
    mini = next(row for row in reproduction.table_2() if row.name == "mini")
    assert perplexity_tables.compared(mini)[7] == "3.500"
    measured("per_song", None)
    assert perplexity_tables.compared(mini)[7] == "–" and song_by_song.best() is None
    assert (
        "## Song by song" in pages.all_results() and "song_by_song.png" not in pages.all_results()
    )
