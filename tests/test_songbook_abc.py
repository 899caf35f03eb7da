"""ABC notation: what the standard says about notes, bars, repeats, keys and fields, and files of
every kind that people have.

Oracles: the notes written out by hand beside each example.
"""

import random
import re
from fractions import Fraction

import pytest

from lakhnes_lib import files
from lakhnes_lib.data import build
from lakhnes_lib.errors import BadScore, LakhnesError
from lakhnes_lib.music import nes
from lakhnes_lib.songbook import abc_reader, tunes
from lakhnes_lib.songbook.abc_fields import FIFTHS, Signature
from lakhnes_lib.songbook.sheets import EIGHTH, chord_named

HEAD = "X:1\nT:A tune\nM:4/4\nL:1/8\nQ:1/4=120\nK:C\n"
NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]


def bars_of(music, head=HEAD):
    """The bars that are played, as text: each note's name, octave (4 from middle C) and length in
    eighths; z for a rest.
    """
    lines = list(enumerate((head + music).split("\n"), start=1))
    out = []
    for bar in abc_reader.played(abc_reader.read(lines, "tune.abc")):
        notes = []
        for note in bar.notes:
            name = "z" if note.pitch is None else f"{NAMES[note.pitch % 12]}{note.pitch // 12 - 1}"
            notes.append(f"{name}:{note.length * 8}")
        out.append(" ".join(notes))
    return out


def letters_of(music, head=HEAD):
    """The letters of the notes that are played, a word for each bar."""
    return " ".join(re.sub(r"\d|:[\d/]+| ", "", bar) for bar in bars_of(music, head))


@pytest.mark.parametrize(
    ("music", "bars"),
    [
        ("C c C, c' B,, |", ["C4:1 C5:1 C3:1 C6:1 B2:1"]),
        ("A2 A/ A// A3/2 A/4 A3/ |", ["A4:2 A4:1/2 A4:1/4 A4:3/2 A4:1/4 A4:3/2"]),
        ("z2 x z/ | Z2 | X |", ["z:2 z:1 z:1/2", "z:16", "z:8"]),
        ("A>B A<B A > B |", ["A4:3/2 B4:1/2 A4:1/2 B4:3/2 A4:3/2 B4:1/2"]),
        ("A>>B A<<B |", ["A4:7/4 B4:1/4 A4:1/4 B4:7/4"]),
        ("A>{g}B z>c |", ["A4:3/2 B4:1/2 z:3/2 C5:1/2"]),
        ("(3ABc (2de (3A2B2c2 |", ["A4:2/3 B4:2/3 C5:2/3 D5:3/2 E5:3/2 A4:4/3 B4:4/3 C5:4/3"]),
        ("(3:2:2 A4 B2 c |", ["A4:8/3 B4:4/3 C5:1"]),
        ("(3::2 A4 B2 (5ABcde f|", ["A4:8/3 B4:4/3 A4:2/5 B4:2/5 C5:2/5 D5:2/5 E5:2/5 F5:1"]),
        ("[CEG]2 [C2E2]/ [ec]> B |", ["G4:2 E4:1 E5:3/2 B4:1/2"]),
        ("^F F f =f F | F _B B __B |", ["F#4:1 F#4:1 F#5:1 F5:1 F4:1", "F4:1 A#4:1 A#4:1 A4:1"]),
        ("^F- | F F | F ^^F |", ["F#4:1", "F#4:1 F4:1", "F4:1 G4:1"]),
        ("!fermata!A .B ~c HA TB uc |", ["A4:1 B4:1 C5:1 A4:1 B4:1 C5:1"]),
        ("(d e) !>!f +trill+g $ A`B |", ["D5:1 E5:1 F5:1 G5:1 A4:1 B4:1"]),
        ('"C"A "^above"B "_below"c |', ["A4:1 B4:1 C5:1"]),
        ("{gf}A {/g}B | A & c2 |", ["A4:1 B4:1", "A4:1"]),
        ("B \\\nc | d % end\n% alone\ne|", ["B4:1 C5:1", "D5:1 E5:1"]),
        ("A2 | [L:1/4] A | A [K:D] F | [Q:1/4=60] c |", ["A4:2", "A4:2", "A4:2 F#4:2", "C#5:2"]),
    ],
)  # fmt: skip
def test_notes(music, bars):
    assert bars_of(music) == bars


