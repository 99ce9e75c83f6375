"""Writes the data of the demo's models: the splits, a larger training set, and the teacher's initial checkpoint.

Usage (make_demo.sh calls it):

    pip install tokenizers==0.23.3
    python scripts/demo/make_data.py FOLDER

`train.tsv` has 500 sentences, which the demo audits, and `validation.tsv` 150 more, which no model is trained on; both
are published. `everything.tsv`, which is not, has the 500 and 6,000 more: 500 alone are too few for models from scratch.
`start/` has a config.json and a tokenizer and no weights: the base of a model with `init = "scratch"`.

Everything is seeded: the same bytes come out every time.
"""

import json
import sys
from pathlib import Path

from grammar import Grammar, distinct_examples
from wordpiece import build_tokenizer, build_vocabulary, save_tokenizer

SEED = 20240111
TRAIN_SIZE, VALIDATION_SIZE, UNPUBLISHED_SIZE = 500, 150, 6000
LABELS = ["negative", "positive"]
MAX_LENGTH = 64
NO_TENSORS = b"{}      "  # a safetensors header that names none, padded to 8 bytes


def main(folder):
    taken = set()
    grammar = Grammar(SEED)
    train = distinct_examples(grammar, TRAIN_SIZE, taken)
    validation = distinct_examples(grammar, VALIDATION_SIZE, taken)
    everything = train + distinct_examples(grammar, UNPUBLISHED_SIZE, taken)  # without the validation split
    for name, examples in {"train": train, "validation": validation, "everything": everything}.items():
        save_split(examples, folder / f"{name}.tsv")

    tokenizer = build_tokenizer(build_vocabulary([example.sentence for example in everything]))
    start = folder / "start"
    start.mkdir()
    save_tokenizer(tokenizer, start, MAX_LENGTH)
    (start / "config.json").write_text(json.dumps(bert_config(tokenizer.get_vocab_size()), indent=2) + "\n")
    (start / "model.safetensors").write_bytes(len(NO_TENSORS).to_bytes(8, "little") + NO_TENSORS)


def save_split(examples, path):
    """Tab-separated with a header, as SST-2."""
    rows = ["sentence\tlabel"] + [f"{example.sentence}\t{example.label}" for example in examples]
    path.write_text("\n".join(rows) + "\n")


def bert_config(vocabulary_size):
    """config.json of the teacher's initial checkpoint."""
    return {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "vocab_size": vocabulary_size,
        "type_vocab_size": 2,
        "max_position_embeddings": MAX_LENGTH,
        "pad_token_id": 0,
        "num_hidden_layers": 4,
        "hidden_size": 64,
        "num_attention_heads": 4,
        "intermediate_size": 256,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "initializer_range": 0.02,
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {name: label for label, name in enumerate(LABELS)},
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
