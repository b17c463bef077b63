"""What stands beneath a table about how the study was run: its tuning, and its looks at p-values."""

import math
from collections.abc import Sequence

from rnnlab.studies.ablation import seen as history
from rnnlab.studies.ablation.cells import PlannedVariant
from rnnlab.studies.ablation.known import KnownCells
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.sequential import Stop
from rnnlab.studies.ablation.table import TrainedVariant, analyze_variants
from rnnlab.studies.ablation.tuning import BY, edges
from rnnlab.studies.metric import counted_in, score
from rnnlab.views import numerals
from rnnlab.views.metrics import METRICS
from rnnlab.views.naming import in_a_row

NOT_TUNED = "Not tuned: one setting for all variants, which favors those that it suits."


def tuning_notes(plan: AblationPlan, variants: Sequence[PlannedVariant]) -> list[str]:
    """The notes of a table of these variants, which have the settings that tuning gave them.

    Args:
        plan: as `AblationPlan.tuned` gives it.
    """
    tune = plan.ablation.tune
    if not tune:
        return [NOT_TUNED] if len(variants) > 1 else []
    combinations, seeds = math.prod(map(len, tune.values())), plan.ablation.tune_seeds
    known = plan.known_tuning()
    by = ", then ".join(METRICS[key].title for key in BY[plan.metric.word])
    counted = "1 seed that is" if seeds == 1 else f"{seeds} seeds that are"
    notes = [
        f"Tuned: each variant is compared at its best of {combinations} settings ({', '.join(tune)}), by {by} over "
        f"{counted} not compared{_of_the_budget(plan.ablation.tune_fraction)}. {_cost(plan, known)}"
    ]
    if at_edge := [f"{variant.name} ({', '.join(found)})" for variant in variants if (found := edges(variant, tune))]:
        notes.append(
            f"The best lies at an edge of the grid for {'; '.join(at_edge)}: beyond it there may be a better one."
        )
    if lost := [variant.name for variant in variants if _diverged_everywhere(plan, variant, known)]:
        notes.append(f"Diverged in tuning at every setting, and has the first: {in_a_row(lost)}.")
    return notes


def look_notes(plan: AblationPlan, variants: Sequence[TrainedVariant], stop: Stop | None) -> list[str]:
    """The notes of a table on the looks of its study; a table with p-values is noted in the folder as one of them.

    It is noted before there is a table: whoever is stopped in between is warned once too often.
    Raises: StorageError.
    """
    statistics = analyze_variants(variants, plan.ablation.baseline, plan.metric.key)
    tested = [
        len(one.seeds) for one in statistics.values() if one.difference is not None and one.difference.p is not None
    ]
    notes = stop.notes() if stop is not None else []
    if not tested:
        return notes
    seen = history.read(plan)
    warning = seen.warning(max(tested), is_planned=stop is not None)
    if stop is None:
        history.write(plan, seen.with_look(max(tested), is_planned=False))
    return [*notes, warning] if warning else notes


def _of_the_budget(fraction: float) -> str:
    return f", in runs of {fraction:.2g} of the budget" if fraction < 1 else ""


def _cost(plan: AblationPlan, known: KnownCells) -> str:
    """Of all tuning of the study, that of variants in other tables included."""
    results = [result for cell in plan.tuning_cells() if (result := known.result(cell)) is not None]
    read, seconds = (math.fsum(result.get(key) or 0 for result in results) for key in ("bytes_trained", "seconds"))
    return (
        f"Tuning took {len(results)} cells, {numerals.engineering(read)} {counted_in(plan.metric)}s and "
        f"{numerals.duration(seconds)} of training."
    )


def _diverged_everywhere(plan: AblationPlan, variant: PlannedVariant, known: KnownCells) -> bool:
    own = {one.config.text for one in plan.candidates.get(variant.name, ())}
    key = BY[plan.metric.word][0]
    results = [known.result(cell) for cell in plan.tuning_cells() if cell.variant.config.text in own]
    return bool(results) and all(math.isnan(score(result or {}, key)) for result in results)