@pytest.mark.parametrize(
    ("music", "played"),
    [
        ("A | B |", "A B"),
        ("A | B :|", "A B A B"),
        ("A |: B :| c |", "A B B c"),
        ("A |: B :|: c :| d |", "A B B c c d"),
        ("A |: B :: c :| d |", "A B B c c d"),
        ("|: A | B |1 c :|2 d | e |", "A B c A B d e"),
        ("|: A | B [1 c :| [2 d || e :|", "A B c A B d e e"),
        ("|: A |[1,3 B :|[2 c :|[4 d |", "A B A c A B A d"),
        ("|: A |1-2 B :|3 c |]", "A B A B A c"),
        ("|: A |1-2 B :|3 c :| d |]", "A B A B A c d"),
        ("|: A |[1,3 B :|[2 c :|[4 d :|", "A B A c A B A d"),
        ("|:: A ::| B |", "A A A B"),
        ("A | B || c :| d |", "A B c c d"),
        ("|: A || B :| c |", "A B A B c"),
        ("|: A |1 B :|2 c :| d | e :|", "A B A c d e d e"),
        ("|: A B |1 c :|2 d |: e :|", "AB c AB d e e"),
        ("A B |]", "AB"),
        ("[| A :||: B :|] c", "A A B B c"),
        ("|:A|\nB:|\n|:c:|", "A B A B c c"),
        ("|: A | B [|]:| c |]", "A B A B c"),
    ],
)
def test_repeats(music, played):
    assert letters_of(music).replace("C", "c").replace("D", "d").replace("E", "e") == played


