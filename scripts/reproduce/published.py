"""Compares the reports of `published.sh` with NumPy's figures, and writes docs/published.md.

    python scripts/reproduce/published.py FOLDER WORK [--list]

FOLDER has the tables and runs.json, WORK the JSON report of each pair as TASK/SPLIT/RUN.json, and, for the
pairs that the page looks into (`--list` gives their tables), the predictions as TASK/SPLIT/RUN.csv.
Needs the standard library alone.
"""

import argparse
import csv
import hashlib
import json
import math
import sys
from collections import Counter
from pathlib import Path

import published_page
from published_runs import KAPPA, Figures, Run

# Figures agree with NumPy's to this; counts agree exactly.
TOLERANCE = 1e-9
SPLITS = ("train", "dev")
SIGMAS = {"sigma_published", "sigma_rms_max", "sigma_centred_max"}
COUNTS = {"n", "both_right", "student_correct", "teacher_correct"}


def fail(message):
    sys.exit(f"published.py: {message}")


def variant(row, statistic, where):
    """The reading of sigma by this statistic; of the largest probability, where there are several."""
    for one in row["variants"]:
        if one["statistic"] == statistic and one["confidence"] != "teacher-class":
            return one
    fail(f"{where}: the report has no `{statistic}` among its variants")


def read_figures(report, folder, table, where):
    """The figures of one report."""
    (row,) = json.loads(report.read_text())["tasks"]
    if row["error"] or row["verdict"] == "error":
        fail(f"{where}: {row['error']}")
    published = variant(row, "published", where)
    if published["sigma"] is None:
        fail(f"{where}: no published σ: {row['undefined']}")
    rms, centred = variant(row, "rms", where), variant(row, "centred", where)
    labels = [group["n"] for group in row["groups"] if group["by"] == "label"]
    if sum(labels) != row["n"]:
        fail(f"{where}: {sum(labels)} of {row['n']} inputs have a label")
    found = Figures(
        n=row["n"],
        both_right=published["examples"],
        student_correct=row["student"]["correct"],
        teacher_correct=row["teacher"]["correct"],
        majority=max(labels),
        sigma_published=published["sigma"],
        sigma_rms_max=rms["sigma"],
        sigma_centred_max=centred["sigma"],
        table=table.relative_to(folder),
        sha256=hashlib.sha256(table.read_bytes()).hexdigest(),
    )
    left_out = published["left_out"]
    if (left_out["count"], left_out["student_wrong"]) != (found.left_out, found.n - found.student_correct):
        fail(f"{where}: the inputs left out are {left_out} of {found.n}")
    for reading, within in ((published, found.published_within), (rms, found.gate_within)):
        if row["kappa"] != KAPPA or reading["within_bound"] != within:
            fail(f"{where}: the verdict of `{reading['statistic']}` does not follow from its σ and κ = {KAPPA}")
    return found


def compare(found, expected, where):
    """Ends the program where a figure differs from NumPy's."""
    if expected.keys() != SIGMAS | COUNTS:
        fail(f"{where}: runs.json has {', '.join(sorted(expected))}")
    for name, value in expected.items():
        ours = getattr(found, name)
        # Not `>`: a NaN differs.
        if not abs(ours - value) <= (TOLERANCE if name in SIGMAS else 0):
            fail(f"{where}: {name} is {ours!r}, and {value!r} in runs.json")


def tables_of(folder):
    """The students' tables by task, split and run."""
    found = {}
    for table in sorted(folder.glob("*/*/*")):
        key = table.parent.parent.name, table.parent.name, table.stem
        if table.stem != "teacher" and found.setdefault(key, table) != table:
            fail(f"{'/'.join(key)}: there are two tables, {found[key].name} and {table.name}")
    return found


def read(folder, work):
    """Every run with its figures, compared with runs.json."""
    tables, runs = tables_of(folder), []
    for row in json.loads((folder / "runs.json").read_text()):
        run = Run(row["run"], row["task"], row["student"], row["stages"])
        for split in SPLITS:
            expected = row.get(split)
            if expected is None or "left_out" in expected:
                continue
            where = f"{run.task}/{split}/{run.name}"
            table = tables.pop((run.task, split, run.name), None)
            if table is None:
                fail(f"{where}: there is no table")
            found = read_figures(work / f"{where}.json", folder, table, where)
            compare(found, expected, where)
            run.figures[split] = found
        runs.append(run)
    if tables:
        fail(f"{'/'.join(min(tables))}: runs.json has no figures for this table")
    return runs


def read_parts(predictions, figures, where):
    """The inputs that the published statistic keeps and those that it leaves out, each with the gate's d."""
    squares = {True: [], False: []}
    wrong = dict.fromkeys(("student", "teacher", "both"), 0)
    labels = Counter()
    with predictions.open(newline="") as file:
        for row in csv.DictReader(file):
            teacher = row["teacher_predicted"] == row["label"]
            student = row["student_predicted"] == row["label"]
            squares[teacher and student].append(float(row["difference"]) ** 2)
            wrong["student"] += not student
            wrong["teacher"] += not teacher
            wrong["both"] += not student and not teacher
            labels[row["label"]] += teacher and student
    kept, left_out = squares[True], squares[False]
    if len(kept) != figures.both_right:
        fail(f"{where}: both models are right on {len(kept)} of the predictions, on {figures.both_right} in the report")
    return {
        "wrong": wrong,
        "rms_kept": math.sqrt(math.fsum(kept) / len(kept)),
        "rms_left_out": math.sqrt(math.fsum(left_out) / len(left_out)) if left_out else 0.0,
        # Of the sum of d squared over all inputs.
        "share": math.fsum(left_out) / math.fsum(left_out + kept),
        "one_label": max(labels.values()) / len(kept),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--list", action="store_true", help="only list the tables whose predictions are needed")
    arguments = parser.parse_args()
    runs = read(arguments.folder, arguments.work)
    for run in runs:
        figures = run.figures.get("train")
        if figures and (figures.disagree or figures.at_chance):
            if arguments.list:
                print(figures.table)
            else:
                where = f"{run.task}/train/{run.name}"
                figures.parts = read_parts(arguments.work / f"{where}.csv", figures, where)
    if not arguments.list:
        print(published_page.page(runs, TOLERANCE), end="")


main()
