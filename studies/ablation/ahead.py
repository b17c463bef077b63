"""What an ablation will take before it starts."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.size_report import described
from rnnlab.studies.ablation.stage import Stage, stage_of
from rnnlab.studies.forecast import Forecast, forecast
from rnnlab.studies.launch.choice import at_a_time
from rnnlab.studies.launch.slurm.request import SlurmRequest
from rnnlab.training import experiment


def forecast_ablation(
    plan: AblationPlan, others: Sequence[Path] = (), workers: int | None = None, slurm: SlurmRequest | None = None
) -> Forecast:
    """The cells that are left of it, to the next look and at most; nothing is written.

    Args:
        others: files of cells that were trained elsewhere; see `rnnlab.studies.ablation.known.known_cells`.
        workers, slurm: where the others are trained; see `rnnlab.studies.launch.choice.launcher`.
    Raises: as `forecast` and `known_cells`.
    """
    stage, of_tuning, known = stage_of(plan, others), plan.known_tuning(others), plan.at_most(others).known(others)
    tuning, cells = plan.tuning_cells(), stage.plan.cells()
    most = stage.plan if stage.look is None else stage.plan.with_seeds(stage.look.most_seeds)
    further = most.cells()[len(cells) :]  # seed by seed
    todo = [cell for cell in tuning if not of_tuning.is_done(cell)]
    todo += [cell for cell in cells if not (stage.is_tuned and known.is_done(cell))]
    may_follow = [cell for cell in further if not (stage.is_tuned and known.is_done(cell))]
    left, added, untested = (
        Counter(cell.variant.config.text for cell in each)
        for each in (todo, may_follow, [cell for cell in todo if not cell.is_tested])
    )
    configs = {cell.variant.config.text: cell.variant.config for cell in [*cells, *tuning]}
    device = experiment.build(plan.variants[0].config, shapes_only=True, needs_source=False).trainer.training_device()
    return forecast(
        "ablation", plan.folder, _shape(stage), [(config, left[text]) for text, config in configs.items()],
        len(tuning) + len(cells) - left.total(), at_a_time(device, workers, slurm, left.total()),
        further=[added[text] for text in configs] if stage.look is not None else (),
        untested=[untested[text] for text in configs],
    )  # fmt: skip


def _shape(stage: Stage) -> str:
    plan, tuning = stage.plan, stage.plan.tuning_cells()
    words = plan.shape()
    if stage.look is not None:
        variants, looks = len(plan.cells()) // len(plan.seeds), ", ".join(str(look.seeds) for look in stage.look.looks)
        words = f"{variants} variants x {looks} seeds, a look at each until ±{plan.ablation.until:g}"
    if tuning:
        words += f", and {len(tuning):,} cells of tuning"
    if plan.sizes:
        words += "".join(f"\n  {size}" for size in described(plan))
        words += f"\n{plan.largest} is trained last, and predicted before"
    return words
