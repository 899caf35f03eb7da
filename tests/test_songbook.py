"""The songbook: right melodies, full bars, chiptunes for four voices.

Oracles: the openings in tonic sol-fa, written from memory of the tunes and not from the ABC files;
and a slow ABC reader of this test's own, to which the library's reading is compared note by note.
"""

import re
from fractions import Fraction

import numpy as np
import pytest

from lakhnes_lib.errors import BadScore, DataNotFound
from lakhnes_lib.music import nes
from lakhnes_lib.songbook import arrangement, tunes
from lakhnes_lib.songbook.arrangement import STYLES, TEXTURES
from lakhnes_lib.songbook.sheets import EIGHTH, Bar, Chord, LeadSheet

SLUGS = list(tunes.pieces())

OPENINGS = {
    "ode_to_joy": "m m f s s f m r d d r m m r r",
    "greensleeves": "l d' r' m' fi' m' r' t s l t d' l",
    "korobeiniki": "m' t d' r' d' t l l d' m' r' d' t d' r' m' d' l l",
    "mountain_king": "l, t, d r m d m ri t, ri r te, r l, t, d r m d m l s m d m s",
    "fuer_elise": "m' ri' m' ri' m' t r' d' l d m l t",
    "cancan": "d r f m r s s s l m f r r r f m r d d' t l s f m r d",
    "auld_lang_syne": "s, d d d m r d r m d d m s l l s m m d",
    "minuet_in_g": "s d r m f s d d l f s l t d' d d",
    "londonderry_air": "t, d r m r m l s m r d l, d m f s l s m d m r",
    "amazing_grace": "s, d m d m r d l, s, s, d m d m r s",
    "irish_washerwoman": "s f m d d s, d d m d m s f m f r r l, r r",
    "turkish_march": "t l si l d' r' d' t d' m' f' m' ri' m' t' l' si' l' t' l' si' l' d''",
    "william_tell": "s, s, s, s, s, s, s, s, d r m",
    "eine_kleine_nachtmusik": "d s, d s, d s, d m s f r f r f r t, r s,",
    "symphony_40": "f m m f m m f m m d' d' t l l s f f m r r",
    "surprise_symphony": "d d m m s s m f f r r t, t, s,",
    "twinkle": "d d s s l l s f f m m r r d",
    "frere_jacques": "d r m d d r m d m f s m f s s l s f m d",
    "oh_susanna": "d r m s s l s m d r m m r d r",
    "jingle_bells": "s, m r d s, s, s, s, m r d l,",
    "silent_night": "s l s m s l s m r' r' t d' d' s",
    "deck_the_halls": "s f m r d r m d r m f r m r d t, d",
    "good_king_wenceslas": "d d d r d d s, l, s, l, t, d d",
    "god_rest_ye": "l, l, m m r d t, l, s, l, t, d r m",
    "joy_to_the_world": "d' t l s f m r d s l l t t d'",
    "brahms_lullaby": "m m s m m s m s d' t l l s",
    "new_world_largo": "m s s m r d r m s m r",
    "swan_lake": "m' l t d' r' m' d' m' d' m' l d' l f d' l",
    "canon_in_d": "m r d t, l, s, l, t, d t, l, s, f, m, f, r,",
    "jesu_joy": "d r m s f f l s s d' t d' s m d r m",
    "entertainer": "r ri m d' m d' m d' d' r' ri' m' d' r' m' t r' d'",
    "sakura": "l l t l l t l t d' t l t l f m d m f",
    "clementine": "d d d s, m m m d d m s s f m r",
    "drunken_sailor": "l l l l l l l r f l s s s s s s s d m s",
    "kesh_jig": "d r d d r m r m r r m s l s s d' s s",
    "swallowtail_jig": "f r r l r r f r f l s f m d d s d d",
    "yankee_doodle": "d d r m d m r s, d d r m d t,",
}
SOL_FA = dict(d=0, r=2, ri=3, m=4, f=5, fi=6, s=7, si=8, l=9, te=10, t=11)


@pytest.mark.parametrize("slug", SLUGS)
def test_opening_is_the_tune(slug):
    wanted = []
    for syllable in OPENINGS[slug].split():
        name = syllable.rstrip("',")
        wanted.append(SOL_FA[name] + 12 * syllable.count("'") - 12 * syllable.count(","))
    melody = _sheet(slug).melody[:, 2]
    assert np.diff(melody[: len(wanted)]).tolist() == np.diff(wanted).tolist()


@pytest.mark.parametrize("slug", SLUGS)
def test_library_reads_what_is_written(slug, capfd):
    text = _path(slug).read_text(encoding="utf-8")
    bars, bar_length = _read_bars(text)
    for bar in bars:
        assert sum(length for _, length, _ in bar) == bar_length, f"{slug}: bar {bar}"
    assert _sheet(slug).melody.tolist() == _join(bars)
    assert all(bar.first == bar.start for bar in _sheet(slug).bars), "every bar is full"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("slug", SLUGS)
