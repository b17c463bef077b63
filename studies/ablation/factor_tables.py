"""The tables of a grid of factors, for reading and for a paper."""

from collections.abc import Sequence

from rnnlab.studies.ablation.factors import Grid, Interaction
from rnnlab.studies.ablation.floor import label_of
from rnnlab.studies.ablation.looks import ALPHA, held_to, interval_at
from rnnlab.studies.ablation.statistics import MIN_SEEDS
from rnnlab.views import numerals, tables
from rnnlab.views.intervals import Interval
from rnnlab.views.metrics import Metric
from rnnlab.views.naming import in_a_row


def factor_table(grid: Grid, metric: Metric, at_floor: Sequence[str] = (), level: float | None = None) -> tables.Table:
    """A row a level: its mean over all levels of the other factors, and the difference to the base's level.

    Args:
        at_floor: names of the variants that have learned nothing.
        level: of the look at which a study with several looks ended; see `rnnlab.studies.ablation.looks`.
    """
    columns = [
        tables.Column("factor", "Factor"),
        tables.Column("level", "Level"),
        tables.Column("seeds", "Seeds", "number"),
        tables.Column(metric.key, metric.heading, "interval", numerals.plus_minus(metric.digits)),
        tables.Column("difference", f"Δ {metric.word}", "interval", numerals.plus_minus(metric.digits, signed=True)),
    ]
    rows: list[dict[str, tables.Cell]] = [
        {
            "factor": one.factor,
            "level": one.level,
            "seeds": len(grid.seeds),
            metric.key: one.mean,
            "difference": _held(one.difference, level),
        }
        for one in grid.level_means()
    ]
    better = "above" if metric.higher_is_better else "below"
    notes = [
        "Each row is the mean over all levels of the other factors.",
        f"Δ {metric.word}: mean difference to the first level of the factor, paired by seed; {better} zero is better.",
        *_common_notes(grid, metric, at_floor),
        *_look_notes(level),
    ]
    return tables.Table(f"Levels of each factor: {metric.title}", columns, rows, notes)


def interaction_table(
    grid: Grid, metric: Metric, at_floor: Sequence[str] = (), level: float | None = None
) -> tables.Table:
    """A row for every two levels of two factors: what a change does with the one and with the other.

    Args:
        at_floor: names of the variants that have learned nothing.
        level: as in `factor_table`.
    """
    found = grid.interactions()
    signed = numerals.plus_minus(metric.digits, signed=True)
    columns = [
        tables.Column("change", "Change"),
        tables.Column("first", "Δ with"),
        tables.Column("effect_first", f"Δ {metric.word}", "interval", signed),
        tables.Column("second", "Δ with"),
        tables.Column("effect_second", f"Δ {metric.word}", "interval", signed),
        tables.Column("difference", "Difference of the two", "interval", signed),
        tables.Column("p", "p", "number", numerals.probability),
        tables.Column("p_holm", "p (Holm)", "number", numerals.probability),
        tables.Column("factors", "Factors", is_shown=False),
        tables.Column("seeds", "Seeds", "number", is_shown=False),
    ]
    return tables.Table(
        title=f"Does one factor matter more with another? Differences of differences: {metric.title}",
        columns=columns,
        rows=[_row(one, len(grid.seeds), level) for one in found],
        notes=[
            *_interaction_notes(found, metric, len(grid.factors)),
            *_common_notes(grid, metric, at_floor),
            *_look_notes(level),
        ],
    )


def _row(one: Interaction, seeds: int, level: float | None) -> dict[str, tables.Cell]:
    difference = one.difference if level is None else held_to(one.difference, level)
    return {
        "change": f"{one.change[0]} → {one.change[1]}",
        "first": one.between[0],
        "effect_first": _held(one.effects[0], level),
        "second": one.between[1],
        "effect_second": _held(one.effects[1], level),
        "difference": difference.interval,
        "p": difference.p,
        "p_holm": difference.p_holm,
        "factors": tuple(one.factors),
        "seeds": seeds,
    }


def _held(interval: Interval | None, level: float | None) -> Interval | None:
    return interval if level is None else interval_at(interval, level)


def _look_notes(level: float | None) -> list[str]:
    """What several looks at the study change about differences."""
    if level is None:
        return []
    return [
        f"Of several looks at the study: ± of a difference is the {100 * (1 - level):.2f}% interval, and p (Holm) is "
        f"also corrected for the looks, times {ALPHA / level:.1f}: compare it with {ALPHA}."
    ]


def _interaction_notes(found: Sequence[Interaction], metric: Metric, factors: int) -> list[str]:
    better = "above" if metric.higher_is_better else "below"
    notes = [
        f"Difference of the two: how much more the change adds to {metric.word} in the second case than in the first, "
        f"paired by seed; {better} zero it does more good, or less harm, in the second. The two factors may change "
        "places: the difference is the same."
    ]
    if factors > 2:
        notes.append("All are means over the levels of the other factors.")
    if tested := sum(one.difference.p is not None for one in found):
        comparisons = "1 interaction" if tested == 1 else f"{tested} interactions"
        notes.append(f"p: paired t-test, two-sided; p (Holm): corrected for {comparisons}.")
    reasons = dict.fromkeys(one.difference.no_p for one in found if one.difference.no_p)
    return [*notes, *(f"No p-value: {reason}." for reason in reasons)]


def _common_notes(grid: Grid, metric: Metric, at_floor: Sequence[str]) -> list[str]:
    notes = []
    if len(grid.seeds) > 1:
        notes.append("± is half the 95% confidence interval (Student t) over seeds.")
    else:
        notes.append(f"One seed has no interval; run at least {MIN_SEEDS}.")
    if left_out := grid.left_out:
        notes.append(f"Without seed {', '.join(map(str, left_out))}, which not every combination has.")
    if at_floor:
        notes.append(
            f"Not told apart from {label_of(metric)}: {in_a_row(at_floor)}. What a factor does there cannot be seen, "
            "so neither these means nor a difference of differences over them says what a factor does."
        )
    return notes
