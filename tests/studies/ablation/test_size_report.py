"""The ladder of a study, from the cells that are done: what is predicted, when, and what the table says of it."""

import json
import math
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from rnnlab.errors import StorageError
from rnnlab.storage.cells import FinishedCell, Key
from rnnlab.studies.ablation import predictions
from rnnlab.studies.ablation.known import KnownCells
from rnnlab.studies.ablation.ladder import Extrapolation, predict
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.size_report import SizeLadder, size_ladder
from rnnlab.studies.status import status
from tests.latex import check
from tests.processes import begin
from tests.rnnlab.cli.commands import answer
from tests.studies.small_studies import small_ladder, wait_until, write_ladder

NOISE = {1: 0.02, 2: -0.01, 3: 0.0}


def reached(plan: AblationPlan, name: str, seed: int) -> float:
    """BPC by a law of its own for each variant."""
    size = next(one.size for one in plan.variants if one.name == name)
    return 9.0 * plan.sizes[size] ** -0.1 * (0.98 if name.startswith("dropped") else 1.0) + NOISE[seed]


def cells(plan: AblationPlan, done: Mapping[str, int], diverged: str = "") -> KnownCells:
    """The cells of so many seeds of each size, as `--with FILE` tells of them."""
    told: dict[Key, FinishedCell] = {}
    for cell in plan.cells():
        name, bpc = cell.variant.name, reached(plan, cell.variant.name, cell.seed)
        result = {"status": "diverged" if name == diverged else "done", "valid_bpc": bpc, "bytes_trained": 320}
        if cell.seed <= done.get(cell.variant.size, 0):
            told[cell.key] = FinishedCell(name, cell.seed, (), cell.key[0], cell.key[2], "", "cpu", {}, result)
    return KnownCells({}, told)


def made(plan: AblationPlan, known: KnownCells) -> SizeLadder:
    found = size_ladder(plan, known)
    assert found is not None
    return found


def test_the_prediction_is_kept_before_the_largest_and_measured_against_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = small_ladder(tmp_path)
    plan.folder.mkdir()
    smaller = cells(plan, {"8": 2, "16": 2})
    predictions.write_and_say(plan, smaller)
    largest = plan.sizes["24"]
    ladder = {plan.sizes[size]: {seed: reached(plan, f"dropped at {size}", seed) for seed in (1, 2)}
              for size in ("8", "16")}  # fmt: skip
    expected = predict(ladder, largest, 2)
    assert isinstance(expected, Extrapolation)
    assert predictions.read(plan)["dropped"].found == expected
    said = f"valid BPC of dropped at 24, {largest:,} parameters, predicted: {expected.predicted.mean:.3f} ± "
    assert said in capsys.readouterr().err

    row = made(plan, smaller).table().rows[1]
    assert (row["predicted"], row["largest"], row["measured"], row["miss"]) == (expected.predicted, largest, None, None)
    assert "No measurement of dropped at 24: 0 of 2 runs are done." in made(plan, smaller).table().notes
    half = cells(plan, {"8": 2, "16": 2, "24": 1})
    assert "No measurement of baseline at 24: 1 of 2 runs are done." in made(plan, half).table().notes

    whole = made(plan, cells(plan, {"8": 2, "16": 2, "24": 2})).table()
    measured = (reached(plan, "dropped at 24", 1) + reached(plan, "dropped at 24", 2)) / 2
    assert whole.rows[1]["miss"] == pytest.approx(measured - expected.predicted.mean)
    assert any(
        "Predicted before any run at 24 was done" in note and "baseline, dropped" in note for note in whole.notes
    )
    assert not any("No measurement" in note for note in whole.notes)


def test_a_prediction_stands_as_it_was_made_whatever_is_trained_later(tmp_path: Path) -> None:
    plan = small_ladder(tmp_path)
    plan.folder.mkdir()
    predictions.write_and_say(plan, cells(plan, {"8": 2, "16": 2}))
    file = plan.folder / predictions.PREDICTIONS
    before = file.read_bytes()
    more = plan.with_seeds(3)
    known = cells(more, {"8": 3, "16": 3, "24": 2})
    predictions.write_and_say(more, known)
    assert file.read_bytes() == before
    assert "The prediction of dropped stands as made, from 4 runs; there are 6 now." in made(more, known).table().notes
    first = predictions.read(plan)["baseline"].found
    assert made(more, known).found["baseline"] == first

    other = small_ladder(tmp_path, deltas={"dropped": ["dropout = 0.3"]})
    assert list(predictions.read(other)) == ["baseline"], "another delta has another prediction"


def test_a_law_that_was_fitted_afterwards_is_said_to_have_predicted_nothing(tmp_path: Path) -> None:
    plan = small_ladder(tmp_path)
    plan.folder.mkdir()
    whole = cells(plan, {"8": 2, "16": 2, "24": 2})
    assert "Fitted now, and not before 24 was trained: baseline, dropped." in made(plan, whole).table().notes
    predictions.write_and_say(plan, cells(plan, {"8": 2, "16": 2, "24": 1}))
    told = "The law of dropped was fitted when 1 run at 24 had ended: it predicted nothing."
    assert told in made(plan, whole).table().notes


def test_what_has_no_law_is_not_kept_so_that_it_may_be_predicted_later(tmp_path: Path) -> None:
    plan = small_ladder(tmp_path, seeds=1)
    plan.folder.mkdir()
    predictions.write_and_say(plan, cells(plan, {"8": 1, "16": 1}))
    assert not (plan.folder / predictions.PREDICTIONS).exists()
    notes = made(plan, cells(plan, {"8": 1, "16": 1})).table().notes
    assert "No law for baseline: 2 runs at 2 sizes leave nothing to estimate the scatter from." in notes


