"""`rnnlab compress` and `rnnlab decompress`, as functions."""

from pathlib import Path
from typing import Any

from rnnlab.codec.container import check_place, read_container
from rnnlab.codec.online import KIND as ONLINE
from rnnlab.codec.online import compress_online, text_online
from rnnlab.codec.with_run import KIND as WITH_RUN
from rnnlab.codec.with_run import compress_with_run, text_with_run
from rnnlab.codec.written import Stopwatch, write_text
from rnnlab.errors import ConfigError, StorageError

__all__ = ["compress_online", "compress_with_run", "decompress"]


def decompress(path: str | Path, out: str | Path, run: str | Path | None = None) -> dict[str, Any]:
    """Write the bytes that were compressed to `out`, once their SHA-256 agrees.

    Args:
        path: what `rnnlab compress` wrote.
        run: the run that it was compressed with; None where the model learned online, or none was needed.
    Returns: "bytes", "sha256", "seconds", "bytes_per_second".
    Raises: before anything is written. ConfigError if the run, torch, the kernels or what else is needed is another;
        DataError if it is no such file, or what was decoded is not what was compressed; StorageError if it was cut or
        changed, or `out` cannot be written.
    """
    watch, source, target = Stopwatch(), Path(path), Path(out)
    container = read_container(source)
    check_place(target)
    if not container.header:
        return write_text(target, container.body, None, watch)
    kind = container.told("kind", str)
    if kind == WITH_RUN and run is None:
        raise ConfigError(f"{path}: compressed with a run's model; name the run, --run RUN")
    if kind == ONLINE and run is not None:
        raise ConfigError(f"{path}: compressed online, from a seed; it takes no --run")
    if kind == WITH_RUN:
        assert run is not None
        text = text_with_run(container, run, str(path))
    elif kind == ONLINE:
        text = text_online(container, str(path))
    else:
        raise StorageError(f"{path}: of kind {kind!r:.20}: another version of rnnlab wrote it")
    return write_text(target, text, container.told("sha256", str), watch)
