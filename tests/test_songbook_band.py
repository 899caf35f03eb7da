"""The songbook's MIDI files for a band are those that their tool writes."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tools"))
import songbook_band  # noqa: E402

from lakhnes_lib.songbook import tunes  # noqa: E402


def test_shipped_files_are_the_tools(tmp_path):
    slugs = list(tunes.pieces())
    shipped = sorted(path.stem for path in (ROOT / "assets/band").glob("*.mid"))
    assert shipped == sorted(slugs)
    for slug in slugs[::6]:
        path = songbook_band.write(slug, tmp_path / f"{slug}.mid")
        assert path.read_bytes() == (ROOT / "assets/band" / path.name).read_bytes()
