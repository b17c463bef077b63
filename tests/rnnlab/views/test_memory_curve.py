"""BPC against memory length from one checkpoint."""

import json
from pathlib import Path

import pytest

from rnnlab import api, cli
from rnnlab.errors import ConfigError
from rnnlab.evaluation import evaluate
from rnnlab.views.memory_curve import memory_curve
from tests.rnnlab import small_tasks, tiny_runs

SHORT = ("Trainer.steps = 6", "Trainer.eval_every = 10_000")


@pytest.fixture(scope="module")
def run(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run") / "run"
    tiny_runs.train(run, text, *SHORT)
    return run


def test_the_run_s_own_memory_scores_what_the_run_scores_and_others_do_not(run: Path) -> None:
    before = tiny_runs.state_hash(run)
    curve = memory_curve(run, [1, 40, 4000], "valid")
    scores = dict(curve.points)
    assert list(scores) == [1, 40, 4000]
    assert curve.trained == 40
    own = api.evaluate(run, "valid")
    assert scores[40].bpc == own.bpc
    assert scores[40].protocol == own.protocol
    assert scores[1].protocol.memory == 1
    assert scores[4000].protocol.memory == 4000
    assert len({score.bpc for score in scores.values()}) == 3
    assert tiny_runs.state_hash(run) == before


def test_every_attention_of_a_model_is_set_in_its_own_scope(text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    blocks = "LanguageModel.blocks = [@near/Block, @far/Block]"
    tiny_runs.train(run, text, *SHORT, blocks, "Block.attention = %attention", "near/SingleHead.memory = 8")
    curve = memory_curve(run, [3])
    assert curve.trained is None
    built = api.load(run, overrides=["near/SingleHead.memory = 3", "memory = 3"], needs_source=True)
    trainer, corpus = built.experiment.trainer, built.experiment.source
    assert corpus is not None
    score = evaluate(built.model, corpus.test, batch_size=trainer.eval_batch_size, bptt=trainer.eval_bptt)
    assert curve.points[0][1] == score


@pytest.mark.slow
def test_what_has_no_memory_and_lengths_that_are_none_are_refused(run: Path, text: Path, tmp_path: Path) -> None:
    bindings = [line for line in tiny_runs.bindings(text, *SHORT) if not line.startswith("memory")]
    api.train([*tiny_runs.FRAGMENTS, "attention/none"], bindings, run=tmp_path / "run")
    with pytest.raises(ConfigError, match="no attention of this model has a memory"):
        memory_curve(tmp_path / "run", [4])
    with pytest.raises(ConfigError, match="--memory 0: a query sees at least itself"):
        memory_curve(run, [4, 0])


@pytest.mark.slow
def test_the_command_line_writes_a_table_and_a_plot(run: Path, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["eval", str(run), "--split", "valid", "--memory", "1,40", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["memory"] for row in answer["rows"]] == [1, 40]
    assert answer["rows"][1]["trained"] == "as trained"
    for suffix in (".txt", ".md", ".csv", ".tex", ".json", ".png", ".svg"):
        assert (run / "memory" / f"valid{suffix}").stat().st_size > 100
    assert cli.main(["eval", str(run), "--memory", "8", "--corpus", str(text)]) == 0
    assert (run / "memory" / f"{text.stem}-test.md").exists()


def test_the_command_line_refuses_lengths_that_are_no_numbers(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["eval", str(run), "--memory", "1,many"])
    assert caught.value.code == 2
    assert "whole numbers with commas between them" in capsys.readouterr().err


def test_a_run_on_a_task_is_scored_by_difficulty_with_each_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    small_tasks.train(run, "Trainer.steps = 2", "Parity.test = [12, 20, 40]")
    assert cli.main(["eval", str(run), "--memory", "1,6,64", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["memory"], row["trained"]) for row in rows] == [(1, None), (6, "as trained"), (64, None)]
    for row in rows:
        built = api.load(run, overrides=[f"memory = {row['memory']}"], needs_source=True)
        trainer = built.experiment.trainer
        want = evaluate(
            built.model, built.experiment.source.test, batch_size=trainer.eval_batch_size, bptt=trainer.eval_bptt
        )  # type: ignore[union-attr]
        assert (row["accuracy"], row["nats"]) == (want.accuracy, want.nats)
        assert [row[f"accuracy@{one.difficulty}"] for one in want.by] == [one.accuracy for one in want.by]
    assert len({row["nats"] for row in rows}) == 3, "the memory acts"
    assert (run / "memory" / "test.png").stat().st_size > 100
    assert cli.main(["eval", str(run), "--memory", "4", "--at", "16", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["rows"][0]) == ["memory", "accuracy", "nats", "trained"]
    assert cli.main(["eval", str(run), "--memory", "4", "--at", "16", "--split", "valid"]) == 2
    assert "it takes test examples of the run's own task" in capsys.readouterr().err
