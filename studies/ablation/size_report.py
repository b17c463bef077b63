"""The ladder of a study of several sizes: its table, with the predictions that were made, and its picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from rnnlab.studies.ablation import predictions
from rnnlab.studies.ablation.known import KnownCells
from rnnlab.studies.ablation.ladder import Extrapolation, Ladder, NoLaw, measured_at
from rnnlab.studies.ablation.ladder_report import ladder_plot, ladder_table
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.predictions import PREDICTIONS, Prediction
from rnnlab.studies.ablation.sizes import FEWEST
from rnnlab.studies.metric import counted_in
from rnnlab.views.tables import Table


@dataclass(frozen=True)
class SizeLadder:
    """What there is of a ladder, finished or not.

    Attributes:
        ladders: by variant, of the cells that are done.
        found: by variant, what was predicted of the largest, with what was measured once all its seeds are done.
        notes: how the predictions came about.
    """

    plan: AblationPlan
    ladders: Mapping[str, Ladder]
    found: Mapping[str, Extrapolation | NoLaw]
    notes: Sequence[str]

    def table(self) -> Table:
        baseline, key = self.plan.ablation.baseline, self.plan.metric.key
        return ladder_table(self.ladders, baseline, key, found=self.found, caveats=self.notes)

    def plot(self) -> Figure:
        return ladder_plot(self.ladders, self.plan.ablation.baseline, self.plan.metric.key, found=self.found)


def size_ladder(plan: AblationPlan, known: KnownCells) -> SizeLadder | None:
    """None of a study of one size, and as long as the baseline is not done at two sizes. Nothing is written.

    Raises: StorageError if the file of the predictions is damaged.
    """
    if not plan.sizes:
        return None
    ladders = predictions.ladders(plan, known)
    if len(ladders.get(plan.ablation.baseline, {})) < FEWEST:
        return None
    now, then = predictions.made_now(plan, known), predictions.read(plan)
    largest = plan.sizes[plan.largest]
    found, unmeasured = dict[str, Extrapolation | NoLaw](), dict[str, str]()
    for name, ladder in ladders.items():
        one = found[name] = then[name].found if name in then else now[name]
        if isinstance(one, NoLaw):
            continue
        measured = list(ladder.get(largest, {}).values())
        if len(measured) < len(plan.seeds):
            unmeasured[name] = f"{len(measured)} of {len(plan.seeds)} runs are done"
            continue
        outcome = measured_at(one, measured)
        if isinstance(outcome, NoLaw):
            unmeasured[name] = outcome.reason
        else:
            found[name] = outcome
    notes = [f"No measurement of {name} at {plan.largest}: {reason}." for name, reason in unmeasured.items()]
    return SizeLadder(plan, ladders, found, [_budgets(plan), *notes, *_how_predicted(plan, ladders, found, then)])


def described(plan: AblationPlan) -> list[str]:
    """Each size with the parameters of its baseline and its budget: "64: 213,504 parameters, 500,000 bytes"."""
    told = []
    for variant in plan.baselines:
        steps, count = variant.config.value("Trainer.steps"), variant.config.value("Trainer.bytes")
        budget = f"{steps:,} steps" if count is None else f"{count:,} {counted_in(plan.metric)}s"
        told.append(f"{variant.size}: {plan.sizes[variant.size]:,} parameters, {budget}")
    return told


def _budgets(plan: AblationPlan) -> str:
    sizes = "; ".join(described(plan))
    return f"N of a size is that of {plan.ablation.baseline}, and each has its budget ({sizes}): both grow together."


def _how_predicted(
    plan: AblationPlan,
    ladders: Mapping[str, Ladder],
    found: Mapping[str, Extrapolation | NoLaw],
    then: Mapping[str, Prediction],
) -> list[str]:
    """Which laws were there before the largest size was trained."""
    before = [name for name, one in then.items() if name in found and not one.ended]
    after = {name: one.ended for name, one in then.items() if name in found and one.ended}
    afterwards = [name for name, one in found.items() if isinstance(one, Extrapolation) and name not in then]
    notes = []
    if before:
        told = f"{', '.join(before)} ({max(then[name].at for name in before)})"
        notes.append(f"Predicted before any run at {plan.largest} was done, and kept in {PREDICTIONS}: {told}.")
    for name, ended in after.items():
        runs = "1 run" if ended == 1 else f"{ended} runs"
        notes.append(f"The law of {name} was fitted when {runs} at {plan.largest} had ended: it predicted nothing.")
    if afterwards:
        notes.append(f"Fitted now, and not before {plan.largest} was trained: {', '.join(afterwards)}.")
    largest = plan.sizes[plan.largest]
    for name, one in then.items():
        count = sum(len(scores) for size, scores in ladders.get(name, {}).items() if size < largest)
        before_that = one.found.predicted.count
        if name in found and count != before_that:
            notes.append(f"The prediction of {name} stands as made, from {before_that} runs; there are {count} now.")
    return notes
