"""One engine as a child process that bench.py talks to: PyTorch or ONNX Runtime. Ours is engine.rs.

Lines on stdin, one JSON line on stdout for each (and one when the model is loaded):

    run N BUDGET            runs the first N inputs             {"seconds", "cpu_seconds"}
    logits N BUDGET PATH    … and writes (N, K) f32, little-endian   {"labels"}
    quit                    ends                                {"peak_bytes"}

From token ids in memory to logits in memory, batches and padding included. BUDGET, in tokens with padding, is for the
engines that sort by length; the others have batches of 32 in the order of the data.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy

BATCH = 32
PADDED_LENGTH = 128


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("engine", choices=ENGINES)
    arguments.add_argument("--data", required=True, type=Path, help="folder that make_inputs.py wrote")
    arguments.add_argument("--shape", required=True)
    arguments.add_argument("--lengths", required=True)
    arguments.add_argument("--examples", required=True, type=int)
    arguments.add_argument("--threads", required=True, type=int)
    options = arguments.parse_args()
    load, batches = ENGINES[options.engine]
    with open(options.data / f"{options.lengths}.jsonl") as lines:
        inputs = [numpy.array(json.loads(line)) for line, _ in zip(lines, range(options.examples))]
    version, forward = load(options.data / options.shape, options.threads)
    answer({"ready": version})
    for line in sys.stdin:
        command, *rest = line.rstrip("\n").split(" ", 3)
        if command == "quit":
            answer({"peak_bytes": peak_bytes()})
            return
        chosen, budget = inputs[: int(rest[0])], int(rest[1])
        seconds, cpu_seconds = time.perf_counter(), time.process_time()
        logits = run(forward, batches, chosen, budget)
        seconds, cpu_seconds = time.perf_counter() - seconds, time.process_time() - cpu_seconds
        if command == "logits":
            Path(rest[2]).write_bytes(logits.astype("<f4").tobytes())
            answer({"labels": logits.shape[1]})
        else:
            answer({"seconds": seconds, "cpu_seconds": cpu_seconds})


def answer(value):
    print(json.dumps(value), flush=True)


def run(forward, batches, inputs, budget):
    """Logits (N, K) in the order of `inputs`."""
    logits = None
    for batch, length in batches([len(ids) for ids in inputs], budget):
        rows = forward(*padded([inputs[i] for i in batch], length))  # (B, K)
        if logits is None:
            logits = numpy.empty((len(inputs), rows.shape[1]), numpy.float32)
        logits[batch] = rows
    return logits


def padded(rows, length):
    """Token ids and attention mask (B, L)."""
    ids = numpy.zeros((len(rows), length), numpy.int64)
    mask = numpy.zeros_like(ids)
    for row, tokens in enumerate(rows):
        ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return ids, mask


# How inputs of the given lengths are put into batches: (indices, padded length) of each.


def in_order_fixed(lengths, _budget):
    for start in range(0, len(lengths), BATCH):
        yield list(range(start, min(start + BATCH, len(lengths)))), PADDED_LENGTH


def in_order_longest(lengths, _budget):
    for batch, _ in in_order_fixed(lengths, None):
        yield batch, max(lengths[i] for i in batch)


def sorted_by_length(lengths, budget):
    """Longest first, as many as stay within `budget` tokens, padding included."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    while order:
        longest = lengths[order[0]]
        count = max(budget // longest, 1)
        yield order[:count], longest
        del order[:count]


# Engines: the version, and a function of ids and mask (B, L) to logits (B, K).


def pytorch(checkpoint, threads, change=lambda model: None):
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(threads)
    model = transformers.BertForSequenceClassification.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    change(model)

    @torch.inference_mode()
    def forward(ids, mask):
        mask = torch.from_numpy(mask)
        return model(torch.from_numpy(ids), attention_mask=mask).logits.numpy()

    return f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}", forward


def pytorch_onednn(checkpoint, threads):
    """Linear layers by oneDNN with weights laid out beforehand. PyTorch leaves them to MKL, which is slow on AMD."""
    import torch

    class Linear(torch.nn.Module):
        def __init__(self, linear):
            super().__init__()
            self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
            self.bias = linear.bias.detach()

        def forward(self, x):
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def change(module):
        for name, child in list(module.named_children()):
            if isinstance(child, torch.nn.Linear):
                setattr(module, name, Linear(child))
            else:
                change(child)

    return pytorch(checkpoint, threads, change)


def onnxruntime(checkpoint, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors
    # Threads may spin within a run, which is faster, and must not between runs, when another engine is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(
        str(checkpoint.with_suffix(".onnx")), options, providers=["CPUExecutionProvider"]
    )
    types = {node.name: numpy.int32 if "int32" in node.type else numpy.int64 for node in session.get_inputs()}

    def forward(ids, mask):
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": numpy.zeros_like(ids)}
        return session.run(["logits"], {name: inputs[name].astype(dtype) for name, dtype in types.items()})[0]

    return f"ONNX Runtime {onnxruntime.__version__}", forward


ENGINES = {
    "pytorch-128": (pytorch, in_order_fixed),
    "pytorch-longest": (pytorch, in_order_longest),
    "pytorch": (pytorch, sorted_by_length),
    "pytorch-onednn": (pytorch_onednn, sorted_by_length),
    "onnxruntime": (onnxruntime, sorted_by_length),
}


def peak_bytes():
    """Largest resident set. On Linux /proc's, since getrusage's starts with the parent's."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes, on macOS


if __name__ == "__main__":
    main()
