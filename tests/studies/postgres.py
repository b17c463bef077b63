"""A real PostgreSQL server on a free port of the loopback interface, for as long as the tests that ask for it."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVERS = Path("/usr/lib/postgresql")  # Debian's, whose initdb and pg_ctl are on no path
USER = "postgres"  # initdb refuses root


def binaries() -> Path | None:
    """Where the newest server that is installed has its programs."""
    found = sorted(SERVERS.glob("*/bin/initdb"), key=lambda path: float(path.parent.parent.name))
    return found[-1].parent if found else None


def why_not() -> str:
    """Why there can be no server here; empty if there can."""
    if binaries() is None:
        return f"no PostgreSQL server under {SERVERS}: apt-get install postgresql"
    return "" if os.geteuid() == 0 else "PostgreSQL's server is started as the user postgres, which needs root"


@contextmanager
def server(password: str | None = None) -> Iterator[str]:
    """The URL of an empty database, kept in a folder of its own outside of pytest's, which are for one user only.

    Args:
        password: without which the server lets nobody in; the URL does not hold it.
    """
    if reason := why_not():
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    programs = binaries()
    assert programs is not None
    port = _free_port()

    def as_postgres(*command: str) -> None:
        whole = ["runuser", "-u", USER, "--", *command]
        done = subprocess.run(whole, capture_output=True, text=True, cwd="/", timeout=120)
        assert done.returncode == 0, f"{command[0]}: {done.stderr}{done.stdout}"

    with tempfile.TemporaryDirectory(prefix="rnnlab-postgres-") as folder:
        subprocess.run(["chown", USER, folder], check=True)
        data = f"{folder}/data"
        auth = ["--auth=trust"]
        if password is not None:
            (Path(folder) / "password").write_text(password)
            auth = ["--auth=scram-sha-256", f"--pwfile={folder}/password"]
        as_postgres(str(programs / "initdb"), "-D", data, *auth, "--no-sync", "--encoding=UTF8")
        options = f"-h 127.0.0.1 -p {port} -k '' -c fsync=off"
        as_postgres(str(programs / "pg_ctl"), "-D", data, "-w", "-o", options, "-l", f"{folder}/log", "start")
        try:
            yield f"postgresql+psycopg://{USER}@127.0.0.1:{port}/postgres"
        finally:
            as_postgres(str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
