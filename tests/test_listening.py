"""Plots and players as Python makes them; tests/test_browser.py has the rest."""

import base64
import io
import json
import re
import wave
from html.parser import HTMLParser
from pathlib import Path

import notebook_report
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from lakhnes_lib.errors import LakhnesError
from lakhnes_lib.listening import diagnostic_plots, gallery, player, plots, tables
from lakhnes_lib.music import midi, nes
from lakhnes_lib.music.score import TIMBRE_CHANGE, Score
from lakhnes_lib.sound import apu

NASTY = (
    "</script><script>alert('x')</script> \"quoted\" & $a_1$ 'single' <img src=x onerror=alert(1)>"
)


def _song(name="song") -> Score:
    second = nes.TICKS_PER_SECOND
    notes = [
        (nes.P1, 0, second, 60, 15),
        (nes.P2, 0, second // 2, 60, 8),
        (nes.TR, 0, 2 * second, 36, 1),
        (nes.NO, 0, 9, 16, 3),
    ]
    return Score.build(notes, 3 * second, [(nes.P1, 0, TIMBRE_CHANGE, 2)], name)


class _Elements(HTMLParser):
    """The elements of a page as (tag, attributes), and the text outside of scripts and styles."""

    def __init__(self, html: str):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("img", "input", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def _content(address: str) -> bytes:
    return base64.b64decode(address.partition(";base64,")[2], validate=True)


def test_the_fragment_is_self_contained_and_plain_at_its_base(tmp_path):
    song = _song()
    page = _Elements(player.listen(song).html)
    assert not page.open
    (audio,), (image,), (figure,) = page.all("audio"), page.all("img"), page.all("figure")
    assert "controls" in audio and audio["aria-label"] and "song" in image["alt"]
    with wave.open(io.BytesIO(_content(audio["src"]))) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (
            player.PREVIEW_RATE,
            1,
            2,
        )
        heard = np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32767
    np.testing.assert_allclose(heard, apu.render(song, player.PREVIEW_RATE), atol=1 / 32767)
    assert imread(io.BytesIO(_content(image["src"]))).std() > 0.05
    links = {link["download"]: _content(link["href"]) for link in page.all("a")[:2]}
    assert set(links) == {"song.mid", "song.vgm"} and links["song.vgm"][:4] == b"Vgm "
    (tmp_path / "song.mid").write_bytes(links["song.mid"])
    assert midi.read(tmp_path / "song.mid") == song
    piece = json.loads(figure["data-piece"])
    assert len(piece["voices"]) == 4
    bars = [(float(bar["x"]), float(bar["width"])) for bar in page.all("rect")]
    notes = np.sort(song.notes, order="voice", kind="stable")[[2, 0, 1, 3]]  # the triangle's first
    seconds = [((n["start"]) / 44_100, (n["end"] - n["start"]) / 44_100) for n in notes]
    np.testing.assert_allclose(bars, seconds, atol=1e-4)
    everything = [value or "" for _, attributes in page.elements for value in attributes.values()]
    addresses = [
        a
        for _, attributes in page.elements
        for name, a in attributes.items()
        if name in ("src", "href")
    ]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    assert not any(re.search("https?://", value) for value in everything)


def test_scripts_and_style_load_nothing_and_cannot_end_early():
    folder = Path(player.__file__).parent
    forbidden = r"https?:|//cdn|import\s|@import|innerHTML|document\.write|</|<!--|eval\("
    scripts = [*folder.glob("*.js"), *folder.glob("*.css")]
    assert {path.name for path in scripts} >= {"player.js", "player.css", "sound.js", "views.js"}
    for path in scripts:
        assert not re.search(forbidden, path.read_text()), path.name
    style = (folder / "player.css").read_text()
    for voice, colour in enumerate(plots.VOICE_COLOURS):
        assert f".voice-{voice} {{ color: light-dark({colour}, " in style


def test_names_are_text_everywhere(tmp_path):
    made = player.compare({NASTY: _song(NASTY), "other": _song()})
    path = made.save(tmp_path / "page.html")
    for html in (made.html, path.read_text(encoding="utf-8")):
        page = _Elements(html)
        assert not page.open
        assert [len(page.all(tag)) for tag in ("script", "img", "figure", "audio")] == [1, 2, 2, 2]
        assert page.text.count(NASTY) >= 1
        assert page.all("audio")[0]["aria-label"] == NASTY
        assert json.loads(page.all("figure")[0]["data-piece"])["title"] == NASTY
        assert not any(
            name.startswith("on") for _, attributes in page.elements for name in attributes
        )
    names = [link["download"] for link in _Elements(made.html).all("a")]
    assert names[0].endswith(".mid") and re.fullmatch(r"[\w.-]+", names[0])


def test_long_pieces_are_cut_and_say_so():
    song = Score.build([(nes.P1, 0, 100, 60, 15)], 40 * nes.TICKS_PER_SECOND, name="long")
    page = _Elements(player.listen(song).html)
    assert "The first 30 of 40 seconds; the downloads hold all of it." in page.text
    (whole,) = _Elements(player.listen(song, seconds=None).html).all("audio")
    assert len(_content(whole["src"])) == 44 + 2 * 40 * player.PREVIEW_RATE
    assert len(_content(page.all("audio")[0]["src"])) == 44 + 2 * 30 * player.PREVIEW_RATE


def test_samples_and_an_empty_score_play_too():
    samples = np.sin(np.arange(8_000) / 9).astype(np.float32) * 2
    page = _Elements(player.listen(samples, "a tone", rate=8_000).html)
    assert "voices" not in json.loads(page.all("figure")[0]["data-piece"])
    with wave.open(io.BytesIO(_content(page.all("audio")[0]["src"]))) as sound:
        assert (sound.getframerate(), sound.getnframes()) == (8_000, 8_000)
    empty = Score.build([], 0)
    assert len(_Elements(player.listen(empty).html).all("audio")) == 1
    silence = player.listen(np.zeros(0, np.float32))
    assert len(_Elements(silence.html).all("audio")) == 1


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: player.listen(np.zeros((2, 10))), "one row"),
        (lambda: player.listen(np.array([0.0, np.nan])), "finite"),
        (lambda: player.listen(np.zeros(10), rate=0), "rate"),
        (lambda: player.compare({}), "no pieces"),
        (lambda: player.listen("a.mid"), "neither a Score nor samples"),
    ],
)
def test_bad_input_is_one_sentence(call, rule):
    with pytest.raises(LakhnesError, match=rule) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_a_page_that_cannot_be_written(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(LakhnesError, match="taken"):
        player.listen(_song()).save(tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_gallery_leaves_out_what_is_no_piece_and_says_so(tmp_path):
    gallery.save_pieces([_song("A & <b>")], tmp_path, "one", "composed & <i>saved</i>")
    for name, text in (
        ("foreign", '{"key": "C"}'),
        ("damaged", '{"title": "x", "capt'),
        ("list", "[1]"),
    ):
        (tmp_path / f"{name}.mid").write_bytes(b"another program's")
        (tmp_path / f"{name}.json").write_text(text)
    (tmp_path / "settings.json").write_text("{}")  # beside no MIDI file
    page = _Elements(gallery.write_gallery(tmp_path, "My <music>").read_text(encoding="utf-8"))
    assert [figure["id"] for figure in page.all("figure")] == ["one_00"]
    assert "A & <b>" in page.text and "composed & <i>saved</i>" in page.text
    assert "My <music>" in page.text and not page.all("i")
    for name in ("foreign", "damaged", "list"):
        assert f"{name}.json is left out: it does not describe a piece." in page.text
    assert "settings.json" not in page.text
    assert [link["href"] for link in page.all("a")] == [f"one_00.{e}" for e in gallery.ENDINGS]


def test_a_notebook_shows_players_and_pictures():
    from IPython.core.formatters import DisplayFormatter

    formats = DisplayFormatter()
    data, _ = formats.format(player.listen(_song(), "shown"))
    assert (
        data["text/html"].startswith('<div class="lakhnes-player')
        and data["text/plain"] == "Player: shown"
    )
    data, _ = formats.format(plots.piano_roll(_song()))
    assert data["image/png"][:4] == b"\x89PNG"


def test_piano_roll_has_every_note_where_it_belongs():
    song = _song("A $name$ of $money$")
    picture = plots.piano_roll(song)
    (ax,) = picture.axes
    bars = [collection for collection in ax.collections if len(collection.get_paths())]
    boxes = {tuple(b.get_facecolor()[0][:3]): b.get_paths()[0].get_extents() for b in bars}
    low, high = ax.get_ylim()
    for voice, number in ((nes.P1, 0), (nes.P2, 1), (nes.TR, 2)):
        (note,) = song.voice(voice)
        box = boxes[tuple(int(plots.VOICE_COLOURS[number][i : i + 2], 16) / 255 for i in (1, 3, 5))]
        assert (box.x0, box.x1) == pytest.approx((note["start"] / 44_100, note["end"] / 44_100))
        assert box.y0 < note["pitch"] < box.y1 and (box.y0 + box.y1) / 2 == pytest.approx(
            note["pitch"]
        )
    labels = {
        label.get_text(): tick
        for tick, label in zip(ax.get_yticks(), ax.get_yticklabels(), strict=True)
    }
    assert labels["C4"] == 60 and labels["noise 16"] - labels["noise 1"] == 15
    assert labels["noise 1"] > low and labels["noise 16"] < 36 - 2 and high > 60
    assert ax.get_title(loc="left") == song.name
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(nes.VOICE_TITLES)
    assert "noise 1" not in [
        label.get_text() for label in plots.piano_roll(song.only([0])).axes[0].get_yticklabels()
    ]


def test_noise_alone_has_no_rows_for_pitches():
    hits = [(nes.NO, 0, 400, 1, 9), (nes.NO, 500, 900, 16, 9)]
    shown = plots.roll(Score.build(hits))
    assert list(shown.labels.values()) == ["noise 1", "noise 8", "noise 16"]
    below, above = shown.bars[nes.NO][:, 2:4].T
    assert shown.floor < below.min() and above.max() < shown.high < shown.floor + 18
    assert plots.roll(Score.build([])).high > 60


def test_a_repeated_note_is_seen_as_two():
    """In the picture and in the player, which both draw these bars."""
    twice = [(nes.P1, n * 44_100, (n + 1) * 44_100, 60, 9) for n in (0, 1)]
    (_, end, *_), (start, last, *_) = plots.roll(Score.build(twice)).bars[nes.P1]
    assert 0 < end < start == 1.0 and last == 2.0


def test_notes_too_brief_to_be_seen_do_not_widen_the_roll():
    line = [(nes.P1, 0, 20 * 44_100, 60, 9)]
    for ticks, high in ((220, 74), (221, 101)):
        brief = [(nes.P2, 44_100, 44_100 + ticks, 99, 9)]
        assert plots.roll(Score.build(line + brief)).high == high


def test_every_plot_draws_into_given_axes_and_leaves_pyplot_alone(tmp_path):
    import matplotlib.pyplot as plt

    open_before = plt.get_fignums()
    tone = np.sin(np.arange(44_100) * 2 * np.pi * 1000 / 44_100).astype(np.float32)
    rows = [
        {"step": i, "train_loss": 5 - i / 50, "valid_loss": 5.2 - i / 60 if i % 10 == 0 else None}
        for i in range(100)
    ]
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(map(json.dumps, rows)))
    calls = [
        lambda **k: plots.piano_roll(_song(), **k),
        lambda **k: plots.piano_roll(Score.build([], 0), **k),
        lambda **k: plots.spectrogram(tone, 44_100, title="a tone", **k),
        lambda **k: plots.spectrogram(tone[:10], 44_100, **k),
        lambda **k: plots.spectrogram(tone[:0], 44_100, **k),
        lambda **k: diagnostic_plots.loss_curve(log, **k),
    ]
    for call in calls:
        picture = call()
        assert isinstance(picture, Figure) and imread(io.BytesIO(picture.png())).std() > 0.01
        ax = Figure().add_subplot()
        assert call(ax=ax) is ax
    assert plt.get_fignums() == open_before


def test_spectrogram_measures_in_decibels_below_full_scale():
    tone = np.sin(np.arange(44_100) * 2 * np.pi * 1000 / 44_100) / 10
    image = plots.spectrogram(tone, 44_100).axes[0].images[0]
    power = image.get_array()
    row = power.shape[0] - 1 - np.unravel_index(np.argmax(power), power.shape)[0]  # from below
    top = row * 44_100 / 2 / (power.shape[0] - 1)
    assert top == pytest.approx(1000, abs=15) and power.max() == pytest.approx(-20, abs=1.5)


def test_loss_curve_reads_logs_and_says_what_is_missing(tmp_path):
    log = tmp_path / "log.jsonl"
    first, second = '{"step": 1, "events": 10, "train_loss": 6.0}', '{"step": 2, "events": 20, '
    log.write_text(f'{first}\n{second}"valid_loss": 1.6094379}}\n')
    ax = diagnostic_plots.loss_curve(log).axes[0]
    assert any("perplexity 5.00" in text.get_text() for text in ax.get_legend().get_texts())
    log.write_text("{broken")
    with pytest.raises(LakhnesError, match=r"log\.jsonl"):
        diagnostic_plots.loss_curve(log)
    log.write_text('{"step": 1}')
    with pytest.raises(LakhnesError, match=r"log\.jsonl: .*valid_loss"):
        diagnostic_plots.loss_curve(log)
    with pytest.raises(LakhnesError, match="missing"):
        diagnostic_plots.loss_curve(tmp_path / "missing.jsonl")


def test_no_cell_of_a_table_is_taken_for_html():
    shown = tables.table(("event", "p"), ("<S>", "< .0001"), ("`<S>` or <b>", "$a$"))
    page = _Elements(notebook_report.markdown(shown._repr_markdown_()))
    assert len(page.all("td")) == 4 and not page.all("s") and not page.all("b")
    assert "".join(page.text.split()) == "eventp<S><.0001<S>or<b>a"
