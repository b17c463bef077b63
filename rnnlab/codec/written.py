"""What was written, or read back: the file and the figures of it."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnnlab.codec.container import Container
from rnnlab.errors import DataError
from rnnlab.progress import ProgressBar
from rnnlab.scoring.losses import LN2
from rnnlab.storage.durable import storage_errors, write_file

Done = Callable[[int], None]


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began


@contextmanager
def progress(doing: str, total: int) -> Iterator[Done]:
    """Within the block: called with the bytes that were done, it shows how far it has come."""
    done = 0
    with ProgressBar(doing, total) as bar:

        def add(more: int) -> None:
            nonlocal done
            done += more
            bar.show(done)

        yield add


def write_compressed(
    out: Path, text: bytes, plain: bytes, payload: bytes, header: dict[str, Any], nats: float, watch: Stopwatch
) -> dict[str, Any]:
    """Write the file, as coded or as it is, whichever is shorter.

    Args:
        plain: what of the text is stored as it is.
        nats: what the model says of the coded bytes: the length of an ideal code.
    Returns: its figures, in bytes, bits a byte and seconds.
    Raises: StorageError.
    """
    whole = {**header, "size": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    coded, as_it_is = Container(plain + payload, whole), Container(text)
    container = min((coded, as_it_is), key=lambda each: len(each.packed()))
    packed = container.packed()
    with storage_errors(f"{out}: cannot be written"):
        write_file(out, packed)
    count = len(text) - len(plain)
    return {
        "file": str(out),
        "bytes": len(text),
        "compressed_bytes": len(packed),
        "stored_as_it_is": container is as_it_is,
        "bits_per_byte": 8 * len(packed) / len(text) if text else None,
        "coded_bytes": count,
        "payload_bpc": 8 * len(payload) / count if count else None,
        "model_bpc": nats / LN2 / count if count else None,
        "plain_bytes": len(plain),
        "header_bytes": container.overhead(),
        "sha256": whole["sha256"],
        "seconds": watch.seconds,
        "bytes_per_second": len(text) / watch.seconds,
    }


def write_text(out: Path, text: bytes, digest: str | None, watch: Stopwatch) -> dict[str, Any]:
    """Write what was decoded, once its hash agrees; None of what was stored as it is, under the checksum of the file.

    Raises: DataError if it is not the text that was compressed; StorageError.
    """
    found = hashlib.sha256(text).hexdigest()
    if digest is not None and found != digest:
        raise DataError(
            f"what was decoded is not what was compressed (SHA-256 {found[:12]}, and it was {digest[:12]}): this "
            f"machine computes other numbers than the one that compressed it; nothing is written. Decompress it there"
        )
    with storage_errors(f"{out}: cannot be written"):
        write_file(out, text)
    seconds = watch.seconds
    told = {"file": str(out), "bytes": len(text), "sha256": found}
    return {**told, "seconds": seconds, "bytes_per_second": len(text) / seconds}
