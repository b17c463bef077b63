"""A metric against cost as a picture: points stand where they are, and what would overlap is told apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from rnnlab.views.intervals import Interval
from rnnlab.views.plots import DASHED, NAMING, PALETTE, Floor, capitalized, draw_floor, legible, marker, styled, tick

NEAR = 20  # [points] up or down; a label further away than that has a line to its mark
SIDES = tuple((x, y) for y in (0, 9, -9, 20, -20, 34, -34, 50, -50, 68, -68) for x in (10, -10))
"""Where a label may stand beside its mark [points]."""
APART = 5  # times the smallest cost, up to which an axis is linear
MOST_NAMED = 12  # points that are named where they stand


@dataclass(frozen=True)
class CostPoint:
    """A variant in the plot of a metric against cost."""

    name: str
    cost: float
    reached: Interval  # the metric, over its seeds
    is_baseline: bool = False


@styled()
def reached_against_cost(
    points: Sequence[CostPoint],
    x_label: str,
    y_label: str,
    floor: Floor | None = None,
    within: tuple[float, float] | None = None,
) -> Figure:
    """One point a variant, where it is, with its 95% interval; the baseline has a dashed line, the floor a dotted one.

    A few points are named where they stand, many in a legend. Of points of equal cost the intervals end in caps of
    different widths.

    Args:
        within: least and largest that the metric can be; None where it has no bounds.
    """
    in_legend = len(points) > MOST_NAMED
    handles: list[Any] = []
    figure = Figure(figsize=(6.6, 4.4 + 0.24 * (len(points) // 2) * in_legend), layout="constrained")
    axis = figure.subplots()
    for index, point in enumerate(points):
        mark: dict[str, Any] = {"fmt": marker(index), "color": PALETTE[index % len(PALETTE)], "ms": 7}
        cap = 4 + 2.5 * sum(other.cost == point.cost for other in points[:index])
        half = point.reached.half_width
        handles.append(axis.errorbar(point.cost, point.reached.mean, half, **mark, lw=1.4, capsize=cap, zorder=3))
        if point.is_baseline:
            axis.axhline(point.reached.mean, **DASHED)
    axis.margins(x=0.2, y=0.14)
    axis.set(xlabel=capitalized(x_label), ylabel=f"{capitalized(y_label)}, mean and 95% interval")
    scale_costs(axis, [point.cost for point in points])
    draw_floor(axis, floor)
    if within is not None:  # an interval may reach beyond what a share can be, and would press the rest together
        (low, high), (least, most) = axis.get_ylim(), within
        room = 0.05 * (most - least)
        axis.set_ylim(max(low, least - room), min(high, most + room))
    if in_legend:
        figure.legend(handles, [_named(point) for point in points], loc="outside lower center", ncols=2)
    else:
        _name_points(figure, axis, points)
    return figure


def scale_costs(axis: Any, costs: Sequence[float]) -> None:
    """An axis of costs: of those that are far apart a logarithmic one, with a place for 0 where there is a 0."""
    least, most = min((cost for cost in costs if cost > 0), default=0.0), max(costs)
    if most <= APART * least or least == 0:
        axis.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    elif min(costs) > 0:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if most < 100 * least else (1.0,)))
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        axis.set_xscale("symlog", linthresh=least, linscale=0.5)
        powers = (10.0**power for power in range(math.ceil(math.log10(least)), math.floor(math.log10(most)) + 1))
        axis.xaxis.set_major_locator(FixedLocator([0.0, *powers]))
        axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: tick(x)))


def _name_points(figure: Figure, axis: Any, points: Sequence[CostPoint]) -> None:
    """A label at each point, where it covers least: marks, intervals, labels, the baseline; further away with a thin
    line to its mark."""
    figure.draw_without_rendering()  # the layout decides where a point is
    renderer = FigureCanvasAgg(figure).get_renderer()
    taken = [box for point in points for box in _boxes(axis, point)]
    taken += [text.get_window_extent(renderer) for text in axis.texts]
    scale = figure.dpi / 72  # [pixels/point]
    for index, point in enumerate(points):
        label = _label(axis, point, index, *SIDES[0])
        size = label.get_window_extent(renderer)
        label.remove()
        mark = axis.transData.transform((point.cost, point.reached.mean))

        def covered(side: tuple[int, int], size: Bbox = size, mark: Any = mark) -> float:
            box = _place(mark, side, size, scale)
            outside = box.x0 < axis.bbox.x0 or box.x1 > axis.bbox.x1 or box.y0 < axis.bbox.y0 or box.y1 > axis.bbox.y1
            return 100.0 * bool(outside) + sum(bool(box.overlaps(other)) for other in taken) + 1e-3 * math.hypot(*side)

        best = min(SIDES, key=covered)
        _label(axis, point, index, *best)
        taken.append(_place(mark, best, size, scale))


def _place(mark: Any, side: tuple[int, int], size: Bbox, scale: float) -> Bbox:
    """What a label covers that stands so many points away from its mark [pixels]."""
    x, y = mark[0] + side[0] * scale, mark[1] + side[1] * scale
    left = x if side[0] > 0 else x - size.width
    bottom = y - size.height / 2 if side[1] == 0 else y if side[1] > 0 else y - size.height
    return Bbox.from_bounds(left, bottom, size.width, size.height)


def _label(axis: Any, point: CostPoint, index: int, x: float, y: float) -> Any:
    """The point's name, x and y [points] away from it."""
    line = {
        "arrowstyle": "-",
        "lw": 0.6,
        "color": PALETTE[index % len(PALETTE)],
        "shrinkA": 0,
        "shrinkB": 4,
        "relpos": (0.0 if x > 0 else 1.0, 0.5),
    }
    return axis.annotate(
        _named(point),
        (point.cost, point.reached.mean),
        (x, y),
        ha="left" if x > 0 else "right",
        va="center" if y == 0 else "bottom" if y > 0 else "top",
        zorder=4,
        in_layout=False,  # or it would move the points that it stands beside
        arrowprops=line if abs(y) > NEAR else None,
        **NAMING,
    )


def _named(point: CostPoint) -> str:
    return legible(point.name) + (" (baseline)" if point.is_baseline else "")


def _boxes(axis: Any, point: CostPoint) -> list[Bbox]:
    """What a point covers of the picture: its mark, its interval, and the baseline's line [pixels]."""
    half = point.reached.half_width or 0.0
    x, y = axis.transData.transform((point.cost, point.reached.mean))
    ends = [(point.cost, point.reached.mean - half), (point.cost, point.reached.mean + half)]
    (_, low), (_, high) = axis.transData.transform(ends)
    boxes = [Bbox.from_bounds(x - 6, y - 6, 12, 12), Bbox.from_extents(x - 5, low, x + 5, high)]
    return [*boxes, Bbox.from_extents(axis.bbox.x0, y - 1, axis.bbox.x1, y + 1)] if point.is_baseline else boxes
