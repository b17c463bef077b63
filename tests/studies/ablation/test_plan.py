"""Plans of ablations: what a delta must prove, the designs, and matched costs."""

from pathlib import Path
from typing import Any

import pytest

from rnnlab.config import diff
from rnnlab.errors import ConfigError
from rnnlab.studies.ablation.matching import costs
from tests.sampled import sampled
from tests.studies.small_studies import OVERRIDES, small_ablation


def write_fragment(folder: Path, name: str, *lines: str) -> str:
    path = folder / f"{name}.gin"
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_variant_lists_the_bindings_that_differ_once_all_is_resolved(tmp_path: Path) -> None:
    baseline, dropped, swapped, removed = small_ablation(
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
    _, dropped = small_ablation(tmp_path).variants
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
        small_ablation(tmp_path, deltas=deltas)
    assert told in str(caught.value)
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("name", ["n" * 300, "a/b", "..", "-a", "a\n", "Dropped"])
def test_the_name_of_a_variant_that_no_folder_should_have_is_refused_with_its_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/study\.gin: the names? ") as caught:
        small_ablation(tmp_path, deltas={"dropped": ["dropout = 0.2"], name: ["core/qrnn"]})
    assert repr(name)[:40] in str(caught.value)
    assert not (tmp_path / "study").exists()


def test_the_cell_of_a_grid_whose_name_gets_too_long_is_refused(tmp_path: Path) -> None:
    deltas = {"a" * 60: ["dropout = 0.2"], "b" * 60: ["core/qrnn"]}
    assert len(small_ablation(tmp_path, deltas=deltas).variants) == 3
    with pytest.raises(ConfigError, match=r"has 123 bytes, more than 100"):
        small_ablation(tmp_path, deltas=deltas, design="grid")


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
        small_ablation(tmp_path, deltas={"qrnn": ["core/qrnn"]})
    _, said = small_ablation(tmp_path, deltas={"qrnn": ["core/qrnn", "Muon.lr = 1e-3"]}).variants
    assert said.bindings == ("Block.core = @core.QRNN", "optimizer.Muon.lr = 0.001")


def test_a_file_of_the_user_says_what_it_binds(tmp_path: Path) -> None:
    name = write_fragment(tmp_path, "mine", "Block.core = @core.QRNN", "Muon.lr = 1e-3")
    _, mine = small_ablation(tmp_path, deltas={"mine": [name]}).variants
    assert mine.bindings == ("Block.core = @core.QRNN", "optimizer.Muon.lr = 0.001")


def test_what_a_variant_leaves_of_the_base_without_effect_is_no_mistake(tmp_path: Path) -> None:
    _, removed = small_ablation(tmp_path, "memory = 32", deltas={"removed": ["attention/none"]}).variants
    assert "sha/Block.attention = None" in removed.bindings
    with pytest.raises(ConfigError, match="memroy"):
        small_ablation(tmp_path, "memroy = 32", deltas={"removed": ["attention/none"]})


THREE = {"qrnn": ["core/qrnn"], "no head": ["attention/none"], "dropped": ["Block.dropout = 0.2"]}


def test_leave_one_out_starts_from_all_deltas_and_takes_one_back_at_a_time(tmp_path: Path) -> None:
    full, *without = small_ablation(tmp_path, deltas=THREE, design="leave_one_out").variants
    assert full.config.value("Block.core").selector == "core.QRNN"
    assert full.config.value("sha/Block.attention") is None
    assert [variant.name for variant in without] == ["without qrnn", "without no head", "without dropped"]
    assert without[0].bindings == ("Block.core = @core.LSTM",)
    assert without[2].bindings == ("Block.dropout = 0.0",)


def test_a_grid_has_every_combination_and_levels_of_a_factor_exclude_each_other(tmp_path: Path) -> None:
    deltas = {"core": {"qrnn": ["core/qrnn"], "gru": ["core/gru"]}, "dropped": ["Block.dropout = 0.2"]}
    names = [variant.name for variant in small_ablation(tmp_path, deltas=deltas, design="grid").variants]
    assert names == ["baseline", "dropped", "qrnn", "qrnn + dropped", "gru", "gru + dropped"]
    with pytest.raises(ConfigError, match="qrnn, gru exclude each other"):
        small_ablation(tmp_path, deltas=deltas, design="leave_one_out")


def test_every_variant_has_the_same_seeds_counted_up_from_that_of_the_base(tmp_path: Path) -> None:
    made = small_ablation(tmp_path, "Trainer.seed = 7", seeds=3)
    assert made.seeds == [7, 8, 9]
    cells = made.cells()
    assert [(cell.variant.name, cell.seed) for cell in cells[:2]] == [("baseline", 7), ("dropped", 7)]
    assert len({cell.folder for cell in cells}) == 6
    for cell in cells:
        assert cell.folder.name.startswith(f"seed-{cell.seed}-")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"seeds": 0}, "Ablation.seeds = 0: at least 1"),
        ({"seeds": 10**9}, "2 variants make 2,000,000,000 runs, more than 100,000"),
        ({"seeds": 1, "design": "grid", "deltas": {str(i): ["core/qrnn"] for i in range(17)}}, "131,072 variants"),
        ({"design": "all"}, "design takes"),
        ({"match": "flops"}, "match takes"),
        ({"widths": {"qrnn": "QRNN.width"}}, "Ablation.widths names 'qrnn'"),
        ({"bytes": None}, "--bytes N"),
    ],
)
def test_an_ablation_that_cannot_run_is_refused_in_words(arguments: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        small_ablation(tmp_path, **arguments)
    assert told in str(caught.value)


PARITY = ["Trainer.source = @task.Parity", *OVERRIDES[:-1]]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"metric": "valid_accuracy"}, "runs on corpus.File have valid_bpc, best_valid_bpc, test_bpc"),
        ({"metric": "bpc"}, "no metric 'bpc'"),
        ({"steps": 5}, "one budget"),
        ({"steps": 5, "bytes": None}, "runs on corpus.File are compared at equal bytes"),
        ({"overrides": PARITY, "metric": "valid_bpc"}, "runs on task.Parity have valid_accuracy"),
        ({"overrides": PARITY, "metric": "test_accuracy@99"}, "tested at length 40, 64, 128, 256"),
        (
            {"overrides": PARITY, "bytes": None, "steps": 5, "deltas": {"wide": ["Trainer.batch_size = 4"]}},
            "variant 'wide': Trainer.batch_size is 4 and the baseline's 2, so equal steps read unequal positions",
        ),
        (
            {"overrides": PARITY, "deltas": {"text": ["Trainer.source = @corpus.PythonStdlib"]}},
            "variant 'text': Ablation.metric = 'valid_accuracy': runs on corpus.PythonStdlib have valid_bpc",
        ),
    ],
)
def test_what_the_source_does_not_have_is_refused_before_anything_runs(
    arguments: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        small_ablation(tmp_path, **arguments)
    assert told in str(caught.value)
    assert not (tmp_path / "study").exists()


@pytest.mark.slow
@pytest.mark.parametrize("cost", sampled(["parameters", "macs"], ("macs",)))
def test_variants_are_matched_within_a_percent_by_the_width_that_is_named(cost: str, tmp_path: Path) -> None:
    made = small_ablation(
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
    made = small_ablation(tmp_path, match="parameters")
    assert made.matched[1].config.text == made.variants[1].config.text
    assert len(made.cells()) == 4


@pytest.mark.slow
def test_a_width_that_cannot_match_is_refused_with_the_nearest(tmp_path: Path) -> None:
    arguments = {"deltas": {"every layer": ["place/every"]}, "match": "parameters"}
    with pytest.raises(ConfigError, match=r"MultiHead\.heads"):
        small_ablation(tmp_path, **arguments, widths={"every layer": "MultiHead.heads"})
    with pytest.raises(
        ConfigError, match=r"'every layer' cannot match .* by LanguageModel\.dim: the nearest is \d+, [+-]"
    ):
        small_ablation(tmp_path, **arguments)


GRID = {"core": {"qrnn": ["core/qrnn"], "gru": ["core/gru"]}, "dropped": ["dropout = 0.2"]}


def test_a_variant_of_a_grid_knows_the_level_of_each_factor(tmp_path: Path) -> None:
    plan = small_ablation(tmp_path, deltas=GRID, design="grid", levels={"core": "lstm"})
    assert plan.ablation.levels_by_factor() == {"core": ("lstm", "qrnn", "gru"), "dropped": ("base", "dropped")}
    assert {variant.name: variant.levels for variant in plan.variants} == {
        "baseline": ("lstm", "base"),
        "dropped": ("lstm", "dropped"),
        "qrnn": ("qrnn", "base"),
        "qrnn + dropped": ("qrnn", "dropped"),
        "gru": ("gru", "base"),
        "gru + dropped": ("gru", "dropped"),
    }


def test_where_every_level_has_a_name_a_variant_is_called_by_all_of_its_own(tmp_path: Path) -> None:
    named = {"core": "lstm", "dropped": "kept"}
    plan = small_ablation(tmp_path, deltas=GRID, design="grid", levels=named, baseline="lstm, kept")
    assert [variant.name for variant in plan.variants] == [
        "lstm, kept", "lstm, dropped", "qrnn, kept", "qrnn, dropped", "gru, kept", "gru, dropped"
    ]  # fmt: skip


def test_some_variants_of_a_study_are_trained_as_they_are_in_the_whole(tmp_path: Path) -> None:
    named = {"core": "lstm", "dropped": "kept"}
    whole = small_ablation(tmp_path, deltas=GRID, design="grid", levels=named, baseline="lstm, kept")
    some = small_ablation(
        tmp_path,
        deltas=GRID,
        design="grid",
        levels=named,
        baseline="lstm, kept",
        only=["gru, dropped", "lstm, dropped"],
    )
    names = ["lstm, kept", "lstm, dropped", "gru, dropped"]
    assert [variant.name for variant in some.variants] == names, "in the order of the study, the baseline first"
    assert {cell.key for cell in some.cells()} == {c.key for c in whole.cells() if c.variant.name in names}
    with pytest.raises(ConfigError, match="no variant is called 'sru, kept'; there are lstm, dropped; qrnn, kept;"):
        small_ablation(tmp_path, deltas=GRID, design="grid", levels=named, baseline="lstm, kept", only=["sru, kept"])
    with pytest.raises(ConfigError, match="no variant is called ''"):
        small_ablation(tmp_path, deltas=GRID, design="grid", only=[])


def test_variants_that_were_matched_keep_their_levels(tmp_path: Path) -> None:
    plan = small_ablation(tmp_path, "LanguageModel.dim = 64", deltas={"core": {"qrnn": ["core/qrnn"]}}, design="grid",
                          match="parameters")  # fmt: skip
    assert [variant.levels for variant in plan.matched] == [("base",), ("qrnn",)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"levels": {"core": "lstm"}, "design": "one_at_a_time"}, "only a grid has levels"),
        ({"levels": {"cores": "lstm"}}, "names 'cores', which is no factor; there are core, dropped"),
        ({"levels": {"core": "gru"}}, "two of its levels are called 'gru'"),
        ({"levels": {"core": ""}}, "the name of a level is expected"),
        ({"deltas": {"core": {"base": ["core/qrnn"]}}}, "two of its levels are called 'base'"),
    ],
)
def test_names_of_levels_that_mean_nothing_are_refused(arguments: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        small_ablation(tmp_path, **{"deltas": GRID, "design": "grid", **arguments})
    assert told in str(caught.value)
