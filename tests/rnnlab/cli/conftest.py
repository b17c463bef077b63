"""Runs that the commands made, shared by those who only look at them."""

from pathlib import Path

import pytest

from tests.rnnlab.cli.commands import TINY, answer, json_answer, write_text


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and two runs, R and R2, made by the commands that the project shows."""
    folder = tmp_path_factory.mktemp("runs")
    common = ["--corpus", str(write_text(folder)), "--seed", "1", *TINY]
    R = json_answer("train", "sha_rnn", "size/small", "--bytes", "640", *common, "--run", str(folder / "R"))
    assert R["status"] == "done"
    composed = ["size/tiny", "core/lstm", "attention/multi_head", "feedforward/standard", "memory/512"]
    own = ["--set", "Block.dropout = 0.2", "--bytes", "320"]
    answer("train", "sha_rnn", *composed, *common[:4], *TINY[:2], *TINY[4:], *own, "--run", str(folder / "R2"))
    return folder
