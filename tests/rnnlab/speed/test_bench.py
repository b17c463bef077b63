"""What `rnnlab bench` says adds up; how fast anything is, no test asks."""

import json
from pathlib import Path

import pytest
import torch

from rnnlab.cli import main
from rnnlab.errors import ConfigError
from rnnlab.speed import bench
from tests.rnnlab import quick_runs

TINY = ["sha_rnn", "size/tiny"]


@pytest.fixture
def bindings(tmp_path: Path) -> list[str]:
    return quick_runs.bindings(tmp_path)


@pytest.mark.long
def test_the_parts_of_a_step_add_up_to_it(bindings: list[str]) -> None:
    answer = bench.benchmark(TINY, bindings, repeats=2)
    assert set(answer["parts"]) == {
        "core", "attention", "feed-forward", "wiring", "head", "optimizer", "data", "rest",
    }  # fmt: skip
    assert sum(part["share"] for part in answer["parts"].values()) == pytest.approx(1.0)
    assert all(part["seconds"] > 0.0 for part in answer["parts"].values())
    assert answer["peak_memory_mb"] > 0.0
    assert answer["bytes_per_second"]["least"] <= answer["bytes_per_second"]["most"]
    assert "ratio" not in answer


@pytest.mark.long
def test_a_variant_without_attention_has_no_such_part(bindings: list[str]) -> None:
    without = [binding for binding in bindings if not binding.startswith("memory")]
    answer = bench.benchmark(["sha_lstm_no_attention", "size/tiny"], without, repeats=1)
    assert "attention" not in answer["parts"]
    assert answer["memory"] is None


def test_the_memory_is_full_before_anything_is_timed(bindings: list[str]) -> None:
    learner = bench.steady_learner(TINY, bindings)
    memory = learner.state[2].attention.positions
    assert len(memory) == learner.model.blocks[2].attention.memory - 1  # type: ignore[union-attr, operator]
    assert learner.progress.position == len(memory) + 1


@pytest.mark.long
def test_the_command_prints_a_table_and_json(bindings: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", *TINY, "--repeats", "1", "--against", "plain"]
    for binding in bindings:
        arguments += ["--set", binding]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "plain: " in text
    assert "ratio: " in text
    assert main([*arguments, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ratio"]["least"] <= answer["ratio"]["most"]
    assert answer["threads"] == torch.get_num_threads()


def test_a_baseline_that_is_not_there_is_named(bindings: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"--against fancy: there is no .*bench/fancy\.py"):
        bench.benchmark(TINY, bindings, against="fancy")


def test_no_repeats_are_refused(bindings: list[str]) -> None:
    with pytest.raises(ConfigError, match="repeats 0: at least 1"):
        bench.benchmark(TINY, bindings, repeats=0)
