"""What a search will take before it starts."""

from contextlib import suppress

from rnnlab.errors import ConfigError, StorageError
from rnnlab.studies.forecast import Forecast, forecast
from rnnlab.studies.launch.choice import at_a_time
from rnnlab.studies.launch.slurm.request import SlurmRequest
from rnnlab.studies.launch.urls import file_url
from rnnlab.studies.search.database import FINISHED
from rnnlab.studies.search.look import look
from rnnlab.studies.search.plan import BASE, SearchPlan
from rnnlab.studies.search.points import DATABASE
from rnnlab.training import experiment


def forecast_search(plan: SearchPlan, workers: int | None = None, slurm: SlurmRequest | None = None) -> Forecast:
    """The trials that are left, and the second stage with all its seeds, each as large as the base; nothing is written.

    Raises: as `forecast`.
    """
    search = plan.search
    candidates = (search.confirm + search.baseline) if search.confirm else 0
    seeds = candidates * search.confirm_seeds
    done = 0
    if (plan.folder / BASE).is_file():
        own = file_url(plan.folder.resolve() / DATABASE)
        with suppress(ConfigError, StorageError):  # it is being made, or a killed worker left what the search will mend
            found = look(plan.folder, None if plan.address.url == own else plan.address.url)
            done = min(len(found.finished), search.trials)
            done += min(seeds, sum(search.confirm_seeds for one in found.candidates if one.state in FINISHED))
    device = experiment.build(plan.base, shapes_only=True, needs_source=False).trainer.training_device()
    shape = f"{search.trials} trials" + (
        f", then {candidates} candidates x {search.confirm_seeds} seeds" if seeds else ""
    )
    left = search.trials + seeds - done
    together = at_a_time(device, workers, slurm, left)
    return forecast("search", plan.folder, shape, [(plan.base, left)], done, together, at_most=True)
