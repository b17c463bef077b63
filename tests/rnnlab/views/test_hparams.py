"""What the HParams page is told of variants."""

from pathlib import Path

import pytest
from tensorboard.plugins.hparams import api_pb2, metadata

from rnnlab.views.hparams import METRICS, default_variant, experiment, hyperparameters


def test_hyperparameters_are_macros_and_bindings_without_the_seed() -> None:
    bound = ["Block.core = @core.LSTM", "Block.dropout = %p", "Trainer.clip = None", "Trainer.jitter = False"]
    found = hyperparameters("\n".join([*bound, "Trainer.seed = 3", "p = 0.1"]))
    jitter = found.pop("Trainer.jitter")
    assert found == {"Block.core": "@core.LSTM", "Block.dropout": 0.1, "Trainer.clip": "None", "p": 0.1}
    assert jitter is False


def test_the_seed_is_left_out_in_a_scope_as_well() -> None:
    assert hyperparameters("a/Trainer.seed = 3\nMyTrainer.seed = 4\n") == {"MyTrainer.seed": 4}


@pytest.mark.parametrize(
    ("folder", "name"), [("runs/lstm", "lstm"), ("lstm/seed-1", "lstm/seed-1"), ("lstm/3", "lstm/3"), ("a-1", "a-1")]
)
def test_a_run_that_no_study_trained_is_called_after_its_folder(tmp_path: Path, folder: str, name: str) -> None:
    assert default_variant(tmp_path / folder) == name


def test_the_columns_are_the_union_over_the_variants() -> None:
    summary = experiment([{"a": 1, "clip": 0.25, "on": True}, {"a": 1, "clip": "None", "width": 2}])
    told = metadata.parse_experiment_plugin_data(summary.value[0].metadata.plugin_data.content)
    columns = {column.name: column for column in told.hparam_infos}
    assert set(columns) == {"a", "clip", "on", "width"}
    assert columns["width"].type == api_pb2.DATA_TYPE_FLOAT64
    assert columns["on"].type == api_pb2.DATA_TYPE_BOOL
    assert columns["clip"].type == api_pb2.DATA_TYPE_STRING
    assert list(columns["clip"].domain_discrete) == [0.25, "None"], "the page filters by these very values"
    assert [metric.name.tag for metric in told.metric_infos] == list(METRICS)


def test_columns_that_vary_alike_are_ticked_once() -> None:
    tied = [{"p": p, "Block.p": p, "LanguageModel.p": p, "width": w, "same": 1} for p, w in ((0, 1), (1, 1), (0, 2))]
    summary = experiment(tied)
    told = metadata.parse_experiment_plugin_data(summary.value[0].metadata.plugin_data.content)
    assert {column.name for column in told.hparam_infos if column.differs} == {"p", "width"}
