"""The pages of composed pieces that the report leads to."""

import html
import json

import album
import notebook_report
import numpy as np
from scipy.io import wavfile

from lakhnes_lib import profiles
from lakhnes_lib.files import write_file


def test_report_leads_to_the_gallery_of_composed_pieces(tmp_path):
    without = notebook_report.write_index(tmp_path, "smoke", [], {}).read_text(encoding="utf-8")
    pages = ["composed/index.html", "gallery/from_nothing/index.html"]
    for page in pages:
        write_file(tmp_path / page, "pieces")
    report = notebook_report.write_index(tmp_path, "smoke", [], {}).read_text(encoding="utf-8")
    for page in pages:
        assert page not in without and f'href="{page}"' in report
    assert "gallery/as_published" not in report, "there is no such page"


def test_kept_pieces_of_every_way_get_a_page_with_sound(tmp_path, monkeypatch):
    """Two of the pieces that are kept; the pages of the others are made in the same way."""
    captions = json.loads((album.HOME / "captions.json").read_text(encoding="utf-8"))
    assert set(captions) == {f"{way}/{n:02d}" for way in album.WAYS for n in range(12)}
    chosen = {name: captions[name] for name in ("from_nothing/03", "continued/00")}
    monkeypatch.setattr(album, "HOME", tmp_path / "kept")
    for name in chosen:
        piece = (profiles.root() / f"assets/gallery/{name}.mid").read_bytes()
        write_file(tmp_path / f"kept/{name}.mid", piece)
    write_file(tmp_path / "kept/captions.json", json.dumps(chosen))
    pages = album.show(tmp_path / "shown")
    assert list(pages) == ["from_nothing", "continued"]
    for name in chosen:
        way, number = name.split("/")
        page = pages[way].read_text(encoding="utf-8")
        assert f"{number}_00.wav" in page and album.WAYS[way] in html.unescape(page)
        sound = wavfile.read(pages[way].with_name(f"{number}_00.wav"))[1]
        assert np.abs(sound.astype(float)).max() > 1000 and len(sound) > 5 * 44_100
    changed, other = (tmp_path / f"kept/{name}.mid" for name in chosen)
    write_file(changed, other.read_bytes())  # another piece in its stead
    album.show(tmp_path / "shown")
    assert np.array_equal(wavfile.read(tmp_path / "shown/from_nothing/03_00.wav")[1], sound)