def test_a_run_that_diverged_at_the_largest_leaves_the_prediction(tmp_path: Path) -> None:
    plan = small_ladder(tmp_path)
    plan.folder.mkdir()
    predictions.write_and_say(plan, cells(plan, {"8": 2, "16": 2}))
    table = made(plan, cells(plan, {"8": 2, "16": 2, "24": 2}, diverged="dropped at 24")).table()
    assert table.rows[1]["measured"] is None
    assert table.rows[1]["predicted"] == predictions.read(plan)["dropped"].found.predicted
    assert "No measurement of dropped at 24: a run diverged." in table.notes
    assert "No growth for dropped: a run diverged." in table.notes


def test_two_sizes_have_no_law_and_yet_a_growth(tmp_path: Path) -> None:
    sizes = {str(dim): [f"LanguageModel.dim = {dim}", "Trainer.bytes = 320"] for dim in (8, 16)}
    plan = small_ladder(tmp_path, sizes=sizes)
    ladder = made(plan, cells(plan, {"8": 2, "16": 2}))
    notes = ladder.table().notes
    assert "No law for dropped: 2 sizes, and a law takes at least 3, the largest held out." in notes
    assert ladder.table().rows[1]["growth"] is not None
    assert len(ladder.plot().axes) == 2
    assert size_ladder(plan, cells(plan, {"8": 2})) is None


def test_a_damaged_prediction_is_told_with_its_file(tmp_path: Path) -> None:
    plan = small_ladder(tmp_path)
    plan.folder.mkdir()
    predictions.write_and_say(plan, cells(plan, {"8": 2, "16": 2}))
    file = plan.folder / predictions.PREDICTIONS
    told = json.loads(file.read_text())
    for one in told.values():
        del one["law"]
    file.write_text(json.dumps(told))
    with pytest.raises(StorageError, match=r"prediction\.json: not as it was written .*KeyError.*; move it away"):
        predictions.read(plan)


@pytest.mark.long
def test_a_ladder_is_predicted_interrupted_gone_on_with_and_told_elsewhere(tmp_path: Path) -> None:
    path, folder = write_ladder(tmp_path), tmp_path / "study"
    file = folder / predictions.PREDICTIONS
    arguments = ("ablate", path, "--run", folder, "--workers", "2", "--json", "--set", "Trainer.eval_every = 320")
    with begin(*arguments) as first:
        wait_until(file.exists)
        assert not list(folder.glob("cells/*-at-24/*/result.json")), "before the largest is trained"
        assert len(list(folder.glob("cells/*/*/result.json"))) == 8
        first.signal(signal.SIGTERM)
        code, _, err = first.finish()
    assert code == 143
    assert "valid BPC of baseline at 24, " in err
    kept = file.read_bytes()
    facts, text = status(folder)
    assert "an ablation of 2 variants x 3 sizes x 2 seeds\n12 cells: 8 done, " in text
    assert "the largest size held out" in text
    assert "measured" not in facts["tables"]["ladder"]["rows"][0] or (
        facts["tables"]["ladder"]["rows"][0]["measured"] is None
    )

    facts = json.loads(answer(*arguments))
    assert facts["cells"] == {"trained": 4, "kept": 8}
    assert file.read_bytes() == kept
    rows = facts["tables"]["ablation"]["rows"]
    assert [(row["size"], row["variant"], row["seeds"]) for row in rows] == [
        (size, name, 2) for size in ("8", "16", "24") for name in ("baseline", "dropped")
    ]
    assert [row["bytes_trained"] for row in rows[::2]] == [320, 640, 960]
    assert all(row["parameters"] == rows[2 * (i // 2)]["parameters"] for i, row in enumerate(rows))
    ladder = {row["variant"]: row for row in facts["tables"]["ladder"]["rows"]}
    stored = {one["variant"]: one for one in json.loads(kept).values()}
    for row in rows[4:]:
        one = ladder[row["variant"]]
        assert one["predicted"]["mean"] == stored[row["variant"]]["predicted"]["mean"]
        assert one["miss"] == pytest.approx(row["valid_bpc"]["mean"] - one["predicted"]["mean"])
    slopes = [row["difference"]["mean"] for row in rows[1::2]]
    sizes = [math.log2(row["parameters"]) for row in rows[1::2]]
    middle, mean = sum(sizes) / 3, sum(slopes) / 3
    slope = sum((x - middle) * (y - mean) for x, y in zip(sizes, slopes, strict=True))
    slope /= sum((x - middle) ** 2 for x in sizes)
    assert ladder["dropped"]["growth"]["mean"] == pytest.approx(slope)
    for stem in ("ablation", "ladder", "difference_24"):
        assert len(check((folder / f"{stem}.tex").read_text())) > 1
        assert (folder / f"{stem}.svg").stat().st_size > 1000

    arguments = ("ablate", path, "--run", tmp_path / "elsewhere", "--workers", "1", "--json", *arguments[-2:])
    told = json.loads(answer(*arguments, "--with", folder / "cells.jsonl"))
    assert told["cells"] == {"trained": 0, "kept": 12}
    assert told["tables"]["ablation"]["rows"] == rows
    assert "Fitted now, and not before 24 was trained: baseline, dropped." in told["tables"]["ladder"]["notes"]
    out = answer("compare", folder, "--out", tmp_path / "out")
    assert "dropped at 24" in out
    page = (tmp_path / "out" / "compare.html").read_text()
    assert "Size ladder" in page
    assert "the largest size held out" in page
