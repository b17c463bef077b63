"""Ablations: what a delta must prove, what is trained, and what is never trained again."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from rnnlab import cli
from rnnlab.config import diff
from rnnlab.errors import ConfigError, RnnlabError, RunHeldError
from rnnlab.studies import definition
from rnnlab.studies.ablation.driver import _held, _may_try_again, run_ablation
from rnnlab.studies.ablation.matching import costs
from rnnlab.studies.ablation.plan import Ablation, AblationPlan, plan_ablation
from rnnlab.studies.launch.pool import WorkerExit, worker_environments
from tests.rnnlab.tiny_runs import write_text
from tests.studies.small_studies import OVERRIDES, Command, is_alive, wait_until, write_study

DROPPED = {"dropped": ["dropout = 0.2"]}


def plan(folder: Path, *overrides: str, **arguments: Any) -> AblationPlan:
    path = write_study(folder, "Ablation", **{"deltas": DROPPED, "seeds": 2, **arguments})
    return plan_ablation(str(path), (), overrides, run=folder / "study")


def write_fragment(folder: Path, name: str, *lines: str) -> str:
    path = folder / f"{name}.gin"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_variant_lists_the_bindings_that_differ_once_all_is_resolved(tmp_path: Path) -> None:
    baseline, dropped, swapped, removed = plan(
        tmp_path,
        deltas={
            "dropped": ["Block.dropout = 0.2"],
            "swapped": ["core/qrnn"],
            "removed": ["attention/none"],
        },
    ).variants
    assert baseline.bindings == ()
    assert dropped.bindings == ("Block.dropout = 0.2",)
    assert swapped.bindings == ("Block.core = @core.QRNN",)
    assert "sha/Block.attention = None" in removed.bindings


def test_a_macro_stands_for_all_that_is_bound_to_it(tmp_path: Path) -> None:
    _, dropped = plan(tmp_path).variants
    assert "Block.dropout = 0.2" in dropped.bindings
    assert "attention.SingleHead.dropout = 0.2" in dropped.bindings


@pytest.mark.parametrize(
    ("deltas", "told"),
    [
        ({"same": ["dropout = 0.0"]}, "'same' (dropout = 0.0) changes nothing"),
        ({"same": ["core/lstm"]}, "'same' (core/lstm) changes nothing"),
        ({"under": ["memory/512"]}, "'under' (memory/512) changes nothing"),  # an override of the base is above it
        ({"one idle": ["core/qrnn", "Block.dropout = 0.0"]}, "says 'Block.dropout = 0.0', which changes nothing"),
        ({"a": ["core/qrnn"], "b": ["Block.core = @core.QRNN"]}, "'a' and 'b' are one configuration"),
        ({"a b": ["core/qrnn"], "a-b": ["core/gru"]}, "would share a folder"),
        ({"none": ["core/qrn"]}, "did you mean 'core/qrnn'"),
        ({"none": ["QRNN.width = 2"]}, "variant 'none'"),
        ({"none": ["MultiHead.heads = 3", "attention/multi_head"]}, "variant 'none'"),
        ({"none": []}, "a list of fragments and bindings"),
        ({"none": "core/qrnn"}, "a list of fragments and bindings"),
        ({"baseline": ["core/qrnn"]}, "two variants are called 'baseline'"),
        ({}, "name what to vary"),
    ],
)
def test_a_delta_that_means_nothing_or_not_what_it_says_is_refused_before_anything_runs(
    deltas: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(tmp_path, deltas=deltas)
    assert told in str(caught.value)
    assert not (tmp_path / "study").exists()


def test_a_fragment_of_a_kind_that_changes_something_else_as_well_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnnlab.config import sources

    gin = tmp_path / "gin"
    for path in sources.config_folder().rglob("*.gin"):
        copy = gin / path.relative_to(sources.config_folder())
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    with (gin / "core" / "qrnn.gin").open("a") as file:
        file.write("Muon.lr = 1e-3\n")
    monkeypatch.setattr(sources, "config_folder", lambda: gin)
    with pytest.raises(ConfigError, match=r"more than it says: optimizer\.Muon\.lr: 0\.005 -> 0\.001"):
        plan(tmp_path, deltas={"qrnn": ["core/qrnn"]})
    _, said = plan(tmp_path, deltas={"qrnn": ["core/qrnn", "Muon.lr = 1e-3"]}).variants
    assert said.bindings == ("Block.core = @core.QRNN", "optimizer.Muon.lr = 0.001")


def test_a_file_of_the_user_says_what_it_binds(tmp_path: Path) -> None:
    name = write_fragment(tmp_path, "mine", "Block.core = @core.QRNN", "Muon.lr = 1e-3")
    _, mine = plan(tmp_path, deltas={"mine": [name]}).variants
    assert mine.bindings == ("Block.core = @core.QRNN", "optimizer.Muon.lr = 0.001")


def test_what_a_variant_leaves_of_the_base_without_effect_is_no_mistake(tmp_path: Path) -> None:
    _, removed = plan(tmp_path, "memory = 32", deltas={"removed": ["attention/none"]}).variants
    assert "sha/Block.attention = None" in removed.bindings
    with pytest.raises(ConfigError, match="memroy"):
        plan(tmp_path, "memroy = 32", deltas={"removed": ["attention/none"]})


THREE = {"qrnn": ["core/qrnn"], "no head": ["attention/none"], "dropped": ["Block.dropout = 0.2"]}


def test_leave_one_out_starts_from_all_deltas_and_takes_one_back_at_a_time(tmp_path: Path) -> None:
    full, *without = plan(tmp_path, deltas=THREE, design="leave_one_out").variants
    assert full.config.value("Block.core").selector == "core.QRNN"
    assert full.config.value("sha/Block.attention") is None
    assert [variant.name for variant in without] == ["without qrnn", "without no head", "without dropped"]
    assert without[0].bindings == ("Block.core = @core.LSTM",)
    assert without[2].bindings == ("Block.dropout = 0.0",)


def test_a_grid_has_every_combination_and_levels_of_a_factor_exclude_each_other(tmp_path: Path) -> None:
    deltas = {"core": {"qrnn": ["core/qrnn"], "gru": ["core/gru"]}, "dropped": ["Block.dropout = 0.2"]}
    names = [variant.name for variant in plan(tmp_path, deltas=deltas, design="grid").variants]
    assert names == ["baseline", "dropped", "qrnn", "qrnn + dropped", "gru", "gru + dropped"]
    with pytest.raises(ConfigError, match="qrnn, gru exclude each other"):
        plan(tmp_path, deltas=deltas, design="leave_one_out")


def test_every_variant_has_the_same_seeds_counted_up_from_that_of_the_base(tmp_path: Path) -> None:
    made = plan(tmp_path, "Trainer.seed = 7", seeds=3)
    assert made.seeds == [7, 8, 9]
    cells = made.cells()
    assert [(cell.variant.name, cell.seed) for cell in cells[:2]] == [("baseline", 7), ("dropped", 7)]
    assert len({cell.folder for cell in cells}) == 6
    for cell in cells:
        sha = cell.variant.config.override([f"Trainer.seed = {cell.seed}"]).sha
        assert cell.folder.name == f"seed-{cell.seed}-{sha[:8]}"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"seeds": 0}, "Ablation.seeds = 0: at least 1"),
        ({"design": "all"}, "design takes"),
        ({"match": "flops"}, "match takes"),
        ({"widths": {"qrnn": "QRNN.width"}}, "Ablation.widths names 'qrnn'"),
        ({"bytes": None}, "--bytes N"),
    ],
)
def test_an_ablation_that_cannot_run_is_refused_in_words(arguments: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(tmp_path, **arguments)
    assert told in str(caught.value)


@pytest.mark.parametrize("cost", ["parameters", "macs"])
def test_variants_are_matched_within_a_percent_by_the_width_that_is_named(cost: str, tmp_path: Path) -> None:
    made = plan(
        tmp_path,
        "LanguageModel.dim = 128",  # wide enough that one more is less than a percent
        deltas={"standard": ["feedforward/standard"], "swiglu": ["feedforward/swiglu"], "qrnn": ["core/qrnn"]},
        match=cost,
        widths={"standard": "Standard.inner", "swiglu": "SwiGLU.inner"},
    )
    fact = {"parameters": "parameters", "macs": "macs_per_byte"}[cost]
    target = costs(made.variants[0].config)[fact]
    assert abs(costs(made.variants[1].config)[fact] / target - 1) > 0.05  # or there was nothing to match
    for variant in made.matched[1:]:
        reached = costs(variant.config)[fact]
        assert abs(reached / target - 1) <= 0.01
        assert variant.match_error == pytest.approx(reached / target - 1)
    standard, swiglu, qrnn = made.matched[1:]
    assert standard.name == "standard (matched)"
    assert [d.key for d in diff(made.variants[1].config, standard.config)] == ["feedforward.Standard.inner"]
    assert [d.key for d in diff(made.variants[2].config, swiglu.config)] == ["feedforward.SwiGLU.inner"]
    assert [d.key for d in diff(made.variants[3].config, qrnn.config)] == ["LanguageModel.dim"]


def test_a_variant_that_matches_as_it_is_needs_no_second_run(tmp_path: Path) -> None:
    made = plan(tmp_path, match="parameters")
    assert made.matched[1].config.text == made.variants[1].config.text
    assert len(made.cells()) == 4


def test_a_width_that_cannot_match_is_refused_with_the_nearest(tmp_path: Path) -> None:
    arguments = {"deltas": {"every layer": ["attention/every_layer"]}, "match": "parameters"}
    with pytest.raises(ConfigError, match=r"MultiHead\.heads"):
        plan(tmp_path, **arguments, widths={"every layer": "MultiHead.heads"})
    with pytest.raises(
        ConfigError, match=r"'every layer' cannot match .* by LanguageModel\.dim: the nearest is \d+, [+-]"
    ):
        plan(tmp_path, **arguments)


def results(folder: Path) -> dict[str, int]:
    """When each finished cell was finished [ns]."""
    found = sorted((folder / "cells").rglob("result.json"))
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in found}


@pytest.mark.slow
def test_finished_cells_are_kept_and_what_is_new_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "study"
    first, _ = run_ablation(plan(tmp_path), workers=2)
    assert first["cells"] == {"trained": 4, "kept": 0}
    before = results(folder)
    assert len(before) == 4

    more = {**DROPPED, "qrnn": ["core/qrnn"]}
    second, _ = run_ablation(plan(tmp_path, deltas=more, seeds=3), workers=2)
    assert second["cells"] == {"trained": 5, "kept": 4}
    after = results(folder)
    assert {name: time for name, time in after.items() if name in before} == before
    assert len(after) == 9
    assert "changed" not in capsys.readouterr().err

    rows = second["tables"]["ablation"]["rows"]
    assert [row["variant"] for row in rows] == ["baseline", "dropped", "qrnn"]
    assert all(row["seeds"] == 3 for row in rows)
    assert rows[1]["p"] is not None
    assert rows[2]["bindings"] == ["Block.core = @core.QRNN"]
    for suffix in (".txt", ".md", ".csv", ".tex", ".json", ".png", ".svg"):
        assert (folder / f"ablation{suffix}").stat().st_size > 100

    third, _ = run_ablation(plan(tmp_path, "LanguageModel.dim = 12"), workers=2)
    assert third["cells"] == {"trained": 4, "kept": 0}
    err = capsys.readouterr().err
    assert "the baseline changed" in err
    assert "LanguageModel.dim  8 -> 12" in err
    assert {name: time for name, time in results(folder).items() if name in after} == after


@pytest.mark.slow
def test_an_ablation_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas=DROPPED, seeds=2, bytes=2560)
    folder = tmp_path / "study"
    arguments = ("ablate", path, "--run", folder, "--workers", "1", "--json")
    with Command(*arguments) as first:
        wait_until(lambda: results(folder))
        first.signal(signal.SIGTERM)
        code, _, err = first.finish()
    assert code == 143
    assert f"the same command goes on with {folder}" in err
    before = results(folder)
    facts = Command(*arguments).succeed()
    assert facts["cells"]["kept"] >= 1
    assert facts["cells"]["kept"] + facts["cells"]["trained"] == 4
    finished = {name: time for name, time in before.items() if '"done"' in (folder / name).read_text()}
    assert finished
    assert {name: time for name, time in results(folder).items() if name in finished} == finished


def the_worker(folder: Path) -> int | None:
    """Who holds a run of the study that has saved something."""
    for lock in folder.glob("cells/*/*/lock"):
        words = lock.read_text().split()
        if len(words) > 1 and is_alive(int(words[1])) and any((lock.parent / "checkpoints").glob("step-*")):
            return int(words[1])
    return None


@pytest.mark.slow
def test_a_cell_whose_worker_is_killed_is_trained_to_its_end_all_the_same(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas=DROPPED, seeds=1, bytes=2560)
    folder = tmp_path / "study"
    with Command("ablate", path, "--run", folder, "--workers", "1", "--json") as command:
        os.kill(wait_until(lambda: the_worker(folder)), signal.SIGKILL)
        facts = command.succeed()
    assert facts["cells"] == {"trained": 2, "kept": 0}
    assert [row["seeds"] for row in facts["tables"]["ablation"]["rows"]] == [1, 1]


@pytest.mark.slow
def test_the_workers_of_a_parent_that_is_killed_save_and_stop(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas=DROPPED, seeds=1, bytes=25_600)
    folder = tmp_path / "study"
    with Command("ablate", path, "--run", folder, "--workers", "1") as command:
        worker = wait_until(lambda: the_worker(folder))
        command.signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(worker))
    (result,) = folder.glob("cells/*/*/result.json")
    assert json.loads(result.read_text())["status"] == "stopped"


def test_two_processes_cannot_be_at_one_ablation(tmp_path: Path) -> None:
    made = plan(tmp_path)
    with _held(made.folder), pytest.raises(RunHeldError, match="another process is at this study"):
        run_ablation(made)


@pytest.mark.parametrize(("code", "attempts", "again"), [(-9, 1, True), (-9, 3, False), (143, 2, True), (1, 1, False)])
def test_a_cell_is_tried_again_only_if_its_worker_was_killed(
    code: int, attempts: int, again: bool, tmp_path: Path
) -> None:
    ended = WorkerExit({}, code, tmp_path / "log", 0)
    assert _may_try_again(ended, attempts) == again


def test_an_error_that_every_cell_would_meet_ends_the_study_with_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("of before\nrnnlab: error: /c/text: cannot be opened\n")
    with pytest.raises(RnnlabError, match=r"exited with 3: /c/text: cannot be opened") as caught:
        _may_try_again(WorkerExit({}, 3, log, 10), 1)
    assert caught.value.exit_code == 3


def test_workers_default_to_the_cores_and_have_one_thread_each() -> None:
    import torch

    cpu = worker_environments(None, torch.device("cpu"))
    assert len(cpu) == len(os.sched_getaffinity(0))
    assert cpu[0] == {"OMP_NUM_THREADS": "1"}
    assert len(worker_environments(5, torch.device("cpu"))) == 5


def test_workers_on_gpus_get_one_each_of_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    devices = [each["CUDA_VISIBLE_DEVICES"] for each in worker_environments(3, torch.device("cuda"))]
    assert devices == ["4", "6", "4"]
    assert len(worker_environments(None, torch.device("cuda"))) == 2
    (named,) = worker_environments(None, torch.device("cuda:1"))
    assert "CUDA_VISIBLE_DEVICES" not in named, "the worker has to find cuda:1 where its configuration says"


def arguments_of(study: str, folder: Path) -> list[str]:
    """The command line that runs a shipped study at its smallest."""
    text = write_text(folder, size=4000)
    sets = [part for line in OVERRIDES for part in ("--set", line) if not _is_varied(study, line)]
    common = ["size/tiny", "--corpus", str(text), "--bytes", "320", "--workers", "2", "--run", str(folder / "study")]
    return [study, *common, *sets, "--set", "Trainer.eval_every = 160"]


def _is_varied(study: str, line: str) -> bool:
    return study == "memory_length" and line.startswith("memory ")


def test_the_studies_that_are_promised_ship() -> None:
    assert set(definition.shipped()) >= {
        "attention_kind", "boom_vs_standard", "core_swap", "initialization", "memory_dropout", "memory_length",
        "paper_table", "residual",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("study", [name for name in definition.shipped() if name != "memory_dropout"])
def test_every_ablation_that_ships_runs_at_its_smallest(
    study: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ablate", *arguments_of(study, tmp_path), "--seeds", "1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    declared = definition.read(definition.find(study), Ablation)
    rows = facts["tables"]["ablation"]["rows"]
    assert [row["variant"] for row in rows] == [declared.baseline, *(delta.name for delta in declared.all_deltas())]
    assert ("matched" in facts["tables"]) == (declared.match is not None)


@pytest.mark.slow
def test_the_search_that_ships_runs_at_its_smallest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*arguments_of("memory_dropout", tmp_path), "--trials", "2", "--set", "Search.confirm = 1",
                 "--set", "Search.confirm_seeds = 1", "--set", "memory = 64", "--json"]  # fmt: skip
    assert cli.main(["search", *arguments]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert sum(facts["trials"].values()) == 2
    assert set(facts["best"]["params"]) == {"SingleHead.memory", "dropout"}