def test_strong_beats_agree_with_chords(slug):
    sheet = _sheet(slug)
    beat = sheet.bars[0].beat * EIGHTH
    strong = [
        (pitch, sheet.chord(start))
        for start, _, pitch in sheet.melody.tolist()
        if start % beat == 0
    ]
    agreeing = [pitch % 12 in chord.tones for pitch, chord in strong if chord is not None]
    assert np.mean(agreeing) > 0.6


@pytest.mark.parametrize("slug", SLUGS)
def test_score_is_a_chiptune(slug):
    score = tunes.score(slug)
    assert score.name == slug and 20 < score.seconds < 90
    assert not (score.notes["start"] % 735).any() and not (score.notes["end"] % 735).any()
    bar = _sheet(slug).bars[0].count * 30 / _sheet(slug).quarters_per_minute
    for voice in range(4):
        notes = score.voice(voice)
        silence = np.append(notes["start"], score.length) - np.append(0, notes["end"])
        assert silence.max() / nes.TICKS_PER_SECOND < 2.5 * bar, (
            f"{nes.VOICES[voice]} is silent for long"
        )
    low, inner, melody = (np.average(score.voice(v)["pitch"]) for v in (nes.TR, nes.P2, nes.P1))
    assert low + 7 < inner < melody
    assert len(np.unique(score.voice(nes.NO)["pitch"])) >= 3
    struck = score.voice(nes.P1)
    again = (np.diff(struck["pitch"].astype(int)) == 0) & (np.diff(struck["start"]) > 2 * 735)
    assert (struck["end"][:-1] < struck["start"][1:])[again].all(), (
        "a repeated note must be struck again"
    )


@pytest.mark.parametrize("slug", SLUGS)
def test_melody_is_kept_on_p1(slug):
    sheet, passes = _sheet(slug), tunes.pieces()[slug]["passes"]
    pitches = np.concatenate([sheet.melody[:, 2] + up for up in passes])
    starts = np.concatenate(
        [sheet.melody[:, 0] + n * sheet.bars[-1].end for n in range(len(passes))]
    )
    seconds = starts / 480 * 60 / sheet.quarters_per_minute
    played = tunes.score(slug).voice(nes.P1)
    assert played["pitch"].tolist() == pitches.tolist()
    assert np.abs(played["start"] / nes.TICKS_PER_SECOND - seconds).max() <= 0.5 / 60 + 1e-9


@pytest.mark.parametrize("slug", SLUGS)
def test_bass_strikes_every_new_chord(slug):
    sheet, up = _sheet(slug), tunes.pieces()[slug]["passes"][0]
    triangle = tunes.score(slug).voice(nes.TR)
    for start, chord in sheet.chords:
        frame = round(start / EIGHTH * 30 / sheet.quarters_per_minute * 60)
        struck = triangle["pitch"][triangle["start"] == frame * 735]
        assert struck.tolist() and struck[0] % 12 == (chord.bass + up) % 12


def test_frere_jacques_is_a_canon():
    score = tunes.score("frere_jacques")
    entry = round(8 * 60 / _sheet("frere_jacques").quarters_per_minute * 60) * 735
    leader, follower = score.voice(nes.P1), score.voice(nes.P2)
    assert follower["start"][0] == entry
    assert follower["pitch"][:24].tolist() == leader["pitch"][:24].tolist()
    assert np.abs(follower["start"][:24] - leader["start"][:24] - entry).max() <= 735


def test_book_as_a_whole():
    assert len(SLUGS) >= 24 and set(SLUGS) == set(OPENINGS)
    assert sum(score.seconds for score in tunes.scores()) >= 12 * 60
    splits = {split: tunes.scores(split) for split in ("train", "valid", "test")}
    assert all(len(scores) >= 4 for scores in splits.values())
    assert sorted(s.name for scores in splits.values() for s in scores) == sorted(SLUGS)
    assert {path.stem for path in tunes.FOLDER.glob("*.abc")} == set(SLUGS)
    choices = tunes.pieces().values()
    assert {texture for row in choices for texture in row["textures"]} == set(TEXTURES)
    assert {row["style"] for row in choices} == set(STYLES)


def test_every_piece_has_its_source():
    rows = re.findall(
        r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$",
        (tunes.FOLDER / "SOURCES.md").read_text(encoding="utf-8"),
        re.M,
    )
    assert [row[0] for row in rows] == sorted(SLUGS)
    for *_, why in rows:
        died = re.fullmatch(r"traditional|composer died (\d{4})", why)
        assert died and int(died[1] or 0) < 1955, why


