"""Writes what the measured numbers in ``results/`` say: pages and their pictures.

python tools/tables/write_pages.py            writes them
python tools/tables/write_pages.py --check    exits with 1 if a page (not a picture) differs
"""

import argparse
import sys

from pages import pages
from table_figures import figures

from lakhnes_lib import profiles
from lakhnes_lib.errors import LakhnesError


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a page differs"
    )
    chosen = parser.parse_args()
    try:
        written = pages()
        if not chosen.check:
            for name, (title, draw) in figures().items():
                (profiles.root() / "results" / f"{name}.png").write_bytes(draw(title=title).png())
    except LakhnesError as error:
        print(error, file=sys.stderr)
        return 1
    differ = [
        path
        for path, text in written.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in differ:
        if chosen.check:
            print(f"{path}: differs from results/; run `make report`", file=sys.stderr)
        else:
            path.write_text(written[path], encoding="utf-8")
    return int(chosen.check and bool(differ))


if __name__ == "__main__":
    sys.exit(main())
