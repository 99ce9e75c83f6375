"""What docs/published.md says in the same words whatever the figures are, and how figures are written."""

INTRODUCTION = """\
# The paper's own models

<!-- Written by scripts/reproduce/published.sh. Change the script, not this page. -->

Vengertsev & Sherman [1] ask whether distilled TinyBERT students keep the confidence of their BERT teachers. Their public repository [2] has the probabilities that teachers and students gave for each input. This page is what `audit check` says about them: {pairs} audits of {students} students on {tasks} tasks. Each has two σ: the one that the authors publish, and the one of the gate, by which `audit` decides unless told otherwise ([definitions](#two-statistics)).

[scripts/reproduce/published.sh](../scripts/reproduce/published.sh) writes this page. It audits every pair, and stops unless each count equals NumPy's and each σ is within {tolerance} of NumPy's. The repository states no licence for the predictions, so there are only figures here.

Findings on the training sets, at κ = {kappa}:

{findings}

- [Two statistics](#two-statistics)
- [Predictions](#predictions)
- [Default students](#default-students)
- [Tuned students](#tuned-students)
- [Where the statistics disagree](#where-the-statistics-disagree)
- [Students at chance](#students-at-chance)
- [The same settings, run again](#the-same-settings-run-again)
- [What the paper reports](#what-the-paper-reports)
- [Running the audits](#running-the-audits)
- [References](#references)
"""

STATISTICS = """\
## Two statistics

| | published | gate |
|---|---|---|
| inputs | those that both models get right | all |
| difference | p_T(x)_0 − p_S(x)_0: the probability of label 0 | C_T(x) − C_S(x): each model's largest probability |
| σ | standard deviation about the mean, population | root mean square about zero |
| needs | two labels, and the right label of each input | neither |

The published statistic is that of `TinyBERT/metrics.py` and `notebooks/rq1_results.ipynb` in [2]. The gate is the statistic that decides `audit`'s verdict by default; `--statistic published` selects the other one. [theory.md](theory.md#the-published-statistic) gives the reasons. κ = {kappa} is `audit`'s default bound. The repository does not state the paper's own κ.
"""

PREDICTIONS_NOTES = """\
In parentheses: students whose predictions on the training set differ from each other. Equal tables, byte for byte, are one model under two names, or runs that repeat each other exactly.

- QQP, QNLI: predictions on the training set were not available. Rows with ¹ are what the authors' notebook prints.
- WNLI is not one of the paper's six tasks.
- `traintest` in a name: trained on the test split too. The scripts of the two 4L students with this name start from the general 6L model.
"""

TUNED = """\
All students with predictions on the training set, the default one included, with how many of them are within κ. "Accuracy, dev" is that of the default student and of the student with the smallest published σ.
"""

DISAGREE = """\
The published statistic keeps the inputs that both models get right and leaves out the others. d is the difference that the gate uses. The last column is the part of Σd², and so of the gate's budget, that is spent on the inputs left out.
"""

AT_CHANCE = """\
## Students at chance

Listed are the students that are not significantly better than the answer that is most frequent in the training set: P = P(X ≥ right answers) ≥ {level} for X binomial with n inputs and the share of that answer. This is the exact one-sided test of the warning `collapse`, which `audit` gives if such a student is within κ by the published statistic.
"""

WHY_BLIND = """\
In parentheses: the default student. A student that nearly always gives one answer is right together with its teacher on inputs of one label, so that is what is kept. On inputs of one label the published difference is d, or −d, and a shift of d that is common to them is its mean, which a standard deviation does not contain. With both labels kept in equal shares the shift has both signs, the mean is near 0, and the standard deviation contains it.
"""

NO_SEEDS = """\
No script sets a seed. The program's default is 42, which every log in the repository shows, but these runs have no log. The augmented training data, drawn by another program without a fixed seed, are not in the repository either.
"""

RUNNING = """\
## Running the audits

```sh
cargo build --release
scripts/reproduce/published.sh FOLDER
```

`FOLDER/TASK/SPLIT` has a table of predictions for each model, `teacher.parquet` and `RUN.parquet`, with the columns `probability_LABEL` and `label` and the rows of the authors' `eval_results.csv`. `FOLDER/runs.json` has a row per run: its settings according to the authors' scripts, and NumPy's figures. The first figure that differs ends the script with an error that names it and its run.

## References

1. D. Vengertsev, E. Sherman. *Confidence Preservation Property in Knowledge Distillation Abstractions.* 2024. [arXiv:2401.11365](https://arxiv.org/abs/2401.11365)
2. [github.com/vengertsev/distill_abstraction_sgai23](https://github.com/vengertsev/distill_abstraction_sgai23), commit ad022218, October 2023: scripts, predictions and notebooks of [1].
"""


def table(head, rows, text=1):
    """A Markdown table whose first `text` columns are aligned to the left, the others to the right."""
    if not rows:
        return "None.\n"
    rule = "|".join("---" if column < text else "--:" for column in range(len(head)))
    lines = [f"| {' | '.join(row)} |\n" for row in [head, *rows]]
    return "".join([lines[0], f"|{rule}|\n", *lines[1:]])


def listed(words):
    """a; a and b; a, b and c."""
    words = list(words)
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def share(value):
    return f"{value:.4f}"


def percent(value):
    return f"{100 * value:.1f} %"


def spread(values, written=share):
    """One value, or the smallest and the largest."""
    return " to ".join(dict.fromkeys(written(pick(values)) for pick in (min, max)))