@pytest.mark.parametrize("name", STYLES)
def test_patterns_have_the_length_of_their_bar(name):
    style = STYLES[name]
    parts = ("bass", "counter", "chop", "arpeggio")
    eighths = {len(bar) for part in parts for bar in style[part]}
    assert len(eighths) == 1
    assert {len(bar) for bar in style["drums"]} == {2 * max(eighths)}
    assert len(style["drums"]) == arrangement.PHRASE, "seven bars and a fill"


def test_choices_of_the_songbook_fit_its_pieces():
    for slug, row in tunes.pieces().items():
        assert row["passes"] and set(row["textures"]) <= set(TEXTURES)
        for bar in _sheet(slug).bars:
            assert arrangement.fitting(row["style"], bar) is STYLES[row["style"]]


def test_what_is_not_there():
    with pytest.raises(DataNotFound, match="no_such_tune"):
        tunes.score("no_such_tune")
    with pytest.raises(DataNotFound, match="dev"):
        tunes.scores("dev")


def test_a_pass_out_of_range():
    bar = Bar(0, 0, 8 * EIGHTH, EIGHTH, 8, 2)
    sheet = LeadSheet(np.array([[0, 480, 72]]), ((0, Chord(0, (0, 4, 7))),), (bar,), 120.0)
    assert arrangement.arrange(sheet, style="march").voice(nes.P1)["pitch"].tolist() == [72]
    with pytest.raises(BadScore, match="range"):
        arrangement.arrange(sheet, style="march", passes=[60])


def _path(slug):
    return tunes.FOLDER / f"{slug}.abc"


def _sheet(slug):
    return tunes.lead_sheet(_path(slug))


SHARPS = {
    "C": 0,
    "Am": 0,
    "Ddor": 0,
    "G": 1,
    "Em": 1,
    "D": 2,
    "Bm": 2,
    "Edor": 2,
    "F": -1,
    "Gm": -2,
}
NATURAL = dict(C=0, D=2, E=4, F=5, G=7, A=9, B=11)
TOKEN = re.compile(r"([_^=]?)([A-Ga-gz])([,']*)(\d*)(/?)(\d*)(-?)")


def _read_bars(text):
    """Bars in the order played, lists of (pitch or None, length, tied) with lengths in units; the
    length of a bar.
    """
    header = dict(re.findall(r"^([MLK]):(\S+)", text, re.M))
    unit = Fraction(header["L"]) * 8 * EIGHTH
    sharps = SHARPS[header["K"]]
    key = {letter: 1 for letter in "FCGDAEB"[: max(sharps, 0)]} | {
        letter: -1 for letter in "BEADGCF"[: max(-sharps, 0)]
    }
    music = re.sub(r'"[^"]*"', "", text[text.index("\nK:") :].split("\n", 2)[2]).replace("\n", "")
    played, start, ending = [], 0, None
    for barline, body in re.findall(r"(:\|2|\|1|\|:|:\||\||^)([^|:]*)", music):
        if barline in (":|", ":|2"):
            played += played[
                start:ending
            ]  # again from the repeat's start, without the first ending
            start, ending = len(played), None
        if barline == "|:":
            start = len(played)
        if barline == "|1":
            ending = len(played)
        if body.strip():
            played.append(_read_bar(body, unit, key))
    return played, Fraction(header["M"]) * 8 * EIGHTH


def _read_bar(body, unit, key):
    notes, changed, share = [], {}, Fraction(1)
    for part in re.findall(TOKEN.pattern + r"|(>)|(\S)", body):
        accidental, letter, octaves, over, slash, under, tie, greater, strange = part
        assert not strange, f"{strange!r} in {body!r}"
        if greater:
            pitch, length, tied = notes.pop()
            notes.append((pitch, length * Fraction(3, 2), tied))
            share = Fraction(1, 2)
            continue
        length = unit * int(over or 1) / (int(under or 2) if slash else 1) * share
        share = Fraction(1)
        if letter == "z":
            notes.append((None, length, False))
            continue
        if accidental:
            changed[letter, octaves] = dict(zip("_^=", (-1, 1, 0), strict=True))[accidental]
        alter = changed.get((letter, octaves), key.get(letter.upper(), 0))
        octave = letter.islower() + octaves.count("'") - octaves.count(",")
        notes.append((60 + NATURAL[letter.upper()] + alter + 12 * octave, length, bool(tie)))
    return notes


def _join(bars):
    rows, now, tied = [], 0, False
    for pitch, length, ties in (note for bar in bars for note in bar):
        if tied:
            assert rows[-1][2] == pitch
            rows[-1][1] += length
        elif pitch is not None:
            rows.append([now, now + length, pitch])
        now, tied = now + length, ties
    return rows
