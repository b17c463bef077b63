"""The pictures of a probe, in the style of the other plots."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from rnnlab.views.examination import MARKUP
from rnnlab.views.findings import RETENTION_BINS, AttentionDistances, AttentionMap, Findings, ForgetGates
from rnnlab.views.plots import NAMING, PALETTE, SHAPES, styled, tick

MUTED = "#777777"
EXPECTED: dict[str, Any] = {"color": MUTED, "lw": 1.2, "dashes": (4, 3)}  # a line to compare with
KIND_COLORS = dict(zip(("core", "attention", "feedforward"), PALETTE, strict=False))
DPI = 150


@styled(**{"axes.titlelocation": "left"})
def draw(findings: Findings) -> dict[str, Figure]:
    """{name: picture} of all that was found."""
    pictures = {
        "bpc_by_kind": _bpc_by_kind(findings),
        "bpc_by_position": _bpc_by_position(findings),
        "gradient_norms": _gradient_norms(findings.gradient_norms),
    }
    if findings.attention_distances:
        pictures["attention_by_distance"] = _attention_by_distance(findings.attention_distances, findings.layers)
    for layer, passage in findings.attention_maps.items():
        pictures[f"attention_map_{layer + 1}"] = _attention_map(passage, _layer(layer, findings.layers))
    if findings.forget_gates:
        pictures["forgetting"] = _forgetting(findings.forget_gates, findings.layers)
    source = f"{findings.bytes_read:,} bytes of {findings.text}; {findings.bpc:.3f} bits/byte overall"
    for figure in pictures.values():
        figure.text(0.995, 0.005, source, ha="right", va="bottom", fontsize=7, color=MUTED)
    return pictures


def to_png(figure: Figure) -> tuple[bytes, tuple[int, int]]:
    """The picture as PNG, the same bytes for the same picture, and its width and height [pixels]."""
    figure.set_dpi(DPI)
    content = io.BytesIO()
    with styled():
        figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    return content.getvalue(), figure.canvas.get_width_height()


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(rect=(0.0, 0.03, 1.0, 0.97))  # type: ignore[union-attr, call-arg]
    return figure


def _plain_ticks(axis: Any) -> None:
    """Numbers in full along a logarithmic axis: the style takes powers of ten for text."""
    axis.set_major_locator(LogLocator(10, subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _layer(index: int, layers: int) -> str:
    return f"layer {index + 1} of {layers}"


def _attention_by_distance(attention_distances: Mapping[int, AttentionDistances], layers: int) -> Figure:
    figure = _figure(7.0, 5.6)
    shares, ratios = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    widest = max(attention_distances.values(), key=lambda seen: len(seen.uniform))
    shares.plot(widest.uniform, **EXPECTED, label="uniform attention")
    ratios.axhline(1.0, **EXPECTED)
    for number, (layer, seen) in enumerate(attention_distances.items()):
        color, shape = PALETTE[number % len(PALETTE)], SHAPES[number % len(SHAPES)]
        for head in seen.mass if len(seen.mass) > 1 else ():
            shares.plot(head, color=color, lw=0.8, alpha=0.5)
        mean = seen.mass.mean(axis=0)
        label = f"{_layer(layer, layers)}: {seen.mean_distance:,.0f} positions back on average"
        shares.plot(mean, color=color, marker=shape, lw=2, label=label)
        ratios.plot(mean / seen.uniform, color=color, marker=shape, lw=2)
    starts = [0, *(2**k for k in range(len(widest.uniform) - 1))]
    stops = [*(start - 1 for start in starts[1:]), widest.window - 1]
    names = [f"{a:,}" if a >= b else f"{a:,}–{b:,}" for a, b in zip(starts, stops, strict=True)]
    ratios.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ratios.set(xlabel="Distance [positions back]", ylabel="Attention relative\nto uniform")
    shares.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    for axis in (shares, ratios):
        axis.margins(y=0.12)
        axis.set_ylim(bottom=0)
    window = f"window of {widest.window:,} positions" + ("" if widest.full else ", not yet full")
    shares.set(title=f"Attention by distance ({window})", ylabel="Share of attention")
    shares.legend()
    return figure


def _attention_map(passage: AttentionMap, layer: str) -> Figure:
    figure = _figure(9.2, 9.0)
    count = len(passage.text)
    before, axis = figure.subplots(1, 2, width_ratios=(1, 14), sharey=True)
    letters = [_letter(byte) for byte in passage.text]
    shown = np.where(np.tri(count, dtype=bool), passage.weights, np.nan)
    top = max(float(np.quantile(passage.weights[np.tri(count, dtype=bool)], 0.995)), 1e-6)
    picture = axis.imshow(shown, cmap="Blues", vmin=0.0, vmax=top, aspect="auto", interpolation="nearest")
    before.imshow(passage.before[:, None], cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto", interpolation="nearest")
    for place, share in enumerate(passage.before):
        color = "white" if share > 0.5 else "#222222"
        before.text(0, place, f"{share:.0%}", ha="center", va="center", fontsize=5.5, color=color)
    for each in (axis, before):
        each.grid(False)
        each.tick_params(length=0)
    axis.set_xticks(range(count), letters, fontsize=7, family="monospace")
    before.set_yticks(range(count), letters, fontsize=7, family="monospace")
    before.set(xticks=[], ylabel="the byte that was just read: the query")
    before.set_title("before", fontsize=8, loc="center")
    axis.tick_params(labelleft=False)
    axis.set(title=f"Attention weights of {layer} within a passage", xlabel="the byte that is looked at")
    figure.colorbar(
        picture, ax=axis, label="share of the query's attention", shrink=0.6, format=PercentFormatter(1.0), extend="max"
    )
    return figure


def _letter(byte: int) -> str:
    return {32: "·", 10: "⏎"}.get(byte, chr(byte) if 33 <= byte < 127 else "▯")


def _bpc_by_kind(findings: Findings) -> Figure:
    figure = _figure(6.6, 3.4)
    axis = figure.subplots()
    names = list(findings.bpc_by_kind)
    for place, (bpc, share) in enumerate(findings.bpc_by_kind.values()):
        axis.barh(place, bpc, color=PALETTE[0], height=0.62)
        text = f"{bpc:.2f}   {share:.0%} of the bytes, {bpc * share / findings.bpc:.0%} of the bits"
        axis.annotate(text, (bpc, place), (5, 0), va="center", fontsize=8.5, **NAMING)
    axis.axvline(findings.bpc, **EXPECTED)
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set_xlim(0, 1.75 * max(bpc for bpc, _ in findings.bpc_by_kind.values()))
    axis.set_xlabel(f"BPC [bits/byte]; dashed: over all.   markup: {MARKUP.decode()}")
    axis.set_title("What is hard to predict, by kind of byte")
    return figure


def _bpc_by_position(findings: Findings) -> Figure:
    figure = _figure(6.6, 3.9)
    axis = figure.subplots()
    starts = [start for start, _, _ in findings.bpc_by_position]
    axis.plot([bpc for _, bpc, _ in findings.bpc_by_position], color=PALETTE[0], marker=SHAPES[0], lw=2)
    axis.axhline(findings.bpc, **EXPECTED)
    for place, (_, _, count) in enumerate(findings.bpc_by_position):
        at = axis.get_xaxis_transform()
        axis.text(place, 0.02, tick(count), transform=at, ha="center", fontsize=7.5, color=MUTED)
    axis.set_xticks(range(len(starts)), [f"{start:,}" for start in starts], rotation=40, ha="right")
    axis.margins(y=0.15)
    axis.set_xlabel(f"Bytes since {findings.counted_from}, from here to the next mark; grey: bytes scored")
    axis.set_ylabel("BPC [bits/byte]; dashed: over all")
    axis.set_title(f"Does more text before help? BPC by position since {findings.counted_from}")
    return figure


def _forgetting(forget_gates: Mapping[int, ForgetGates], layers: int) -> Figure:
    figure = _figure(10.0, 4.0)
    times, gates = figure.subplots(1, 2)
    for number, (layer, kept) in enumerate(forget_gates.items()):
        color, shape = PALETTE[number % len(PALETTE)], SHAPES[number % len(SHAPES)]
        style = {"color": color, "lw": 2, "marker": shape, "markersize": 5, "label": _layer(layer, layers)}
        shares = np.linspace(0.0, 1.0, len(kept.forget_times))
        times.plot(shares, kept.forget_times, markevery=max(1, len(shares) // 8), **style)
        middles = (np.arange(RETENTION_BINS) + 0.5) / RETENTION_BINS
        gates.plot(middles, kept.histogram * RETENTION_BINS, markevery=RETENTION_BINS // 8, **style)
    times.set(title="How long the core remembers", xlabel="Channels of the core, from the quickest to forget")
    times.set(ylabel="Forget time [positions until 1/e is left]", yscale="log")
    _plain_ticks(times.yaxis)
    times.xaxis.set_major_formatter(PercentFormatter(1.0))
    times.legend()
    gates.set(title="The gates", xlabel="Share of its state that a channel keeps at a position")
    gates.set(ylabel="Density over channels and positions", xlim=(0, 1), ylim=(0, None))
    return figure


def _gradient_norms(norms: Mapping[str, float]) -> Figure:
    names = [name for name in norms if norms[name] > 0.0]
    figure = _figure(7.0, 1.2 + 0.2 * len(names))
    axis = figure.subplots()
    colors = [KIND_COLORS.get(name.rpartition(".")[2], "#AAAAAA") for name in names]
    axis.barh(range(len(names)), [norms[name] for name in names], color=colors, height=0.7)
    axis.set_xscale("log")
    _plain_ticks(axis.xaxis)
    axis.set_yticks(range(len(names)), list(map(_readable, names)), fontsize=8)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.margins(y=0.01)
    axis.set_xlabel("Norm of the gradient [nats per unit of a parameter]")
    axis.set_title("Gradient norm by part, without dropout or clipping")
    return figure


def _readable(name: str) -> str:
    """blocks.2.core -> layer 3 core."""
    path = name.split(".")
    return f"layer {int(path[1]) + 1} {' '.join(path[2:])}" if path[0] == "blocks" else name
