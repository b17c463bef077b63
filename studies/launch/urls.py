"""Addresses of the database of a study: which are accepted, and how they are shown, which is without a password."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlsplit

import optuna
import sqlalchemy
from sqlalchemy.engine import URL, make_url

from rnnlab.errors import ConfigError, StorageError

DRIVERS = ("sqlite", "postgresql+psycopg")


def check_url(url: str) -> URL:
    """The address, taken apart.

    Raises: ConfigError unless it names a database that is known to carry a study. Of an address that is refused only
        the scheme is shown, since it may have a password anywhere else.
    """
    parsed, scheme = None, re.match(r"[\w+.-]+://", url)
    name = f"--storage {scheme[0]}..." if scheme else "--storage"
    with suppress(sqlalchemy.exc.ArgumentError, ValueError):  # ValueError: the port is no number
        parsed = make_url(url)
    if parsed is None or parsed.drivername not in DRIVERS or not (is_server(parsed) or _has_file(parsed)):
        raise ConfigError(
            f"{name}: use sqlite:///FILE (workers of one machine) or postgresql+psycopg://USER@HOST/DATABASE (workers "
            f"of several), with the password in the file that PGPASSFILE names"
        )
    if is_server(parsed) and not re.fullmatch(r"[^:]+://([^@/?]*@)?[^@]*", url):
        raise ConfigError(f"{name}: where the host begins is not clear; write %40, %2F and %3F for @, / and ? in the "
                          f"user's name, the password and the options")  # fmt: skip
    return parsed


def is_server(url: URL) -> bool:
    return url.drivername != "sqlite"


def _has_file(url: URL) -> bool:
    in_memory = ":memory:" in str(url.database) or url.query.get("mode") == "memory"
    return bool(url.database) and not in_memory and not url.host and not url.username


def file_url(path: Path) -> str:
    """The address of an sqlite database in a file, whatever its name."""
    return URL.create("sqlite", database=f"file:{quote(os.fsencode(path))}", query={"uri": "true"}).render_as_string()


def database_file(url: URL) -> Path:
    """The file of an sqlite database."""
    name = str(url.database)
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(name).path)) if "uri" in url.query else name)


def shown(url: str) -> str:
    """An address for people: without password and options."""
    parsed = make_url(url)
    if not is_server(parsed):
        return str(database_file(parsed))
    return str(URL.create(parsed.drivername, parsed.username, None, parsed.host, parsed.port, parsed.database))


@contextmanager
def database_errors(url: str) -> Iterator[None]:
    """Turn what the database refuses into a StorageError that names it, without its password."""
    try:
        yield
    except ImportError as error:
        raise StorageError(f"{shown(url)}: {error}; pip install 'psycopg[binary]'") from error
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
        lines = str(getattr(cause, "orig", None) or cause or error).strip().splitlines()
        raise StorageError(f"{shown(url)}: the database does not serve: {(lines or ['?'])[0]}") from error
