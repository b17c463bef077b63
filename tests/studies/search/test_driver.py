"""Searches at work, and what they leave in their folder."""

import csv
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from optuna.trial import TrialState

from rnnlab import cli, config
from rnnlab.errors import ConfigError, DataError
from rnnlab.model import LanguageModel
from rnnlab.storage import metrics
from rnnlab.storage.runfolder import RunFolder
from rnnlab.studies.launch.pool import Pool
from rnnlab.studies.launch.run import train_job
from rnnlab.studies.search.database import open_study
from rnnlab.studies.search.driver import _look, run_search
from rnnlab.studies.search.objective import run_trial
from rnnlab.studies.search.plan import create_or_resume, plan_search
from rnnlab.studies.search.space import literal
from rnnlab.views.runs import parse_bindings
from tests.processes import begin
from tests.rnnlab.cli.commands import answer
from tests.rnnlab.tiny_runs import build, write_text
from tests.studies.small_studies import (
    SPACE,
    catch_worker,
    expect_exactly,
    params_by_draw,
    running_workers,
    search_in,
    small_search,
    trials_of,
    wait_until,
    write_study,
)


@pytest.mark.long
def test_a_search_prunes_confirms_and_leaves_all_that_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path, "Search", pruner="median", pruner_startup=2, confirm=2, confirm_seeds=3, bytes=1280)
    folder = tmp_path / "study"
    code = cli.main(["search", str(path), "--trials", "8", "--workers", "2", "--run", str(folder), "--json"])
    assert code == 0
    facts = json.loads(capsys.readouterr().out)
    made = plan_search(str(path), trials=8, run=folder)
    expect_exactly(made, 8)

    assert sum(facts["trials"].values()) == 8
    assert facts["trials"]["pruned"] >= 1
    assert facts["confirmed"]["seeds"] == 3
    assert facts["confirmed"]["valid_bpc"]["low"] < facts["confirmed"]["valid_bpc"]["high"]
    assert set(facts["importance"]) <= set(SPACE)
    costs = {
        t.number: json.loads((folder / "trials" / f"trial-{t.number:04d}" / "result.json").read_text())["macs_per_byte"]
        for t in trials_of(made, TrialState.COMPLETE)
    }
    assert facts["pareto"]
    assert all(point["macs_per_byte"] == costs[point["trial"]] for point in facts["pareto"])
    for name in ("history", "slice", "contour", "intermediate"):
        assert (folder / "plots" / f"{name}.png").stat().st_size > 10_000
    rows = list(csv.DictReader((folder / "trials.csv").read_text().splitlines()))
    assert len(rows) == 8
    assert rows[0]["outcome"].endswith("complete")
    confirmed = json.loads((folder / "confirm.json").read_text())["rows"]
    assert confirmed[0]["variant"] == "trial 0"
    assert confirmed[0]["seeds"] == 3, "nothing drops the base"
    if facts["confirmed"]["trial"] != 0:
        assert facts["confirmed"]["difference"]["count"] == 3
        assert facts["confirmed"]["p"] is not None
    assert {row["seeds"] for row in confirmed if row["variant"] == f"trial {facts['confirmed']['trial']}"} <= {3}

    for trial in trials_of(made, TrialState.PRUNED):
        result = RunFolder.open(folder / "trials" / f"trial-{trial.number:04d}").result()
        assert result is not None
        assert result["status"] == "stopped"
        assert result["bytes_trained"] < 1280

    for each in (folder / "confirm").iterdir():
        held = parse_bindings((each / "seed-2" / "config.gin").read_text())
        assert float(held["Block.dropout"]) == trials_of(made)[int(each.name.removeprefix("trial-"))].params["dropout"]

    winner = config.resolve([str(folder / "best.gin")])
    best = trials_of(made)[facts["confirmed"]["trial"]]
    assert winner.value("SingleHead.memory") == best.params["SingleHead.memory"]
    assert winner.value("dropout") == best.params["dropout"]
    assert cli.main(["train", str(folder / "best.gin"), "--run", str(tmp_path / "winner")]) == 0


