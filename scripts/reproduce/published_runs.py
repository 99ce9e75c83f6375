"""A student's figures, and which students docs/published.md compares."""

import json
import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

KAPPA = 0.05
TASKS = {"sst2": "SST-2", "qqp": "QQP", "qnli": "QNLI", "cola": "CoLA", "mrpc": "MRPC", "rte": "RTE", "wnli": "WNLI"}
# The tasks of the paper.
SIX = ("sst2", "qqp", "qnli", "cola", "mrpc", "rte")
LARGE, SMALL = "6L-768D", "4L-312D"
SIZES = {LARGE: "6L", SMALL: "4L"}
# Epochs and learning rate of both stages in the authors' first scripts: the default where no run is named so.
DEFAULT_STAGES = ("3", None), ("3", "3e-5")
# Of the test for students at chance, as in the warning `collapse`.
LEVEL = 0.01


@dataclass
class Figures:
    """What `audit check` reports of a pair on one split."""

    n: int
    both_right: int
    student_correct: int
    teacher_correct: int
    # Inputs of the most frequent label.
    majority: int
    sigma_published: float
    sigma_rms_max: float
    sigma_centred_max: float
    # The student's predictions, relative to FOLDER, and their hash: equal for equal predictions.
    table: Path
    sha256: str
    # The inputs that the published statistic keeps and leaves out, if the page looks into them.
    parts: dict = None

    @property
    def published_within(self):
        return self.sigma_published <= KAPPA

    @property
    def gate_within(self):
        return self.sigma_rms_max <= KAPPA

    @property
    def disagree(self):
        return self.published_within != self.gate_within

    @property
    def accuracy(self):
        return self.student_correct / self.n

    @property
    def left_out(self):
        return self.n - self.both_right

    @property
    def chance(self):
        """P(at least so many right answers) if each is right with the share of the most frequent label: binomial."""
        share = self.majority / self.n
        if share == 1:
            return 1.0
        log_odds = math.log(share) - math.log1p(-share)
        terms = [
            math.lgamma(self.n + 1) - math.lgamma(k + 1) - math.lgamma(self.n - k + 1) + k * log_odds
            for k in range(self.student_correct, self.n + 1)
        ]
        largest = max(terms)
        total = math.fsum(math.exp(term - largest) for term in terms)
        return min(1.0, math.exp(largest + self.n * math.log1p(-share)) * total)

    @property
    def at_chance(self):
        return self.chance >= LEVEL


@dataclass
class Run:
    """A student: its name, task, size and settings, and its figures by split."""

    name: str
    task: str
    size: str
    stages: list
    figures: dict = field(default_factory=dict)


def with_train(runs):
    return [run for run in runs if "train" in run.figures]


def different(runs):
    """How many of the students have different predictions on the training set."""
    return len({run.figures["train"].sha256 for run in runs})


def groups(runs):
    """The runs of each task and size, in the order of the page."""
    found = defaultdict(list)
    for run in runs:
        found[run.task, run.size].append(run)
    return [found[task, size] for task in TASKS for size in SIZES if (task, size) in found]


def default_of(group):
    """The student with default settings among those of one task and size; None if there is none."""
    named = [run for run in group if run.name == "TinyBERT_" + run.size.replace("-", "_")]
    stages = [tuple((stage["epochs"], stage["learning_rate"]) for stage in run.stages) for run in group]
    plain = [run for run, of_run in zip(group, stages) if of_run == DEFAULT_STAGES]
    return next(iter(named + plain), None)


def defaults(runs):
    return [run for group in groups(runs) if (run := default_of(group))]


def at_chance(runs):
    return [run for run in with_train(runs) if run.figures["train"].at_chance]


def counts(figures):
    """How many are within κ: by the published statistic, by the gate, by the former alone, by the latter alone."""
    pairs = [(it.published_within, it.gate_within) for it in figures]
    return (
        sum(it[0] for it in pairs),
        sum(it[1] for it in pairs),
        pairs.count((True, False)),
        pairs.count((False, True)),
    )


def to_restore(trained):
    """The students of each task and size of the paper whose default student is not within κ."""
    found = [(default_of(group), group) for group in groups(trained)]
    return [
        group
        for default, group in found
        if default and default.task in SIX and not default.figures["train"].published_within and len(group) > 1
    ]


def repeated(trained):
    """Runs of equal settings and different predictions. Without weight decay, which not all runs heeded."""
    found = defaultdict(list)
    for run in trained:
        if run.stages and not any(stage["weight_decay"] for stage in run.stages):
            found[run.task, run.size, json.dumps(run.stages)].append(run)
    return [group for group in found.values() if different(group) > 1]


def equal_predictions(trained):
    """Runs with known settings and the same predictions: with the same settings, and with other weight decays alone."""
    found = defaultdict(list)
    for run in trained:
        if run.stages:
            found[run.task, run.figures["train"].sha256].append(run)
    same, decay = [], []
    for group in (group for group in found.values() if len(group) > 1):
        without = {json.dumps([stage | {"weight_decay": None} for stage in run.stages]) for run in group}
        if len({json.dumps(run.stages) for run in group}) == 1:
            same.append(group)
        elif len(without) == 1:
            decay.append(group)
    return same, decay
