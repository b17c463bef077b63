"""The small laboratory, which configurations are tried on."""

from pathlib import Path

import pytest

from tests.rnnlab.config.resolving import write
from tests.rnnlab.small_lab import FRAGMENTS, open_lab


@pytest.fixture
def lab(empty_registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small laboratory with its fragments; the working folder is an empty one. Returns the folder of fragments."""
    open_lab()
    folder = tmp_path / "shelf"
    for name, text in FRAGMENTS.items():
        write(folder / name, text)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("rnnlab.config.sources.config_folder", lambda: folder)
    return folder
