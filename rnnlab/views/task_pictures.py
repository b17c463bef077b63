"""The pictures of a probe of a run on a task."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rnnlab.views.plots import PALETTE, SHAPES, styled
from rnnlab.views.probe_pictures import EXPECTED, MUTED
from rnnlab.views.task_examination import LONGEST_SHOWN, TaskFindings

RIGHT, WRONG = "#2a7f3f", "#b3261e"


@styled(**{"axes.titlelocation": "left"})
def draw(findings: TaskFindings) -> dict[str, Figure]:
    """{name: picture} of all that was found."""
    pictures = {"accuracy_by_position": _accuracy_by_position(findings)}
    if findings.attention_by_distance:
        pictures["attention_by_distance"] = _attention_by_distance(findings)
    for layer, weights in findings.example.attention.items():
        pictures[f"attention_on_an_example_{layer + 1}"] = _attention(findings, layer, weights)
    source = (
        f"{findings.task} at {findings.difficulty} {findings.at:,}: {findings.examples} test examples, accuracy "
        f"{findings.accuracy:.3f} (chance {findings.chance:.3f})"
    )
    for figure in pictures.values():
        figure.text(0.995, 0.005, source, ha="right", va="bottom", fontsize=7, color=MUTED)
    return pictures


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(rect=(0.0, 0.03, 1.0, 0.97))  # type: ignore[union-attr, call-arg]
    return figure


def _accuracy_by_position(findings: TaskFindings) -> Figure:
    figure = _figure(7.0, 3.6)
    axis = figure.subplots()
    positions, shares = zip(*findings.accuracy_by_position.items(), strict=True)
    axis.axhline(findings.chance, **EXPECTED, label="chance")
    axis.plot(positions, shares, color=PALETTE[0], marker="o", ms=4, lw=1.8)
    axis.set(title="Right answers by position", xlabel="Position", ylabel="Accuracy", ylim=(-0.02, 1.04))
    axis.set_xlim(-0.5, len(findings.example.tokens) - 0.5)
    axis.legend()
    return figure


def _attention_by_distance(findings: TaskFindings) -> Figure:
    figure = _figure(7.0, 3.6)
    axis = figure.subplots()
    for number, (layer, shares) in enumerate(findings.attention_by_distance.items()):
        style: dict[str, Any] = {"color": PALETTE[number % len(PALETTE)], "marker": SHAPES[number % len(SHAPES)]}
        axis.plot(shares, lw=1.8, ms=4, label=f"layer {layer + 1} of {findings.layers}", **style)
    axis.set(title="Attention of what is asked, by distance", xlabel="Distance [positions back]")
    axis.set(ylabel="Share of attention", ylim=(0.0, None))
    axis.legend()
    return figure


def _attention(findings: TaskFindings, layer: int, weights: Any) -> Figure:
    """Rows look at columns. An asked row has a mark: what was answered, and if it was wrong what was right."""
    example = findings.example
    count = len(example.tokens)
    side = min(9.5, 3.2 + 0.13 * count)
    figure = _figure(side + 1.0, side)
    axis = figure.subplots()
    shown = np.where(np.tri(count, dtype=bool), weights, np.nan)
    picture = axis.imshow(shown, cmap="Blues", vmin=0.0, vmax=max(float(np.nanmax(shown)), 1e-6), aspect="equal")
    axis.grid(False)
    size = 8 if count <= 32 else 5.5
    if count <= LONGEST_SHOWN:
        names = [str(token) for token in example.tokens]
        axis.set_xticks(range(count), names, fontsize=size)
        axis.set_yticks(range(count), names, fontsize=size)
    axis.tick_params(length=0)
    for row in (row for row in range(count) if example.asked[row]):
        given, wanted = example.answers[row], example.targets[row]
        color = RIGHT if given == wanted else WRONG
        axis.axhspan(row - 0.5, row + 0.5, fill=False, ec=color, lw=0.8)
        told = str(given) if given == wanted else f"{given}, not {wanted}"
        axis.text(count, row, told, va="center", ha="left", fontsize=size, color=color, clip_on=False)
    axis.set(title=f"Attention on a test example, layer {layer + 1} of {findings.layers}", xlabel="Token looked at")
    axis.set_ylabel("Token that looks; asked rows are framed, their answers at the right")
    figure.colorbar(picture, ax=axis, label="Share of attention", shrink=0.6, pad=0.03)
    return figure
