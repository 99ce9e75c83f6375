"""Runs a BERT classifier by several engines in turn and compares them. See README.md; `run.sh` prepares and calls this.

Needs nothing but Python itself: the engines are child processes.
"""

import argparse
import array
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import make_inputs
import report
from child import Child, busy_seconds

HERE = Path(__file__).parent
# Examples of a full run: about as many operations for each pair.
EXAMPLES = {
    ("bert-base", "sst2"): 2000,
    ("bert-base", "qnli"): 500,
    ("tinybert", "sst2"): 40000,
    ("tinybert", "qnli"): 10000,
}
BUDGETS = [512, 1024, 2048, 4096]  # where the first or the last is best, the search goes on to these:
LEAST_BUDGET, LARGEST_BUDGET = 64, 16384
AS_GOOD_AS = 1.01
TOLERANCE = 1e-4  # of f32 logits that spread over a few units; the tanh form of GELU differs by 3e-3
# Names of engines.py; of two, the faster one is used.
VARIANTS = {
    "pytorch-128": ["pytorch-128"],
    "pytorch-longest": ["pytorch-longest"],
    "pytorch-tuned": ["pytorch", "pytorch-onednn"] if platform.system() == "Linux" else ["pytorch"],
    "onnxruntime-tuned": ["onnxruntime"],
    "ours": ["ours"],
}
# Padding makes these slow; they run a part of the examples.
PARTS = {"pytorch-128": 10, "pytorch-longest": 4}
BATCHING = {
    "pytorch-128": "order of the data, 32, padded to 128",
    "pytorch-longest": "order of the data, 32, padded to the longest",
    "pytorch": "sorted, ≤ {budget} tokens with padding",
    "pytorch-onednn": "sorted, ≤ {budget} tokens with padding, oneDNN",
    "onnxruntime": "sorted, ≤ {budget} tokens with padding",
    "ours": "sorted, ≤ {budget} tokens, no padding",
}
DISTURBED = 0.05  # cores; more than this used by what should sleep is said


