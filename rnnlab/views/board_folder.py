"""The folder that TensorBoard is shown by `rnnlab board`: runs under readable names, and means over their seeds.

Each run has a folder under its name, with links to its event files. TensorBoard believes the first thing it reads of a
session and of the columns of HParams. So the first file of each folder is the view's own: it says which variant the run
belongs to, and in one folder what there is to know of all runs together. Where these change, the folder is taken away
for one round, and TensorBoard reads it anew.
"""

import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import metadata

from rnnlab.storage.runfolder import RunFolder
from rnnlab.views.board import describe_study, mark_killed, own_files, write_over_bytes
from rnnlab.views.board_means import MeanCurves, begun, mean_names
from rnnlab.views.events import PATTERN, EventFile
from rnnlab.views.hparams import Value, hyperparameters, session_start
from rnnlab.views.naming import study_of, with_names
from rnnlab.views.runs import Run, find_runs, read_run
from rnnlab.views.variants import Variant, group_by_seed


@dataclass(frozen=True)
class Shown:
    """What TensorBoard was told of a run, and believes as long as the run stays where it is."""

    first: Path  # its own first event file
    variant: str  # its row of the HParams page
    together: str  # what stands in its folder about all runs together; empty in all folders but one


class View:
    """A folder for TensorBoard: below the name of each run links to its event files, beside them means over seeds."""

    def __init__(self, folder: Path, paths: Sequence[Path]) -> None:
        """Args:
        folder: an empty one, the view's own.
        paths: runs, or folders with runs below them, now or later.
        """
        self._folder, self._paths = folder, paths
        self._shown: dict[str, Shown] = {}
        self._means: dict[str, tuple[object, MeanCurves]] = {}  # what it is over, and its curves
        self._read: dict[Path, tuple[object, Run]] = {}
        self._host = (
            ""  # the run whose folder holds what is told of all runs together: it needs one, and has none itself
        )

    def refresh(self) -> list[str]:
        """Look at the runs again and bring the folder up to date. Returns: their names.

        Raises: StorageError if a path has no run in or below it, or a run is damaged.
        """
        paths = list(dict.fromkeys(run.resolve() for path in self._paths for run in find_runs(path)))
        folders = {path: RunFolder.open(path) for path in paths}
        for folder in folders.values():
            mark_killed(folder)
            write_over_bytes(folder)
        runs = with_names([self._run(path) for path in paths])
        variants = [variant for group in _by_study(runs) for variant in group_by_seed(group)]
        self._choose_host([run for run in runs if own_files(folders[run.path])])
        told = [hyperparameters(folders[variant.runs[0].path].config_text) for variant in variants]
        for variant in variants:
            for run in variant.runs:
                self._show(run.name, variant.name, folders[run.path], told if run.name == self._host else None)
        means = dict(zip(mean_names(variants), variants, strict=True))
        for name, variant in means.items():
            self._show_mean(name, variant)
        for name in {*self._shown, *self._means} - {run.name for run in runs} - set(means):
            self._take_away(name)
        return [run.name for run in runs]

    def close(self) -> None:
        """Write no more means."""
        for _, curves in self._means.values():
            curves.close()

    def _run(self, path: Path) -> Run:
        """Read anew only if a file of it changed."""
        state = tuple(
            _state(path / name) for name in ("config.gin", "environment.json", "metrics.jsonl", "result.json")
        )
        if path not in self._read or self._read[path][0] != state:
            self._read[path] = state, read_run(path, path.name)
        return self._read[path][1]

    def _choose_host(self, runs: Sequence[Run]) -> None:
        names = [run.name for run in runs]
        if self._host not in names:
            self._host = next(iter(names), "")

    def _show(self, name: str, variant: str, run: RunFolder, told: Sequence[Mapping[str, Value]] | None) -> None:
        first = next(iter(own_files(run)), None)
        started = None if first is None or name in self._shown else _session_started(first)
        if first is None or (name not in self._shown and started is None):
            return  # it has begun, and written nothing yet
        wanted = Shown(first, variant, "" if told is None else repr(told))
        if self._shown.setdefault(name, wanted) != wanted:
            self._take_away(name)
            return
        folder = self._folder / name
        if started is not None:
            with EventFile(folder, "view", first=True) as file:
                file.add(session_start(variant, run.config_text, started))
                if told is not None:
                    describe_study(file, told)
        for path in run.tensorboard.glob(PATTERN):
            if not (folder / path.name).is_symlink():
                (folder / path.name).symlink_to(path)

    def _show_mean(self, name: str, variant: Variant) -> None:
        runs = begun(variant)
        over = [self._shown[run.name] for run in runs if run.name in self._shown]
        if len(over) < 2 or len(over) < len(runs) or self._means.get(name, (over,))[0] != over:
            self._take_away(name)
            return
        _, curves = self._means.setdefault(name, (over, MeanCurves(self._folder / name)))
        curves.update(variant)

    def _take_away(self, name: str) -> None:
        """Until the next round."""
        if name in self._means:
            self._means.pop(name)[1].close()
        elif self._shown.pop(name, None) is None:
            return
        for path in (self._folder / name).glob(PATTERN):
            path.unlink(missing_ok=True)
        with suppress(OSError):  # there is a run below it
            (self._folder / name).rmdir()


def _by_study(runs: Sequence[Run]) -> list[list[Run]]:
    """A configuration that two studies share has a row and a mean in each."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(study_of(run) if run.variant else "", []).append(run)
    return list(groups.values())


def _session_started(path: Path) -> float | None:
    """When the session in an event file began [s since 1970]; None if the file does not say yet."""
    with suppress(OSError, RuntimeError):
        for event in itertools.islice(EventFileLoader(str(path)).Load(), 8):  # it stands at the front
            for value in event.summary.value:
                if value.tag == metadata.SESSION_START_INFO_TAG:
                    content = value.metadata.plugin_data.content
                    return float(metadata.parse_session_start_info_plugin_data(content).start_time_secs)
    return None


def _state(path: Path) -> tuple[int, int]:
    """Of a file: when it was written, and its length; zeros if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size
