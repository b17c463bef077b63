"""The probe of a run on a task: attention on an example, and where answers are right."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import rnnlab
from rnnlab.data.task_source import TaskSource
from rnnlab.errors import ConfigError
from rnnlab.views.probe import probe
from tests.rnnlab import quick_runs, small_tasks

pytestmark = pytest.mark.slow  # whole runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probe") / "run"
    small_tasks.train(path)
    return path


def test_it_draws_where_each_layer_looks_and_which_answers_are_right(run: Path, tmp_path: Path) -> None:
    told = probe(run, tmp_path / "out", at=10)
    names = {Path(file).name for file in told["files"]}
    assert names == {
        "accuracy_by_position.png", "attention_by_distance.png", "attention_on_an_example_3.png", "probe.json",
    }  # fmt: skip
    assert all((tmp_path / "out" / name).stat().st_size > 1000 for name in names - {"probe.json"})
    assert json.loads((tmp_path / "out" / "probe.json").read_text())["at"] == 10
    assert (run / "tb").exists()


def test_its_figures_are_the_models(run: Path, tmp_path: Path) -> None:
    told = probe(run, tmp_path / "out", at=10)
    loaded = rnnlab.load(run)
    source = loaded.experiment.source
    assert isinstance(source, TaskSource)
    made = source.make("test", 10, np.arange(256))
    logits, _ = loaded.model(torch.from_numpy(made.inputs.T.copy()), loaded.model.initial_state(256))
    right = logits.argmax(-1).T.numpy() == made.targets
    assert told["accuracy"] == pytest.approx(right[:, -1].mean())
    assert told["accuracy_by_position"] == pytest.approx({p: right[:, p].mean() for p in range(10)})
    assert told["example"]["tokens"] == made.inputs[0].tolist()
    assert told["example"]["asked"] == [True] * 10
    weights = np.array(told["example"]["attention"][2])
    assert weights.sum(axis=1) == pytest.approx(np.ones(10), rel=1e-5)
    assert np.allclose(np.triu(weights, 1), 0)
    assert np.allclose(np.tril(weights, -6), 0)  # the memory of the model is 6 positions
    assert sum(told["attention_by_distance"][2]) == pytest.approx(1.0, rel=1e-5)
    assert max(told["attention_by_distance"][2][6:]) == 0


@pytest.mark.long
def test_a_difficulty_is_chosen_that_can_be_read(run: Path, tmp_path: Path) -> None:
    assert probe(run, tmp_path / "out")["at"] == 12
    with pytest.raises(ConfigError, match="--at 0"):
        probe(run, tmp_path / "out", at=0)
    quick_runs.train(tmp_path / "text", steps=2)
    with pytest.raises(ConfigError, match=r"--at 3: .* was trained on a text"):
        probe(tmp_path / "text", at=3)
