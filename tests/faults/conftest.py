"""What the process-level tests share: the fork server, and a run that was left alone."""

from pathlib import Path

import pytest

import tests.processes
from tests.processes import Processes


@pytest.fixture(scope="session")
def processes() -> Processes:
    return tests.processes.processes()


@pytest.fixture(scope="session")
def whole(processes: Processes, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that the killed, stopped and resumed ones have to equal."""
    run = tmp_path_factory.mktemp("whole") / "run"
    child = processes.train(run, text)
    assert child.wait() == 0, child.err
    return run