@pytest.mark.long
def test_a_candidate_whose_worker_is_killed_goes_on_in_a_folder_that_says_so(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search", trials=1, confirm=1, confirm_seeds=1, bytes=2560)
    begun = tmp_path / "study" / "confirm" / "trial-0000" / "seed-2"
    arguments = ("--run", tmp_path / "study", "--workers", "1", "--set", "Trainer.save_every = 20")
    with begin("search", path, *arguments) as command:
        wait_until(lambda: (begun / "checkpoints" / "step-00000020").exists())
        os.kill(int((begun / "lock").read_text().split()[1]), signal.SIGKILL)
        before = metrics.read(begun / "metrics.jsonl")
        command.succeed()
    assert {each.name for each in begun.parents[1].iterdir()} == {"trial-0000", "trial-0000-retry-1"}
    retry = begun.parents[1] / "trial-0000-retry-1" / "seed-2"
    assert metrics.read(retry / "metrics.jsonl")[0] == before[0], "times included: it went on from the checkpoint"
    assert json.loads((retry / "result.json").read_text())["status"] == "done"


@pytest.mark.long
def test_a_search_that_is_interrupted_reports_what_there_is(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search", trials=50)
    plan = plan_search(str(path), run=tmp_path / "study")
    with begin("search", path, "--run", plan.folder, "--workers", "1", "--json") as command:
        wait_until(lambda: running_workers(plan) and trials_of(plan, TrialState.COMPLETE))
        command.signal(signal.SIGINT)
        code, out, err = command.finish()
    assert code == 128 + signal.SIGINT, err
    assert "stopped by SIGINT" in err
    facts = json.loads(out)
    assert 1 <= facts["trials"]["complete"] < 50
    assert (plan.folder / "trials.txt").is_file()
    assert (plan.folder / "best.gin").is_file()


def ask_for_too_much(*arguments: Any) -> Any:
    return torch.empty(2**50)  # [4 PiB] more than any allocator has


TOO_WIDE = {"LanguageModel.dim": {"type": "categorical", "choices": [100_000_000]}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("space", "outcome"), [(TOO_WIDE, "refused: not enough memory ("), (SPACE, "out of memory")], ids=["model", "step"]
)
def test_a_trial_without_enough_memory_is_pruned_with_that_reason(
    space: dict[str, Any], outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = small_search(tmp_path, trials=1, space=space)
    create_or_resume(plan)
    monkeypatch.setattr(LanguageModel, "forward", ask_for_too_much)
    job = {"folder": str(plan.folder), "url": plan.address.url, "study": plan.address.name, "budget": 1}
    run_trial(job, lambda: None)
    (trial,) = trials_of(plan)
    assert trial.state is TrialState.PRUNED
    assert trial.user_attrs["outcome"].startswith(outcome)


@pytest.mark.long
def test_a_search_whose_folder_was_renamed_goes_on_where_it_was(tmp_path: Path) -> None:
    path, run, renamed = write_study(tmp_path, "Search", trials=2, bytes=2560), tmp_path / "a", tmp_path / "b"
    plan = plan_search(str(path), run=run)
    with begin("search", path, "--run", run, "--workers", "1") as first:
        _, worker = catch_worker(plan)
        first.signal(signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
    begun = (run / "trials" / "trial-0000" / "config.gin").stat()
    assert os.fsencode(tmp_path / "a") not in (run / "study.db").read_bytes()
    run.rename(renamed)
    answer("search", path, "--run", renamed, "--workers", "1")
    plan = plan_search(str(path), run=renamed)
    assert plan.address.name == "a"
    expect_exactly(plan, 2)
    assert os.path.samestat((renamed / "trials" / "trial-0000" / "config.gin").stat(), begun)
    assert {each.name for each in tmp_path.iterdir()} == {"b", "study.gin", "text-4000-0"}


@pytest.mark.long
def test_f30_the_text_of_a_search_may_move_but_not_change(tmp_path: Path) -> None:
    plan = search_in(tmp_path, trials=1)
    text = tmp_path / "moved"
    text.write_bytes(next(tmp_path.glob("text-*")).read_bytes())
    moved = plan_search(str(tmp_path / "study.gin"), (), [f"File.path = {str(text)!r}"], trials=2, run=plan.folder)
    run_search(moved, 1)
    expect_exactly(moved, 2)
    text.write_bytes(text.read_bytes()[::-1])
    changed = plan_search(str(tmp_path / "study.gin"), (), [f"File.path = {str(text)!r}"], trials=3, run=plan.folder)
    with pytest.raises(ConfigError, match="the text changed since its first trial"):
        run_search(changed, 1)


@pytest.mark.long
def test_a_search_that_is_stopped_and_gone_on_with_finds_what_an_uninterrupted_one_finds(tmp_path: Path) -> None:
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = search_in(tmp_path / "whole", trials=6)
    for trials in (2, 6):
        parts = search_in(tmp_path / "parts", trials=trials)
        expect_exactly(parts, trials)
    assert params_by_draw(parts) == params_by_draw(whole)
    assert [t.value for t in trials_of(parts)] == [t.value for t in trials_of(whole)]


@pytest.mark.long
@pytest.mark.soak
@pytest.mark.timeout(600)
def test_forty_trials_over_four_workers_each_train_with_their_own_parameters(tmp_path: Path) -> None:
    made = search_in(tmp_path, workers=4, trials=40, startup=40, bytes=320, evaluations=1, heartbeat=10)
    expect_exactly(made, 40)
    trials = trials_of(made, TrialState.COMPLETE)
    assert len(trials) == 40
    for trial in trials:
        folder = tmp_path / "study" / "trials" / f"trial-{trial.number:04d}"
        held = parse_bindings((folder / "config.gin").read_text())
        recorded = {key: literal(value) for key, value in trial.params.items()}
        assert held["attention.SingleHead.memory"] == recorded["SingleHead.memory"]
        assert held["Block.dropout"] == recorded["dropout"]
        assert json.loads((folder / "result.json").read_text())["valid_bpc"] == trial.value
    assert len({trial.params["dropout"] for trial in trials}) == 40


@pytest.mark.long
def test_values_that_do_not_go_together_and_runs_that_diverge_are_trials_that_say_so(tmp_path: Path) -> None:
    space = {
        "MultiHead.heads": {"type": "categorical", "choices": [1, 2]},
        "LanguageModel.dim": {"type": "categorical", "choices": [8, 9]},
    }
    made = search_in(
        tmp_path, trials=6, startup=10, space=space, base=["sha_rnn", "size/tiny", "attention/multi_head"],
        baseline=False,
    )  # fmt: skip
    expect_exactly(made, 6)
    outcomes = {
        (t.params["MultiHead.heads"], t.params["LanguageModel.dim"]): t.user_attrs["outcome"] for t in trials_of(made)
    }
    assert outcomes[2, 9].startswith("refused: ")
    assert all(outcome == "complete" for combination, outcome in outcomes.items() if combination != (2, 9))


@pytest.mark.long
def test_a_study_whose_workers_fail_one_after_the_other_stops_with_the_reason(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search")
    made = plan_search(str(path), run=tmp_path / "study")
    next(tmp_path.glob("text-*")).unlink()
    with pytest.raises(DataError, match=r"one after the other fails; the last: .*text-.*worker-0\.log"):
        run_search(made, workers=1)


@pytest.mark.long
def test_a_search_in_a_folder_of_any_name_leaves_all_in_it_and_says_so(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search", trials=1, evaluations=1, confirm=1, confirm_seeds=1)
    run = tmp_path / os.fsdecode(b"what? #{x} 50%3F \xff")
    said = begin("search", path, "--run", run, "--workers", "1").succeed()
    assert r"what? #{x} 50%3F \udcff/best.gin trains trial 0" in said
    assert (run / "study.db").stat().st_size > 10_000
    assert (run / "best.gin").is_file()
    assert {each.name for each in tmp_path.iterdir()} == {run.name, "study.gin", "text-4000-0"}
    assert r"50%3F \udcff/base.gin" in (run / "trials" / "trial-0000" / "operative.gin").read_text()
    assert "trial 0" in begin("compare", run, "--out", tmp_path / "out").succeed()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed")  # a trial that nobody optimizes
@pytest.mark.parametrize(
    ("changes", "to_start"),
    [
        ({}, 3),
        pytest.param({"host": "another"}, 2, marks=pytest.mark.long),
        pytest.param({"namespace": "another"}, 2, marks=pytest.mark.long),
    ],
)
def test_a_worker_that_is_starting_is_not_taken_for_its_namesake_elsewhere(
    changes: dict[str, Any], to_start: int, tmp_path: Path
) -> None:
    made = small_search(tmp_path)
    create_or_resume(made)
    run = tmp_path / "variant.gin"
    run.write_text(build(write_text(tmp_path), "Trainer.steps = 100_000").config.text)
    with open_study(made.address) as study:
        pass
    with Pool([{}], tmp_path) as pool:
        pool.start(train_job, {"config": str(run), "seed": 1, "folder": str(tmp_path / "run"), "variant": "v"})
        (worker,) = wait_until(lambda: pool.poll() == [] and any(pool.workers()) and pool.workers())
        trial = study.optuna.ask()
        trial.set_user_attr("worker", {"trial": trial.number, **worker, **changes})
        assert _look(study, pool, 4) == (1, 0, to_start)


def test_the_command_line_refuses_what_makes_no_sense(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_study(tmp_path, "Search"))
    run = ["--run", str(tmp_path / "study")]
    for arguments, told in (
        (["--workers", "0"], "--workers 0: at least one"),
        (["--trials", "0"], "Search.trials = 0"),
        (["--storage", "redis://h"], "--storage redis://...: use"),
        (["--set", "Search.trails = 3"], "did you mean 'trials'"),
        (["nosuch/fragment"], "no fragment or file 'nosuch/fragment'"),
    ):
        assert cli.main(["search", path, *arguments, *run]) == 2
        err = capsys.readouterr().err
        assert told in err
        assert "Traceback" not in err
    assert not (tmp_path / "study" / "trials").exists()
