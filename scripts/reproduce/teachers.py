"""The table of the students of `teachers.sh`.

    python scripts/reproduce/teachers.py WORK/teachers

Accuracy, ECE and σ on the validation split are those of the whole split, which chose no state: the last
one is kept.
"""

import json
import sys
from pathlib import Path

from tables import spread, table

KINDS = {
    "good": "the teacher",
    "brief": "trained for one epoch",
    "smaller": "two layers",
    "itself": "three layers, the student's own",
    "virtual": "made of the label",
    "smooth": "uniform (label smoothing, ε = 0.1)",
    "none": "none",
}
TEACHERS = {"brief": "once", "smaller": "two", "itself": "none"}


def splits(folder, kind):
    """(training set, validation split) of the audit of each seed."""
    reports = sorted(folder.glob(f"{kind}-*.json"))
    return [json.loads(report.read_text())["tasks"] for report in reports]


def taught_by(folder, kind):
    """The accuracy of what teaches, on the validation split."""
    if kind == "good":
        return spread([splits(folder, kind)[0][1]["teacher"]["accuracy"]])
    if kind not in TEACHERS:
        return "–"
    return spread([validation["student"]["accuracy"] for _, validation in splits(folder, TEACHERS[kind])])


def main():
    folder = Path(sys.argv[1])
    rows = []
    for kind, name in KINDS.items():
        seeds = splits(folder, kind)
        of = lambda figure: spread([figure(train, validation) for train, validation in seeds])
        rows.append([
            name,
            taught_by(folder, kind),
            of(lambda _, validation: validation["student"]["accuracy"]),
            of(lambda _, validation: validation["student"]["ece"]),
            of(lambda train, _: train["sigma"]),
            of(lambda _, validation: validation["sigma"]),
            str(len(seeds)),
        ])
    table(
        ["what teaches", "its accuracy", "accuracy", "ECE", "σ(X_train)", "σ, validation", "seeds"],
        rows,
    )


main()
