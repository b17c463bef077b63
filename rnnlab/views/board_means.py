"""TensorBoard's curves of means over seeds: a run of their own, beside the seeds of each variant."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rnnlab.views.board import TAGS, test_points
from rnnlab.views.curves import FIELDS
from rnnlab.views.events import EventFile
from rnnlab.views.metrics import Word
from rnnlab.views.naming import numbered
from rnnlab.views.runs import Run
from rnnlab.views.variants import Split, Variant

SPLITS: tuple[Split, Split] = ("valid", "train")  # as FIELDS has them
MEAN = "mean"  # how the name of such a run ends


def mean_names(variants: Sequence[Variant]) -> list[str]:
    """Where the mean of each stands: beside its seeds where a study named them, else below the name of the variant."""
    return numbered([f"{_place(variant)}/{MEAN}" for variant in variants])


def _place(variant: Variant) -> str:
    if not all(run.variant for run in variant.runs):
        return variant.name
    parents = {run.name.rpartition("/")[0] for run in variant.runs}
    return (parents.pop() if len(parents) == 1 else "") or variant.name.replace("/", "-")


def begun(variant: Variant) -> list[Run]:
    """The runs that a mean is over."""
    return [run for run in variant.runs if any(one.valid or one.train for one in run.curves.values())]


class MeanCurves:
    """The curves of one variant's mean, written on as its runs go on."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: of the mean in the view; made at the first point."""
        self._folder = folder
        self._file: EventFile | None = None
        self._began = time.time()  # that the relative axis is seconds of training
        self._written: dict[tuple[Split, Word], int] = {}  # points, by split and word
        self._tested = False

    def update(self, variant: Variant) -> None:
        """Write the points that all seeds have reached since the last time, and in the end the mean of their tests."""
        for word in dict.fromkeys(word for run in variant.runs for word in run.curves):
            for split, field in zip(SPLITS, FIELDS[word], strict=True):
                tag, points = TAGS.get((split, field), f"{split}/{field}"), variant.mean_curve(word, split)
                for point in points[self._written.get((split, word), 0) :]:
                    self._open().scalars({tag: point.value}, point.bytes, self._began + point.seconds)
                self._written[split, word] = len(points)
        if not self._tested and all(run.status == "done" for run in variant.runs):
            for position, figures in _mean_tests(variant):
                self._open().scalars(figures, position)
            self._tested = True

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> EventFile:
        if self._file is None:
            self._file = EventFile(self._folder, MEAN)
        return self._file


def _mean_tests(variant: Variant) -> Iterator[tuple[int, dict[str, float]]]:
    """The points of the tests that every seed has, at the mean of where they stand."""
    each: Sequence[list[tuple[int, dict[str, float]]]] = [list(test_points(run.facts)) for run in variant.runs]
    for points in zip(*each, strict=False):
        shared = set.intersection(*(set(figures) for _, figures in points))
        figures = {tag: sum(figures[tag] for _, figures in points) / len(points) for tag in sorted(shared)}
        if figures:
            yield round(sum(position for position, _ in points) / len(points)), figures