@pytest.mark.parametrize(
    ("key", "altered"),
    [
        ("C", ""),
        ("G", "F#"),
        ("Bb", "Bb Eb"),
        ("F#", "F# C# G# D# A# E#"),
        ("Am", ""),
        ("E minor", "F#"),
        ("Gm", "Bb Eb"),
        ("Ddor", ""),
        ("A Mixolydian", "F# C#"),
        ("E phr", "",),
        ("Flyd", ""),
        ("B loc", ""),
        ("DMaj", "F# C#"),
        ("D =c", "F#"),
        ("Dmix ^g _b", "F# G# Bb"),
        ("D exp _e ^f", "Eb F#"),
        ("G clef=bass octave=-1", "F#"),
        ("Hp", "F# C#"),
        ("none", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_keys(key, altered):
    signature = Signature().changed("K", key)
    assert set(signature.alters) == set(FIFTHS)
    wanted = {name[0]: "b #".index(name[1]) - 1 for name in altered.split()}
    assert {letter: sign for letter, sign in signature.alters.items() if sign} == wanted


@pytest.mark.parametrize(
    ("field", "value", "attribute", "wanted"),
    [
        ("M", "C", "metre", (4, 4)),
        ("M", "C|", "metre", (2, 2)),
        ("M", "(2+3)/8", "metre", (5, 8)),
        ("M", "12/8", "metre", (12, 8)),
        ("M", "none", "metre", (4, 4)),
        ("L", "1/16", "unit", Fraction(1, 16)),
        ("Q", "1/4=90", "tempo", 90),
        ("Q", "3/8=60", "tempo", 90),
        ("Q", '"Allegro" 1/2=60', "tempo", 120),
        ("Q", '1/4=100 "Lively"', "tempo", 100),
        ("Q", "1/4 3/8 1/4=40", "tempo", 140),
        ("Q", "120", "tempo", 120),
        ("Q", '"Slow"', "tempo", None),
    ],
)
def test_fields(field, value, attribute, wanted):
    assert getattr(Signature().changed(field, value), attribute) == wanted


def test_a_tune_without_unit_and_tempo():
    assert Signature((2, 4)).completed().unit == Fraction(1, 16)
    assert Signature((3, 4)).completed().unit == Fraction(1, 8)
    assert Signature((4, 4)).completed().tempo == 120
    assert Signature((6, 8)).completed().tempo == 180, "120 dotted beats a minute"


@pytest.mark.parametrize(
    ("symbol", "bass", "tones"),
    [
        ("C", 0, {0, 4, 7}),
        ("Am", 9, {9, 0, 4}),
        ("F#m7", 6, {6, 9, 1, 4}),
        ("Bb", 10, {10, 2, 5}),
        ("G7", 7, {7, 11, 2, 5}),
        ("Dmaj7", 2, {2, 6, 9, 1}),
        ("Bdim", 11, {11, 2, 5}),
        ("Bdim7", 11, {11, 2, 5, 8}),
        ("D+", 2, {2, 6, 10}),
        ("Asus4", 9, {9, 2, 4}),
        ("C6", 0, {0, 4, 7, 9}),
        ("Em7b5", 4, {4, 7, 10, 2}),
        ("C/E", 4, {0, 4, 7}),
        ("Am(C)", 9, {9, 0, 4}),
    ],
)
def test_chord_symbols(symbol, bass, tones):
    chord = chord_named(symbol)
    assert chord.bass == bass and set(chord.tones) == tones


@pytest.mark.parametrize(
    "text", ["", "Fine", "D.C.", "Coda", "^Am", "_p", "tr", "Dal segno", "N.C."]
)
def test_other_text_is_no_chord(text):
    assert chord_named(text) is None


# Bars


def sheet_of(tmp_path, music, head=HEAD):
    (tmp_path / "tune.abc").write_text(head + music)
    return tunes.lead_sheet(tmp_path / "tune.abc")


def spans(sheet):
    """First eighth and end of every bar, in eighths."""
    return [(bar.start / EIGHTH, bar.end / EIGHTH) for bar in sheet.bars]


def test_a_pickup_starts_the_tune(tmp_path):
    sheet = sheet_of(tmp_path, 'G2 | "C"C6 | "G"D6 | "C"C4 |]', HEAD.replace("4/4", "3/4"))
    assert spans(sheet) == [(0, 2), (2, 8), (8, 14), (14, 18)]
    assert [bar.first / EIGHTH for bar in sheet.bars] == [-4, 2, 8, 14]
    assert sheet.melody[:2].tolist() == [[0, 480, 67], [480, 1920, 60]]
    assert [start / EIGHTH for start, _ in sheet.chords] == [2, 8, 14]
    assert sorted({step.number for step in sheet.steps()}) == [-1, 0, 1, 2]
    score = tunes.read(tmp_path / "tune.abc")
    quarter = nes.TICKS_PER_SECOND // 2
    assert score.voice(nes.P1)["start"][:3].tolist() == [0, quarter, 4 * quarter]
    triangle = score.voice(nes.TR)
    assert triangle["start"][:2].tolist() == [quarter, 4 * quarter], "the bass is on the beat"
    kicks = score.voice(nes.NO)
    kicks = kicks["start"][(kicks["velocity"] == 15) & (kicks["start"] > 0)]
    assert kicks[:2].tolist() == [quarter, 4 * quarter]


def test_a_repeat_in_the_middle_of_a_bar(tmp_path):
    sheet = sheet_of(tmp_path, "G2 |: c8 | d6 :: e2 | f8 | g6 :|")
    assert spans(sheet)[:4] == [(0, 2), (2, 10), (10, 16), (16, 24)]
    sheet = sheet_of(tmp_path, "|: G2 | c8 | d6 :: e2 | f8 | g6 :|")
    assert spans(sheet) == [(0, 2), *((n, n + 8) for n in range(2, 58, 8)), (58, 64)]


def test_a_missing_bar_line(tmp_path):
    assert spans(sheet_of(tmp_path, "c8 d8 | e8 |")) == [(0, 8), (8, 16), (16, 24)]


def test_metre_and_tempo_change(tmp_path):
    sheet = sheet_of(tmp_path, '"C"c8 |\nM:6/8\nQ:3/8=40\n d6 |[M:3/16] e3/2 |')
    assert [(bar.count, bar.beat) for bar in sheet.bars] == [(8, 2), (6, 3), (3, 3)]
    assert [bar.eighth / EIGHTH for bar in sheet.bars] == [1, 2, 1]
    assert spans(sheet) == [(0, 8), (8, 20), (20, 23)]
    assert tunes.read(tmp_path / "tune.abc").voice(nes.P1)["start"].tolist() == [0, 88_200, 220_500]


@pytest.mark.parametrize(
    ("metre", "bar"),
    [("C", 8), ("C|", 8), ("2/4", 4), ("3/4", 6), ("6/8", 6), ("9/8", 9), ("12/8", 12), ("5/4", 10),
     ("7/8", 7), ("3/2", 12), ("3/8", 3), ("5/8", 5), ("2/2", 8), ("6/4", 12), ("4/1", 32)],
)  # fmt: skip
def test_every_metre_is_played(tmp_path, metre, bar):
    music = f'"C"c{bar} | "G"d{bar} | "C"c{bar} |]'
    sheet = sheet_of(tmp_path, music, HEAD.replace("4/4", metre))
    assert spans(sheet) == [(0, bar), (bar, 2 * bar), (2 * bar, 3 * bar)]
    score = tunes.read(tmp_path / "tune.abc")
    eighth = nes.TICKS_PER_SECOND // 4
    assert set(range(0, 3 * bar * eighth, bar * eighth)) <= set(score.voice(nes.TR)["start"])
    for first in (0, bar):
        beats = range(first, first + bar, sheet.bars[0].beat)
        assert {beat * eighth for beat in beats} <= set(score.voice(nes.NO)["start"])


def test_chords_are_derived_where_none_are_written(tmp_path):
    sheet = sheet_of(tmp_path, "G2 | E2G2c4 | F2A2c4 | G2B2d4 | c8 |]")
    assert [(start / EIGHTH, chord.bass) for start, chord in sheet.chords] == [
        (2, 0), (10, 5), (18, 7), (26, 0),
    ]  # fmt: skip
    minor = sheet_of(tmp_path, "A2c2e4 | d2f2a4 | A8 |", HEAD.replace("K:C", "K:Am"))
    assert [(chord.bass, chord.tones) for _, chord in minor.chords] == [
        (9, (0, 4, 9)), (2, (2, 5, 9)), (9, (0, 4, 9)),
    ]  # fmt: skip
    score = tunes.read(tmp_path / "tune.abc")
    assert all(len(score.voice(voice)) for voice in range(4))


# Files


def test_marks_of_order_and_old_encodings(tmp_path):
    path, music = tmp_path / "tune.abc", 'M:4/4 % common\nK:C\n"C"c8 | "G"d8 |\nw: do ré\n'
    wanted = None
    for data in (
        b"\xef\xbb\xbf" + music.encode(),
        music.encode("latin-1"),
        music.encode(),
        music.replace("\n", "\r\n").encode(),
        music.replace("\n", "\r").encode(),
    ):
        path.write_bytes(b"X:1\n" + data if data[0] != 0xEF else data[:3] + b"X:1\n" + data[3:])
        score = tunes.read(path)
        wanted = wanted or score
        assert score == wanted and score.voice(nes.P1)["pitch"].tolist() == [72, 74]


def test_several_tunes(tmp_path, capfd):
    path = tmp_path / "book.abc"
    book = "%abc-2.1\nM:3/4\nL:1/4\n\nX:1\nT:One\nK:C\nc3|\n\nfree text\n\nX:2\nT:Two\nK:C\n?{|\n"
    path.write_text(book + "\nX:3\nT:Three\nM:4/4\nK:G\nF4|\n")
    assert tunes.read(path).voice(nes.P1)["pitch"].tolist() == [72]
    message = f"{path}: the first of its 3 tunes is read; book.abc#2 names another\n"
    assert capfd.readouterr() == ("", message)
    for name in ("3", "Three", "three"):
        assert build.read_song(f"{path}#{name}").voice(nes.P1)["pitch"].tolist() == [66]
    with pytest.raises(BadScore, match=f"^{path}: line 15: "):
        tunes.read(f"{path}#2")
    with pytest.raises(BadScore, match=f"^{path}: has no tune '4'; it has 1 One, 2 Two, 3 Three$"):
        tunes.read(f"{path}#4")
    assert capfd.readouterr() == ("", "")


def test_of_several_voices_the_first(tmp_path):
    head = HEAD.replace("K:C", "V:1\nV:2 clef=bass\nK:C")
    assert letters_of("V:1\nA | B |\nV:2\nE,4 | F,4 |\n[V:1] A |\n[V:2] G, |", head) == "A B A"


@pytest.mark.parametrize(
    ("text", "line", "rule"),
    [
        (HEAD.replace("K:C\n", "") + "abc|", 1, "no key"),
        ("", 1, "no key"),
        (HEAD.replace("M:4/4", "M:999999999/1"), 3, "no metre"),
        (HEAD.replace("M:4/4", "M:4/3"), 3, "no metre"),
        (HEAD.replace("M:4/4", "M:1/0"), 3, "no metre"),
        (HEAD.replace("L:1/8", "L:1/0"), 4, "no length"),
        (HEAD.replace("L:1/8", "L:eighth"), 4, "no length"),
        (HEAD.replace("=120", "=9999999"), 5, "tempo"),
        (HEAD.replace("K:C", "P:ABA\nK:C"), 6, "order of parts"),
        (HEAD + "c d e f|\ng {a b", 8, "'{a b' is no music"),
        (HEAD + 'c d "G e f|', 7, "is no music"),
        (HEAD + "c/0 |", 7, "is no music"),
        (HEAD + "> c |", 7, "no note before"),
        (HEAD + "z4 |", 1, "without a note"),
    ],
)
def test_refusals_name_file_and_line(tmp_path, text, line, rule):
    path = tmp_path / "bad.abc"
    path.write_text(text)
    with pytest.raises(BadScore, match=rule) as refused:
        tunes.read(path)
    assert str(refused.value).startswith(f"{path}: line {line}: ")


def test_nothing_takes_all_memory(tmp_path):
    path = tmp_path / "long.abc"
    for music, rule in [
        ("c9999 |" * 5, "of over 2,000 whole notes"),
        ("Z9999 | c |", "of over 2,000 whole notes"),
        ("c/ |" * 3000 + "c" + ":" * 5000 + "|", "or 10,000 notes"),
    ]:
        path.write_text(HEAD + music)
        with pytest.raises(BadScore, match=rule):
            tunes.read(path)
    path.write_text(HEAD + "c[1-99|" * 40_000)
    with pytest.raises(BadScore, match="a tune of over 250,000 characters"):
        tunes.read(path)
    path.write_bytes(b"X:1\n" * (files.MOST_BYTES // 4 + 1))
    with pytest.raises(BadScore, match="over 16 MB"):
        tunes.read(path)
    with pytest.raises(BadScore, match="cannot be read"):
        tunes.read(tmp_path)


SNIPPETS = ['"G7"', "|:", ":|", "::", "|1", "[2", "(3", ">>", "-", "Z9", "////", "/0", "{", "}"]
SNIPPETS += ["[K:E]", "[M:9/16]", "[", "]", "&", "!", "\n\n", "X:2\n", "L:1/9999\n", "V:2\n"]


def test_damaged_files_are_read_or_refused(tmp_path):
    """Mutants of the songbook, the same each time."""
    generator, path = random.Random(0), tmp_path / "mutant.abc"
    texts = [(tunes.FOLDER / f"{slug}.abc").read_bytes() for slug in tunes.pieces()]
    outcomes = {"read": 0, "refused": 0}
    for _ in range(60):
        data = bytearray(generator.choice(texts))
        for _ in range(generator.choice([1, 1, 2, 4])):
            at = generator.randrange(len(data))
            if generator.random() < 0.5:
                data[at:at] = generator.choice(SNIPPETS).encode() * generator.choice([1, 1, 20])
            else:
                data[at : at + generator.randrange(1, 9)] = bytes([generator.randrange(256)])
        path.write_bytes(data)
        try:
            tunes.read(path)
            outcomes["read"] += 1
        except LakhnesError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 10
