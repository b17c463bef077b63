"""What is remembered of the content of files."""

import hashlib
import os
from pathlib import Path

import pytest

from rnnlab.data import hashes
from tests.rnnlab.small_texts import random_bytes, written

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_write_right_after_hashing_does_not_pass_as_the_hashed_content(tmp_path: Path) -> None:
    path = tmp_path / "text"
    for trial in range(20):
        written(path, random_bytes(64, seed=trial))
        stamp, digest = hashes.sha256(path)
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
        written(path, random_bytes(64, seed=1000 + trial))
        assert hashes.stamp(path) != stamp


def test_a_damaged_note_costs_a_hash_and_nothing_else(tmp_path: Path, own_cache: Path) -> None:
    path = written(tmp_path / "text", random_bytes(100))
    digest = hashes.sha256(path)[1]
    (note,) = (own_cache / "stamps").iterdir()
    for damage in (b"", b"{", b"[1]", b'{"stamp": 3}', b"\xff\x00"):
        note.write_bytes(damage)
        assert hashes.sha256(path)[1] == digest


def test_a_process_of_the_same_number_on_another_machine_is_not_in_the_way(tmp_path: Path, own_cache: Path) -> None:
    path = written(tmp_path / "text", random_bytes(100))
    note = hashes._note(path)
    note.with_suffix(f".{os.getpid()}").mkdir(parents=True)
    hashes.sha256(path)
    assert note.exists()
    assert len(list(note.parent.iterdir())) == 2
