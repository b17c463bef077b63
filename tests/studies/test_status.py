"""How a study or a run stands, as those see it who only look."""

import json
import os
import shutil
from pathlib import Path

import optuna
import pytest

from rnnlab import cli
from rnnlab.errors import ConfigError, RnnlabError, StorageError
from rnnlab.locks import locked_folder
from rnnlab.studies.ablation import seen
from rnnlab.studies.ablation.driver import _job, _write_definitions, run_ablation
from rnnlab.studies.ablation.failures import FAILURES, Failures
from rnnlab.studies.launch.launcher import Check, Job
from rnnlab.studies.launch.process import process_identity
from rnnlab.studies.launch.run import train_job
from rnnlab.studies.search.ahead import forecast_search
from rnnlab.studies.search.database import Release, SharedStudy, run_one_trial
from rnnlab.studies.search.driver import run_search
from rnnlab.studies.search.objective import _plan_of
from rnnlab.studies.search.plan import create_or_resume, plan_search
from rnnlab.studies.standing import standing
from rnnlab.studies.status import status
from tests.studies.small_studies import search_in, small_ablation, small_search, watch_study, write_study


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


@pytest.mark.long
def test_a_search_tells_its_trials_and_shows_them(tmp_path: Path) -> None:
    plan = search_in(tmp_path, trials=2, workers=1)
    before = tree(plan.folder)
    facts, text = status(plan.folder)
    assert tree(plan.folder) == before
    assert facts["trials"] == {"done": 2, "running": 0, "interrupted": 0, "failed": 0, "waiting": 0}
    assert len(facts["tables"]["trials"]["rows"]) == 2
    assert "a search of 2 trials\n2 trials: 2 done\n" in text
    (plan.folder / "study.db").rename(tmp_path / "elsewhere.db")
    with pytest.raises(StorageError, match=r"study\.db: not there; if the search was begun with --storage URL: "):
        status(plan.folder)


@pytest.mark.long
def test_tuning_is_told_as_a_stage_of_its_own_and_then_what_it_has_chosen(tmp_path: Path) -> None:
    plan = small_ablation(tmp_path, tune={"Muon.lr": [1e-3, 1e-2]}, seeds=1, bytes=64)
    plan.folder.mkdir()
    _write_definitions(plan)
    facts, text = status(plan.folder)
    assert (facts["tuning"], facts["chosen"]) == ({"done": 0, "waiting": 4}, None)
    assert "\ntuning: 0 of 4 runs done, 4 waiting\n2 cells: 0 done, 2 waiting\n" in text
    for cell in plan.tuning_cells()[:3]:
        train_job(_job(plan, cell), lambda: None)
    before = tree(plan.folder)
    facts, text = status(plan.folder)
    assert tree(plan.folder) == before, "nothing is written"
    assert (facts["tuning"], facts["cells"]["waiting"]) == ({"done": 3, "waiting": 1}, 2)
    assert facts["seconds_left"] > 0
    assert "\ntuning: 3 of 4 runs done, 1 waiting\n" in text
    rows = facts["tables"]["tuning"]["rows"]
    assert [(row["variant"], row["setting"], row["seeds"]) for row in rows] == [
        ("baseline", "Muon.lr = 0.001", 1), ("baseline", "Muon.lr = 0.01", 1), ("dropped", "Muon.lr = 0.001", 1),
    ]  # fmt: skip
    train_job(_job(plan, plan.tuning_cells()[3]), lambda: None)
    tuned = plan.tuned()
    assert tuned is not None
    for tuned_file in (False, True):  # before and after the study has written its settings down
        if tuned_file:
            _write_definitions(tuned)
            train_job(_job(tuned, tuned.cells()[0]), lambda: None)
        facts, text = status(plan.folder)
        assert facts["chosen"] == {one.name: list(one.shown_setting) for one in tuned.variants}
        chosen = "; ".join(f"{one.name} at {one.shown_setting[0]}" for one in tuned.variants)
        assert f"\ntuning: 4 of 4 runs; chosen: {chosen}\n" in text
        assert facts["cells"]["done"] == int(tuned_file)
    (row,) = facts["tables"]["ablation"]["rows"]
    assert row["tuned"] == tuned.variants[0].shown_setting[0]
    assert any(note.startswith("Tuned: each variant is compared") for note in facts["tables"]["ablation"]["notes"])


