"""The entropy coder: constriction's range coder, and our own look at what it is given.

Source: Martin 1979 for range coding; Bamler 2022, arXiv:2201.01741, for the library. It holds a probability in 24 bits:
none is below 2^-24, so no byte costs more than 24 bits.
"""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rnnlab.errors import ConfigError, DataError, Diverged

Symbols = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float64]

WORD = np.dtype("<u4")  # what the coder writes
NEAR_ONE = 1e-9  # how far from one the sum of a distribution may be, which is computed in double precision


class Coder(Protocol):
    """One side of the coder."""

    def __call__(self, probabilities: Probabilities, symbols: Symbols) -> Symbols:
        """probabilities (B, V) of the next byte of each stream, and what it is if that is known -> what it is (B,)."""


def constriction() -> Any:
    """The library. Raises: ConfigError if it is not installed, with what to do."""
    try:
        import constriction
    except ImportError:
        raise ConfigError(
            "compressing takes constriction, which is not installed: pip install constriction; in a checkout, "
            "pip install '.[codec]'"
        ) from None
    return constriction


def distribution(logits: Tensor) -> Probabilities:
    """logits (B, V) -> probabilities (B, V), in double precision. Raises: Diverged as `check`."""
    probabilities: Probabilities = logits.double().softmax(-1).numpy()
    check(probabilities)
    return probabilities


def check(probabilities: Probabilities) -> None:
    """The coder would rescale whatever it is given, in silence; a model that claims too much would go unseen.

    Raises: Diverged unless all are finite, none is negative, and they sum to one.
    """
    sums = probabilities.sum(axis=-1)
    if not (np.abs(sums - 1.0) <= NEAR_ONE).all() or not (probabilities >= 0.0).all():  # a NaN is in no order
        worst = sums[np.nanargmax(np.abs(sums - 1.0))] if np.isfinite(sums).any() else float("nan")
        raise Diverged(f"the probabilities of the next byte sum to {worst:g}, not to 1: nothing can be coded by them")


class Encoder:
    """Writes bytes down; see `Coder`."""

    def __init__(self) -> None:
        library = constriction()
        self._family = library.stream.model.Categorical(perfect=False)
        self._coder = library.stream.queue.RangeEncoder()

    def __call__(self, probabilities: Probabilities, symbols: Symbols) -> Symbols:
        self._coder.encode(symbols.astype(np.int32), self._family, probabilities)
        return symbols

    def payload(self) -> bytes:
        """All that was written."""
        payload: bytes = self._coder.get_compressed().astype(WORD).tobytes()
        return payload


class Decoder:
    """Reads them back; see `Coder`."""

    def __init__(self, payload: bytes) -> None:
        """Raises: DataError if it is no whole number of words."""
        if len(payload) % WORD.itemsize:
            raise DataError(f"a payload of {len(payload)} bytes: no whole number of words of {WORD.itemsize}")
        library = constriction()
        self._family = library.stream.model.Categorical(perfect=False)
        self._coder = library.stream.queue.RangeDecoder(np.frombuffer(payload, dtype=WORD).astype(np.uint32))

    def __call__(self, probabilities: Probabilities, symbols: Symbols) -> Symbols:
        """Raises: DataError if there is nothing that could have been written so."""
        try:
            return self._coder.decode(self._family, probabilities).astype(np.uint8)  # type: ignore[no-any-return]
        except (AssertionError, ValueError, RuntimeError) as error:
            raise DataError(f"the payload cannot have been written with these probabilities ({error})") from None
