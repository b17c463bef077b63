"""A text that is held in memory, whole, or only as far as it is known yet: what a coder reads and what it writes."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from rnnlab.data.source import Chunk, Portion, Read
from rnnlab.data.splits import VOCABULARY, Bytes
from rnnlab.errors import ConfigError, DataError


class Columns:
    """B sequences of one length, read side by side, as far as they are known; see `rnnlab.data.source.Reader`.

    Args:
        tokens: uint8 (B, L); row b is sequence b.
        known: positions of each that may be read [positions]; to ask for more is an error. None for all.
    """

    first = 0

    def __init__(self, tokens: Bytes, known: int | None = None) -> None:
        self.tokens = tokens
        self.count, self.length = (int(size) for size in tokens.shape)
        self.known = self.length if known is None else known

    @property
    def epoch(self) -> int:
        return self.positions(0) * self.count

    def positions(self, reading: int) -> int:
        return max(0, self.length - 1)

    def mean_chunk(self, bptt: int) -> float:
        return bptt

    def weight(self, chunk: Chunk) -> float:
        return chunk.length

    def read(self, chunk: Chunk) -> Read:
        stop = chunk.position + chunk.length + 1
        assert stop <= self.known, f"position {stop - 1} is not known yet, and {self.known} are"
        window = torch.from_numpy(np.ascontiguousarray(self.tokens[:, chunk.position : stop].T, dtype=np.int64))
        return Read(window[:-1], window[1:])

    def held(self) -> Sequence[Tensor]:
        return ()


class MemoryText:
    """Tokens in memory, to be scored; see `rnnlab.data.source.Scorable`."""

    def __init__(self, name: str, tokens: Bytes) -> None:
        """Args:
        name: as errors say it.
        tokens: uint8 (n,).
        """
        self.name, self.tokens = name, tokens

    @classmethod
    def of(cls, name: str, data: bytes) -> "MemoryText":
        return cls(name, np.frombuffer(data, dtype=np.uint8))

    def __len__(self) -> int:
        return len(self.tokens)

    def head(self, batch_size: int, limit: int | None) -> "MemoryText":
        """About the first so many; see `Split.head`."""
        return self if limit is None else MemoryText(self.name, self.tokens[: max(limit, 2 * batch_size)])

    def columns(self, batch_size: int) -> Columns:
        """Cut as `Batches` cuts a file: B pieces of one length, without the few bytes that are left over.

        Raises: DataError if a sequence would have no byte to predict.
        """
        if len(self) < 2 * batch_size:
            raise DataError(
                f"{self.name}: {len(self)} bytes are too few for {batch_size} sequences of 2 bytes or more; take fewer"
            )
        length = len(self) // batch_size
        return Columns(self.tokens[: length * batch_size].reshape(batch_size, length))

    def parts(self, batch_size: int, limit: int | None, device: torch.device) -> Sequence[Portion]:
        return [Portion(self.head(batch_size, limit).columns(batch_size), range(1))]

    def scored(self, batch_size: int, limit: int | None) -> dict[str, int]:
        return {"bytes_scored": (len(self.head(batch_size, limit)) // batch_size - 1) * batch_size}


class CodedText:
    """What a coder learns from while it codes: known up to what was coded, and nothing of it before.

    See `rnnlab.data.source.Source`. `columns` is what is being coded now.
    """

    vocabulary = VOCABULARY
    task: ClassVar[None] = None
    name = "the text that is coded"
    sha256 = ""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def training(self, batch_size: int, shard: tuple[int, int], device: torch.device) -> "CodedText":
        return self

    @property
    def valid(self) -> MemoryText:
        return self.split("valid")

    @property
    def test(self) -> MemoryText:
        return self.split("test")

    def split(self, name: str) -> MemoryText:
        """Raises: ConfigError: it has none."""
        raise ConfigError(f"no split {name!r}: a text that is coded has none")

    def unseen(self) -> Tensor:
        """None: which bytes will come is not known."""
        return torch.zeros(VOCABULARY, dtype=torch.bool)

    def verify_content(self) -> None:
        """Nothing can have changed."""

    # A reader whose sequences are those of the present columns: the next stage may have another number of them.

    first = 0

    @property
    def count(self) -> int:
        return self.columns.count

    @property
    def epoch(self) -> int:
        return self.columns.epoch

    def positions(self, reading: int) -> int:
        return self.columns.positions(reading)

    def mean_chunk(self, bptt: int) -> float:
        return bptt

    def weight(self, chunk: Chunk) -> float:
        return chunk.length

    def read(self, chunk: Chunk) -> Read:
        return self.columns.read(chunk)

    def held(self) -> Sequence[Tensor]:
        return ()
