"""Tables of the students of `students.sh`.

    python scripts/reproduce/students.py WORK/students

Takes every TASK-KIND-SEED with audits of both splits (TASK-KIND-SEED.json, validation/TASK-KIND-SEED.json)
and a record of its training. The state that
is kept is the most accurate on the seen half of the validation split; of two as accurate, the one with
the smaller σ.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

from tables import NAMES, spread, table

SHAPES = {"narrow": "general student", "scratch": "random"}


def figures(folder, report):
    """What the tables say about one student."""
    record = json.loads((folder / "distillation.json").read_text())
    train = json.loads(report.read_text())["tasks"][0]
    whole = report.parent / "validation" / report.name
    validation = json.loads(whole.read_text())["tasks"][0]
    epochs = [epoch for epoch in record["course"] if epoch["stage"] == "prediction"]
    n, seen = validation["n"], record["data"]["validation"]["examples"]
    seen_correct = round(record["validation"]["accuracy"] * seen)
    return {
        "n": train["n"],
        "sigma": train["sigma"],
        "preserved": train["verdict"] == "preserved",
        "seen": record["validation"]["accuracy"],
        "unseen": (validation["student"]["correct"] - seen_correct) / (n - seen),
        "train": train["student"]["accuracy"],
        "epoch": record["epoch"],
        "last_sigma": epochs[-1]["train"]["sigma"],
        "last_seen": epochs[-1]["validation"]["accuracy"],
    }


def students(folder):
    """(task, kind) -> the figures of each seed, in the order of the seeds."""
    found = defaultdict(list)
    for report in sorted(folder.glob("*-*-*.json")):
        task, kind, _ = report.stem.split("-")
        found[task, kind].append(figures(folder / report.stem, report))
    return found


def order(group):
    """By task, the shorter training first."""
    (task, kind), _ = group
    return (task, *(int(epochs) for epochs in kind.split("+"))) if "+" in kind else (task, kind)


def column(seeds, key):
    return spread([seed[key] for seed in seeds])


def seeds_within(seeds, key="sigma", kappa=0.05):
    """How many seeds are preserved; by the audit for the state that is kept."""
    within = [seed["preserved"] if key == "sigma" else seed[key] <= kappa for seed in seeds]
    return f"{sum(within)} of {len(within)}"


def longer(found):
    rows = []
    for (task, kind), seeds in sorted(found, key=order):
        rows.append([
            NAMES[task],
            kind.replace("+", " + "),
            ", ".join(str(seed["epoch"]) for seed in seeds),
            column(seeds, "sigma"),
            seeds_within(seeds),
            column(seeds, "seen"),
            column(seeds, "unseen"),
            column(seeds, "last_sigma"),
            seeds_within(seeds, "last_sigma"),
            column(seeds, "last_seen"),
        ])
    head = ["task", "epochs", "epoch kept", "σ(X_train)", "preserved", "accuracy, seen", "accuracy, unseen"]
    table([*head, "last epoch: σ(X_train)", "preserved", "accuracy, seen"], rows)


def narrow(found):
    rows = []
    for (task, kind), seeds in sorted(found, key=order):
        rows.append([
            NAMES[task],
            SHAPES[kind],
            ", ".join(str(seed["epoch"]) for seed in seeds),
            column(seeds, "sigma"),
            seeds_within(seeds),
            column(seeds, "train"),
            column(seeds, "seen"),
            column(seeds, "unseen"),
        ])
    head = ["task", "initialised from", "epoch kept", "σ(X_train)", "preserved"]
    table([*head, "accuracy, train", "accuracy, seen", "accuracy, unseen"], rows)


def main():
    found = students(Path(sys.argv[1])).items()
    print("### Longer training\n")
    longer([group for group in found if "+" in group[0][1]])
    print("### Narrower students\n")
    narrow([group for group in found if group[0][1] in SHAPES])


main()
