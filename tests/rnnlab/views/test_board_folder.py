"""The folder that `rnnlab board` gives TensorBoard: names, links, and means over seeds."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from tensorboard.plugins.hparams import metadata

from rnnlab.storage.runfolder import RunFolder
from rnnlab.views.board import BoardObserver, own_files
from rnnlab.views.board_folder import View
from rnnlab.views.events import PATTERN
from tests.rnnlab.task_run_folders import write_task_run
from tests.rnnlab.views.test_board import points, values, write_cell


@pytest.fixture
def view_of(tmp_path: Path) -> Iterator[Callable[[Path], View]]:
    """A view of a path, in the folder `view`."""
    with ExitStack() as stack:
        yield lambda path: stack.enter_context(closing(View(tmp_path / "view", [path])))


def names(view: Path) -> set[str]:
    """The runs that TensorBoard lists: folders with event files in them."""
    return {path.parent.relative_to(view).as_posix() for path in view.rglob(PATTERN)}


def start(folder: Path) -> Any:
    """What TensorBoard takes a session to be: the first that it reads."""
    (_, value), *_ = values(folder)[metadata.SESSION_START_INFO_TAG]
    return metadata.parse_session_start_info_plugin_data(value.metadata.plugin_data.content)


def columns(view: Path) -> list[str]:
    """Of the HParams page, from the one folder that tells them."""
    (told,) = [
        found[metadata.EXPERIMENT_TAG]
        for name in names(view)
        if metadata.EXPERIMENT_TAG in (found := values(view / name))
    ]
    ((_, value),) = told
    experiment = metadata.parse_experiment_plugin_data(value.metadata.plugin_data.content)
    return [column.name for column in experiment.hparam_infos]


def test_the_view_has_readable_names_no_run_beside_them_and_follows_a_study_that_grows(
    tmp_path: Path, view_of: Callable[[Path], View]
) -> None:
    write_cell(tmp_path / "study", "lstm")
    view = view_of(tmp_path / "study")
    assert view.refresh() == ["lstm/seed-1"]
    assert names(tmp_path / "view") == {"lstm/seed-1"}
    assert columns(tmp_path / "view") == ["A.lstm"]
    write_cell(tmp_path / "study", "lstm", seed=2)
    write_cell(tmp_path / "study", "gru")
    assert sorted(view.refresh()) == ["gru/seed-1", "lstm/seed-1", "lstm/seed-2"]
    assert names(tmp_path / "view") == {"gru/seed-1", "lstm/seed-2"}, "the columns changed, so their folder is away"
    view.refresh()
    assert names(tmp_path / "view") == {"gru/seed-1", "lstm/seed-1", "lstm/seed-2"}
    assert columns(tmp_path / "view") == ["A.gru", "A.lstm"]
    assert start(tmp_path / "view" / "lstm" / "seed-2").group_name == "lstm"


def test_a_configuration_that_two_studies_share_has_a_row_in_each(
    tmp_path: Path, view_of: Callable[[Path], View]
) -> None:
    for study in ("a", "b"):
        for seed in (1, 2):
            cell = write_cell(tmp_path / "runs" / study, "lstm", seed)
            cell.journal.append({"kind": "valid", "step": 1, "bytes": 9, "seconds": 1.0, "valid_bpc": 2.0})
    view_of(tmp_path / "runs").refresh()
    rows = {name: start(tmp_path / "view" / name).group_name for name in names(tmp_path / "view") if "seed" in name}
    assert rows == {f"{study}/lstm/seed-{seed}": f"lstm ({study})" for study in "ab" for seed in (1, 2)}
    assert names(tmp_path / "view") - set(rows) == {"a/lstm/mean", "b/lstm/mean"}


def plain_run(folder: Path, seed: int, memory: int = 1) -> RunFolder:
    """A run that no study trained, with two evaluations."""
    run = RunFolder.create(folder, f"A.memory = {memory}\nTrainer.seed = {seed}\n", "", {})
    for step in (1, 2):
        record = {"kind": "valid", "step": step, "bytes": 100 * step, "seconds": float(step), "valid_bpc": 2.0 + seed}
        run.journal.append(record)
    with BoardObserver(run):
        pass
    return run


def test_seeds_of_one_configuration_share_a_row_and_have_a_mean_though_no_study_trained_them(
    tmp_path: Path, view_of: Callable[[Path], View]
) -> None:
    for name, seed, memory in (("lstm-1", 1, 1), ("lstm-2", 2, 1), ("long", 1, 2)):
        plain_run(tmp_path / "runs" / name, seed, memory)
    view_of(tmp_path / "runs").refresh()
    assert names(tmp_path / "view") == {"lstm-1", "lstm-2", "long", "lstm/mean"}
    rows = {name: start(tmp_path / "view" / name).group_name for name in ("lstm-1", "lstm-2", "long")}
    assert rows == {"lstm-1": "lstm", "lstm-2": "lstm", "long": "long"}
    assert points(tmp_path / "view" / "lstm" / "mean", "bpc/valid") == [(100, 3.5), (200, 3.5)]


def test_a_mean_goes_on_with_its_runs_and_is_made_anew_when_a_seed_comes(
    tmp_path: Path, view_of: Callable[[Path], View]
) -> None:
    runs = [plain_run(tmp_path / "runs" / f"lstm-{seed}", seed) for seed in (1, 2)]
    view, mean = view_of(tmp_path / "runs"), tmp_path / "view" / "lstm" / "mean"
    view.refresh()
    for run, bpc in zip(runs, (1.0, 2.0), strict=True):
        run.journal.append({"kind": "valid", "step": 3, "bytes": 300, "seconds": 3.0, "valid_bpc": bpc})
        view.refresh()
    assert points(mean, "bpc/valid") == [(100, 3.5), (200, 3.5), (300, 1.5)]
    plain_run(tmp_path / "runs" / "lstm-3", 3)
    view.refresh()
    assert not mean.exists()
    view.refresh()
    assert points(mean, "bpc/valid") == [(100, 4.0), (200, 4.0)]


def test_the_mean_on_a_task_has_accuracy_and_in_the_end_the_test(
    tmp_path: Path, view_of: Callable[[Path], View]
) -> None:
    for seed, reached in ((1, 1.0), (2, 0.5)):
        folder = write_task_run(tmp_path / "runs" / f"lstm-{seed}", {20: reached, 40: 0.5}, seed=seed)
        with BoardObserver(RunFolder.open(folder)):
            pass
    view_of(tmp_path / "runs").refresh()
    mean = tmp_path / "view" / "lstm" / "mean"
    assert len(points(mean, "accuracy/valid")) == 10
    assert len(points(mean, "accuracy/train")) == 20
    assert points(mean, "by_length/accuracy") == [(20, 0.75), (40, 0.5)]
    assert points(mean, "accuracy/test")[0][1] == pytest.approx(0.625)


def test_a_resumed_run_is_out_of_the_view_for_one_round(tmp_path: Path, view_of: Callable[[Path], View]) -> None:
    folder = write_cell(tmp_path / "study", "lstm")
    view = view_of(folder.path)
    shown = tmp_path / "view" / "lstm" / "seed-1"
    view.refresh()
    view.refresh()
    assert shown.is_dir()
    with BoardObserver(folder):
        pass
    view.refresh()
    assert not shown.exists()
    view.refresh()
    assert shown.is_dir()


def test_what_a_run_writes_later_is_linked(tmp_path: Path, view_of: Callable[[Path], View]) -> None:
    folder = write_cell(tmp_path / "study", "lstm")
    view = view_of(folder.path)
    view.refresh()
    later = folder.tensorboard / "events.out.tfevents.9999999999999999.1.0.pictures"
    later.write_bytes(own_files(folder)[0].read_bytes())
    view.refresh()
    assert (tmp_path / "view" / "lstm" / "seed-1" / later.name).is_symlink()


def test_a_run_of_before_is_shown_over_bytes_too(tmp_path: Path, view_of: Callable[[Path], View]) -> None:
    folder = RunFolder.open(write_task_run(tmp_path / "lstm", {20: 1.0}))
    with BoardObserver(folder):
        pass
    (new,) = own_files(folder)
    new.rename(new.with_suffix(".run"))  # as the version that wrote steps called it
    view_of(tmp_path / "lstm").refresh()
    assert [path.suffix for path in own_files(folder)] == [".bytes"]
    journal = [json.loads(line) for line in folder.journal.path.read_text().splitlines()]
    told = [record["bytes"] for record in journal if record["kind"] == "valid"]
    assert [at for at, _ in points(tmp_path / "view" / "lstm", "accuracy/valid")] == told
