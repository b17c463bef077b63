"""A search as its folder tells, for those who only look: no lock is taken, nothing is written, nothing is kept open."""

from dataclasses import dataclass
from pathlib import Path

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from rnnlab.errors import StorageError
from rnnlab.studies import definition
from rnnlab.studies.launch.urls import file_url
from rnnlab.studies.search.database import FINISHED, silence_optuna
from rnnlab.studies.search.plan import CONFIRM, SearchPlan, reopen
from rnnlab.studies.search.points import DATABASE


@dataclass(frozen=True)
class SearchState:
    """What the database of a search holds.

    Attributes:
        trials: of the first stage.
        candidates: of the second, empty before it has begun.
    """

    plan: SearchPlan
    trials: tuple[FrozenTrial, ...] = ()
    candidates: tuple[FrozenTrial, ...] = ()

    def count(self, *states: TrialState) -> int:
        """Trials of the first stage in these states."""
        return sum(trial.state in states for trial in self.trials)

    @property
    def finished(self) -> list[FrozenTrial]:
        return [trial for trial in self.trials if trial.state in FINISHED]


def look(folder: Path) -> SearchState:
    """Raises: StorageError if the folder holds no search whose database lies in it; ConfigError as `reopen`."""
    name = definition.name_of(folder)
    plan = reopen(folder, file_url(folder.resolve() / DATABASE), name)
    path = folder / DATABASE
    if not path.is_file():
        raise StorageError(
            f"{path}: not there; a search with --storage lies in its database, which optuna-dashboard shows"
        )
    silence_optuna()
    trials, candidates = (_trials(path, each) for each in (name, f"{name} {CONFIRM}"))
    return SearchState(plan, trials, candidates)


def _trials(path: Path, name: str) -> tuple[FrozenTrial, ...]:
    url = f"{file_url(path.resolve())}&mode=ro".replace("{", "{{").replace("}", "}}")  # Optuna formats it
    try:
        storage = RDBStorage(
            url,
            engine_kwargs={"poolclass": sqlalchemy.NullPool, "connect_args": {"timeout": 10}},
            skip_compatibility_check=True,
            skip_table_creation=True,
        )
        if name not in optuna.get_all_study_names(storage):
            return ()
        return tuple(optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False))
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StorageError(f"{path}: cannot be read ({reason}); the search itself mends it when it goes on") from None