def main():
    options = parse()
    data = options.folder / "data"
    names = ["--shape", options.shape, "--lengths", options.lengths, "--examples", str(options.examples)]
    say("checkpoint, inputs, ONNX model, reference")
    subprocess.run([sys.executable, HERE / "make_inputs.py", *names, "--folder", data], check=True)
    lengths = [line.count(",") + 1 for line in (data / f"{options.lengths}.jsonl").read_text().splitlines()]
    lengths = lengths[: options.examples]

    chosen = {name: calibrate(name, options) for name in options.engines}
    with contextlib.ExitStack() as stack:

        def start(name, variant):
            return stack.enter_context(Child(name, command(variant, options)))

        children = {name: start(name, variant) for name, (variant, _) in chosen.items()}
        peak_child = children.get("ours") or start("ours", "ours")
        for name, child in children.items():
            child.ask("run", max(part(name, options) // 10, 32), chosen[name][1])  # warm-up
        peaks = {"before": peak_child.ask("peak", options.threads)}
        rounds, disturbance = alternate(children, chosen, options)
        peaks["after"] = peak_child.ask("peak", options.threads)
        differences = {n: difference(child, chosen[n][1], part(n, options), options) for n, child in children.items()}
        peak_bytes = {name: child.ask("quit")["peak_bytes"] for name, child in children.items()}
        versions = {name: child.version for name, child in children.items()}

    best_peak = max(p["widest"]["all_threads"] for p in peaks.values()) / options.threads
    engines = []
    for name, (variant, budget) in chosen.items():
        engine = {
            "name": name,
            "version": versions[name],
            "batching": BATCHING[variant].format(budget=budget),
            "examples": part(name, options),
            "lengths": lengths[: part(name, options)],
            "rounds": rounds[name],
            "peak_bytes": peak_bytes[name],
            "cold_start_seconds": cold_start(name, variant, options),
            "max_logit_difference": differences[name],
        }
        engines.append(report.figures(engine, make_inputs.SHAPES[options.shape], best_peak))
    publish(engines, peaks, disturbance, sum(lengths), options)
    check(engines, disturbance)


def parse():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--shape", default="bert-base", choices=make_inputs.SHAPES)
    arguments.add_argument("--lengths", default="sst2", choices=make_inputs.LENGTHS)
    arguments.add_argument("--threads", default=cores(), type=int)
    arguments.add_argument("--examples", type=int, help="examples of a run; by default some ten seconds' worth")
    arguments.add_argument("--rounds", type=int, help="5 by default, 2 with --quick")
    engines = "some of " + ",".join(VARIANTS)
    arguments.add_argument("--engines", default=list(VARIANTS), type=lambda names: names.split(","), help=engines)
    arguments.add_argument("--quick", action="store_true", help="a tenth of the examples, 2 rounds, one cold start")
    arguments.add_argument("--folder", default=Path("target/bench"), type=Path, help="for data and results")
    arguments.add_argument("--engine", default=Path("target/release/examples/engine"), type=Path, help="our runner")
    options = arguments.parse_args()
    for name in options.engines:
        if name not in VARIANTS:
            arguments.error(f"there is no engine `{name}`; there are {', '.join(VARIANTS)}")
    options.examples = options.examples or EXAMPLES[options.shape, options.lengths] // (10 if options.quick else 1)
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.cold_starts = 1 if options.quick else 3
    return options


def cores():
    """Logical processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def command(variant, options, examples=None):
    engine = [options.engine] if variant == "ours" else [sys.executable, HERE / "engines.py", variant]
    settings = {
        "--data": options.folder / "data",
        "--shape": options.shape,
        "--lengths": options.lengths,
        "--examples": examples or options.examples,
        "--threads": options.threads,
    }
    return [*engine, *(str(word) for pair in settings.items() for word in pair)]


def part(name, options):
    """How many examples an engine runs."""
    return min(max(options.examples // PARTS.get(name, 1), 64), options.examples)


def time_key(options):
    """The time compared: with one thread CPU-seconds, which other programs affect less."""
    return "cpu_seconds" if options.threads == 1 else "seconds"


def calibrate(name, options):
    """The fastest variant and token budget of an engine, tried on half of the examples in a process of its own.

    Of budgets that are as good as equal, the smallest.
    """
    if "{budget}" not in BATCHING[VARIANTS[name][0]]:
        return VARIANTS[name][0], 0
    times = {}
    for variant in VARIANTS[name]:
        with Child(name, command(variant, options)) as child:
            count = max(options.examples // 2, 32)
            child.ask("run", count // 4, BUDGETS[0])  # warm-up
            tried = {}
            for budget in BUDGETS:
                tried[budget] = child.ask("run", count, budget)[time_key(options)]
            while (budget := beyond(tried)) is not None:
                tried[budget] = child.ask("run", count, budget)[time_key(options)]
            child.ask("quit")
            times |= {(variant, budget): seconds for budget, seconds in tried.items()}
    good = [key for key, seconds in times.items() if seconds <= min(times.values()) * AS_GOOD_AS]
    best = min(good, key=lambda key: key[1])
    tried = ", ".join(f"{variant} {budget}: {seconds:.2f}" for (variant, budget), seconds in times.items())
    say(f"{name} takes {best[0]} with {best[1]} tokens ({time_key(options)}: {tried})")
    return best


def beyond(tried):
    """The next token budget to try, while the smallest or largest one tried is clearly the best."""
    for end, following in ((min(tried), min(tried) // 2), (max(tried), max(tried) * 2)):
        others = min(seconds for budget, seconds in tried.items() if budget != end)
        if tried[end] * AS_GOOD_AS < others and LEAST_BUDGET <= following <= LARGEST_BUDGET:
            return following
    return None


def alternate(children, chosen, options):
    """Rounds A B C A B C …, one engine at a time -> runs by engine, and what else the cores did meanwhile."""
    rounds = {name: [] for name in children}
    used, slept = dict.fromkeys(children, 0.0), dict.fromkeys(children, 0.0)
    seconds, busy = 0.0, 0.0  # of all runs, and CPU time of everything else during them
    for number in range(options.rounds):
        for name, child in children.items():
            before, busy_before = {n: c.cpu_seconds() for n, c in children.items()}, busy_seconds()
            run = child.ask("run", part(name, options), chosen[name][1])
            if busy_before is not None:
                cpu = {n: c.cpu_seconds() - before[n] for n, c in children.items()}
                seconds, busy = seconds + run["seconds"], busy + busy_seconds() - busy_before - sum(cpu.values())
                for other in children.keys() - {name}:
                    used[other], slept[other] = used[other] + cpu[other], slept[other] + run["seconds"]
            rounds[name].append(run)
            taken = f"{run['seconds']:.2f} s, {run['cpu_seconds']:.2f} CPU-seconds"
            say(f"round {number + 1} of {options.rounds}: {name} {taken}")
    idle = {name: used[name] / slept[name] for name in children if slept[name]}
    return rounds, {"idle_engines": idle, "other_programs": busy / seconds if seconds else None}


def logits_of(child, count, budget):
    """Logits (count, K), flat, and K."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "logits.f32"
        labels = child.ask("logits", count, budget, path)["labels"]
        return floats(path), labels


def floats(path):
    values = array.array("f", path.read_bytes())
    if sys.byteorder == "big":
        values.byteswap()
    return values


def difference(child, budget, count, options):
    """Largest difference from PyTorch's logits of single examples, where these were computed."""
    reference = floats(options.folder / "data" / f"{options.shape}-{options.lengths}.f32")
    logits, labels = logits_of(child, count, budget)
    if len(logits) != count * labels:
        sys.exit(f"bench: `{child.name}` wrote {len(logits)} logits for {count} examples of {labels} labels")
    return max(abs(a - b) for a, b in zip(logits, reference))


def cold_start(name, variant, options):
    """Seconds from the start of a fresh process to the logits of one example; the files are in the page cache."""
    seconds = []
    for _ in range(options.cold_starts):
        with Child(name, command(variant, options, examples=1)) as child:
            logits_of(child, 1, BUDGETS[0])
            seconds.append(child.since_start())
            child.ask("quit")
    return median(seconds)


def publish(engines, peaks, disturbance, tokens, options):
    """Prints the table and saves it, with all measurements, next to the data."""
    ours = next((engine for engine in engines if engine["name"] == "ours"), None)
    others = [engine for engine in engines if ours and engine is not ours]
    result = {
        "shape": options.shape,
        "lengths": options.lengths,
        "examples": options.examples,
        "tokens": tokens,
        "threads": options.threads,
        "rounds": options.rounds,
        "machine": machine(),
        "onnx_nodes": json.loads((options.folder / "data" / f"{options.shape}-nodes.json").read_text()),
        "peaks": peaks,
        "cores_used_by": disturbance,
        "engines": engines,
        "ratios": {other["name"]: report.ratios(ours, other) for other in others},
    }
    text = report.heading(result) + "\n" + report.table(result)
    print(text)
    results = options.folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    file = results / f"{options.shape}-{options.lengths}-{options.threads}.json"
    file.write_text(json.dumps(result, indent=1) + "\n")
    file.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
    say(f"written to {file} and {file.with_suffix('.md').name}")


def machine():
    """Processor and system, as far as they are known."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} logical processors, {platform.system()} {platform.machine()}"


def check(engines, disturbance):
    for name, cores in disturbance["idle_engines"].items():
        if cores > DISTURBED:
            say(f"warning: {name} used {cores:.2f} cores while others ran")
    if (cores := disturbance["other_programs"] or 0.0) > DISTURBED:
        say(
            f"warning: other programs used {cores:.2f} cores meanwhile. Threads that wait for each other lose most by"
            " that: with more than one, PyTorch and ONNX Runtime look slower than they are"
        )
    wrong = [engine["name"] for engine in engines if not engine["max_logit_difference"] <= TOLERANCE]
    if wrong:
        sys.exit(f"bench: the logits of {', '.join(wrong)} differ from the reference by more than {TOLERANCE}")


def say(text):
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
