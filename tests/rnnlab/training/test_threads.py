"""How many threads a run computes with, and that it keeps them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rnnlab import api, config
from rnnlab.errors import ConfigError
from rnnlab.training import threads
from rnnlab.training.experiment import build
from rnnlab.training.threads import choose_threads, using_threads
from tests.rnnlab.tiny_runs import journal, train, write_text


@pytest.fixture
def two_cores() -> Iterator[None]:
    with using_threads(2):
        yield


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(
    ("fragments", "bindings", "expected"),
    [
        (["size/tiny"], [], 1),
        (["size/tiny"], ["LanguageModel.dim = 128"], 1),
        (["size/small"], [], 2),
        ([], [], 2),
        (["size/tiny"], ["Trainer.threads = 3"], 3),
        (["size/small"], ["Trainer.threads = 1"], 1),
    ],
)
def test_a_small_model_takes_one_and_a_large_one_what_there_is(
    fragments: list[str], bindings: list[str], expected: int
) -> None:
    built = build(config.resolve(["sha_rnn", *fragments], bindings), shapes_only=True, needs_source=False)
    assert choose_threads(built) == expected


@pytest.mark.usefixtures("two_cores")
def test_a_run_that_is_gone_on_with_keeps_what_it_had() -> None:
    small = build(config.resolve(["sha_rnn", "size/small"]), shapes_only=True, needs_source=False)
    assert choose_threads(small, recorded=1) == 1
    assert choose_threads(small, recorded=5) == 5
    for nonsense in (None, "many", 0, -1, 10**9):
        assert choose_threads(small, recorded=nonsense) == 2


@pytest.mark.long
def test_training_records_its_threads_and_resuming_and_scoring_use_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = write_text(tmp_path)
    whole = train(tmp_path / "whole", text, "Trainer.threads = 2", "Trainer.schedule = @schedule.Constant")
    assert whole["threads"] == 2
    assert json.loads((tmp_path / "whole" / "environment.json").read_text())["threads"] == 2
    used: list[int] = []
    monkeypatch.setattr(threads.torch, "set_num_threads", used.append)
    before = torch.get_num_threads()
    api.resume(tmp_path / "whole", ["Trainer.steps = 31"])
    assert used == [2, before]
    used.clear()
    api.evaluate(tmp_path / "whole", limit=200)
    assert used == [2, before]
    assert len(journal(tmp_path / "whole")) > 31


def test_an_impossible_number_is_refused(tmp_path: Path) -> None:
    for number in (0, -3, 10**6):
        with pytest.raises(ConfigError, match=f"Trainer.threads = {number}"):
            train(tmp_path / "run", write_text(tmp_path), f"Trainer.threads = {number}")


def test_a_block_with_other_threads_leaves_them_as_they_were() -> None:
    before = torch.get_num_threads()
    with using_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before

    def fails() -> None:
        with using_threads(before + 1):
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert torch.get_num_threads() == before
