"""What a longer memory costs: seconds of a step and the most memory held, as a table and a picture."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from bench.tasks import Answer
from rnnlab.views import plots

Points = Mapping[int, Answer]
"""{memory [positions]: what `tasks.memory_point` answered}."""


def text(points: Points) -> str:
    """A line a length, with what it costs over the shortest."""
    first = points[min(points)]
    lines = [f"{'memory [positions]':<20}{'step [ms]':>12}{'':>8}{'peak [MB]':>12}"]
    for positions, point in sorted(points.items()):
        step, peak = point["seconds"], point["peak_memory_mb"]
        lines.append(
            f"{positions:<20,}{1e3 * step:>12,.0f}{step / first['seconds']:>7.2f}x"
            f"{peak:>12,.0f}{peak / first['peak_memory_mb']:>7.2f}x"
        )
    return "\n".join(lines)


def draw(points: Points, path: Path) -> list[Path]:
    """PNG and SVG beside each other, called `path` with those endings."""
    lengths = sorted(points)
    with plots.styled():
        figure = Figure(figsize=(8.4, 3.4), layout="constrained")
        quantities = (("Time of a step [ms]", "seconds", 1e3), ("Peak memory [MB]", "peak_memory_mb", 1.0))
        for axis, (label, key, unit), color in zip(figure.subplots(1, 2), quantities, plots.PALETTE, strict=False):
            values = [unit * points[m][key] for m in lengths]
            axis.plot(lengths, values, marker="o", color=color, lw=1.8)
            axis.set(title=label, xlabel="Memory [positions]", xticks=lengths)
            axis.set_xticklabels([f"{m:,}" for m in lengths])
            axis.set_ylim(0, 1.1 * max(values))
    return plots.save(figure, path.parent, path.name)
