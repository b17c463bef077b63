"""A corpus of which the sizes are known and no byte is needed."""

from pathlib import Path

import numpy as np

from rnnlab.data.corpora import cut
from rnnlab.data.hashes import Stamp
from rnnlab.data.source import Source
from rnnlab.data.splits import Bytes, Corpus, Split, TextFile

UNKNOWN_SIZE = 100_000_000  # [bytes] that a corpus has of which nothing is known: that of enwik8


class _NoFile(TextFile):
    """Stands where a file would; it reads as the byte values in turn."""

    def __init__(self, name: str, size: int) -> None:
        self.path, self.stamp = Path(name), Stamp(size, 0, 0, 0)

    def read(self, start: int, stop: int) -> Bytes:
        return np.arange(start, stop).astype(np.uint8)

    def verify(self) -> None:
        pass


def outline(name: str, size: int) -> Corpus:
    """A corpus of so many bytes, cut as all are. Raises: DataError if it is too short."""
    return cut(name, _NoFile(name, size))


def outline_of(source: Source, ranks: int = 1) -> Source:
    """Of a text one with splits of the same sizes, or of the share that one of the ranks reads to train; a task is
    made as it is read, and stays itself."""
    if not isinstance(source, Corpus):
        return source
    corpus = source
    splits = {"train": len(corpus.train) // ranks, "valid": len(corpus.valid), "test": len(corpus.test)}
    made = {name: Split(name, _NoFile(corpus.name, size), 0, size) for name, size in splits.items()}
    return Corpus(corpus.name, **made)
