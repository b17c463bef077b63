"""What an ablation will take before it starts."""

from collections import Counter

from rnnlab.studies.ablation.cells import KnownCells
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.forecast import Forecast, forecast
from rnnlab.studies.launch.pool import worker_environments
from rnnlab.training import experiment


def forecast_ablation(plan: AblationPlan, known: KnownCells, workers: int | None = None) -> Forecast:
    """The cells that are left of it; nothing is written. Raises: as `forecast`."""
    cells = plan.cells()
    left = Counter(cell.variant.config.text for cell in cells if not known.is_done(cell))
    configs = {variant.config.text: variant.config for variant in [*plan.variants, *plan.matched]}
    device = experiment.build(plan.variants[0].config, shapes_only=True, needs_source=False).trainer.training_device()
    shape = f"{len(configs)} variants x {len(plan.seeds)} seeds"
    runs = [(config, left[text]) for text, config in configs.items()]
    done = len(cells) - left.total()
    return forecast("ablation", plan.folder, shape, runs, done, len(worker_environments(workers, device)))
