"""What an ablation will take before it starts."""

from collections import Counter

from rnnlab.studies.ablation.known import KnownCells
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.size_report import described
from rnnlab.studies.forecast import Forecast, forecast
from rnnlab.studies.launch.pool import worker_environments
from rnnlab.studies.launch.run import finished
from rnnlab.training import experiment


def forecast_ablation(plan: AblationPlan, known: KnownCells, workers: int | None = None) -> Forecast:
    """The cells that are left of it; nothing is written. Raises: as `forecast`."""
    tuning, cells = plan.tuning_cells(), plan.cells()
    todo = [cell for cell in tuning if finished(cell.folder) is None]
    todo += [cell for cell in cells if not known.is_done(cell)]
    left = Counter(cell.variant.config.text for cell in todo)
    configs = {cell.variant.config.text: cell.variant.config for cell in [*tuning, *cells]}
    device = experiment.build(plan.variants[0].config, shapes_only=True, needs_source=False).trainer.training_device()
    shape = plan.shape()
    if tuning:
        shape += f", and {len(tuning):,} cells of tuning"
    if plan.sizes:
        shape += "".join(f"\n  {size}" for size in described(plan))
        shape += f"\n{plan.largest} is trained last, and predicted before"
    runs = [(config, left[text]) for text, config in configs.items()]
    done = len(tuning) + len(cells) - left.total()
    return forecast("ablation", plan.folder, shape, runs, done, len(worker_environments(workers, device)))
