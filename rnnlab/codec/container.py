"""The file that `rnnlab compress` writes: a header, what is coded, and a checksum over both.

offset  size
0       8     MAGIC
8       1     how it is stored: 0 as it is, 1 by a model
9       4     bytes of the header, little-endian
13            header: JSON, packed by zlib; empty of a file that is stored as it is
              plain: the first byte of each stream, and the few that no stream has
              payload: words of the range coder, uint32 little-endian
-32     32    SHA-256 of all before it
"""

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnnlab.errors import DataError, StorageError
from rnnlab.storage.durable import storage_errors

MAGIC = b"\x89RNNLAB1"
BEFORE_HEADER = struct.Struct("<8sBI")
DIGEST = hashlib.sha256().digest_size
AS_IT_IS, BY_MODEL = 0, 1
MOST_HEADER = 1 << 20  # [bytes] unpacked


@dataclass(frozen=True)
class Container:
    """What such a file holds."""

    body: bytes  # plain bytes and payload, or the whole text
    header: dict[str, Any] = field(default_factory=dict)  # empty: the body is the text as it is

    def packed(self) -> bytes:
        """The file."""
        told = json.dumps(self.header, sort_keys=True, separators=(",", ":")).encode() if self.header else b""
        header = zlib.compress(told, 9) if told else b""
        kind = BY_MODEL if self.header else AS_IT_IS
        content = BEFORE_HEADER.pack(MAGIC, kind, len(header)) + header + self.body
        return content + hashlib.sha256(content).digest()

    def told(self, name: str, kind: type) -> Any:
        """An entry of the header. Raises: StorageError if it is not there, or of another kind."""
        value = self.header.get(name)
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise StorageError(f"its header has {name} = {value!r:.60}: it was not written by rnnlab")
        return value

    def overhead(self) -> int:
        """What the file has beside its body [bytes]."""
        return len(self.packed()) - len(self.body)


def read_container(path: Path) -> Container:
    """Raises: DataError if it cannot be read, or is no such file; StorageError if it was cut or changed."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    return unpacked(data, str(path))


def unpacked(data: bytes, name: str) -> Container:
    """Raises: as `read_container`."""
    if data[: len(MAGIC)] != MAGIC:
        raise DataError(f"{name}: not a file that `rnnlab compress` wrote; it begins with other bytes")
    content, digest = data[:-DIGEST], data[-DIGEST:]
    if len(content) < BEFORE_HEADER.size or hashlib.sha256(content).digest() != digest:
        raise StorageError(
            f"{name}: cut or damaged: its checksum is not that of what it holds; bring it back from where it was made"
        )
    _, kind, length = BEFORE_HEADER.unpack_from(content)
    packed, body = content[BEFORE_HEADER.size :][:length], content[BEFORE_HEADER.size + length :]
    try:
        unpacker = zlib.decompressobj()
        header = json.loads(unpacker.decompress(packed, MOST_HEADER)) if kind == BY_MODEL else {}
        if kind not in (AS_IT_IS, BY_MODEL) or not isinstance(header, dict) or bool(header) != (kind == BY_MODEL):
            raise ValueError(f"stored in way {kind}")
    except (ValueError, zlib.error) as error:
        raise StorageError(f"{name}: has its checksum, but is not as rnnlab writes it ({error})") from None
    return Container(body, header)


def text_of(path: Path) -> bytes:
    """What is to be compressed. Raises: DataError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}; name a file") from None


def check_place(out: Path) -> None:
    """Hours are not spent on what then cannot be kept. Raises: StorageError if there is no such folder."""
    with storage_errors(f"{out}: cannot be written"):
        if not out.parent.is_dir():
            raise FileNotFoundError(2, "there is no such folder")
        if out.is_dir():
            raise IsADirectoryError(21, "is a directory")
