"""The journal: whole lines, whatever happens to the process or the disk."""

import json
import math
import os
import threading
from pathlib import Path

import pytest

from rnnlab.errors import StorageError
from rnnlab.storage import metrics
from rnnlab.storage.metrics import LOST, Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def written(path: Path, count: int) -> Journal:
    journal = Journal(path)
    for step in range(count):
        journal.append({"step": step})
    return journal


def test_what_was_appended_is_read_back(path: Path) -> None:
    records: list[metrics.Record] = [
        {"kind": "train", "step": 10, "loss": 0.1, "note": "naïve"},
        {"kind": "valid", "valid_bpc": None},
    ]
    journal = Journal(path)
    for record in records:
        journal.append(record)
    assert metrics.read(path) == records


def test_one_thread_may_append_while_another_syncs(path: Path) -> None:
    journal, done = Journal(path), threading.Event()

    def keep_syncing() -> None:
        while not done.is_set():
            journal.sync()

    thread = threading.Thread(target=keep_syncing)
    thread.start()
    try:
        for step in range(3000):
            journal.append({"step": step})
    finally:
        done.set()
        thread.join()
    assert metrics.read(path) == [{"step": step} for step in range(3000)]


def test_a_number_that_is_not_finite_becomes_null(path: Path) -> None:
    Journal(path).append({"loss": math.nan, "norms": [1.0, math.inf], "parts": {"core": -math.inf}})
    line = path.read_text()
    assert json.loads(line, parse_constant=lambda name: pytest.fail(name)) == {
        "loss": None,
        "norms": [1.0, None],
        "parts": {"core": None},
    }


def test_a_line_is_on_disk_before_append_returns(path: Path) -> None:
    journal = Journal(path)
    journal.append({"step": 1})
    assert path.read_bytes() == b'{"step": 1}\n'
    journal.close()


def test_a_journal_that_does_not_exist_is_empty(path: Path) -> None:
    assert metrics.read(path) == []
    assert Journal(path).cut(0) == 0
    assert not path.exists()


def test_a_torn_last_line_does_not_count(path: Path) -> None:
    written(path, 2).close()
    path.write_bytes(path.read_bytes() + b'{"step": 2, "lo')
    assert metrics.read(path) == [{"step": 0}, {"step": 1}]


def test_an_unreadable_line_is_named(path: Path) -> None:
    path.write_bytes(b'{"step": 0}\n\x00\x00\n{"step": 2}\n')
    with pytest.raises(StorageError, match=r"metrics\.jsonl:2: "):
        metrics.read(path)


def test_cut_keeps_what_the_checkpoint_knows_of_and_the_journal_goes_on_from_there(path: Path) -> None:
    journal = written(path, 5)
    path.write_bytes(path.read_bytes() + b'{"torn')
    assert journal.cut(3) == 0
    journal.append({"step": "again"})
    assert metrics.read(path) == [{"step": 0}, {"step": 1}, {"step": 2}, {"step": "again"}]


def test_cut_writes_nothing_when_there_is_nothing_to_cut(path: Path) -> None:
    journal = written(path, 3)
    before = path.stat().st_ino
    journal.cut(3)
    assert path.stat().st_ino == before


def test_cut_keeps_the_count_true_when_lines_were_lost_or_damaged(path: Path) -> None:
    path.write_bytes(b'{"step": 0}\n{"st\x00p": 1\n')
    assert Journal(path).cut(4) == 3
    assert metrics.read(path) == [{"step": 0}, LOST, LOST, LOST]
    assert Journal(path).cut(4) == 0


def test_lines_wait_while_the_disk_takes_none_and_sync_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = written(path, 1)
    real_write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if len(data) > 4:
            return real_write(descriptor, data[:4])  # the last blocks of a disk take a part of a line
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        journal.append({"step": 1})
        with pytest.raises(StorageError, match=r"metrics\.jsonl.*no space left on device; free some space"):
            journal.sync()
        assert path.read_bytes() == b'{"step": 0}\n'
    journal.append({"step": 2})
    journal.sync()
    assert metrics.read(path) == [{"step": 0}, {"step": 1}, {"step": 2}]
