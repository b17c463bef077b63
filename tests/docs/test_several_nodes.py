"""The launch line for one run over several nodes, with two tasks on the one node of a real SLURM."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import train_arguments
from tests.studies.slurm import Cluster, cluster

SCRIPT = Path(__file__).parents[2] / "examples" / "slurm" / "several_nodes.sh"

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


def test_two_tasks_train_one_run_over_gloo_and_go_on_with_it(
    slurm: Cluster, text: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run, log = tmp_path / "run", tmp_path / "log"
    _, *arguments, _, _ = train_arguments(run, text)  # without the command and the folder, which the script names
    two = ["--nodes=1", "--ntasks=2", "--ntasks-per-node=2", "--cpus-per-task=1", f"--output={log}"]
    for _ in range(2):  # the second time it is resumed, and there is nothing left to do
        slurm.ask("sbatch", "--wait", *two, str(SCRIPT), str(run), *arguments, patience=300.0)
        result = json.loads((run / "result.json").read_text())
        assert result["status"] == "done", log.read_text()
    alone = json.loads((whole / "result.json").read_text())
    assert result["valid_bpc"] == pytest.approx(alone["valid_bpc"], abs=1e-3), (
        "two ranks share the batch of one process"
    )
