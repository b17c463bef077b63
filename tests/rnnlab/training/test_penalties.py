"""What a part asks for beside the loss, and what it tells while it learns."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from rnnlab.storage.runfolder import TENSORBOARD
from rnnlab.training.learner import Learner
from rnnlab.training.replay import replay
from tests.rnnlab import tiny_runs
from tests.rnnlab.views.test_board import points

SPAN = "blocks.2.attention.share"
ADAPTIVE = ["attention = @attention.AdaptiveSpan", "AdaptiveSpan.heads = 2", "AdaptiveSpan.first = 0.3"]


def first_step(text: Path, penalty: float, accumulate: int) -> tuple[float, torch.Tensor]:
    """Loss [nats] and the spans' gradient (H), summed over the micro-batches."""
    built = tiny_runs.build(
        text, *ADAPTIVE, f"AdaptiveSpan.penalty = {penalty}", f"Trainer.accumulate = {accumulate}", "dropout = 0.0"
    )
    learner = Learner(built)
    told, _ = learner.backward(learner.chunks())
    gradients = {name: parameter.grad for name, parameter in learner.model.named_parameters()}
    share = gradients[SPAN]
    assert share is not None
    return float(told.loss), share


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_penalty_moves_the_gradient_once_a_step_and_not_the_loss_that_is_told(accumulate: int, text: Path) -> None:
    loss, plain = first_step(text, 0.0, accumulate)
    penalized, pulled = first_step(text, 0.01, accumulate)
    assert penalized == loss
    slope = 0.01 * (40 - 1) / 2 * 0.3 * 0.7  # of the mean span [positions] of two heads, through each one's sigmoid
    torch.testing.assert_close(pulled - plain, torch.full((2,), slope), rtol=1e-4, atol=1e-6)


def test_a_strong_penalty_shortens_the_spans_and_the_journal_and_the_board_tell_it(text: Path, tmp_path: Path) -> None:
    tiny_runs.train(tmp_path / "run", text, *ADAPTIVE, "AdaptiveSpan.penalty = 1.0", "Trainer.steps = 20")
    told = [r["figures"] for r in tiny_runs.journal(tmp_path / "run") if r["kind"] == "train"]
    assert {tuple(figures) for figures in told} == {("blocks.2.attention.span", "blocks.2.attention.longest_span")}
    spans = [figures["blocks.2.attention.span"] for figures in told]
    assert all(later < earlier for earlier, later in pairwise(spans))
    shown = points(tmp_path / "run" / TENSORBOARD, "part/blocks.2.attention.span")
    assert [y for _, y in shown] == pytest.approx(spans, rel=1e-6)


def test_a_step_with_a_penalty_is_replayed(text: Path, tmp_path: Path) -> None:
    tiny_runs.train(tmp_path / "run", text, *ADAPTIVE, "AdaptiveSpan.penalty = 0.1", "Trainer.steps = 9")
    found = replay(tmp_path / "run", 9)
    recorded = next(r for r in tiny_runs.journal(tmp_path / "run") if r["kind"] == "train" and r["step"] == 9)
    assert (found.grad_norm, found.grad_norms) == (recorded["grad_norm"], recorded["grad_norms"])
