"""A recorded pass says what the pass says. On the CPU the recorder is one that repeats the work into the same places,
which is all that the bookkeeping sees of a CUDA graph; where there is a CUDA device the real one is held to the same.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import rnnlab
from rnnlab.errors import ConfigError, Diverged
from rnnlab.state import State, leaves
from rnnlab.storage.runfolder import RunFolder
from rnnlab.testing import rounding
from rnnlab.training.cudagraph import GraphedPass, ToldAndState
from rnnlab.training.learner import Learner
from rnnlab.training.loop import check_fit
from rnnlab.training.replay import replay
from tests.rnnlab import small_tasks
from tests.rnnlab.tiny_runs import build, losses_of, train, write_text

STEADY = ["Trainer.jitter = False", "Trainer.steps = 1000"]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Shorter than four sequences of forty chunks, so that training comes to its end and begins anew."""
    return write_text(tmp_path, 4_000)


class Repeater:
    """Repeats the work and writes its results, loss, state and gradients, over those of the first time."""

    def __init__(self, learner: Learner) -> None:
        self.learner, self.replays = learner, 0

    def __call__(self, work: Callable[[], ToldAndState]) -> tuple[Callable[[], None], ToldAndState]:
        with torch.random.fork_rng(devices=[]):
            first = work()
        kept = self._results(first)

        def replay() -> None:
            self.replays += 1
            again = work()
            for place, new in zip(kept, self._results(again), strict=True):
                place.copy_(new)

        return replay, first

    def _results(self, outcome: ToldAndState) -> list[Tensor]:
        gradients = [p.grad for p in self.learner.model.parameters() if p.grad is not None]
        return [*(tensor for _, tensor in leaves(outcome)), *gradients]


def graphed(learner: Learner) -> Repeater:
    recorder = Repeater(learner)
    learner._pass = GraphedPass(learner._forward_and_backward, learner.model.parameters(), recorder)
    return recorder


def copies(state: State) -> list[Tensor]:
    return [tensor.clone() for _, tensor in leaves(state)]


@pytest.mark.long
def test_training_with_a_recording_goes_through_the_same_numbers_over_two_epochs(text: Path) -> None:
    plain, recorded = Learner(build(text, *STEADY)), Learner(build(text, *STEADY))
    recorder = graphed(recorded)
    for step in range(90):
        want, got = plain.step(), recorded.step()
        assert (got["loss"], got["grad_norm"]) == (want["loss"], want["grad_norm"]), f"step {step + 1}"
    assert plain.progress.reading == 2
    assert 70 <= recorder.replays <= 86, "all but the chunks of a filling memory and of the sequences' ends"
    for got_leaf, want_leaf in zip(copies(recorded.state), copies(plain.state), strict=True):
        assert torch.equal(got_leaf, want_leaf)


def test_examples_of_one_length_are_recorded_as_well_and_begin_with_fresh_state() -> None:
    same = ["Parity.shortest = 8", "Parity.longest = 8", "Block.attention = %attention"]
    plain, recorded = small_tasks.learner(*same), small_tasks.learner(*same)
    recorder = graphed(recorded)
    for step in range(12):
        want, got = plain.step(), recorded.step()
        for figure in ("loss", "accuracy", "grad_norm"):
            assert got[figure] == want[figure], f"step {step + 1}"
    assert recorder.replays == 11


def test_a_replay_writes_over_nothing_that_was_given_out(text: Path) -> None:
    learner = Learner(build(text, *STEADY))
    recorder = graphed(learner)
    for _ in range(10):
        learner.step()
    state, values = learner.state, copies(learner.state)
    replays = recorder.replays
    learner.backward(learner.chunks())
    assert recorder.replays == replays + 1
    for (name, leaf), value in zip(leaves(state), values, strict=True):
        assert torch.equal(leaf, value), name


def test_a_step_that_diverges_in_a_replay_leaves_the_stream_as_it_was(text: Path) -> None:
    learner = Learner(build(text, *STEADY))
    recorder = graphed(learner)
    for _ in range(10):
        learner.step()
    values, replays = copies(learner.state), recorder.replays
    with torch.no_grad():
        learner.model.output_bias[0] = float("nan")
    with pytest.raises(Diverged):
        learner.step()
    assert recorder.replays == replays + 1
    for (name, leaf), value in zip(leaves(learner.state), values, strict=True):
        assert torch.equal(leaf, value), name


@pytest.mark.parametrize(
    ("bindings", "remedy"),
    [
        (["Trainer.jitter = True"], "bind Trainer.jitter = False"),
        (["Trainer.jitter = False", "Trainer.accumulate = 2"], "bind Trainer.accumulate = 1"),
        (["Trainer.jitter = False", "Trainer.device = 'cpu'"], "the device is cpu; use False"),
    ],
)
def test_what_cannot_be_recorded_is_refused_with_the_remedy(text: Path, bindings: list[str], remedy: str) -> None:
    with pytest.raises(ConfigError, match=r"Trainer.cuda_graph = True.*" + remedy.replace(".", r"\.")):
        check_fit(build(text, "Trainer.cuda_graph = True", *bindings))


@pytest.mark.slow
def test_what_was_trained_as_a_cuda_graph_is_loaded_and_replayed_where_there_is_none(
    text: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train(run, text, "Trainer.jitter = False", "Trainer.steps = 8", "Trainer.save_every = 4")
    graphed_there = "Trainer.cuda_graph = True"  # as `rnnlab resume --set` on a machine with a GPU would write it down
    RunFolder.open(run).note_resumption([graphed_there])
    assert rnnlab.load(run, device="cpu", overrides=[graphed_there]).experiment.trainer.cuda_graph
    replayed = replay(run, 6, device="cpu")
    assert replayed.loss == replayed.recorded_loss


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("core", ["LSTM", "QRNN"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_cuda_graph_trains_as_the_same_steps_launched_one_by_one(text: Path, precision: str, core: str) -> None:
    bindings = [*STEADY, "Trainer.device = 'cuda'", f"Trainer.precision = {precision!r}", f"Block.core = @core.{core}"]
    plain, recorded = Learner(build(text, *bindings)), Learner(build(text, *bindings, "Trainer.cuda_graph = True"))
    exact = Learner(build(text, *bindings, "Trainer.precision = 'fp32'"))
    exact.model.double()
    want, got, wanted = (losses_of(learner, 60) for learner in (plain, recorded, exact))
    rounding.check_no_worse(got, than=want, exact=wanted)
    assert isinstance(recorded._pass, GraphedPass)
    assert recorded._pass.recorded
