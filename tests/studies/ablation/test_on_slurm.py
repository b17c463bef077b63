"""An ablation as jobs of a real SLURM: the table is that of local workers, and nothing needs a parent that lives."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from rnnlab.storage.cells import read_cells
from rnnlab.studies.ablation.driver import run_ablation
from rnnlab.studies.launch.slurm.request import parse_request
from rnnlab.studies.status import status
from tests.processes import begin
from tests.studies.slurm import Cluster
from tests.studies.small_studies import DROPPED, small_ablation, wait_until, write_study

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

OPTIONS = "partition=debug cpus-per-task=1 time=60 mem=500M"


def bpcs(folder: Path) -> dict[tuple[str, int], Any]:
    return {(cell.variant, cell.seed): cell.scores() for _, cell in read_cells(folder / "study" / "cells.jsonl")}


def test_many_cells_have_the_numbers_of_local_workers_to_the_bit(slurm: Cluster, tmp_path: Path) -> None:
    seeds = 20 if os.environ.get("RNNLAB_SOAK") else 4  # of two variants
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    here = run_ablation(small_ablation(tmp_path / "here", seeds=seeds), workers=2)
    there = run_ablation(small_ablation(tmp_path / "there", seeds=seeds), slurm=parse_request(OPTIONS))
    assert there[0]["cells"] == {"trained": 2 * seeds, "kept": 0}
    assert bpcs(tmp_path / "there") == bpcs(tmp_path / "here")
    compared = [
        [
            [row[key] for key in ("variant", "seeds", "valid_bpc", "difference")]
            for row in facts["tables"]["ablation"]["rows"]
        ]
        for facts, _ in (here, there)
    ]
    assert compared[0] == compared[1]
    assert "of 1 h 00 min (time=60)" in there[1]
    assert len((tmp_path / "there" / "study" / "slurm" / "jobs.csv").read_text().splitlines()) == 2 * seeds + 1


def test_a_study_is_left_to_the_cluster_and_taken_up_again(slurm: Cluster, tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas=DROPPED, seeds=1)
    command = ["ablate", path, "--run", tmp_path / "study", "--slurm", OPTIONS, "--json"]
    facts = begin(*command, "--detach").succeed()
    assert sum(facts["jobs"]["queue"].values()) == 2
    wait_until(lambda: not slurm.jobs())
    assert status(tmp_path / "study")[0]["cells"]["done"] == 2
    assert begin(*command).succeed()["cells"] == {"trained": 0, "kept": 2}


def test_a_cell_that_fails_is_told_with_its_last_line_and_its_log(slurm: Cluster, tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas={"too wide": ["LanguageModel.dim = 100000000"]}, seeds=1)
    command = ["ablate", path, "--run", tmp_path / "study", "--slurm", OPTIONS]
    code, _, err = begin(*command).finish()
    assert code == 1, err
    assert "1 of 2 cells failed; job " in err
    assert "exited with 7: not enough memory (" in err
    (failed,) = [one for one in status(tmp_path / "study")[0]["runs"].values() if one["state"] == "failed"]
    assert "not enough memory" in Path(failed["log"]).read_text()
    code, _, err = begin(*command[:-1], "partition=nowhere").finish()
    assert code == 2
    assert "SLURM refuses the jobs because of --partition=nowhere" in err


def test_two_commands_on_one_study_do_no_harm(slurm: Cluster, tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas=DROPPED, seeds=1)
    command = ["ablate", path, "--run", tmp_path / "study", "--slurm", f"{OPTIONS} hold", "--json"]
    with begin(*command) as first:
        jobs = wait_until(slurm.jobs)
        code, _, err = begin(*command).finish()
        assert (code, "another process is at this study" in err) == (6, True), err
        slurm.ask("scontrol", "release", next(iter(jobs)).partition("_")[0])
        assert first.succeed()["cells"] == {"trained": 2, "kept": 0}
    starts = [line for path in tmp_path.glob("study/slurm/*/[0-9].jsonl") for line in path.read_text().splitlines()]
    assert sum(json.loads(line)["event"] == "start" for line in starts) == 2
