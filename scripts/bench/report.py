"""From rounds to figures: floating-point operations, medians, ratios, and the table."""

from statistics import median


def nominal_flops(shape, lengths):
    """Operations of the model's definition, real tokens only; pooler, classifier, norms and activations left out.

    Per token and layer: 8·H² for query, key, value and output, 4·H·I for the feed-forward, 4·L·H for the attention.
    """
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    return sum(shape["num_hidden_layers"] * n * (8 * hidden**2 + 4 * hidden * inner + 4 * n * hidden) for n in lengths)


def performed_flops(shape, lengths):
    """Operations that ours computes: in the last layer keys and values for all tokens, the rest for the first of each sequence."""
    hidden, inner = shape["hidden_size"], shape["intermediate_size"]
    below = nominal_flops({**shape, "num_hidden_layers": shape["num_hidden_layers"] - 1}, lengths)
    last = sum(n * 4 * hidden**2 + 4 * hidden**2 + 4 * hidden * inner + 4 * n * hidden for n in lengths)
    return below + last


def figures(engine, shape, peak):
    """Adds the figures of the table to `engine`, which has its rounds. `peak`: GFLOP/s of one of the threads."""
    lengths, rounds = engine["lengths"], engine["rounds"]
    nominal = nominal_flops(shape, lengths) / 1e9
    performed = performed_flops(shape, lengths) / 1e9 if engine["name"] == "ours" else nominal
    seconds, cpu_seconds = median(r["seconds"] for r in rounds), median(r["cpu_seconds"] for r in rounds)
    engine |= {
        "nominal_flops": nominal * 1e9,
        "performed_flops": performed * 1e9,
        "examples_per_second": len(lengths) / seconds,
        "examples_per_cpu_second": len(lengths) / cpu_seconds,
        "gflops": nominal / seconds,
        "performed_gflops": performed / seconds,
        "gflop_per_cpu_second": nominal / cpu_seconds,
        "performed_gflop_per_cpu_second": performed / cpu_seconds,
        "share_of_peak": performed / cpu_seconds / peak,
    }
    del engine["lengths"]
    return engine


def ratios(ours, other):
    """Speed of ours relative to each engine: median, minimum and maximum of the rounds."""

    def per_round(key):
        pairs = zip(ours["rounds"], other["rounds"])
        times = [(b[key] / other["examples"]) / (a[key] / ours["examples"]) for a, b in pairs]
        return {"median": median(times), "least": min(times), "greatest": max(times)}

    return {"wall": per_round("seconds"), "cpu": per_round("cpu_seconds")}


HEADER = [
    "engine",
    "batching",
    "threads",
    "examples/s",
    "GFLOP/s",
    "GFLOP per CPU-second",
    "share of peak",
    "peak memory",
    "cold start",
    "logits differ by",
]


def table(report):
    """Markdown. Where ours performs fewer operations than the definition has, the performed rate is in brackets."""
    rows = [HEADER, ["---", "---"] + ["--:"] * (len(HEADER) - 2)]
    for engine in report["engines"]:

        def rate(key):
            fewer = engine["performed_flops"] < engine["nominal_flops"]
            return f"{engine[key]:.1f}" + (f" ({engine['performed_' + key]:.1f})" if fewer else "")

        rows.append(
            [
                engine["name"],
                engine["batching"],
                str(report["threads"]),
                f"{engine['examples_per_second']:.1f}",
                rate("gflops"),
                rate("gflop_per_cpu_second"),
                f"{engine['share_of_peak']:.1%}",
                f"{engine['peak_bytes'] / 2**20:.0f} MiB",
                f"{engine['cold_start_seconds']:.2f} s",
                f"{engine['max_logit_difference']:.1e}",
            ]
        )
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if report["ratios"]:
        lines += ["", "| ours against | wall | CPU |", "|---|--:|--:|"]
    for name, ratio in report["ratios"].items():
        shown = (f"{r['median']:.2f}× ({r['least']:.2f}–{r['greatest']:.2f})" for r in (ratio["wall"], ratio["cpu"]))
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def heading(report):
    """What was measured, and where."""

    def on(peak):
        return ", ".join(f"{name} {p['one_thread']:.0f} ({p['all_threads']:.0f})" for name, p in peak.items())

    peaks = "; ".join(f"{when}: {on(peak)}" for when, peak in report["peaks"].items())
    nodes = ", ".join(f"{name} {count}" for name, count in report["onnx_nodes"].items())
    return "\n".join(
        [
            f"{report['shape']}, {report['lengths']} lengths: {report['examples']} examples, {report['tokens']} tokens;"
            f" rounds: {report['rounds']}; threads: {report['threads']}",
            f"{report['machine']}",
            f"FMA peak in GFLOP/s of one thread (of all), {peaks}",
            f"ONNX graph: {nodes}",
            "",
        ]
    )
