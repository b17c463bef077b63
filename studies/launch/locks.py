"""One at a time, among all the processes that work on a study: on one machine by a file, on several by the database.

Both locks die with the process that holds them.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import optuna
import sqlalchemy
from sqlalchemy.engine import URL, make_url

from rnnlab.errors import ConfigError, StorageError
from rnnlab.locks import POLL, LockTaken, locked
from rnnlab.storage.durable import storage_errors

PATIENCE = 120.0  # [s]; what is done under the lock takes a second
DRIVERS = ("sqlite", "postgresql+psycopg")


def check_url(url: str) -> URL:
    """Raises: ConfigError unless it names a database that is known to carry a study."""
    parsed = None
    with suppress(sqlalchemy.exc.ArgumentError):
        parsed = make_url(url)
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
        raise StorageError(f"{_shown(url)}: {error}; pip install 'psycopg[binary]'") from error
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
    is_file = parsed.drivername == "sqlite"
    with ExitStack() as held:
        held.enter_context(
            _file_lock(Path(f"{parsed.database}.lock"), patience) if is_file else _advisory_lock(url, patience)
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
                    raise _too_long(_shown(url), "another process", patience)
                time.sleep(POLL)
        yield
    finally:
        connection.close()
        engine.dispose()


def _too_long(name: str, holder: str, patience: float) -> StorageError:
    return StorageError(f"{name}: {holder} has held the study's lock for {patience:.0f} s; stop it")


def _shown(url: str) -> str:
    return make_url(url).render_as_string(hide_password=True)
