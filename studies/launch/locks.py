"""One at a time, among all the processes that work on a study: on one machine by a file, on several by the database.

Both locks die with the process that holds them.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy

from rnnlab.errors import StorageError
from rnnlab.locks import POLL, LockTaken, locked
from rnnlab.storage.durable import storage_errors
from rnnlab.studies.launch.urls import check_url, database_errors, database_file, is_server, shown

PATIENCE = 120.0  # [s]; what is done under the lock takes a second


@contextmanager
def exclusive(url: str, patience: float = PATIENCE) -> Iterator[Callable[[], None]]:
    """Hold the lock of a storage within the block; what is yielded lets go of it before its end.

    Raises: ConfigError for an address that is not ours; StorageError if it cannot be had within `patience` [s].
    """
    parsed = check_url(url)
    with ExitStack() as held:
        held.enter_context(
            _advisory_lock(url, patience)
            if is_server(parsed)
            else _file_lock(Path(f"{database_file(parsed)}.lock"), patience)
        )
        yield held.close


@contextmanager
def _file_lock(path: Path, patience: float) -> Iterator[None]:
    with ExitStack() as held:
        with storage_errors(f"{path}: cannot be locked"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(locked(path, patience))
            except LockTaken as holder:
                raise _too_long(str(path), str(holder), patience) from None
        yield


@contextmanager
def _advisory_lock(url: str, patience: float) -> Iterator[None]:
    key = int.from_bytes(hashlib.sha256(b"rnnlab study").digest()[:7], "big")
    with database_errors(url):
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    until = time.monotonic() + patience
    ask = sqlalchemy.text("SELECT pg_try_advisory_lock(:key)")
    try:
        with database_errors(url):
            while not connection.scalar(ask, {"key": key}):
                if time.monotonic() > until:
                    raise _too_long(shown(url), "another process", patience)
                time.sleep(POLL)
        yield
    finally:
        connection.close()
        engine.dispose()


def _too_long(name: str, holder: str, patience: float) -> StorageError:
    return StorageError(f"{name}: {holder} has held the study's lock for {patience:.0f} s; stop it")
