"""One at a time, among all the processes that work on a study: on one machine by a file, on several by the database.

Both locks die with the process that holds them.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from sqlalchemy.engine import URL, make_url

from rnnlab.errors import ConfigError, StorageError
from rnnlab.storage.durable import storage_errors

PATIENCE = 120.0  # [s]; what is done under the lock takes a second
DRIVERS = ("sqlite", "postgresql+psycopg")


def check_url(url: str) -> URL:
    """Raises: ConfigError unless it names a database that is known to carry a study."""
    try:
        parsed = make_url(url)
    except sqlalchemy.exc.ArgumentError:
        parsed = None
    if parsed is None or parsed.drivername not in DRIVERS or (parsed.drivername == "sqlite" and not parsed.database):
        raise ConfigError(
            f"--storage {url}: use sqlite:///FILE (workers of one machine) or "
            f"postgresql+psycopg://USER:PASSWORD@HOST/DATABASE (workers of several)"
        )
    return parsed


@contextmanager
def database_errors(url: str) -> Iterator[None]:
    """Turn what the database refuses into a StorageError that names it, without its password."""
    try:
        yield
    except ImportError as error:
        raise StorageError(f"{_shown(url)}: {error}; pip install 'rnnlab[postgres]'") from error
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        lines = str(getattr(cause, "orig", None) or cause or error).strip().splitlines()
        raise StorageError(f"{_shown(url)}: the database does not serve: {lines[0]}") from error


@contextmanager
def exclusive(url: str, patience: float = PATIENCE) -> Iterator[Callable[[], None]]:
    """Hold the lock of a storage within the block; what is yielded lets go of it before its end.

    Raises: StorageError if it cannot be had within `patience` [s].
    """
    parsed = check_url(url)
    with ExitStack() as held:
        if parsed.drivername == "sqlite":
            held.enter_context(_file_lock(Path(f"{parsed.database}.lock"), patience))
        else:
            held.enter_context(_advisory_lock(url, patience))
        yield held.close


@contextmanager
def _file_lock(path: Path, patience: float) -> Iterator[None]:
    with storage_errors(f"{path}: cannot be locked"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:

        def attempt() -> bool:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        with storage_errors(f"{path}: cannot be locked"):
            _wait_for(attempt, str(path), patience)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _advisory_lock(url: str, patience: float) -> Iterator[None]:
    key = int.from_bytes(hashlib.sha256(b"rnnlab study").digest()[:7], "big")
    with database_errors(url):
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:

        def attempt() -> bool:
            return bool(connection.scalar(sqlalchemy.text("SELECT pg_try_advisory_lock(:key)"), {"key": key}))

        with database_errors(url):
            _wait_for(attempt, _shown(url), patience)
        yield
    finally:
        connection.close()
        engine.dispose()


def _wait_for(attempt: Callable[[], bool], name: str, patience: float) -> None:
    until = time.monotonic() + patience
    while not attempt():
        if time.monotonic() > until:
            raise StorageError(f"{name}: another process has held the study's lock for {patience:.0f} s; stop it")
        time.sleep(0.05)


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
