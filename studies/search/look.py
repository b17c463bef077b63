"""A search as its folder tells, for those who only look: no lock is taken, nothing is written, nothing is kept open."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from rnnlab.errors import StorageError
from rnnlab.safe_text import hide_secrets
from rnnlab.studies import definition
from rnnlab.studies.launch.urls import check_url, database_file, file_url, is_server, shown
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


def look(folder: Path, storage: str | None = None) -> SearchState:
    """What the database of the search in a folder holds.

    Args:
        storage: its address, as `rnnlab search --storage` was given it; None where it lies in the folder. The folder
            does not keep the address, which may hold a password.
    Raises: StorageError if there is no database, it does not serve, or it does not hold the search; ConfigError as
        `reopen`, and for an address that is not ours.
    """
    name, own = definition.name_of(folder), folder / DATABASE
    if storage is None and not own.is_file():
        raise StorageError(
            f"{own}: not there; if the search was begun with --storage URL: `rnnlab status {folder} --storage URL`"
        )
    url = file_url(own.resolve()) if storage is None else storage
    plan = reopen(folder, url, name)
    silence_optuna()
    trials, candidates = (_trials(url, each) for each in (name, f"{name} {CONFIRM}"))
    if trials is None and storage is not None:
        raise StorageError(f"{shown(storage)}: holds no search {name!r}, as that in {folder} is called")
    return SearchState(plan, trials or (), candidates or ())


def _trials(url: str, name: str) -> tuple[FrozenTrial, ...] | None:
    """None if the database does not hold a study of this name."""
    url, connect_args = _read_only(url)
    try:
        storage = RDBStorage(
            url.replace("{", "{{").replace("}", "}}"),  # Optuna formats it
            engine_kwargs={"poolclass": sqlalchemy.NullPool, "connect_args": connect_args},
            skip_compatibility_check=True,
            skip_table_creation=True,
        )
        if name not in optuna.get_all_study_names(storage):
            return None
        return tuple(optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False))
    except ImportError as error:
        raise StorageError(f"{shown(url)}: {error}; pip install 'psycopg[binary]'") from None
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, StorageInternalError) and error.__cause__ else error
        reason = hide_secrets(str(getattr(cause, "orig", None) or cause).strip().splitlines()[0])
        remedy = "" if is_server(check_url(url)) else "; the search itself mends it when it goes on"
        raise StorageError(f"{shown(url)}: cannot be read ({reason}){remedy}") from None


def _read_only(url: str) -> tuple[str, dict[str, Any]]:
    """(an address by which nothing can be written, what the driver is told beside it).

    Raises: StorageError if the file of an sqlite database is not there.
    """
    parsed = check_url(url)
    if is_server(parsed):
        return url, {"connect_timeout": 10, "options": "-c default_transaction_read_only=on"}
    path = database_file(parsed)
    if not path.is_file():
        raise StorageError(f"{path}: not there; name the database that the search was begun with")
    return f"{file_url(path.resolve())}&mode=ro", {"timeout": 10}
