"""Texts that are coded, and configurations of a model that learns while it does."""

from pathlib import Path

import pytest

from tests.rnnlab.small_texts import written
from tests.rnnlab.tiny_runs import write_text

ONLINE = [
    "LanguageModel.dim = 8",
    "memory = 12",
    "Trainer.batch_size = 2",
    "Trainer.bptt = 12",
    "Cosine.warmup = 2",
]


def words(folder: Path, size: int, seed: int = 7) -> Path:
    """Text that no tiny run has seen."""
    return written(folder / f"words-{size}", write_text(folder, 12_000, seed).read_bytes()[:size])


def keep_coded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short text is written as it was coded, though its header makes it larger."""
    monkeypatch.setattr("rnnlab.codec.written.min", lambda each, key: each[0], raising=False)
    monkeypatch.setattr("rnnlab.codec.streams.SHORTEST", 50)


def there_is_no(out: Path) -> bool:
    """Neither the file nor one that was staged for it."""
    return not out.exists() and not list(out.parent.glob(f".tmp-{out.name}*"))
