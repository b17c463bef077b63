"""Plans of studies of several sizes: what is crossed with what, in which order, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from rnnlab import cli
from rnnlab.errors import ConfigError
from rnnlab.studies.ablation.driver import _write_definitions
from rnnlab.studies.ablation.matching import costs
from rnnlab.studies.ablation.reopen import reopen_ablation
from tests.rnnlab.tiny_runs import write_text
from tests.studies.small_studies import DROPPED, OVERRIDES, small_ladder

SIZES = {str(dim): [f"LanguageModel.dim = {dim}", f"Trainer.bytes = {40 * dim}"] for dim in (8, 16, 24)}


def test_every_variant_is_there_at_every_size_with_its_budget_and_the_smallest_comes_first(tmp_path: Path) -> None:
    plan = small_ladder(tmp_path)
    told = [(one.name, one.size, one.config.value("LanguageModel.dim"), one.config.value("Trainer.bytes"))
            for one in plan.variants]  # fmt: skip
    assert told == [
        ("baseline at 8", "8", 8, 320), ("dropped at 8", "8", 8, 320),
        ("baseline at 16", "16", 16, 640), ("dropped at 16", "16", 16, 640),
        ("baseline at 24", "24", 24, 960), ("dropped at 24", "24", 24, 960),
    ]  # fmt: skip
    assert "Block.dropout = 0.2" in plan.variants[-1].bindings
    assert not any("dim" in binding for binding in plan.variants[-1].bindings), "it differs from its own baseline"
    assert dict(plan.sizes) == {one.size: costs(one.config)["parameters"] for one in plan.variants[::2]}
    assert plan.largest == "24"
    assert [one.name for one in plan.baselines] == ["baseline at 8", "baseline at 16", "baseline at 24"]


def test_all_seeds_of_a_size_come_before_the_next_size(tmp_path: Path) -> None:
    plan = small_ladder(tmp_path)
    order = [(cell.variant.size, cell.seed) for cell in plan.cells()]
    assert order == [(size, seed) for size in ("8", "16", "24") for seed in (1, 2) for _ in range(2)]
    assert len({cell.folder for cell in plan.cells()}) == 12
    assert {cell.folder for cell in plan.smaller().cells()} == {cell.folder for cell in plan.cells()[:8]}


def test_a_size_stands_at_the_parameters_of_its_baseline_whatever_its_variants_have(tmp_path: Path) -> None:
    plan = small_ladder(tmp_path, deltas={"none": ["attention/none"]})
    baseline, without = plan.variants[:2]
    assert costs(without.config)["parameters"] < costs(baseline.config)["parameters"] == plan.sizes["8"]


def test_a_budget_on_the_command_line_is_that_of_every_size(tmp_path: Path) -> None:
    plan = small_ladder(tmp_path, "Trainer.bytes = 480")
    assert {variant.config.value("Trainer.bytes") for variant in plan.variants} == {480}


def test_a_size_may_be_a_fragment_and_all_sizes_may_share_a_budget(tmp_path: Path) -> None:
    fragment = tmp_path / "wide.gin"
    fragment.write_text("LanguageModel.dim = 16\n")
    sizes = {"small": ["LanguageModel.dim = 8"], "wide": ["wide.gin"]}
    plan = small_ladder(tmp_path, sizes=sizes, bytes=320)
    assert [one.config.value("LanguageModel.dim") for one in plan.baselines] == [8, 16]
    assert {one.config.value("Trainer.bytes") for one in plan.variants} == {320}


def test_leave_one_out_is_made_at_every_size(tmp_path: Path) -> None:
    plan = small_ladder(tmp_path, design="leave_one_out", deltas={**DROPPED, "qrnn": ["core/qrnn"]})
    assert [one.name for one in plan.variants[:3]] == ["baseline at 8", "without dropped at 8", "without qrnn at 8"]


def test_a_plan_of_sizes_is_reopened_as_it_was(tmp_path: Path) -> None:
    plan = small_ladder(tmp_path)
    plan.folder.mkdir()
    _write_definitions(plan)
    again = reopen_ablation(plan.folder)
    assert again.sizes == plan.sizes
    assert [(cell.key, cell.folder) for cell in again.cells()] == [(cell.key, cell.folder) for cell in plan.cells()]


@pytest.mark.long
def test_the_plan_tells_the_parameters_and_the_budget_of_each_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = small_ladder(tmp_path)
    assert cli.main(["ablate", str(tmp_path / "study.gin"), "--run", str(tmp_path / "study"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "2 variants x 3 sizes x 2 seeds\n" in said
    assert f"  8: {plan.sizes['8']:,} parameters, 320 bytes\n" in said
    assert f"  24: {plan.sizes['24']:,} parameters, 960 bytes\n24 is trained last, and predicted before\n" in said
    assert "12 cells, 0 done, 12 to train\n7,680 bytes to train on" in said
    assert not (tmp_path / "study").exists()


PARITY = ["Trainer.source = @task.Parity", *OVERRIDES[1:-1]]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"sizes": {"8": SIZES["8"]}}, "at least 2, and 3 if the largest is to be predicted"),
        ({"sizes": {}}, "at least 2"),
        ({"sizes": {**SIZES, "32": []}}, "Ablation.sizes['32'] = []: a list of fragments and bindings is expected"),
        ({"sizes": {**SIZES, "32": "size/tiny"}}, "a list of fragments and bindings is expected"),
        ({"sizes": {**SIZES, "": ["LanguageModel.dim = 32"]}}, "a size has no name"),
        ({"sizes": {**SIZES, "32": ["LanguageModel.dim = 32"]}}, "Ablation.sizes['32'] binds no budget, and others do"),
        (
            {"sizes": {"8": ["LanguageModel.dim = 8"], "16": ["LanguageModel.dim = 16"]}},
            "Ablation.sizes['8']: no budget: bind Trainer.bytes in it, as in every size",
        ),
        ({"bytes": 640}, "Ablation.bytes is the budget of every size, and Ablation.sizes['24'] binds Trainer.bytes"),
        ({"tune": {"Muon.lr": [1e-3, 3e-3]}}, "Ablation.sizes with Ablation.tune: the settings of the largest"),
        ({"until": 0.1}, "Ablation.sizes with Ablation.until: seeds are added after looks"),
        ({"match": "parameters"}, "Ablation.sizes with Ablation.match: widths that are solved for have no ladder"),
        ({"design": "grid"}, "Ablation.sizes with Ablation.design = 'grid'"),
        ({"seeds": 20_000}, "6 variants make 120,000 runs"),
        (
            {"sizes": {"a": ["Muon.lr = 1e-3", "Trainer.bytes = 320"], "b": ["Muon.lr = 2e-3", "Trainer.bytes = 320"]}},
            "parameters both at 'a' and at 'b'",
        ),
        ({"sizes": {**SIZES, "8/2": SIZES["8"]}}, "'baseline at 8/2' holds a slash"),
        ({"sizes": {**SIZES, "wrong": ["LanguageModel.dmi = 8", "Trainer.bytes = 8"]}}, "Ablation.sizes['wrong']: "),
        ({"overrides": PARITY}, "a power law falls with size; bind Ablation.metric = 'valid_nats'"),
    ],
)
def test_sizes_that_make_no_ladder_are_refused_before_anything_runs(
    arguments: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        small_ladder(tmp_path, **arguments)
    assert told in str(caught.value)
    assert not (tmp_path / "study").exists()


def test_sizes_of_different_texts_make_no_ladder(tmp_path: Path) -> None:
    texts = {size: write_text(tmp_path, size=4000, seed=seed) for seed, size in enumerate(SIZES)}
    sizes = {size: [*items, f"File.path = {str(texts[size])!r}"] for size, items in SIZES.items()}
    overrides = ["Trainer.source = @corpus.File", *OVERRIDES[1:]]
    with pytest.raises(ConfigError, match="'8' and '16' are trained on different texts or tasks"):
        small_ladder(tmp_path, sizes=sizes, overrides=overrides)


def test_a_task_is_laddered_by_its_nats_with_steps_as_budgets(tmp_path: Path) -> None:
    sizes = {str(dim): [f"LanguageModel.dim = {dim}", f"Trainer.steps = {dim}"] for dim in (8, 16)}
    plan = small_ladder(tmp_path, overrides=PARITY, sizes=sizes, metric="valid_nats")
    assert [one.config.value("Trainer.steps") for one in plan.baselines] == [8, 16]
