"""How a run stands, by its folder, its job's diary and the queue together."""

from pathlib import Path

import pytest

from rnnlab.studies.jobs import StudyJobs
from rnnlab.studies.launch.slurm.arrays import Element, read_arrays, write_array
from rnnlab.studies.launch.slurm.diary import write_end, write_start
from rnnlab.studies.launch.slurm.queue import Listing, Queued
from rnnlab.studies.standing import Standing


def element(study: Path, *, asked: dict[str, str | None] | None = None) -> Element:
    """Of an array of one, for the run in `study/run`."""
    job = {"folder": str(study / "run"), "seed": 3, "variant": "gru"}
    (made,) = write_array(study, [job], asked or {}, lambda array: f"# {array}\n")
    return made


def listing(of: Element, state: str, reason: str = "None") -> Listing:
    return {of.key: Queued("7_0", state, reason)}


def test_arrays_are_read_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    first, second = element(tmp_path), element(tmp_path)
    assert read_arrays(tmp_path) == [first, second]
    assert first.script.read_text() == f"# {first.array}\n"
    assert StudyJobs.of(tmp_path).newest == {str(tmp_path / "run"): second}
    assert StudyJobs.of(tmp_path / "none").asked().lines() == []


@pytest.mark.parametrize(
    ("before", "state", "after"),
    [
        ("waiting", "PENDING", "waiting"),
        ("waiting", "RUNNING", "running"),  # it has not made its folder yet
        ("running", "RUNNING", "running"),
        ("running", "PENDING", "interrupted"),  # the lock of a node that died
        ("interrupted", "PENDING", "interrupted"),
        ("done", "RUNNING", "done"),
    ],
)
def test_a_job_in_the_queue_says_what_a_folder_cannot(tmp_path: Path, before: str, state: str, after: str) -> None:
    one = element(tmp_path)
    told = StudyJobs(tmp_path, [one], listing(one, state)).told(Standing(tmp_path / "run", before))  # type: ignore[arg-type]
    assert told.state == after
    if before != "done":
        assert (told.job, told.log) == ("7_0", str(one.log))


def test_what_a_job_said_last_is_told_once_it_has_failed(tmp_path: Path) -> None:
    one = element(tmp_path)
    write_start(one.diary, "7_0")
    waiting = Standing(tmp_path / "run", "waiting")
    unknown = StudyJobs(tmp_path, [one], None, unknown="Unable to contact slurm controller")
    assert unknown.told(waiting).state == "waiting", "while SLURM does not answer nothing is taken for dead"
    assert "where they are is not known, Unable to contact slurm controller" in unknown.lines()[0]
    gone = StudyJobs(tmp_path, [one], {})
    one.log.write_text("some words\nslurmstepd: error: *** JOB 7 CANCELLED DUE TO NODE FAILURE ***\n")
    told = gone.told(waiting)
    assert told.state == "failed"
    assert told.said.startswith("job 7_0 ended without a word: slurmstepd: error: *** JOB 7 CANCELLED DUE TO NODE")
    write_end(one.diary, 2, 9.0, 100.0)
    assert "job 7_0 exited with 2" in gone.told(waiting).said


def test_what_a_job_took_stands_beside_what_was_asked_for(tmp_path: Path) -> None:
    one = element(tmp_path, asked={"time": "10", "mem": "2G"})
    write_start(one.diary, "7_0")
    write_end(one.diary, 0, 90.0, 1234.4)
    jobs = StudyJobs.of(tmp_path)
    (note,) = jobs.note()
    assert "the longest took 1 min 30 s of 10 min 00 s (time=10), the largest 1,234 MiB" in note
    assert note.endswith(" of 2,048 MiB (mem=2G).")
    jobs.write()
    assert jobs.note()[0].endswith(f" Each with its log: {tmp_path / 'slurm' / 'jobs.csv'}.")
    row = (tmp_path / "slurm" / "jobs.csv").read_text().splitlines()[1]
    assert row == f'7_0,"gru, seed 3",0,90.0,1234.4,{one.log}'


def test_the_queue_is_counted_with_its_reasons(tmp_path: Path) -> None:
    one = element(tmp_path)
    (line,) = StudyJobs(tmp_path, [one], listing(one, "PENDING", "PartitionConfig")).lines()
    assert line.startswith("jobs of SLURM: 1 pending (1 PartitionConfig); scancel --name=rnnlab-")
