"""Points of the space that a search tries first: those that the study names, and the best of a search before it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from rnnlab.config import Config
from rnnlab.errors import ConfigError
from rnnlab.registry import did_you_mean
from rnnlab.studies import definition
from rnnlab.studies.definition import config_errors
from rnnlab.studies.launch.urls import file_url
from rnnlab.studies.search.database import Address, SharedStudy
from rnnlab.studies.search.space import Space, literal
from rnnlab.training import experiment

DATABASE = "study.db"
WARM = 5  # trials of a search before that are tried first

Point = dict[str, Any]


def read_points(enqueue: Sequence[Any], space: Space) -> list[Point]:
    """The points of `Search.enqueue`, each as the space orders its keys; a key that a point leaves out is drawn.

    Raises: ConfigError naming the point, the key and the value that do not lie in the space.
    """
    if isinstance(enqueue, Mapping | str):
        raise ConfigError(f"Search.enqueue = {enqueue!r}: a list of points is expected, [{{'dropout': 0.1}}, ...]")
    return [_read_point(f"Search.enqueue[{index}]", given, space) for index, given in enumerate(enqueue)]


def check_points(points: Sequence[Point], space: Space, base: Config) -> None:
    """Raises: ConfigError naming the point from which nothing can be built."""
    for index, point in enumerate(points):
        with config_errors(f"Search.enqueue[{index}], at {', '.join(space.bindings(point))}"):
            experiment.build(base.vary([], space.bindings(point)), shapes_only=True, needs_source=False)


def best_of_study(folder: Path, space: Space) -> tuple[list[tuple[int, Point]], list[str]]:
    """(the best complete trials of a search that lie in this space, with their numbers; a line on each that does not).

    Raises: ConfigError if the folder holds no search; StorageError.
    """
    if not (folder / DATABASE).is_file():
        raise ConfigError(
            f"Search.from_study = {str(folder)!r}: no {DATABASE} in it; name the folder of a search without --storage"
        )
    address = Address(file_url(folder.resolve() / DATABASE), definition.name_of(folder), heartbeat=60)
    with address.locked():
        if not address.exists():
            raise ConfigError(f"Search.from_study = {str(folder)!r}: its {DATABASE} holds no study {address.name!r}")
        study = SharedStudy(address)
        complete = study.trials(TrialState.COMPLETE)
        sign = -1.0 if study.optuna.direction.name == "MAXIMIZE" else 1.0
    points, lines = [], []
    for trial in sorted(complete, key=lambda trial: sign * (trial.value or 0.0))[:WARM]:
        try:
            points.append((trial.number, _read_point("", trial.params, space)))
        except ConfigError as error:
            lines.append(f"trial {trial.number} of {folder} does not lie in this space{error}")
    return points, lines


def _read_point(place: str, given: Any, space: Space) -> Point:
    """Raises: ConfigError that begins with the place."""
    if not isinstance(given, Mapping) or not given:
        raise ConfigError(f"{place} = {given!r}: a dict of values by key is expected, {{'dropout': 0.1}}")
    entries = {entry.key: entry for entry in space.entries}
    for key, value in given.items():
        if key not in entries:
            raise ConfigError(f"{place}: {key!r} is not in the space{did_you_mean(str(key), entries)}")
        if not entries[key].holds(value):
            shown = literal(value)
            raise ConfigError(f"{place}: {key} = {shown} is not among its values: {entries[key].describe()}")
        if not entries[key].applies(given):
            needed = ", ".join(f"{other} = {literal(values[0])}" for other, values in entries[key].when.items())
            raise ConfigError(f"{place}: {key} = {literal(value)} applies only where the point has {needed}")
    return {key: entry.plain(given[key]) for key, entry in entries.items() if key in given}
