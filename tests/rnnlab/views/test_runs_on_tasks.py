"""Runs on tasks as readers of run folders see them: figures, curves, and how accuracy was measured."""

import json
from pathlib import Path

import pytest

from rnnlab.storage.metrics import read
from rnnlab.views.runs import protocol_note, protocol_notes, read_run
from tests.rnnlab.run_folders import write_run
from tests.rnnlab.task_run_folders import write_task_run

TEST = {20: 1.0, 40: 0.9, 160: 0.5}


def test_a_run_on_a_task_has_curves_of_accuracy_and_of_loss(tmp_path: Path) -> None:
    run = read_run(write_task_run(tmp_path / "a", TEST), "a")
    assert (run.task, run.word, list(run.curves)) == ("Parity", "accuracy", ["accuracy", "nats"])
    assert len(run.valid) == 10
    assert len(run.train) == 20
    assert run.valid[-1].value == run.number("valid_accuracy")
    assert run.curves["nats"].valid[-1].value == run.number("valid_nats")
    assert run.number("chance") == 0.5


def test_a_run_on_text_has_none_of_that(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a"), "a")
    assert (run.task, run.word, list(run.curves)) == ("", "BPC", ["BPC"])
    assert {"task", "chance", "valid_accuracy"} & set(run.facts) == set()


def test_an_unfinished_run_has_the_best_of_its_journal_which_is_that_of_the_lowest_loss(tmp_path: Path) -> None:
    folder = write_task_run(tmp_path / "a", TEST, status="unfinished")
    records = [record for record in read(folder / "metrics.jsonl") if record["kind"] == "valid"]
    records[2] |= {"valid_nats": 0.001, "valid_accuracy": 0.7}
    records[3] |= {"valid_nats": 0.4, "valid_accuracy": 0.99}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    run = read_run(folder, "a")
    assert (run.task, run.status) == ("Parity", "unfinished")
    assert (run.number("best_valid_nats"), run.number("best_valid_accuracy")) == (0.001, 0.7)
    assert run.number("valid_accuracy") == records[-1]["valid_accuracy"]
    assert run.number("test_accuracy") is None
    assert run.number("bytes_trained") == records[-1]["bytes"]


def test_a_note_says_how_accuracy_was_measured_and_what_chance_is(tmp_path: Path) -> None:
    run = read_run(write_task_run(tmp_path / "a", TEST), "a")
    assert protocol_note([run.facts]) == (
        "Parity: accuracy on the last answer of each example, chance 0.500; measured with batch size 64, bptt 512, "
        "memory none, 3,072 examples, 3,072 answers scored; of valid 512 examples, 512 answers scored."
    )


def test_each_task_and_text_have_a_note_of_their_own(tmp_path: Path) -> None:
    runs = [
        read_run(write_task_run(tmp_path / "a", TEST), "a"),
        read_run(write_task_run(tmp_path / "b", {8: 1.0}, "Recall"), "b"),
        read_run(write_run(tmp_path / "c"), "c"),
    ]
    notes = protocol_notes([run.facts for run in runs])
    assert [note.split()[0] for note in notes] == ["Parity:", "Recall:", "BPC"]
    assert "all answers that are asked for, chance 0.062" in notes[1]


@pytest.mark.parametrize(("key", "words"), [("answers", "answers"), ("batch_size", "batch size")])
def test_a_note_warns_where_runs_on_one_task_were_not_measured_alike(tmp_path: Path, key: str, words: str) -> None:
    facts = [dict(read_run(write_task_run(tmp_path / name, TEST), name).facts) for name in "ab"]
    facts[1]["protocol"] = {**facts[1]["protocol"], key: 7}
    assert f"Not the same everywhere: {words}; compare with care." in protocol_note(facts)