@pytest.mark.long
def test_a_study_with_planned_looks_tells_its_look_and_how_wide_the_interval_is(tmp_path: Path) -> None:
    plan = small_ablation(tmp_path, seeds=3, until=1e-9, most_seeds=5, bytes=64)
    plan.folder.mkdir()
    _write_definitions(plan)
    facts, text = status(plan.folder)
    assert "an ablation of 2 variants x 3 to 5 seeds\nlook 1 of at most 2: 3 seeds; no interval yet" in text
    assert facts["cells"]["waiting"] == 6

    def train(count: int) -> None:
        for cell in plan.with_seeds(count).cells():
            train_job(_job(plan, cell), lambda: None)

    def take(seeds: int) -> None:
        seen.write(plan, seen.open_plan(plan).with_look(seeds, is_planned=True))

    train(3)
    take(3)
    before = tree(plan.folder)
    facts, text = status(plan.folder)
    assert tree(plan.folder) == before
    assert (facts["look"]["number"], facts["look"]["seeds"], facts["look"]["taken"]) == (2, 5, [3])
    assert facts["cells"] == {"done": 6, "running": 0, "interrupted": 0, "failed": 0, "waiting": 4}
    half = facts["look"]["half_width"]
    assert f"look 2 of at most 2: 5 seeds; interval now ±{half:.2g} (the widest, of dropped), wanted ±1e-09" in text
    table = facts["tables"]["ablation"]
    (row,) = (row for row in table["rows"] if row["variant"] == "dropped")
    assert (row["difference"]["high"] - row["difference"]["low"]) / 2 == pytest.approx(half), "held to the look"
    assert any("This look, at 5 seeds, is not complete" in note for note in table["notes"])
    train(5)
    take(5)
    facts, text = status(plan.folder)
    assert facts["cells"]["done"] == 10
    assert facts["look"]["ended"].startswith("there may be no more than 5 seeds")
    assert "look 2 of at most 2: 5 seeds, the last, because there may be no more than 5 seeds" in text
    assert any(note.startswith("Looks at 3, 5 seeds") for note in facts["tables"]["ablation"]["notes"])


def test_time_is_told_to_the_next_look_and_at_most_to_the_last(tmp_path: Path) -> None:
    plan = small_ablation(tmp_path, seeds=3, until=1e-9, most_seeds=8, bytes=64)
    plan.folder.mkdir()
    _write_definitions(plan)
    train_job(_job(plan, plan.cells()[0]), lambda: None)
    facts, text = status(plan.folder)
    assert facts["seconds_at_most"] == pytest.approx(3 * facts["seconds_left"]), "15 cells and not 5"
    assert " left to the next look, at most " in text


@pytest.mark.long
def test_a_cell_that_failed_before_there_was_a_run_is_told_with_the_last_line_of_its_worker(tmp_path: Path) -> None:
    deltas = {"too wide": ["LanguageModel.dim = 100000000"]}
    plan = small_ablation(tmp_path, deltas=deltas, seeds=1, bytes=64)
    with pytest.raises(RnnlabError, match="1 of 2 cells failed"):
        run_ablation(plan, workers=1)
    facts, text = status(plan.folder)
    assert facts["cells"] == {"done": 1, "running": 0, "interrupted": 0, "failed": 1, "waiting": 0}
    assert "  too wide, seed 1: failed at step 0: a worker exited with 7: not enough memory (" in text


