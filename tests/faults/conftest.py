"""What the process-level tests share: the fork server, and a run that was left alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.processes import Processes


@pytest.fixture(scope="session")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with Processes(tmp_path_factory.mktemp("processes")) as processes:
        yield processes


@pytest.fixture(scope="session")
def whole(processes: Processes, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that the killed, stopped and resumed ones have to equal."""
    run = tmp_path_factory.mktemp("whole") / "run"
    child = processes.train(run, text)
    assert child.wait() == 0, child.err
    return run
