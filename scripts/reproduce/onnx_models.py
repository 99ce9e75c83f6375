"""Export a classifier to ONNX, quantise it, and write ONNX Runtime's logits for a split.

Usage (needs torch, transformers, onnx and onnxruntime; logits also pyarrow):

    python onnx_models.py export CHECKPOINT DIR
    python onnx_models.py logits DIR/model_quantized.onnx SPLIT.tsv logits.parquet

The first writes DIR/model.onnx (f32), DIR/model_quantized.onnx (dynamic, int8 weights by tensor), config.json and the
tokenizer. The second runs one text at a time, without padding, on one thread, and takes a TSV file of SST-2.
"""

import pathlib
import shutil
import sys

KEPT = ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]


def export(checkpoint, target):
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, attn_implementation="eager").float().eval()
    inputs = AutoTokenizer.from_pretrained(checkpoint)(["a short text", "and another one"], padding=True, return_tensors="pt")
    names = list(inputs)

    class Logits(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *values):
            return self.model(**dict(zip(names, values))).logits

    target.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        Logits(),
        tuple(inputs[name] for name in names),
        target / "model.onnx",
        input_names=names,
        output_names=["logits"],
        dynamic_axes={name: {0: "batch", 1: "length"} for name in names} | {"logits": {0: "batch"}},
        opset_version=14,
        dynamo=False,
    )
    quantize_dynamic(target / "model.onnx", target / "model_quantized.onnx", weight_type=QuantType.QInt8)
    for name in KEPT:
        if (checkpoint / name).exists():
            shutil.copy(checkpoint / name, target)


def logits(model, split, target):
    import numpy
    import onnxruntime
    import pyarrow
    import pyarrow.parquet
    from transformers import AutoTokenizer

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    tokenizer = AutoTokenizer.from_pretrained(model.parent)
    names = [value.name for value in session.get_inputs()]
    rows = [line.rsplit("\t", 1) for line in split.read_text().splitlines()[1:]]
    found = []
    for text, _ in rows:
        inputs = tokenizer(text, truncation=True, max_length=128)
        values = {name: numpy.array([inputs[name]], dtype=numpy.int64) for name in names}
        found.append(session.run(["logits"], values)[0][0])
    columns = {"id": range(len(rows)), "label": [int(label) for _, label in rows]}
    columns |= {f"logit_{i}": pyarrow.array(numpy.array(found)[:, i]) for i in range(len(found[0]))}
    pyarrow.parquet.write_table(pyarrow.table(columns), target)


if __name__ == "__main__":
    command, *paths = sys.argv[1:]
    {"export": export, "logits": logits}[command](*map(pathlib.Path, paths))
