"""The ablation table and its plot."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from rnnlab.errors import ConfigError, StorageError
from rnnlab.studies.ablation.table import TrainedVariant, ablation_table, cost_plot, write_table_and_plot
from rnnlab.views import tables
from rnnlab.views.intervals import Interval
from tests.latex import check

SHARED = {1: 0.02, 2: -0.03, 3: 0.01}  # what a seed does to every variant


def variant(
    name: str, bpc: float, *bindings: str, seeds: tuple[int, ...] = (1, 2, 3), **figures: Any
) -> TrainedVariant:
    results = {
        seed: {
            "status": "done",
            "valid_bpc": bpc + SHARED[seed] + 0.002 * (seed * sum(map(ord, name)) % 5),
            "test_bpc": bpc + SHARED[seed] - 0.025,
            "parameters": 3_412_736,
            "macs_per_byte": 3_900_000,
            "state_floats": 263_936,
            "bytes_per_second": 9000.0 + seed,
            "peak_memory_mb": 812.4,
            "protocol": {"batch_size": 8, "bptt": 256, "memory": 1024, "bytes_scored": 150_000},
            **figures,
        }
        for seed in seeds
    }
    return TrainedVariant(name, results, bindings)


def study() -> list[TrainedVariant]:
    return [
        variant("lstm", 2.61),
        variant("qrnn", 2.68, "Block.core = @core.QRNN", parameters=2_100_000, macs_per_byte=2_700_000),
        variant("gru", 2.60, "Block.core = @core.GRU", "GRU.layers = 2", macs_per_byte=3_300_000),
    ]


def test_the_table_holds_every_figure_of_every_variant() -> None:
    table = ablation_table(study(), "lstm")
    assert [row["variant"] for row in table.rows] == ["lstm", "qrnn", "gru"]
    baseline, qrnn, gru = table.rows
    assert baseline["difference"] is None
    assert qrnn["seeds"] == 3
    assert qrnn["parameters"] == 2_100_000
    assert qrnn["bytes_per_second"] == 9002.0
    assert qrnn["peak_memory_mb"] == 812.4
    assert gru["bindings"] == ("Block.core = @core.GRU", "GRU.layers = 2")
    assert isinstance(qrnn["difference"], Interval)
    assert qrnn["difference"].mean == pytest.approx(0.07, abs=0.003)
    assert isinstance(qrnn["p"], float)
    assert isinstance(qrnn["p_holm"], float)
    assert qrnn["p"] <= qrnn["p_holm"] < 0.01


def test_the_table_says_how_bpc_was_measured_and_how_many_comparisons_were_corrected_for() -> None:
    notes = " ".join(ablation_table(study(), "lstm").notes)
    assert "batch size 8, bptt 256, memory 1,024, 150,000 bytes scored" in notes
    assert "corrected for 2 comparisons" in notes


def test_the_table_has_the_sign_flip_test_and_says_the_least_it_can_reach() -> None:
    table = ablation_table(study(), "lstm")
    assert [row["p_flip"] for row in table.rows[:2]] == [None, 0.25], "three seeds, all on one side"
    (note,) = [note for note in table.notes if note.startswith("p (flip)")]
    assert note.endswith("it cannot be below 0.25 with 3 seeds.")
    assert "p (flip)" in tables.to_text(table)


def test_two_ways_of_measuring_are_pointed_out() -> None:
    odd = variant("odd", 2.5, protocol={"batch_size": 1, "bptt": 256, "memory": 1024, "bytes_scored": 150_000})
    notes = " ".join(ablation_table([*study(), odd], "lstm").notes)
    assert "Not the same everywhere: batch size; compare with care." in notes
    assert "batch size 1 or 8" in notes


def test_with_two_seeds_there_is_no_column_of_p_values_and_a_note_says_why() -> None:
    variants = [variant("lstm", 2.61, seeds=(1, 2)), variant("gru", 2.60, seeds=(1, 2))]
    table = ablation_table(variants, "lstm")
    text = tables.to_text(table)
    assert "p (Holm)" not in text
    assert "No p-value for gru: 2 seeds, and a paired t-test needs at least 3." in text
    assert "p_holm" in tables.to_csv(table).splitlines()[0]


@pytest.mark.parametrize("ending", [{"valid_bpc": None}, {"status": "diverged", "valid_bpc": 2.7}])
def test_a_diverged_seed_leaves_the_row_without_a_mean_and_says_so(ending: dict[str, Any]) -> None:
    """Whether or not it had been evaluated before it diverged."""
    broken = variant("broken", 2.7)
    broken.results[2].update(ending)  # type: ignore[attr-defined]
    table = ablation_table([*study(), broken], "lstm")
    assert table.rows[3]["valid_bpc"] is None
    assert "Δ BPC of broken is over seeds 1, 3; without 2, at which it diverged." in table.notes
    assert math.isnan(broken.scores("valid_bpc")[2])


def test_another_metric_can_be_compared() -> None:
    table = ablation_table(study(), "lstm", "test_bpc")
    assert "Test BPC" in tables.to_text(table)
    with pytest.raises(ConfigError, match="no metric 'loss'"):
        ablation_table(study(), "lstm", "loss")


def on_task(name: str, at_256: float, *bindings: str, **figures: Any) -> TrainedVariant:
    """A variant on parity, as its result files say it."""
    results = {
        seed: {
            "status": "done",
            "valid_accuracy": (at_256 + 1) / 2 + 0.01 * seed,
            "valid_nats": 0.5 - at_256 / 2 + 0.01 * seed,
            "valid_chance": 0.5,
            "valid_protocol": {"batch_size": 64, "bptt": 64, "memory": None, "examples": 512, "answers": 512},
            "test_accuracy": (at_256 + 1) / 2 + SHARED[seed],
            "test_chance": 0.375,
            "test_by": [
                {"length": 40, "accuracy": 1.0, "nats": 0.001, "chance": 0.5, "examples": 1024, "answers": 1024},
                {"length": 256, "accuracy": at_256 + SHARED[seed], "nats": 0.69, "chance": 0.25, "examples": 900,
                 "answers": 900},
            ],
            "task": {"name": "Parity", "difficulty": "length", "judged": "last"},
            "parameters": 99_000,
            "macs_per_byte": 120_000,
            "bytes_per_second": 75_000.0,
            "protocol": {"batch_size": 64, "bptt": 64, "memory": None, "examples": 4096, "answers": 4096},
            **figures,
        }
        for seed in SHARED
    }  # fmt: skip
    return TrainedVariant(name, results, bindings)


def test_of_a_task_accuracy_at_one_difficulty_is_compared_and_more_is_better() -> None:
    # a qrnn at chance whose seeds do not move as the baseline's do
    qrnn = on_task("qrnn", 0.45, "Block.core = @core.QRNN")
    for seed, shift in {1: 0.004, 2: -0.003, 3: 0.002}.items():
        qrnn.results[seed]["test_by"][1]["accuracy"] = 0.45 + SHARED[seed] + shift
    table = ablation_table([on_task("lstm", 0.95), qrnn], "lstm", "test_accuracy@256")
    assert table.title == "Ablation against lstm: test accuracy at 256"
    headings = [column.heading for column in table.visible()]
    assert headings[2:5] == ["Test accuracy at 256", "Chance", "Δ accuracy"]
    assert {"MACs/position", "Positions/s"} <= set(headings)
    assert not any("BPC" in text or "yte" in text for text in [table.title, *headings, *table.notes])
    lstm, row = table.rows
    assert isinstance(lstm["test_accuracy@256"], Interval)
    assert lstm["test_accuracy@256"].mean == pytest.approx(0.95)
    assert lstm["chance"] == 0.25
    assert isinstance(row["difference"], Interval)
    assert row["difference"].mean == pytest.approx(-0.5, abs=0.002)
    assert isinstance(row["p"], float)
    assert row["p"] < 0.001
    assert "Δ accuracy: mean difference to lstm, paired by seed; above zero is better than lstm." in table.notes
    assert table.notes[-1] == (
        "Test accuracy at 256 over 900 answers of 900 examples a run, with memory none. "
        "All seeds share these examples; another draw of them moves an accuracy by at most ±0.033 (95%)."
    )


def at_chance(accuracies: tuple[float, float, float]) -> TrainedVariant:
    """A variant of parity whose valid accuracy, of 512 examples, is about one half."""
    made = on_task("lost", 0.3)
    for seed, accuracy in zip(made.results, accuracies, strict=True):
        made.results[seed]["valid_accuracy"] = accuracy  # type: ignore[index]
    return made


@pytest.mark.parametrize(
    ("accuracies", "is_at"),
    [
        ((0.49, 0.51, 0.505), True),
        ((0.48, 0.9, 0.49), True),  # the mean is far above, but its interval reaches down to chance
        ((0.53, 0.53, 0.53), True),  # one answer to everything: no interval, but within the draw of 512 examples
        ((0.40, 0.41, 0.42), True),  # worse than chance is no better
        ((0.60, 0.61, 0.605), False),
    ],
)
def test_a_variant_that_is_not_told_apart_from_chance_is_marked_and_its_p_too(
    accuracies: tuple[float, float, float], is_at: bool
) -> None:
    table = ablation_table([on_task("lstm", 0.95), at_chance(accuracies)], "lstm", "valid_accuracy")
    assert [row["at_floor"] for row in table.rows] == [False, is_at]
    text, notes = tables.to_text(table), " ".join(table.notes)
    (line,) = [line for line in text.splitlines() if line.startswith("lost")]
    p = table.rows[1]["p"]
    assert line.count("†") == (1 + 3 * (p is not None)) * is_at  # of t, after Holm, and of flipped signs
    assert ("† not told apart from chance (95%): lost." in notes) == is_at
    assert "Chance: accuracy of the best constant answer." in notes


def test_of_a_text_the_entropy_of_single_bytes_is_the_floor() -> None:
    variants = [variant("lstm", 2.6, valid_unigram_bpc=4.5), variant("stuck", 4.5, valid_unigram_bpc=4.5)]
    table = ablation_table(variants, "lstm")
    assert [row["unigram_bpc"] for row in table.rows] == [4.5, 4.5]
    assert [row["at_floor"] for row in table.rows] == [False, True]
    assert "Single bytes" in tables.to_text(table)
    assert "dagger" in tables.to_latex(table)
    axis = cost_plot(variants, "lstm").axes[0]
    assert "entropy of single bytes" in {text.get_text() for text in axis.texts}


def test_runs_that_do_not_know_their_floor_have_no_column_of_it() -> None:
    table = ablation_table(study(), "lstm")
    assert "Single bytes" not in tables.to_text(table)
    assert "†" not in tables.to_text(table)


def test_notes_explain_no_column_that_is_absent() -> None:
    one_seed = ablation_table([variant("lstm", 2.6, seeds=(1,)), variant("gru", 2.5, seeds=(1,))], "lstm")
    assert not any("±" in note or note.startswith("p:") for note in one_seed.notes)
    assert "±" not in tables.to_text(one_seed)
    unpaired = ablation_table([variant("lstm", 2.6, seeds=(1,)), variant("gru", 2.5, seeds=(2,))], "lstm")
    assert "Δ" not in tables.to_text(unpaired)


def test_two_variants_that_are_equal_for_every_seed_have_no_p_and_a_note_says_why() -> None:
    twin = TrainedVariant("twin", variant("lstm", 2.61).results)
    table = ablation_table([variant("lstm", 2.61), twin], "lstm")
    assert table.rows[1]["p"] is None
    assert "No p-value for twin: the difference is the same for every seed." in table.notes
    assert not any(note.startswith("p:") for note in table.notes)


def test_the_latex_of_a_study_holds_against_a_strict_reader() -> None:
    hostile = variant("50% & _x_ {y} \\\\ $", 2.7, "File.path = 'C:\\\\a_b~c^d'", "QRNN.window = 2 # not ~")
    rows = check(tables.to_latex(ablation_table([*study(), hostile], "lstm")))
    assert len(rows) == 1 + 4 + 5
    assert rows[0][0] == "Variant"


def test_nats_of_a_task_have_no_chance_and_less_is_better() -> None:
    table = ablation_table([on_task("lstm", 0.95), on_task("qrnn", 0.45)], "lstm", "valid_nats")
    assert "Chance" not in [column.title for column in table.columns]
    assert "Δ nats: mean difference to lstm, paired by seed; below zero is better than lstm." in table.notes
    assert "Valid nats over 512 answers of 512 examples a run, with memory none." in table.notes


@pytest.mark.parametrize(
    ("metric", "chance"), [("test_accuracy", 0.375), ("valid_accuracy", 0.5), ("test_accuracy@40", 0.5)]
)
def test_chance_is_that_of_what_was_scored(metric: str, chance: float) -> None:
    assert ablation_table([on_task("lstm", 0.95)], "lstm", metric).rows[0]["chance"] == chance


def test_variants_that_were_scored_on_different_examples_are_pointed_out() -> None:
    few = {"batch_size": 64, "bptt": 64, "memory": 16, "examples": 8, "answers": 8}
    table = ablation_table([on_task("lstm", 0.95), on_task("few", 0.9, protocol=few)], "lstm", "test_accuracy")
    assert table.notes[-1] == (
        "Test accuracy over 8 or 4,096 answers of 8 or 4,096 examples a run, with memory 16 or none. "
        "Not the same everywhere: answers, examples; compare with care."
    )


def test_the_plot_of_a_task_names_accuracy_and_positions() -> None:
    (axis,) = cost_plot([on_task("lstm", 0.95), on_task("qrnn", 0.45)], "lstm", "test_accuracy").axes
    assert axis.get_xlabel() == "MACs per position"
    assert axis.get_ylabel() == "Test accuracy [fraction], mean and 95% interval"


def test_two_variants_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two variants are called 'lstm'"):
        ablation_table([variant("lstm", 2.6), variant("lstm", 2.7)], "lstm")


@pytest.mark.slow
def test_the_report_writes_five_tables_and_two_pictures_that_agree(tmp_path: Path) -> None:
    _, paths = write_table_and_plot(study(), "lstm", tmp_path / "out")
    assert sorted(path.suffix for path in paths) == [".csv", ".json", ".md", ".png", ".svg", ".tex", ".txt"]
    assert all(path.stat().st_size > 0 for path in paths)
    by_suffix = {path.suffix: path for path in paths}
    rows = list(csv.DictReader(io.StringIO(by_suffix[".csv"].read_text(encoding="utf-8"))))
    answer = json.loads(by_suffix[".json"].read_text(encoding="utf-8"))
    assert [float(row["valid_bpc_low"]) for row in rows] == [row["valid_bpc"]["low"] for row in answer["rows"]]
    assert rows[2]["bindings"] == "Block.core = @core.GRU; GRU.layers = 2"
    assert by_suffix[".png"].read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_same_study_gives_the_same_files(tmp_path: Path) -> None:
    first, second = (write_table_and_plot(study(), "lstm", tmp_path / name)[1] for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StorageError, match="taken"):
        write_table_and_plot(study(), "lstm", tmp_path / "taken")


def test_the_plot_names_its_axes_and_every_variant_that_has_a_result() -> None:
    figure = cost_plot([*study(), variant("unpriced", 2.6, macs_per_byte=None)], "lstm")
    (axis,) = figure.axes
    assert axis.get_xlabel() == "MACs per byte"
    assert "bits/byte" in axis.get_ylabel()
    assert [text.get_text() for text in axis.texts] == ["lstm (baseline)", "qrnn", "gru"]


def test_the_plot_against_the_state_counts_floats() -> None:
    variants = [*study(), variant("uncounted", 2.6, state_floats=None), variant("none", 2.7, state_floats=0)]
    (axis,) = cost_plot(variants, "lstm", cost="state_floats").axes
    assert axis.get_xlabel() == "State [floats]"
    assert [text.get_text() for text in axis.texts] == ["lstm (baseline)", "qrnn", "gru", "none"]


@pytest.mark.slow
def test_names_that_matplotlib_would_interpret_are_drawn_as_they_are(tmp_path: Path) -> None:
    names = ["lstm", "_hidden", "$x^{", "日本", "a\nb\x1b[31m"]
    variants = [variant(name, 2.6 + 0.01 * i, macs_per_byte=1000 * (i + 1)) for i, name in enumerate(names)]
    assert len(write_table_and_plot(variants, "lstm", tmp_path)[1]) == 7
