"""Finished cells that travel: written, rebuilt, taken by another study, and refused where they contradict."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import rnnlab
from rnnlab.errors import ConfigError
from rnnlab.storage.cells import append_cells, read_cells, write_cells
from rnnlab.studies.ablation.driver import _job, _write_definitions, run_ablation
from rnnlab.studies.ablation.known import say_what_is_known
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.processors import on_one_processor
from rnnlab.studies.ablation.table import TrainedVariant
from rnnlab.studies.launch.run import train_job
from rnnlab.studies.status import status
from tests.studies.small_studies import small_ablation

pytestmark = pytest.mark.slow  # whole runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two variants and two seeds, of which one cell is not trained; not to be changed."""
    plan = small_ablation(tmp_path_factory.mktemp("trained"))
    plan.folder.mkdir()
    _write_definitions(plan)
    for cell in plan.cells()[:3]:
        train_job(_job(plan, cell), lambda: None)
    plan.cells_file(plan.known())
    return plan.folder


@pytest.fixture
def here(trained: Path, tmp_path: Path) -> AblationPlan:
    """The same study in a folder of its own."""
    shutil.copytree(trained.parent, tmp_path, dirs_exist_ok=True)
    return small_ablation(tmp_path)


@pytest.fixture
def elsewhere(tmp_path: Path) -> AblationPlan:
    """The same study where nothing of it is trained."""
    (tmp_path / "other").mkdir()
    return small_ablation(tmp_path / "other")


def seeds(path: Path) -> list[tuple[str, int]]:
    return [(cell.variant, cell.seed) for _, cell in read_cells(path)]


DONE = [("baseline", 1), ("dropped", 1), ("baseline", 2)]


def test_the_file_is_made_from_the_folders_where_it_is_missing_or_cut_off(here: AblationPlan) -> None:
    path = here.folder / "cells.jsonl"
    whole = path.read_bytes()
    assert seeds(path) == DONE
    path.unlink()
    here.cells_file(here.known())
    assert path.read_bytes() == whole
    path.write_bytes(whole[:-30])  # killed while it wrote the third
    here.cells_file(here.known())
    assert path.read_bytes() == whole


def test_a_line_that_is_older_than_its_folder_is_replaced_and_foreign_lines_stay(here: AblationPlan) -> None:
    path = here.folder / "cells.jsonl"
    cells = [cell for _, cell in read_cells(path)]
    stale = replace(cells[0], result={**cells[0].result, "valid_bpc": 1.0})
    foreign = replace(cells[0], config_sha="0" * 64, variant="of before")
    write_cells(path, [stale, foreign])
    here.cells_file(here.known())
    assert [cell for _, cell in read_cells(path)] == [cells[0], foreign, *cells[1:]]


