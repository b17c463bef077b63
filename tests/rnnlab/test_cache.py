"""Where the cache lies."""

from pathlib import Path

import pytest

from rnnlab import cache


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RNNLAB_DATA", str(tmp_path / "cache"))
    assert cache.folder() == tmp_path / "cache"
    monkeypatch.delenv("RNNLAB_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache.folder() == Path("/x/rnnlab")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache.folder() == Path("/home/someone/.cache/rnnlab")
