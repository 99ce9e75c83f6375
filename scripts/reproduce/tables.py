"""The tables of docs/reproduction.md, from the tunes of `reproduce.sh`.

    python scripts/reproduce/tables.py WORK

Takes every WORK/TASK-LAYERS with a `tune.json`, and what PyTorch said of its winner.
"""

import json
import sys
from pathlib import Path

NAMES = {
    "cola": "CoLA",
    "mrpc": "MRPC",
    "qnli": "QNLI, a tenth",
    "rte": "RTE",
    "sst2": "SST-2, first 10,000",
}


def runs(work):
    """(task, layers, report, PyTorch's figures), by task, the larger student first."""
    found = []
    for path in work.glob("*-*/tune.json"):
        task, layers = path.parent.name.rsplit("-", 1)
        pytorch = work / f"{path.parent.name}.pytorch.json"
        told = json.loads(pytorch.read_text()) if pytorch.exists() else None
        found.append((task, int(layers), json.loads(path.read_text()), told))
    return sorted(found, key=lambda run: (run[0], -run[1]))


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def seeds(finalist, key):
    """A figure of every seed."""
    return [seed["figures"][key] for seed in finalist["seeds"] if seed["figures"]]


def spread(values):
    """The mean; with several values, the smallest and the largest too."""
    mean = sum(values) / len(values)
    if len(values) == 1:
        return f"{mean:.4f}"
    return f"{mean:.4f} ({min(values):.4f} – {max(values):.4f})"


def verdict(finalist):
    kept = [bool(seed["figures"]) and seed["figures"]["preserved"] for seed in finalist["seeds"]]
    word = "preserved" if all(kept) else "not preserved" if not any(kept) else "preserved by some"
    return f"{word}, {sum(kept)} of {len(kept)}"


def finalists(report):
    """Which of the finalists holds with every seed; empty for a search that confirms none."""
    tried = len(report.get("finalists", []))
    if not tried:
        return ""
    return f", finalist {tried} confirmed" if report["confirmed"] else f", none of {tried} finalists confirmed"


def defaults(found):
    rows = []
    for task, layers, report, _ in found:
        default = report["default"]
        rows.append([
            NAMES[task],
            str(layers),
            f"{report['n']:,}",
            " / ".join(f"{accuracy:.3f}" for accuracy in report["teacher_accuracy"]),
            spread(seeds(default, "seen_accuracy")),
            spread(seeds(default, "unseen_accuracy")),
            spread(seeds(default, "sigma")),
            verdict(default),
        ])
    head = ["task", "layers", "n", "teacher: seen / unseen", "accuracy, seen", "accuracy, unseen", "σ(X_train)"]
    table([*head, f"at κ = {found[0][2]['kappa']:.3g}: seeds"], rows)


def tuned(found):
    rows = []
    for task, layers, report, _ in found:
        winner, default = report["winner"], report["default"]
        outcomes = [trial["outcome"] for trial in report["trials"]]
        gain = winner["mean"]["unseen_accuracy"] - default["mean"]["unseen_accuracy"]
        feasible = sum(trial["feasible"] for trial in report["trials"])
        rows.append([
            NAMES[task],
            str(layers),
            f"{len(outcomes)} ({outcomes.count('stopped')} pruned, {feasible} feasible{finalists(report)})",
            spread(seeds(winner, "sigma")),
            verdict(winner),
            spread(seeds(winner, "unseen_accuracy")),
            f"{100 * gain:+.2f}",
            spread(seeds(winner, "unseen_sigma")),
        ])
    head = ["task", "layers", "trials", "σ(X_train)", "seeds", "accuracy, unseen"]
    table([*head, "points relative to the default", "σ, unseen"], rows)


def settings(found):
    rows = []
    for task, layers, report, _ in found:
        winner = report["winner"]
        values = ", ".join(f"`{key}` {value}" for key, value in winner["values"].items())
        if winner["recalibrated"]:
            values += f"; τ {winner['seeds'][0]['figures']['temperature']:.3f}"
        keys = [f"`{row['key']}` {row['of_sigma']:.0%}" for row in report["importance"][:3]]
        rows.append([NAMES[task], str(layers), f"{winner['trial']}", values, ", ".join(keys) or "–"])
    table(["task", "layers", "trial", "winner's settings", "importance for σ"], rows)


def confirmed(found):
    rows = []
    for task, layers, _, told in found:
        if not told:
            continue
        train, dev, own = told["train"], told["dev"], told["audit"]
        rows.append([
            NAMES[task],
            str(layers),
            f"{own['sigma']:.8f}",
            f"{train['sigma']:.8f}",
            f"{own['dev_correct']} of {dev['n']}",
            f"{dev['student_correct']} of {dev['n']}",
            f"{train['student_accuracy']:.4f}",
            f"{dev['sigma']:.4f}",
        ])
    head = ["task", "layers", "σ(X_train)", "PyTorch", "correct on dev", "PyTorch"]
    table([*head, "accuracy, train", "σ, dev"], rows)


def main():
    found = runs(Path(sys.argv[1]))
    searched = [run for run in found if len(run[2]["trials"]) > 1]
    print("### Default settings\n")
    defaults(found)
    print("### Tuned students\n")
    tuned(searched)
    print("### Winning settings\n")
    settings(searched)
    print("### Check against PyTorch\n")
    confirmed(found)


if __name__ == "__main__":
    main()