def test_cells_of_another_machine_are_not_trained_again(
    trained: Path, elsewhere: AblationPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained / "cells.jsonl"
    known = elsewhere.known([file])
    assert [(c.variant.name, c.seed) for c in elsewhere.cells() if known.is_done(c)] == DONE
    assert not elsewhere.folder.exists(), "looking writes nothing"
    say_what_is_known(elsewhere.known_tuning([file]), known)
    assert (
        f"{file}: 3 of 3 cells are taken as done: baseline (seeds 1, 2); dropped (seed 1)\n" in capsys.readouterr().err
    )
    elsewhere.folder.mkdir()
    elsewhere.cells_file(known)
    again = elsewhere.known()  # without the file, as it stands in the study's own
    assert {cell.seed for cell in again.told.values()} == {1, 2}
    result = json.loads(next(trained.glob("cells/baseline/seed-1-*/result.json")).read_text())
    baseline = elsewhere.cells()[0]
    reached = again.result(baseline)
    assert reached is not None
    assert {key: reached[key] for key in result} == result


@pytest.mark.long
def test_a_study_whose_cells_all_came_from_elsewhere_has_its_table(here: AblationPlan, elsewhere: AblationPlan) -> None:
    train_job(_job(here, here.cells()[3]), lambda: None)
    here.cells_file(here.known())
    facts, text = run_ablation(elsewhere, 1, [here.folder / "cells.jsonl"])
    assert facts["cells"] == {"trained": 0, "kept": 4}
    there, _ = status(here.folder)
    assert facts["tables"]["ablation"]["rows"] == there["tables"]["ablation"]["rows"]
    assert "Speed and memory" not in text


def test_a_cell_that_is_there_twice_with_different_results_is_refused_by_name(
    here: AblationPlan, elsewhere: AblationPlan, tmp_path: Path
) -> None:
    file, other = here.folder / "cells.jsonl", tmp_path / "other.jsonl"
    cell = read_cells(file)[1][1]
    append_cells(other, [replace(cell, result={**cell.result, "seconds": 99.0}, processor="another")])
    elsewhere.known([file, other])  # what it cost is no result
    changed = {**cell.result, "valid_bpc": 1.5}
    append_cells(other, [replace(cell, result=changed, versions={"rnnlab": "0.0.9", "torch": "2.0"})])
    told = (
        r"variant 'dropped' with seed 1 is there twice with different results: valid_bpc is .* in .*cells\.jsonl:2 .*"
    )
    with pytest.raises(ConfigError, match=told + r"and 1\.5 in .*other\.jsonl:2 \(rnnlab 0\.0\.9, torch 2\.0,"):
        elsewhere.known([file, other])
    with pytest.raises(ConfigError, match=r"'dropped' with seed 1 is there twice .*seed-1-.*other\.jsonl:2"):
        here.known([other])


def test_cells_of_other_texts_and_a_file_that_is_not_there(
    here: AblationPlan, elsewhere: AblationPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = [replace(cell, source_sha="0" * 64) for _, cell in read_cells(here.folder / "cells.jsonl")]
    append_cells(tmp_path / "other.jsonl", cells)
    known = elsewhere.known([tmp_path / "other.jsonl"])
    assert not known.told
    say_what_is_known(elsewhere.known_tuning([tmp_path / "other.jsonl"]), known)
    assert "0 of 3 cells are taken as done; the others are known, or are no cells of this" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="nowhere: there is no such file"):
        elsewhere.known([tmp_path / "nowhere"])
    with pytest.raises(ConfigError, match=r"is a folder; name the cells\.jsonl in it"):
        elsewhere.known([tmp_path])


def test_cells_of_another_version_are_said(
    here: AblationPlan, elsewhere: AblationPlan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = replace(read_cells(here.folder / "cells.jsonl")[0][1], versions={"rnnlab": "0.0.9", "torch": "2.0"})
    append_cells(tmp_path / "other.jsonl", [cell])
    say_what_is_known(elsewhere.known_tuning([tmp_path / "other.jsonl"]), elsewhere.known([tmp_path / "other.jsonl"]))
    err = capsys.readouterr().err
    assert f"cells of rnnlab 0.0.9, torch 2.0 are among them, and this is rnnlab {rnnlab.__version__}" in err


def variant(name: str, **by_processor: list[int]) -> TrainedVariant:
    figures = {"valid_bpc": 2.0, "bytes_per_second": 9.0, "peak_memory_mb": 5.0, "macs_per_byte": 7}
    ran = {seed: {**figures, "processor": processor} for processor, of in by_processor.items() for seed in of}
    return TrainedVariant(name, ran)


def test_speed_and_memory_are_of_one_processor_which_is_named() -> None:
    alone = [variant("base", a=[1, 2]), variant("other", a=[1, 2])]
    assert on_one_processor(alone) == (alone, [])
    mixed, notes = on_one_processor([variant("base", a=[1], b=[2, 3]), variant("other", a=[1], b=[2])])
    assert [[seed for seed, r in v.results.items() if "bytes_per_second" in r] for v in mixed] == [[2, 3], [2]]
    assert notes == [
        "Speed and memory are those of the cells on b; the cells ran on several processors (2 on a, 3 on b)."
    ]
    assert mixed[0].mean("macs_per_byte") == 7
    apart, notes = on_one_processor([variant("base", a=[1]), variant("other", b=[1])])
    assert [one.mean("bytes_per_second") for one in apart] == [None, None]
    assert "Speed and memory are left out" in notes[0]
