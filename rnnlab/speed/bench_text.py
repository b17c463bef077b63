"""What `rnnlab bench` prints."""

from typing import Any


def benchmark_text(answer: dict[str, Any]) -> str:
    """An answer of `rnnlab.speed.bench.benchmark` as a table of parts, and lines about the whole."""
    memory = "no memory" if answer["memory"] is None else f"memory {answer['memory']:,}"
    threads = f"{answer['threads']} thread" + "s" * (answer["threads"] != 1)
    lines = [
        f"{answer['parameters']:,} parameters, {answer['layers']} layers of width {answer['dim']}, {memory}; "
        f"batch size {answer['batch_size']}, bptt {answer['bptt']}, "
        f"{answer['precision']}, {answer['device']}, {threads}",
        "",
        f"{'part':<14}{'ms':>9}{'share':>9}{'of the matrix ceiling':>24}",
    ]
    for label, part in answer["parts"].items():
        ceiling = f"{part['matrix_share']:.0%}" if "matrix_share" in part else ""
        lines.append(f"{label:<14}{part['seconds'] * 1e3:>9.1f}{part['share']:>9.1%}{ceiling:>24}")
    step, ceilings = answer["step_seconds"]["median"], answer["ceilings"]
    lines += [
        f"{'step':<14}{step * 1e3:>9.1f}{'':>9}{answer['matrix_share']:>24.0%}",
        "",
        f"ceilings: {ceilings['matrix'] / 1e9:,.0f} GFLOP/s, copy {ceilings['copy'] / 1e9:,.1f} GB/s",
        f"peak memory: {answer['peak_memory_mb']:,.0f} MB",
        f"training: {_spread_text(answer['bytes_per_second'])} {answer['counted']}/s"
        + (" of CPU time" if answer["clock"] == "cpu" else ""),
    ]
    if "ratio" in answer:
        r = answer["ratio"]
        lines += [
            f"{answer['against']}: {_spread_text(answer['against_bytes_per_second'])} {answer['counted']}/s",
            f"ratio: {r['median']:.2f} ({r['least']:.2f} to {r['most']:.2f})",
        ]
    return "\n".join(lines)


def _spread_text(spread: dict[str, float]) -> str:
    return f"{spread['median']:,.0f} ({spread['least']:,.0f} to {spread['most']:,.0f})"
