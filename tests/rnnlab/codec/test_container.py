"""A file that was cut or changed is refused: every cut and every bit."""

import random
import struct
import zlib
from hashlib import sha256

import pytest

from rnnlab.codec.container import MAGIC, Container, unpacked
from rnnlab.errors import DataError, StorageError

BODY = random.Random(0).randbytes(60)
BOTH = [Container(BODY), Container(BODY, {"kind": "run", "size": 60})]


@pytest.mark.parametrize("container", BOTH, ids=["as it is", "by a model"])
def test_it_is_read_as_it_was_written(container: Container) -> None:
    assert unpacked(container.packed(), "x") == container
    assert container.overhead() == len(container.packed()) - 60


@pytest.mark.parametrize("container", BOTH, ids=["as it is", "by a model"])
def test_every_flipped_bit_and_every_cut_is_refused(container: Container) -> None:
    packed = container.packed()
    for bit in range(8 * len(packed)):
        changed = bytearray(packed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((DataError, StorageError)):
            unpacked(bytes(changed), "x")
    for length in range(len(packed)):
        with pytest.raises((DataError, StorageError)):
            unpacked(packed[:length], "x")
    with pytest.raises(StorageError):
        unpacked(packed + b"\0", "x")


def sealed(content: bytes) -> bytes:
    return content + sha256(content).digest()


@pytest.mark.parametrize(
    "content",
    [
        MAGIC + struct.pack("<BI", 2, 0),
        MAGIC + struct.pack("<BI", 1, 4) + b"junk",
        MAGIC + struct.pack("<BI", 1, 0),
        MAGIC + struct.pack("<BI", 1, 10) + zlib.compress(b"[1]"),
    ],
)
def test_what_somebody_else_sealed_is_refused_too(content: bytes) -> None:
    with pytest.raises(StorageError, match="not as rnnlab writes it"):
        unpacked(sealed(content.replace(b"<BI", b"")), "x")


def test_an_entry_of_another_kind_is_told() -> None:
    container = Container(b"", {"size": "many", "best": 1, "streams": True})
    for name, kind in (("size", int), ("best", bool), ("streams", int), ("threads", int)):
        with pytest.raises(StorageError, match=name):
            container.told(name, kind)