def test_a_cell_that_failed_on_its_way_has_failed_until_it_is_begun_again(study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    shutil.copytree(study, folder)
    run = next(folder.glob("cells/dropped/seed-1-*"))
    (run / "result.json").unlink()
    Failures(folder).note(run, "a worker exited with 1: KeyError: 'x'")
    facts, text = status(folder)
    assert (facts["cells"]["failed"], facts["cells"]["interrupted"]) == (1, 0)
    assert "dropped, seed 1: failed at step 20 of about 20 (100%): a worker exited with 1: KeyError: 'x'" in text
    shutil.move(folder, tmp_path / "moved")
    assert status(tmp_path / "moved")[0]["cells"]["failed"] == 1, "wherever the study lies"
    Failures(tmp_path / "moved").forget(tmp_path / "moved" / run.relative_to(folder))
    assert status(tmp_path / "moved")[0]["cells"]["interrupted"] == 1
    (tmp_path / "moved" / FAILURES).write_text("[]")
    with pytest.raises(StorageError, match=r"failures\.json: .*remove it"):
        status(tmp_path / "moved")


def fail(job: Job, check: Check) -> None:
    """A worker of a search whose first trial goes wrong."""
    with _plan_of(job, check) as plan:
        run_one_trial(plan.address, job["budget"], _raise, plan.sampler, plan.pruner())


def _raise(study: SharedStudy, trial: optuna.Trial, release: Release) -> float:
    release()
    raise KeyError("postgresql://me:secret@host/x\nand more")


@pytest.mark.long
def test_a_try_of_a_trial_that_failed_is_told_and_counts_where_it_is_tried_again(tmp_path: Path) -> None:
    plan = small_search(tmp_path, trials=2)
    create_or_resume(plan)
    job = {"folder": str(plan.folder), "url": plan.address.url, "study": plan.address.name, "budget": 2}
    with pytest.raises(KeyError):
        fail(job, lambda: None)
    facts, text = status(plan.folder)
    assert facts["trials"] == {"done": 0, "running": 0, "interrupted": 0, "failed": 0, "waiting": 2}
    assert "2 trials: 0 done, 2 waiting" in text, "what is tried again is no third trial"
    assert "1 try of a trial ended early, to be tried again; the last, trial 0: KeyError: " in text
    assert "secret" not in text
    run_search(plan, 1)
    facts, text = status(plan.folder)
    assert facts["trials"]["done"] == 2
    assert [one["trial"] for one in facts["failed"]] == [0]


@pytest.mark.slow
def test_a_trial_whose_worker_is_gone_does_not_run(tmp_path: Path) -> None:
    plan = small_search(tmp_path, trials=2)
    create_or_resume(plan)
    trial = watch_study(plan.address.url, plan.address.name).ask()
    trial.set_user_attr("worker", {"trial": trial.number, **process_identity(), "pid": 2**22 + 1})
    facts, text = status(plan.folder)
    assert facts["trials"] == {"done": 0, "running": 0, "interrupted": 1, "failed": 0, "waiting": 1}
    assert "the command that began it goes on with it" in text


@pytest.mark.long
def test_a_search_in_a_database_elsewhere_is_told_with_its_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    path = write_study(tmp_path, "Search", trials=2, bytes=64)
    plan = plan_search(str(path), run=tmp_path / "study", storage=url)
    run_search(plan, 1)
    before = tree(tmp_path)
    assert cli.main(["status", str(plan.folder), "--storage", url, "--json"]) == 0
    assert tree(tmp_path) == before
    assert json.loads(capsys.readouterr().out)["trials"]["done"] == 2
    assert forecast_search(plan_search(str(path), run=plan.folder, storage=url)).done == 2
    assert cli.main(["status", str(plan.folder)]) == 5
    assert f"`rnnlab status {plan.folder} --storage URL`" in capsys.readouterr().err
    with pytest.raises(StorageError, match=r"nowhere\.db: not there; name the database"):
        status(plan.folder, f"sqlite:///{tmp_path / 'nowhere.db'}")
    (plan.folder / "study.name").write_text("another\n")
    with pytest.raises(StorageError, match=r"elsewhere\.db: holds no search 'another', as that in .*study is called"):
        status(plan.folder, url)


def test_an_ablation_and_a_run_have_no_database(study: Path) -> None:
    for folder in (study, next(study.glob("cells/baseline/seed-1-*"))):
        with pytest.raises(ConfigError, match="leave out --storage"):
            status(folder, "sqlite:///x.db")
