"""Which learning curves are drawn: over bytes, time and compute; of runs on several tasks a panel a task."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from rnnlab.views.curves import Point
from rnnlab.views.learning_plots import Panel, Series
from rnnlab.views.metrics import Word
from rnnlab.views.runs import Run
from rnnlab.views.task_rows import rows_of
from rnnlab.views.variants import MOST_TRAIN_POINTS, Variant, thin

Place = Callable[[Point], float]


def curve_panels(variants: Sequence[Variant]) -> dict[str, tuple[Word, list[Panel]]]:
    """By what a picture is called: BPC of runs on text, and accuracy of runs on tasks; none if no journal is here."""
    variants = [variant for variant in variants if any(run.curves for run in variant.runs)]
    if not variants:
        return {}
    text = [variant for variant in variants if variant.word == "BPC"]
    task = [variant for variant in variants if variant.word == "accuracy"]
    made: dict[str, tuple[Word, list[Panel]]] = {}
    if text or not task:
        made["curves"] = "BPC", _over_costs(text, "BPC")
    if task:
        by_task = {name: [v for v in task if v.task == name] for name in dict.fromkeys(v.task for v in task)}
        one = len(by_task) == 1
        panels = _over_costs(task, "accuracy") if one else [_of_task(*each) for each in by_task.items()]
        made["curves_of_tasks" if made else "curves"] = "accuracy", panels
    return made


def _over_costs(variants: Sequence[Variant], word: Word) -> list[Panel]:
    """Over bytes, time and compute; compute only if a variant knows its cost."""
    runs = [run for variant in variants for run in variant.runs]
    longest = max((point.seconds for run in runs for point in (*run.valid, *run.train)), default=0)
    unit, seconds = ("h", 3600) if longest > 2 * 3600 else ("min", 60) if longest > 2 * 60 else ("s", 1)
    counted = "Bytes" if word == "BPC" else "Positions"
    chance = chance_of(runs)
    made = [
        Panel(f"{counted} trained", [_series(v, lambda p: p.bytes) for v in variants], chance=chance),
        Panel(f"Training time [{unit}]", [_series(v, lambda p: p.seconds / seconds) for v in variants], chance=chance),
    ]
    priced = [(variant, macs) for variant in variants if (macs := variant.mean("macs_per_byte")) is not None]
    if priced:
        compute = [_series(variant, _compute(macs)) for variant, macs in priced]
        made.append(Panel("Compute, forward [MAC]", compute, chance=chance))
    return made


def _of_task(name: str, variants: Sequence[Variant]) -> Panel:
    """Named so that a variant has one color in all panels."""
    rows = {own: row for row, own in rows_of(name, {v.name: v.runs[0].facts for v in variants}).items()}
    series = [replace(_series(variant, lambda p: p.bytes), name=rows[variant.name]) for variant in variants]
    return Panel("Positions trained", series, name, chance_of([run for variant in variants for run in variant.runs]))


def chance_of(runs: Sequence[Run]) -> float | None:
    """Of what validates runs: chance on a task, the entropy of single bytes [bits/byte] of a text; None if they do not
    agree in it."""
    told = (run.number("valid_unigram_bpc" if run.word == "BPC" else "valid_chance") for run in runs)
    found = {floor for floor in told if floor is not None}
    return found.pop() if len(found) == 1 else None


def _compute(macs_per_byte: float) -> Place:
    return lambda point: point.bytes * macs_per_byte


def _series(variant: Variant, x: Place) -> Series:
    def line(points: Sequence[Point]) -> list[tuple[float, float]]:
        return [(x(point), point.value) for point in points]

    return Series(
        name=variant.name,
        mean=line(variant.mean_curve(variant.word)),
        runs=[line(run.valid) for run in variant.runs],
        train=[line(thin(run.train, MOST_TRAIN_POINTS)) for run in variant.runs],
    )
