"""The answers of the paper's own questionnaire, in the form in which its platform gave them out.

Paper: §7. Notebook: 08_user_study.
Differences from the paper: none.
"""

import re
from collections.abc import Iterable

from lakhnes_lib.errors import BadStudy
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
