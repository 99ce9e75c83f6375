"""Holds the two searches of `audit tune` against each other on the demo's data.

    python scripts/reproduce/search.py AUDIT WORK [SEEDS, default 20]

AUDIT is the program, WORK a folder for the tunes (kept, and gone on with). Both searches begin with
the same default settings, and both give up hopeless trials. Told are, as medians over the seeds: the
trial that was the first to be feasible (infinite where none was), the smallest sigma of a student
with the accuracy that is asked for after so many trials, how many were feasible, and how many were
pruned; then, seed by seed, which of the two was better, and by how much.
"""

import csv
import math
import pathlib
import statistics
import subprocess
import sys
import tomllib

CONFIG = pathlib.Path(__file__).with_name("search.toml")
AFTER = (8, 16, 24)
EPSILON = tomllib.loads(CONFIG.read_text())["epsilon"]


def trials(audit, work, search, seed):
    """The trials of one tune, as rows of its table."""
    output = work / f"{search}-{seed}"
    command = [audit, "tune", "--config", CONFIG, "--output", output, "--quiet"]
    command += ["--search", search, "--seed", str(seed), "--threads", "1"]
    code = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
    if code not in (0, 1):
        sys.exit(f"audit tune ended with {code}")
    with open(output / "trials.csv", newline="") as table:
        return list(csv.DictReader(table))


def figures(rows):
    """The figures of one tune, in the order of the table."""
    feasible = [row["feasible"] == "true" for row in rows]
    first = feasible.index(True) + 1 if any(feasible) else math.inf
    least = float(rows[0]["accuracy"]) - EPSILON  # the first trial has the default settings
    able = lambda row: row["outcome"] == "finished" and float(row["accuracy"]) >= least
    best = [min(float(row["sigma"]) for row in rows[:n] if able(row)) for n in AFTER]
    stopped = sum(row["outcome"] == "stopped" for row in rows)
    return [first, *best, sum(feasible), stopped]


def main():
    audit, work = sys.argv[1], pathlib.Path(sys.argv[2])
    seeds = range(int(sys.argv[3]) if len(sys.argv) > 3 else 20)
    names = ["first feasible", *(f"best sigma of {n}" for n in AFTER), "feasible", "pruned"]
    told = {s: [figures(trials(audit, work, s, seed)) for seed in seeds] for s in ("tpe", "random")}
    print("| median of", len(seeds), "seeds |", " | ".join(names), "|")
    print("|---|" + "---|" * len(names))
    for search, rows in told.items():
        medians = [statistics.median(column) for column in zip(*rows)]
        print(f"| `{search}` |", " | ".join(f"{value:.4g}" for value in medians), "|")
    able = {s: sum(math.isfinite(row[0]) for row in rows) for s, rows in told.items()}
    print(f"seeds with a feasible student: tpe {able['tpe']}, random {able['random']} of {len(seeds)}")
    pairs = list(zip(told["tpe"], told["random"]))
    for i, name in enumerate(names[: 1 + len(AFTER)]):
        better = sum(a[i] < b[i] for a, b in pairs)
        worse = sum(a[i] > b[i] for a, b in pairs)
        print(f"{name}: tpe better with {better} seeds, random with {worse}")
        if i > 0:
            ratios = [math.log(a[i] / b[i]) for a, b in pairs]
            error = statistics.stdev(ratios) / math.sqrt(len(ratios))
            print(f"  tpe's over random's, geometric mean: {math.exp(statistics.mean(ratios)):.3f} (e^±{error:.3f})")


main()
