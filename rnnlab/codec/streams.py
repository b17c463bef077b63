"""How a text is cut in streams, and the loop that codes them, which encoder and decoder share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

from rnnlab.codec.coder import Coder, distribution
from rnnlab.data.memory_text import Columns
from rnnlab.data.source import Chunk, Portion
from rnnlab.data.splits import Bytes
from rnnlab.scoring.order import ScoreFirst

CPU = torch.device("cpu")

SHORTEST = 4096
"""[bytes] of a stream, unless a number of streams is asked for."""

MOST_EXPANSION = 1_000_000  # bytes of text to one that is stored: with probabilities of 24 bits no byte costs nothing


@dataclass(frozen=True)
class Cut:
    """A stretch of a text as streams of one length that are coded side by side; `Batches` cuts a file alike."""

    start: int  # [bytes]
    stop: int  # [bytes]
    streams: int

    @property
    def length(self) -> int:
        """Of a stream [bytes]; its first byte is predicted from nothing, and stored as it is."""
        return (self.stop - self.start) // self.streams

    @property
    def coded(self) -> int:
        """Bytes that go through the coder; 0 if streams have a byte alone."""
        return max(0, self.length - 1) * self.streams

    @property
    def plain(self) -> int:
        """Bytes that are stored as they are: the first of each stream, and the rest behind the streams."""
        return self.stop - self.start - self.coded

    def streams_of(self, text: Bytes) -> Bytes:
        """(B, L) of the text, a view."""
        return text[self.start : self.start + self.length * self.streams].reshape(self.streams, self.length)

    def take_plain(self, text: Bytes) -> bytes:
        """What is stored as it is."""
        rest = text[self.start + self.length * self.streams : self.stop]
        return (self.streams_of(text)[:, :1].tobytes() if self.length else b"") + rest.tobytes()

    def put_plain(self, text: Bytes, plain: bytes) -> None:
        """The inverse: write it into the text."""
        found = np.frombuffer(plain, dtype=np.uint8)
        firsts = self.streams if self.length else 0
        if firsts:
            self.streams_of(text)[:, 0] = found[:firsts]
        text[self.start + self.length * self.streams : self.stop] = found[firsts:]


def code_chunks(
    order: ScoreFirst, columns: Columns, chunks: Iterable[Chunk], code: Coder, done: Callable[[int], None]
) -> None:
    """Code the positions of the chunks, one at a time: predicted, coded, scored; learned from chunk by chunk.

    Args:
        columns: the streams; an encoder holds what they are, a decoder fills them in. What is known of them grows.
        done: called after each chunk with the bytes that it coded.
    Raises: Diverged if a distribution is none; DataError if the payload is not of this model.
    """
    tokens = columns.tokens
    for chunk in chunks:
        if chunk.position == 0:
            order.begin(columns.count)
        for t in range(chunk.position, chunk.position + chunk.length):
            logits = order.step(torch.from_numpy(tokens[:, t].astype(np.int64)))
            tokens[:, t + 1] = code(distribution(logits), tokens[:, t + 1])
            columns.known = t + 2
            here = Chunk(chunk.reading, t, 1)
            order.score(columns.read(here), here)
        order.learn(columns.read(chunk))
        done(chunk.length * columns.count)


def portion_of(columns: Columns) -> Portion:
    """All of the streams, to be scored."""
    return Portion(columns, range(1))


def some_streams(size: int, wanted: int) -> int:
    """As many streams as are wanted, and fewer of a short text, of which each stream begins without context."""
    return max(1, min(wanted, size // SHORTEST))
