"""Predictions of a classifier by PyTorch and transformers, in the table that `audit check` reads.

A second opinion on the logits of `audit`: write both models' predictions, then check them.

    python scripts/pytorch_predictions.py --model out/teacher --task sst2 --data glue --output t.csv
    python scripts/pytorch_predictions.py --model out/student --task sst2 --data glue --output s.csv
    audit check --task sst2 --teacher-predictions t.csv --student-predictions s.csv

Needs torch and transformers. Reads the training split of GLUE's official release; f32 on the
stored weights, one example at a time, so that no padding is involved.
"""

import argparse
import csv
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

# Folder, text columns and label column of GLUE's train.tsv; CoLA has no header.
TASKS = {
    "cola": ("CoLA", (3,), 1),
    "sst2": ("SST-2", ("sentence",), "label"),
    "mrpc": ("MRPC", ("#1 String", "#2 String"), "Quality"),
    "qqp": ("QQP", ("question1", "question2"), "is_duplicate"),
    "qnli": ("QNLI", ("question", "sentence"), "label"),
    "rte": ("RTE", ("sentence1", "sentence2"), "label"),
    "wnli": ("WNLI", ("sentence1", "sentence2"), "label"),
}


def read(task, data, split="train"):
    """Rows of (texts, label), label as it stands in the file."""
    folder, texts, label = TASKS[task]
    text = (Path(data) / folder / f"{split}.tsv").read_bytes().decode("utf-8-sig")
    # Not splitlines(): it also splits at U+2028 and its kin, which are text here.
    lines = text.removesuffix("\n").split("\n")
    rows = [line.removesuffix("\r").split("\t") for line in lines]
    if task != "cola":
        header, rows = rows[0], rows[1:]
        texts, label = [header.index(t) for t in texts], header.index(label)
    return [([row[t] for t in texts], row[label]) for row in rows if len(row) > max(*texts, label)]


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", required=True)
    arguments.add_argument("--task", required=True, choices=TASKS)
    arguments.add_argument("--data", required=True)
    arguments.add_argument("--output", required=True)
    arguments.add_argument("--max-length", type=int, default=128)
    arguments.add_argument("--limit", type=int)
    options = arguments.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForSequenceClassification.from_pretrained(options.model, dtype=torch.float32).eval()
    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    with open(options.output, "w", newline="") as out, torch.no_grad():
        writer = csv.writer(out)
        writer.writerow(["id", *(f"logit_{label}" for label in labels), "label"])
        for index, (texts, label) in enumerate(read(options.task, options.data)[: options.limit]):
            inputs = tokenizer(*texts, truncation=True, max_length=options.max_length, return_tensors="pt")
            logits = model(**inputs).logits[0].tolist()
            # GLUE's ids follow the label names of the task, whatever the model's own order.
            writer.writerow([index, *logits, label])


if __name__ == "__main__":
    main()
