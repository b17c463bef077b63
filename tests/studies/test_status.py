"""How a study or a run stands, as those see it who only look."""

import json
import os
import shutil
from pathlib import Path

import pytest

from rnnlab import cli
from rnnlab.errors import ConfigError, StorageError
from rnnlab.locks import locked_folder
from rnnlab.studies.ablation.driver import _job, _write_definitions
from rnnlab.studies.launch.run import train_job
from rnnlab.studies.standing import standing
from rnnlab.studies.status import status
from tests.studies.small_studies import search_in, small_ablation


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ablation of which two cells are done and two wait; not to be changed."""
    plan = small_ablation(tmp_path_factory.mktemp("status"))
    plan.folder.mkdir()
    _write_definitions(plan)
    for cell in plan.cells()[:2]:
        train_job(_job(plan, cell), lambda: None)
    return plan.folder


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_an_ablation_tells_what_is_done_and_what_waits_and_shows_its_table(study: Path, tmp_path: Path) -> None:
    before = tree(study)
    facts, text = status(study)
    assert tree(study) == before, "nothing is written"
    assert facts["cells"] == {"done": 2, "running": 0, "interrupted": 0, "failed": 0, "waiting": 2}
    assert facts["seconds_left"] > 0
    assert [row["seeds"] for row in facts["tables"]["ablation"]["rows"]] == [1, 1]
    assert text.startswith(f"{study}: an ablation of 2 variants x 2 seeds\n4 cells: 2 done, 2 waiting\n")
    next(study.parent.glob("text-*"))  # the text is there, and is not needed:
    alone = tmp_path / "moved"
    shutil.copytree(study, alone)
    assert status(alone)[0]["cells"] == facts["cells"]


def test_runs_that_run_and_those_that_were_interrupted_are_told_apart(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    run = next(folder.glob("cells/dropped/seed-1-*"))
    (run / "result.json").unlink()
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join(lines[: len(lines) // 2]))
    (run / "lock").write_text(f"process {2**22 + 1} on {os.uname().nodename}\n")  # one that died
    facts, text = status(folder)
    assert (facts["cells"]["interrupted"], facts["cells"]["done"]) == (1, 1)
    assert "dropped, seed 1: interrupted at step " in text
    with locked_folder(run):
        facts, text = status(folder)
        one = standing(run)
    assert facts["cells"]["running"] == 1
    assert one.fraction is not None
    assert 0 < one.fraction < 1
    assert one.steps == 20, "640 bytes, 2 sequences of 16 a step"
    assert f"running at step {one.step} of about 20 ({100 * one.fraction:.0f}%), by process {os.getpid()}" in text


def test_a_run_alone_and_what_is_neither(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = next(study.glob("cells/baseline/seed-1-*"))
    assert cli.main(["status", str(run), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["state"], facts["step"], facts["fraction"]) == ("done", 20, 1.0)
    with pytest.raises(ConfigError, match="is no study and no run; name the folder of"):
        status(tmp_path)
    with pytest.raises(ConfigError, match="there is no such folder"):
        status(tmp_path / "nowhere")


def test_a_plan_that_is_missing_or_damaged_is_told_with_its_file(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    (folder / "plan.json").write_text('{"variants": [3]}')
    with pytest.raises(StorageError, match=r"plan\.json: not the plan of an ablation .*writes it anew"):
        status(folder)
    (folder / "plan.json").unlink()
    with pytest.raises(StorageError, match=r"plan\.json: not there"):
        status(folder)


@pytest.mark.slow
def test_a_search_tells_its_trials_and_shows_them(tmp_path: Path) -> None:
    plan = search_in(tmp_path, trials=2, workers=1)
    before = tree(plan.folder)
    facts, text = status(plan.folder)
    assert tree(plan.folder) == before
    assert facts["trials"] == {"done": 2, "running": 0, "interrupted": 0, "failed": 0, "waiting": 0}
    assert len(facts["tables"]["trials"]["rows"]) == 2
    assert "a search of 2 trials\n2 trials: 2 done\n" in text
    (plan.folder / "study.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(StorageError, match=r"study\.db: not there; a search with --storage"):
        status(plan.folder)
