"""What follows of an element's diary and the queue."""

from pathlib import Path

import pytest

from rnnlab.studies.launch.process import process_identity
from rnnlab.studies.launch.slurm.diary import GONE, Diary, ended_with, read_diary, write_end, write_start
from rnnlab.studies.launch.slurm.queue import Queued, listing_of, name_of_jobs

PENDING, RUNNING = Queued("4_0", "PENDING", "BeginTime"), Queued("4_0", "RUNNING", "None")


def test_a_diary_tells_of_starts_and_ends_and_of_deaths_between_them(tmp_path: Path) -> None:
    path = tmp_path / "0.jsonl"
    assert read_diary(path) == Diary()
    write_start(path, "4_0")
    assert read_diary(path) == Diary(worker=process_identity(), job="4_0", deaths=1)
    with path.open("a") as file:
        file.write('\n{"event": "en')  # cut off by a death
    write_start(path, "4_0")
    assert read_diary(path).deaths == 2
    write_end(path, 138, 60.0, 300.0, requeue=True)
    found = read_diary(path)
    assert (found.worker, found.code, found.is_to_requeue, found.deaths) == (None, 138, True, 1)
    write_start(path, "4_0")
    write_end(path, 0, 10.0, 200.0)
    found = read_diary(path)
    assert (found.code, found.is_to_requeue, found.seconds, found.peak) == (0, False, 70.0, 300.0)


@pytest.mark.parametrize(
    ("diary", "queued", "is_gone", "code"),
    [
        (Diary(), PENDING, False, None),
        (Diary(), None, False, None),  # nobody knows: the controller does not answer
        (Diary(), None, True, GONE),  # it never began
        (Diary(worker={}), RUNNING, False, None),
        (Diary(worker={}), None, True, GONE),  # kill -9
        (Diary(code=0), RUNNING, False, 0),  # SLURM is still at it
        (Diary(code=2), None, False, 2),  # while the controller does not answer
        (Diary(code=143), PENDING, False, None),  # preempted: SLURM starts it again
        (Diary(code=143), None, True, 143),  # cancelled
        (Diary(code=138, is_to_requeue=True), PENDING, False, None),
        (Diary(code=138, is_to_requeue=True), None, True, GONE),  # SLURM did not put it back
    ],
)
def test_an_element_has_ended_once_nobody_starts_it_again(
    diary: Diary, queued: Queued | None, is_gone: bool, code: int | None
) -> None:
    assert ended_with(diary, queued, is_gone) == code


def test_a_listing_tells_the_arrays_of_a_study_apart_by_their_scripts() -> None:
    text = (
        "12|0|RUNNING|None|/s t/slurm/0001-ab/job.sh\n13|7|PENDING|Resources|/s t/slurm/0002-cd/job.sh\n"
        "9|N/A|PENDING||x\n"
    )
    found = listing_of(text)
    assert found == {
        ("0001-ab", 0): Queued("12_0", "RUNNING", "None"),
        ("0002-cd", 7): Queued("13_7", "PENDING", "Resources"),
    }


def test_jobs_are_called_after_their_study_and_no_other(tmp_path: Path) -> None:
    names = {name_of_jobs(tmp_path / folder / "a study, of mine") for folder in ("x", "y")}
    assert len(names) == 2
    assert all(name.startswith("rnnlab-a-study-of-mine-") for name in names)
