"""What TensorBoard will read of a run on a task."""

from pathlib import Path

import pytest
from tensorboard.plugins.hparams import metadata

from rnnlab.storage.metrics import read
from rnnlab.storage.runfolder import RunFolder
from rnnlab.views.board import BoardObserver, charts, write_study_root
from rnnlab.views.hparams import OF_TASKS, hyperparameters, is_on_task
from tests.rnnlab.task_run_folders import POSITIONS, STEPS, write_task_run
from tests.rnnlab.views.test_board import points, values

TEST = {20: 1.0, 40: 0.9, 160: 0.5}


@pytest.fixture
def shown(tmp_path: Path) -> RunFolder:
    folder = RunFolder.open(write_task_run(tmp_path / "run", TEST))
    with BoardObserver(folder):
        pass
    return folder


@pytest.mark.parametrize(
    ("kind", "field", "tag"),
    [
        ("train", "accuracy", "accuracy/train"),
        ("train", "loss", "train/loss"),
        ("valid", "valid_accuracy", "accuracy/valid"),
        ("valid", "valid_nats", "nats/valid"),
        ("valid", "best_valid_accuracy", "best/valid_accuracy"),
    ],
)
def test_every_figure_of_the_journal_is_a_point(shown: RunFolder, kind: str, field: str, tag: str) -> None:
    told = [(record["bytes"], record[field]) for record in read(shown.journal.path) if record["kind"] == kind]
    assert told
    found = points(shown.tensorboard, tag)
    assert [position for position, _ in found] == [position for position, _ in told]
    assert [y for _, y in found] == pytest.approx([y for _, y in told], rel=1e-6)


def test_the_test_is_a_point_and_a_curve_over_the_difficulties(shown: RunFolder) -> None:
    assert points(shown.tensorboard, "accuracy/test") == [(STEPS * POSITIONS, pytest.approx(0.8))]
    assert points(shown.tensorboard, "by_length/accuracy") == [(at, pytest.approx(y)) for at, y in TEST.items()]
    assert points(shown.tensorboard, "by_length/chance") == [(at, 0.5) for at in TEST]


def test_how_much_was_scored_is_not_drawn(shown: RunFolder) -> None:
    assert [tag for tag in values(shown.tensorboard) if tag.endswith(("examples", "answers"))] == []


def test_a_run_that_was_not_tested_has_no_point_of_the_test(tmp_path: Path) -> None:
    folder = RunFolder.open(write_task_run(tmp_path / "run", TEST, status="diverged"))
    with BoardObserver(folder):
        pass
    assert [tag for tag in values(folder.tensorboard) if "test" in tag or tag.startswith("by_")] == []


def test_hparams_has_accuracy_in_place_of_bpc_and_every_column_has_a_tag(shown: RunFolder, tmp_path: Path) -> None:
    write_study_root(tmp_path / "view", [hyperparameters(shown.config_text)])
    ((_, value),) = values(tmp_path / "view")[metadata.EXPERIMENT_TAG]
    told = metadata.parse_experiment_plugin_data(value.metadata.plugin_data.content)
    assert [metric.name.tag for metric in told.metric_infos] == list(OF_TASKS)
    assert {tag for tag in OF_TASKS if tag not in values(shown.tensorboard)} == set()


def test_text_and_tasks_beside_each_other_have_the_columns_and_charts_of_both() -> None:
    text, task = {"Trainer.source": "'enwik8'"}, {"Trainer.source": "@task.Parity"}
    assert list(charts([text])["Learning"]) == ["Valid BPC", "Best valid BPC", "Training BPC"]
    assert "Valid BPC" not in charts([task])["Learning"]
    assert next(iter(charts([task])["Machine"])) == "Positions per second"
    assert next(iter(charts([text, task])["Machine"])) == "Bytes per second"
    assert {"Valid BPC", "Valid accuracy"} <= set(charts([text, task])["Learning"])


@pytest.mark.parametrize("source", ["@task.Parity", "@small/task.Parity", "@a/b/task.Parity"])
def test_a_source_that_is_a_task_is_known_with_its_scopes(source: str) -> None:
    assert is_on_task({"Trainer.source": source})
    assert not is_on_task({"Trainer.source": "'/data/task.txt'", "Block.core": "@core.LSTM"})
