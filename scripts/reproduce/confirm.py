"""What PyTorch and transformers say of a tune's winner: sigma and accuracy from its own logits.

    python scripts/reproduce/confirm.py WORK/mrpc-3 --task mrpc --data glue --teacher T

Needs torch and transformers. f32 on the stored weights; batches of texts of one length, so that no
padding is involved. Prints JSON, and fails where sigma differs from the tune's by more than 1e-5 or
an accuracy by more than one example.
"""

import argparse
import json
import math
import sys
from collections import defaultdict
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from pytorch_predictions import read  # noqa: E402

BATCH = 64


def logits(folder, texts, max_length):
    """Logits (N, K) in f32, in the order of `texts`."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    encoded = [tokenizer(*pair, truncation=True, max_length=max_length) for pair in texts]
    by_length = defaultdict(list)
    for row, one in enumerate(encoded):
        by_length[len(one["input_ids"])].append(row)
    rows = torch.empty(len(texts), model.config.num_labels)
    with torch.no_grad():
        for same in by_length.values():
            for start in range(0, len(same), BATCH):
                batch = same[start : start + BATCH]
                inputs = {key: torch.tensor([encoded[row][key] for row in batch]) for key in encoded[batch[0]]}
                rows[batch] = model(**inputs).logits
    names = [model.config.id2label[i] for i in range(model.config.num_labels)]
    return rows, names


def split(task, data, name, teacher, student, max_length, limit=None):
    """Of the first `limit` examples, or all: sigma, both accuracies, how many the student gets right."""
    examples = read(task, data, name)[:limit]
    texts = [texts for texts, _ in examples]
    (says, names), (answers, own) = logits(teacher, texts, max_length), logits(student, texts, max_length)
    assert names == own, (names, own)
    confidence = [torch.softmax(rows.double(), dim=-1).max(dim=-1).values for rows in (says, answers)]
    difference = confidence[0] - confidence[1]
    labels = sorted({label for _, label in examples})  # 0, 1 or entailment, not_entailment
    right = lambda rows: [labels[i] == label for i, (_, label) in zip(rows.argmax(-1), examples)]
    return {
        "n": len(examples),
        "sigma": math.sqrt(difference.square().mean().item()),
        "teacher_accuracy": sum(right(says)) / len(examples),
        "student_accuracy": sum(right(answers)) / len(examples),
        "student_correct": sum(right(answers)),
    }


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("tune", type=Path)
    arguments.add_argument("--task", required=True)
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--teacher", required=True)
    options = arguments.parse_args()

    tune = json.loads((options.tune / "tune.json").read_text())
    models = {model["role"]: model for model in tune["manifest"]["models"]}
    length = models["student"]["max_length"]
    winner = options.tune / "winner"
    of = (options.teacher, winner, length)
    told = {
        "train": split(options.task, options.data, "train", *of, limit=tune["n"]),
        "dev": split(options.task, options.data, "dev", *of),
    }
    figures = tune["winner"]["seeds"][0]["figures"]
    correct = figures["seen_correct"] + figures["unseen_correct"]
    told["audit"] = {"sigma": figures["sigma"], "dev_correct": correct}
    json.dump(told, sys.stdout, indent=2)
    print()
    apart = abs(told["train"]["sigma"] - figures["sigma"])
    if apart > 1e-5 or abs(told["dev"]["student_correct"] - correct) > 1:
        sys.exit(f"PyTorch and the tune disagree about {winner}")


main()
