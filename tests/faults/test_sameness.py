"""F20, F21: who watches, and where a run runs, changes no bit of it."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnlab.evaluation import evaluate
from rnnlab.generation import generate
from rnnlab.model import fold
from rnnlab.training.loop import Loop
from rnnlab.views.board import BoardObserver
from tests.processes import PATIENCE, expect_equal, train_arguments
from tests.rnnlab.tiny_runs import new_loop

pytestmark = pytest.mark.faults


def nobody(loop: Loop, record: dict[str, Any]) -> None:
    pass


def one_who_evaluates(loop: Loop, record: dict[str, Any]) -> None:
    evaluate(loop.learner.model, loop.learner.source.train, batch_size=2, bptt=10, limit=300)


def one_who_generates(loop: Loop, record: dict[str, Any]) -> None:
    assert len(list(generate(loop.learner.model, b"the ", count=5, seed=record["step"]))) == 5


def one_who_draws(loop: Loop, record: dict[str, Any]) -> None:
    torch.manual_seed(7)
    torch.rand(5)
    random.seed(7)


def one_who_folds(loop: Loop, record: dict[str, Any]) -> None:
    fold(loop.learner.model)


def one_who_saves(loop: Loop, record: dict[str, Any]) -> None:
    loop.save()


@pytest.mark.parametrize(
    "observer", [nobody, one_who_evaluates, one_who_generates, one_who_draws, one_who_folds, one_who_saves]
)
def test_f20_observers_change_no_bit(
    observer: Callable[[Loop, dict[str, Any]], None], text: Path, whole: Path, tmp_path: Path
) -> None:
    loop = new_loop(tmp_path / "run", text)
    with loop.folder.hold(), BoardObserver(loop.folder) as board:
        loop.observers = [lambda record: observer(loop, record), board] if observer is not nobody else []
        loop.run()
    expect_equal(tmp_path / "run", whole)


@pytest.mark.parametrize(
    ("hash_seed", "locale", "zone"),
    [("0", "C", "UTC"), ("1", "C.UTF-8", "UTC"), ("2", "POSIX", "Asia/Tokyo"), ("3", "de_DE.UTF-8", "America/New_York"),
     ("4", "tr_TR.UTF-8", "UTC"), ("random", "C.UTF-8", "Europe/Berlin")],
)  # fmt: skip
def test_f21_hash_seeds_folders_and_locales_change_no_bit(
    hash_seed: str, locale: str, zone: str, text: Path, whole: Path, tmp_path: Path
) -> None:
    here = tmp_path / f"a folder, {hash_seed}"
    here.mkdir()
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "LC_ALL": locale, "TZ": zone, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rnnlab", *train_arguments(Path("run"), text)]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    expect_equal(here / "run", whole)
