"""The report of a listening test whose answers have the form of the paper's own questionnaire.

python tools/questionnaire.py KEY ANSWERS... [--out FOLDER] [--min-batches N] [--no-controls]
    [--remark TEXT]

KEY is a CSV file that names the method of each clip (uuid,method); ANSWERS are the files that the
platform of the paper's authors gave out, of which every row is a batch. The options are those of
`lakhnes study report`.
"""

import argparse
import re
import sys
from collections.abc import Iterable

from one_line_errors import one_line_errors

from lakhnes_lib.errors import BadStudy
from lakhnes_lib.study import summary
from lakhnes_lib.study.answers import Answers, Judgement, read_rows
from lakhnes_lib.study.designs import CONTROL, REAL

OUR_NAMES = {"real_data": REAL, "control": CONTROL}


def read(paths: Iterable, key) -> Answers:
    """The answers of one or several files; every row of a file is a batch.

    paths: CSV with ``WorkerId`` and, for each pair i, ``Input.pair_{i}_clip_a_url``, ``..._b_url``
    and ``Answer.pair_{i}_pref`` (A or B); key: CSV with ``uuid,method``. A clip's uuid is its
    file's name. Its names ``real_data`` and ``control`` become ours. Raises BadStudy if no answer
    can be used.
    """
    methods = {
        row["uuid"]: OUR_NAMES.get(row["method"], row["method"])
        for _, row in read_rows(key, ("uuid", "method"))
    }
    judgements, refused, pairs = [], [], {}
    for path in paths:
        for line, row in read_rows(path, ("WorkerId",)):
            batch = f"{path}, line {line}"
            names = map(re.compile(r"Input\.pair_(\d+)_clip_a_url").fullmatch, row)
            numbers = [name[1] for name in names if name]
            pairs[batch] = len(numbers)
            for number in numbers:
                urls = [row.get(f"Input.pair_{number}_clip_{side}_url", "") for side in "ab"]
                pair = [methods.get(url.rsplit("/")[-1].split(".")[0]) for url in urls]
                choice = row.get(f"Answer.pair_{number}_pref", "").lower()
                if None in pair:
                    refused.append(f"{batch}: pair {number} has a clip that {key} does not name")
                elif choice not in ("a", "b"):
                    refused.append(
                        f"{batch}: the answer to pair {number} is {choice!r}, neither A nor B"
                    )
                else:
                    chosen, other = pair if choice == "a" else pair[::-1]
                    judgements.append(Judgement(row["WorkerId"], batch, chosen, other))
    if not judgements:
        names = ", ".join(map(str, paths))
        raise BadStudy(f"{names}: no answer of a questionnaire that {key} is the key to")
    kind = "turing" if all(REAL in (j.chosen, j.other) for j in judgements) else "preference"
    return Answers(kind, judgements, pairs, tuple(refused))


@one_line_errors
def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("key", metavar="KEY")
    parser.add_argument("answers", metavar="ANSWERS", nargs="+")
    parser.add_argument("--out", help="folder for report.md, report.json and the figures")
    parser.add_argument("--min-batches", type=int, help="complete batches asked of a listener")
    parser.add_argument("--no-controls", action="store_true", help="keep who failed a control")
    parser.add_argument("--remark", default="", help="a line to put over report and figures")
    chosen = parser.parse_args(arguments)
    answers = read(chosen.answers, chosen.key)
    for line in answers.refused:
        print(f"not used: {line}", file=sys.stderr)
    controls = not chosen.no_controls
    report = summary.analyse(answers, chosen.min_batches, controls, chosen.remark)
    print(report.text, end="")
    if chosen.out:
        summary.write(report, chosen.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
