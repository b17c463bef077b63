"""Where the cache lies, and what it remembers of the content of files."""

import hashlib
import sys
from pathlib import Path

import pytest

from rnnlab import cache
from tests.rnnlab.small_texts import random_bytes, written

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_write_right_after_hashing_does_not_pass_as_the_hashed_content(tmp_path: Path) -> None:
    path = tmp_path / "text"
    for trial in range(20):
        written(path, random_bytes(64, seed=trial))
        stamp, digest = cache.sha256(path)
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
        written(path, random_bytes(64, seed=1000 + trial))
        assert cache.stamp(path) != stamp


def test_a_damaged_note_costs_a_hash_and_nothing_else(tmp_path: Path, own_cache: Path) -> None:
    path = written(tmp_path / "text", random_bytes(100))
    digest = cache.sha256(path)[1]
    (note,) = (own_cache / "stamps").iterdir()
    for damage in (b"", b"{", b"[1]", b'{"stamp": 3}', b"\xff\x00"):
        note.write_bytes(damage)
        assert cache.sha256(path)[1] == digest


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache.folder() == tmp_path / "cache"
    monkeypatch.delenv("RNNLAB_DATA")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache.folder() == Path("/x/rnnlab")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache.folder() == Path("/home/someone/.cache/rnnlab")
