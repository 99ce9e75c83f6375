"""The figures of the demo pair, computed by transformers from the saved files alone: no code is shared with `audit`.

Usage, to check `assets/demo/reference.json` against a fresh computation, or to write it anew:

    pip install torch==2.15.0 transformers==5.23.0
    python scripts/demo/reference.py assets/demo
    python scripts/demo/reference.py assets/demo --write

Every sentence is run by itself, without padding, in f32 as the weights are stored. Probabilities, confidences and
divergences are f64, from the f32 logits.
"""

import json
import math
import sys
from pathlib import Path

import tokenizers
import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoTokenizer

TEACHER = "teacher"
STUDENTS = ["student", "student-overconfident"]
SPLITS = ["train", "validation"]
LOGITS_TOLERANCE = 1e-4  # f32 across machines and versions; the same machine gives the same bits
KAPPA = 0.05  # the tool's default bound on sigma


def read_split(folder, split):
    """Sentences and label ids of `train.tsv` or `validation.tsv`."""
    header, *rows = (folder / f"{split}.tsv").read_text().splitlines()
    assert header == "sentence\tlabel", header
    sentences, labels = zip(*(row.split("\t") for row in rows))
    return list(sentences), torch.tensor([int(label) for label in labels])


@torch.no_grad()
def logits_of(folder, sentences):
    """f32 logits (N, K) of the model saved in `folder`."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    return torch.cat([model(**tokenizer(sentence, return_tensors="pt")).logits for sentence in sentences])


def model_figures(logits, labels):
    correct = int((logits.argmax(dim=-1) == labels).sum())
    return {
        "correct": correct,
        "accuracy": correct / len(labels),
        "mean_confidence": float(logits.double().softmax(dim=-1).amax(dim=-1).mean()),
        "first_logits": [[float(score) for score in row] for row in logits[:5]],
    }


def pair_figures(teacher_logits, student_logits):
    log_teacher, log_student = (z.double().log_softmax(dim=-1) for z in (teacher_logits, student_logits))  # (N, K)
    d = log_teacher.exp().amax(dim=-1) - log_student.exp().amax(dim=-1)  # (N)
    sum_kl = float((log_teacher.exp() * (log_teacher - log_student)).sum())
    sum_d_squared = float((d**2).sum())
    assert sum_d_squared <= sum_kl / 2, "Pinsker's inequality holds for every pair"
    return {
        "sigma": math.sqrt(sum_d_squared / len(d)),
        "sigma_centred": float(d.std(correction=0)),
        "mean_difference": float(d.mean()),
        "max_absolute_difference": float(d.abs().max()),
        "agreement": int((teacher_logits.argmax(dim=-1) == student_logits.argmax(dim=-1)).sum()),
        "sum_kl": sum_kl,
    }


def reference(folder):
    splits = {}
    for split in SPLITS:
        sentences, labels = read_split(folder, split)
        logits = {name: logits_of(folder / name, sentences) for name in [TEACHER, *STUDENTS]}
        splits[split] = {
            "n": len(sentences),
            "models": {name: model_figures(scores, labels) for name, scores in logits.items()},
            "pairs": {name: pair_figures(logits[TEACHER], logits[name]) for name in STUDENTS},
        }
    versions = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokenizers": tokenizers.__version__,
    }
    return {"versions": versions, "splits": splits}


def assert_close(stored, fresh, where="splits"):
    if isinstance(stored, dict):
        assert stored.keys() == fresh.keys(), where
        for key in stored:
            assert_close(stored[key], fresh[key], f"{where}.{key}")
    elif isinstance(stored, list):
        assert len(stored) == len(fresh), where
        for index, pair in enumerate(zip(stored, fresh)):
            assert_close(*pair, f"{where}[{index}]")
    elif isinstance(stored, int):
        assert stored == fresh, f"{where}: stored {stored}, computed {fresh}"
    else:
        close = math.isclose(stored, fresh, rel_tol=LOGITS_TOLERANCE, abs_tol=LOGITS_TOLERANCE)
        assert close, f"{where}: stored {stored}, computed {fresh}"


def print_summary(figures):
    for split, part in figures["splits"].items():
        for name, model in part["models"].items():
            line = f"{split:<10} {name:<21} {model['correct']:>3} of {part['n']}  confidence {model['mean_confidence']:.3f}"
            if pair := part["pairs"].get(name):
                line += f"  sigma {pair['sigma']:.4f}  centred {pair['sigma_centred']:.4f}"
                line += f"  mean {pair['mean_difference']:+.4f}  agreement {pair['agreement']}  sum_kl {pair['sum_kl']:.3f}"
            print(line)


def check_story(figures):
    """Checks the demo on both splits: one student keeps the teacher's confidence and the other does not."""
    for split, part in figures["splits"].items():
        assert part["pairs"]["student"]["sigma"] < KAPPA, split
        assert part["pairs"]["student-overconfident"]["sigma"] > KAPPA, split
        accuracies = [model["accuracy"] for model in part["models"].values()]
        assert max(accuracies) - min(accuracies) < 0.05, split  # accuracy does not tell the students apart


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--write"]):
        sys.exit(__doc__)
    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    demo = Path(sys.argv[1])
    figures = reference(demo)
    print_summary(figures)
    check_story(figures)
    if sys.argv[2:]:
        (demo / "reference.json").write_text(json.dumps(figures, indent=2) + "\n")
    else:
        assert_close(json.loads((demo / "reference.json").read_text())["splits"], figures["splits"])
        print("reference.json agrees")
