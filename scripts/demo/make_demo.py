"""Makes the demo pair of `audit`: two data splits, a teacher, and two students of it.

Usage, from the root of the repository (a few minutes on one core):

    pip install torch==2.15.0 transformers==5.23.0
    python scripts/demo/make_demo.py assets/demo

One teacher and two students. Both students start from the same teacher layers and see the same sentences in the same
order, for as many epochs at the same learning rate; they differ in the target alone. `student` learns the teacher's
probabilities (alpha = 0, temperature 1) and keeps its confidence. `student-overconfident` learns the hard labels, becomes
surer of them than the teacher is, and does not. Everything is seeded: the same versions on the same kind of processor
give the same bytes.
"""

import json
import sys
from pathlib import Path

import torch
import transformers

from grammar import Grammar, distinct_examples
from reference import print_summary, reference
from training import MAX_LENGTH, bert, distill, student_of, train_on_labels
from wordpiece import build_tokenizer, build_vocabulary, save_tokenizer

SEED = 20240111
TRAIN_SIZE, VALIDATION_SIZE = 500, 150
UNPUBLISHED_SIZE = 6000  # more of the grammar, to train on: 500 sentences alone are too few for models from scratch
LEARNING_RATE = 1e-3
TEACHER_EPOCHS = 8
STUDENT_EPOCHS = 12  # enough for the labels to be learnt by heart in part, which is where over-confidence comes from
TEACHER_DROPOUT = 0.1  # the students have none
KAPPA = 0.05  # the tool's default bound on sigma


def main(demo):
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)  # initial weights

    taken = set()
    grammar = Grammar(SEED)
    train = distinct_examples(grammar, TRAIN_SIZE, taken)
    validation = distinct_examples(grammar, VALIDATION_SIZE, taken)
    everything = train + distinct_examples(grammar, UNPUBLISHED_SIZE, taken)  # without the validation split

    tokenizer = build_tokenizer(build_vocabulary([example.sentence for example in everything]))
    inputs = [tokenizer.encode(example.sentence).ids for example in everything]
    labels = torch.tensor([example.label for example in everything])

    teacher = bert(tokenizer.get_vocab_size(), layers=4, dropout=TEACHER_DROPOUT)
    train_on_labels(teacher, inputs, labels, TEACHER_EPOCHS, LEARNING_RATE, seed=SEED)

    student, overconfident = student_of(teacher), student_of(teacher)
    distill(student, teacher, inputs, STUDENT_EPOCHS, LEARNING_RATE, seed=SEED)
    train_on_labels(overconfident, inputs, labels, STUDENT_EPOCHS, LEARNING_RATE, seed=SEED)

    demo.mkdir(parents=True, exist_ok=True)
    save_split(train, demo / "train.tsv")
    save_split(validation, demo / "validation.tsv")
    for name, model in {"teacher": teacher, "student": student, "student-overconfident": overconfident}.items():
        model.half().save_pretrained(demo / name)
        save_tokenizer(tokenizer, demo / name, MAX_LENGTH)

    figures = reference(demo)
    (demo / "reference.json").write_text(json.dumps(figures, indent=2) + "\n")
    print_summary(figures)
    check(figures)


def save_split(examples, path):
    """Tab-separated with a header, as SST-2."""
    rows = ["sentence\tlabel"] + [f"{example.sentence}\t{example.label}" for example in examples]
    path.write_text("\n".join(rows) + "\n")


def check(figures):
    """What the demo has to show, on both splits: one student keeps the teacher's confidence and the other does not."""
    for split, part in figures["splits"].items():
        assert part["pairs"]["student"]["sigma"] < KAPPA, split
        assert part["pairs"]["student-overconfident"]["sigma"] > KAPPA, split
        accuracies = [model["accuracy"] for model in part["models"].values()]
        assert max(accuracies) - min(accuracies) < 0.05, split  # accuracy does not tell the students apart


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
