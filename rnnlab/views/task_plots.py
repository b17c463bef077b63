"""Accuracy of runs on a task against its difficulty, as a picture."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from rnnlab.views import numerals
from rnnlab.views.difficulties import TaskTest
from rnnlab.views.plots import DASHED, legend_columns, legible, marker, stroke, styled

LOGARITHMIC = 8  # times that the greatest difficulty is the least, beyond which the axis is logarithmic
IN_POSITIONS = ("length", "distance")  # difficulties that a reach can be compared with
NEAR = 0.015  # accuracy by which curves that are seen as one differ
LINE = 2.0  # width of a curve [points]
ROOM = 12.0  # that curves which coincide take, however many they are [points]
NARROWEST = 0.06  # share of the axis between two numbers on it
TRAINED: dict[str, Any] = {"color": "#efefea", "lw": 0, "zorder": 0}
WIDTH = 6.4  # [inches]


@styled()
def accuracy_by_difficulty(test: TaskTest) -> Figure:
    """One curve a variant: the mean over its seeds, with a band from the lowest to the highest of them.

    Chance is a dashed line, what was trained on is shaded, and a thin line stands where the reach of a variant ends.
    Curves that would cover each other stand side by side, a line's width apart.
    """
    names = list(test.variants)
    reaches = _reaches(test)
    handles, labels = _legend(test, bool(reaches))
    columns = legend_columns(labels, WIDTH)
    figure = Figure(figsize=(WIDTH, 3.7 + 0.22 * -(-len(labels) // columns)), layout="constrained")
    axis = figure.subplots()
    _scale(axis, test.difficulties)
    offsets = _offsets(test)
    for index, (name, offset) in enumerate(zip(names, offsets, strict=True)):
        _draw(axis, test, name, index, offset)
    chances = _chances(test)
    if chances:
        axis.plot(*zip(*chances, strict=True), **DASHED)
    if test.trained:
        _shade(axis, *test.trained)
    _mark_reaches(axis, reaches)
    lowest = min([y for name in names for at in test.difficulties for y in test.accuracies(name, at)])
    axis.set_ylim(max(-0.03, min(lowest, *(y for _, y in chances), 1.0) - 0.05), 1.05)
    unit = " [positions]" if test.difficulty in IN_POSITIONS else ""
    axis.set(xlabel=f"{test.difficulty.capitalize()}{unit}", title=legible(test.task))
    several = any(len(seeds) > 1 for seeds in test.variants.values())
    axis.set_ylabel("Test accuracy, mean and range of seeds" if several else "Test accuracy")
    note = "Curves that coincide are drawn side by side." if any(offsets) else None
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=note, title_fontsize=8.5)
    return figure


def _chances(test: TaskTest) -> list[tuple[int, float]]:
    return [(at, chance) for at in test.difficulties if (chance := test.chance(at)) is not None]


def _reaches(test: TaskTest) -> dict[int, float]:
    """By number of the variant, those that end within the picture."""
    if test.difficulty not in IN_POSITIONS:
        return {}
    least, greatest = test.difficulties[0], test.difficulties[-1]
    found = {index: test.reach(name) for index, name in enumerate(test.variants)}
    return {index: reach for index, reach in found.items() if reach is not None and least <= reach <= greatest}


def _scale(axis: Any, difficulties: Sequence[int]) -> None:
    """Its ends, a little beyond what was tested, and a number at each difficulty that has room for one."""
    least, greatest = difficulties[0], difficulties[-1]
    logarithmic = least > 0 and greatest > LOGARITHMIC * least
    if logarithmic:
        axis.set_xscale("log", base=2)
        room = (greatest / least) ** 0.04
        axis.set_xlim(least / room, greatest * room)
    else:
        room = 0.04 * (greatest - least) or 1.0
        axis.set_xlim(least - room, greatest + room)
    to_axis = axis.transData + axis.transAxes.inverted()
    shown: list[int] = []
    for at in reversed(difficulties):
        if not shown or to_axis.transform((shown[-1], 0.0))[0] - to_axis.transform((at, 0.0))[0] >= NARROWEST:
            shown.append(at)
    axis.xaxis.set_major_locator(FixedLocator(sorted(shown)))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: numerals.grouped(value)))


def _shade(axis: Any, least: int, greatest: int) -> None:
    """What was trained on; a single difficulty as a stripe."""
    if least == greatest:
        axis.axvline(least, color=TRAINED["color"], lw=14, zorder=TRAINED["zorder"])
    else:
        axis.axvspan(least, greatest, **TRAINED)


def _draw(axis: Any, test: TaskTest, name: str, index: int, offset: float) -> None:
    """Args: offset: of the curve from where it is [points]."""
    found = {at: values for at in test.difficulties if (values := test.accuracies(name, at))}
    moved = axis.transData + ScaledTranslation(0, offset / 72, axis.figure.dpi_scale_trans)
    if any(len(values) > 1 for values in found.values()):
        ends = [min(values) for values in found.values()], [max(values) for values in found.values()]
        band = {"color": stroke(index)["color"], "alpha": 0.2, "lw": 0, "transform": moved}
        axis.fill_between(list(found), *ends, **band, zorder=2)
    mean = [sum(values) / len(values) for values in found.values()]
    mark = {"marker": marker(index), "markersize": 4.5, "lw": LINE}
    axis.plot(list(found), mean, zorder=3 + index / 100, clip_on=False, transform=moved, **mark, **stroke(index))


def _offsets(test: TaskTest) -> list[float]:
    """How far each curve is moved up [points]: those that run along each other stand side by side, in their order."""
    names = list(test.variants)
    groups: list[list[int]] = []
    for index, name in enumerate(names):
        beside = [group for group in groups if any(_coincide(test, name, names[other]) for other in group)]
        groups = [group for group in groups if group not in beside] + [[i for group in beside for i in group] + [index]]
    offsets = [0.0] * len(names)
    for group in groups:
        apart = min(LINE, ROOM / max(1, len(group) - 1))
        for rank, index in enumerate(sorted(group)):
            offsets[index] = apart * ((len(group) - 1) / 2 - rank)
    return offsets


def _coincide(test: TaskTest, one: str, other: str) -> bool:
    """Whether the curves run along each other from one difficulty to the next."""
    pairs = [(test.mean(one, at), test.mean(other, at)) for at in test.difficulties]
    near = [a is not None and b is not None and abs(a - b) < NEAR for a, b in pairs]
    return any(map(all, pairwise(near))) or near == [True]


def _mark_reaches(axis: Any, reaches: Mapping[int, float]) -> None:
    """Where several end at one place, their colors take turns along the line."""
    for place in sorted(set(reaches.values())):
        here = [index for index, reach in reaches.items() if reach == place]
        for turn, index in enumerate(here):
            dashes = (turn * 5, (5, 5 * (len(here) - 1))) if len(here) > 1 else "solid"
            axis.axvline(place, color=stroke(index)["color"], lw=1, linestyle=dashes, alpha=0.9, zorder=1.5)


def _legend(test: TaskTest, has_reach: bool) -> tuple[list[Any], list[str]]:
    """Handles and labels: the variants, and what else is drawn."""
    handles: list[Any] = []
    labels = [
        f" {legible(name)}" for name in test.variants
    ]  # matplotlib leaves out those that begin with an underscore
    for index in range(len(labels)):
        handles.append(Line2D([], [], lw=2, marker=marker(index), markersize=5, **stroke(index)))
    if _chances(test):
        handles, labels = [*handles, Line2D([], [], **DASHED)], [*labels, " chance"]
    if test.trained:
        handles, labels = [*handles, Patch(**TRAINED)], [*labels, f" trained {test.difficulty}s".replace("ss", "s")]
    if has_reach:
        upright = Line2D([], [], color="#888888", lw=1, marker="|", markersize=12, linestyle="none")
        handles, labels = [*handles, upright], [*labels, " reach of a variant"]
    return handles, labels
