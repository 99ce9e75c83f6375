"""Makes what the benchmark runs: a checkpoint with random weights, its ONNX model, token ids, and reference logits.

    python scripts/bench/make_inputs.py --shape bert-base --lengths sst2 --examples 2000 --folder target/bench/data

Files that are there are kept: delete the folder after a change here. Everything is seeded. Speed does not depend on the
weights' values; they are drawn so that attention is far from uniform and no bias is zero, and a wrong operation shows
in the logits.
"""

import argparse
import json
import logging
import math
import os
import random
import warnings
from collections import Counter
from pathlib import Path

SEED = 20240111
LABELS = 2
HEADS = 12
VOCABULARY = 30522  # bert-base-uncased, whose special tokens have these ids:
SPECIAL = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]"}
CLS, SEP, FIRST_WORD = 101, 102, 1000
SHAPES = {
    "bert-base": {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072},
    "tinybert": {"num_hidden_layers": 4, "hidden_size": 312, "intermediate_size": 1200},
}
# Tokens of an example, both special tokens included: shortest, longest, mean, and the shape of the gamma distribution
# above the shortest. Like the training splits of SST-2 (phrases of reviews) and QNLI (question and sentence).
LENGTHS = {"sst2": (3, 60, 13, 1.2), "qnli": (12, 128, 50, 3.0)}
WEIGHT_SCALE = 1.2  # standard deviation of the weights times sqrt(H): attention scores then spread by about one
CLASSIFIER_SCALE = 4  # and logits do too
PERTURBATION_STD = 0.05  # of biases around 0 and of LayerNorm gains around 1
SAMPLE = 256  # examples with reference logits


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--shape", required=True, choices=SHAPES)
    arguments.add_argument("--lengths", required=True, choices=LENGTHS)
    arguments.add_argument("--examples", required=True, type=int)
    arguments.add_argument("--folder", required=True, type=Path)
    options = arguments.parse_args()
    checkpoint = options.folder / options.shape
    inputs = options.folder / f"{options.lengths}.jsonl"

    examples = max(options.examples, SAMPLE)
    make(inputs, lambda path: write_inputs(path, LENGTHS[options.lengths], examples), at_least=examples)
    make(checkpoint, lambda path: write_checkpoint(path, SHAPES[options.shape]))
    make(checkpoint.with_suffix(".onnx"), lambda path: write_onnx(path, checkpoint))
    nodes, reference = (options.folder / f"{options.shape}-{name}" for name in ("nodes.json", f"{options.lengths}.f32"))
    make(nodes, lambda path: write_nodes(path, checkpoint.with_suffix(".onnx")))
    make(reference, lambda path: write_reference(path, checkpoint, inputs))


def make(path, write, at_least=0):
    """Writes `path` unless it is there with `at_least` lines; under a temporary name first, so that it is never half written."""
    if path.exists() and (not at_least or len(path.read_text().splitlines()) >= at_least):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"unfinished-{os.getpid()}-{path.name}")
    write(unfinished)
    unfinished.rename(path)


def write_inputs(path, lengths, examples):
    """One list of token ids per line; the first n are the same for any number of lines."""
    shortest, longest, mean, shape = lengths
    generator = random.Random(SEED)

    def length():
        while True:
            tokens = round(shortest + generator.gammavariate(shape, (mean - shortest) / shape))
            if tokens <= longest:
                return tokens

    with open(path, "w") as out:
        for _ in range(examples):
            words = [generator.randrange(FIRST_WORD, VOCABULARY) for _ in range(length() - 2)]
            print(json.dumps([CLS, *words, SEP]), file=out)


def write_checkpoint(folder, shape):
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    quiet()
    torch.manual_seed(SEED)
    config = BertConfig(
        **shape,
        num_attention_heads=HEADS,
        vocab_size=VOCABULARY,
        num_labels=LABELS,
        initializer_range=WEIGHT_SCALE / math.sqrt(shape["hidden_size"]),
    )
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * PERTURBATION_STD)
        model.classifier.weight.mul_(CLASSIFIER_SCALE)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(f"{SPECIAL.get(i, f'word{i}')}\n" for i in range(VOCABULARY)))
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true}\n')


def write_onnx(path, checkpoint):
    """The model as onnxruntime's own optimiser fuses it, exact GELU kept."""
    import onnx
    import torch
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions
    from transformers import BertForSequenceClassification

    quiet()
    # The optimiser knows the attention of the TorchScript exporter and of `eager`; after newer exporters it does not
    # fuse attention.
    model = BertForSequenceClassification.from_pretrained(checkpoint, attn_implementation="eager").eval()
    names = ["input_ids", "attention_mask", "token_type_ids"]
    # (B, L), with padding, so that the mask is not optimised away.
    ids = torch.tensor([[CLS, 2000, 2001, 2002, SEP], [CLS, 2003, SEP, 0, 0]])
    with torch.no_grad():
        torch.onnx.export(
            model,
            (ids, (ids != 0).long(), torch.zeros_like(ids)),
            str(path),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in names} | {"logits": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    fused = optimizer.optimize_model(
        str(path),
        model_type="bert",
        num_heads=HEADS,
        hidden_size=model.config.hidden_size,
        optimization_options=FusionOptions("bert"),
        opt_level=0,  # the session does the rest, with all optimisations
    )
    fused.save_model_to_file(str(path))
    nodes = Counter(node.op_type for node in fused.model.graph.node)
    layers = model.config.num_hidden_layers
    for kind, count in {"Attention": layers, "SkipLayerNormalization": 2 * layers, "BiasGelu": layers}.items():
        assert nodes[kind] == count, f"{nodes[kind]} of {count} {kind} were fused: {dict(nodes)}"
    assert "FastGelu" not in nodes, "GELU was replaced by its tanh approximation"
    onnx.checker.check_model(str(path))


def write_nodes(path, model):
    """Number of uses of each operator in the graph."""
    import onnx

    path.write_text(json.dumps(Counter(node.op_type for node in onnx.load(str(model)).graph.node)) + "\n")


def write_reference(path, checkpoint, inputs):
    """PyTorch's f32 logits (SAMPLE, K), one example at a time, so that no padding is involved."""
    import torch
    from transformers import BertForSequenceClassification

    quiet()
    model = BertForSequenceClassification.from_pretrained(checkpoint, attn_implementation="eager").float().eval()
    rows = [json.loads(line) for line in inputs.read_text().splitlines()[:SAMPLE]]
    with torch.inference_mode():
        logits = torch.cat([model(torch.tensor([ids])).logits for ids in rows])
    path.write_bytes(logits.numpy().astype("<f4").tobytes())


def quiet():
    """No progress bars, and no warnings that the exporter is the older one."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore")
    logging.getLogger("onnxruntime").setLevel(logging.ERROR)


if __name__ == "__main__":
    main()
