"""F9, F10, F31: numbers that are not finite never reach the parameters, and are never a result; a spike is told."""

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnlab.errors import Diverged
from rnnlab.scoring import losses
from rnnlab.state import map_state
from rnnlab.storage import checkpoint
from rnnlab.training import learner
from rnnlab.training import loop as training
from rnnlab.training.loop import Loop
from rnnlab.training.replay import replay
from tests.processes import Child, Processes
from tests.rnnlab.tiny_runs import journal, new_loop, train, write_text

pytestmark = pytest.mark.faults

GOOD_STEPS = 9
POISON = {"NaN": math.nan, "inf": math.inf}


def poisoned(x: Tensor, value: float) -> Tensor:
    """The same with one number replaced."""
    mask = torch.zeros_like(x, dtype=torch.bool)
    mask.view(-1)[x.numel() // 2] = True
    return x.masked_fill(mask, value)


def in_the_embedded_input(loop: Loop, value: float, patch: pytest.MonkeyPatch) -> None:
    loop.learner.model.embedding.register_forward_hook(lambda module, inputs, output: poisoned(output, value))


def in_a_core(loop: Loop, value: float, patch: pytest.MonkeyPatch) -> None:
    core: Any = loop.learner.model.blocks[1].core
    core.register_forward_hook(lambda module, inputs, output: (poisoned(output[0], value), output[1]))


def in_the_carried_state(loop: Loop, value: float, patch: pytest.MonkeyPatch) -> None:
    loop.learner.state = map_state(lambda leaf: poisoned(leaf, value), loop.learner.state)


def in_the_loss(loop: Loop, value: float, patch: pytest.MonkeyPatch) -> None:
    real = losses.cross_entropy
    patch.setattr(learner, "cross_entropy", lambda logits, targets: real(logits, targets) * 0.0 + value)


def in_a_gradient(loop: Loop, value: float, patch: pytest.MonkeyPatch) -> None:
    bias: Any = loop.learner.model.output_bias
    bias.register_hook(lambda gradient: poisoned(gradient, value))


def in_the_optimizer(loop: Loop, value: float, patch: pytest.MonkeyPatch) -> None:
    slots = loop.learner.optimizer.state[loop.learner.model.output_bias]
    slots["exp_avg_sq"] = poisoned(slots["exp_avg_sq"], value)


PLACES = [in_the_embedded_input, in_a_core, in_the_carried_state, in_the_loss, in_a_gradient, in_the_optimizer]


@contextmanager
def good_steps(folder: Path) -> Iterator[Loop]:
    """A run that was trained for some steps, held."""
    loop = new_loop(folder / "run", write_text(folder), "Trainer.save_every = 1000", "Trainer.log_every = 1")
    with loop.folder.hold():
        loop.save()
        for _ in range(GOOD_STEPS):
            loop.learner.step()
        yield loop


@pytest.mark.parametrize("value", POISON.values(), ids=POISON)
@pytest.mark.parametrize("place", PLACES)
def test_f9_a_step_that_is_not_finite_touches_nothing_and_can_be_replayed(
    place: Callable[[Loop, float, pytest.MonkeyPatch], None],
    value: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with good_steps(tmp_path) as loop:
        before = {name: x.clone() for name, x in loop.learner.model.state_dict().items()}
        place(loop, value, monkeypatch)
        with pytest.raises(
            Diverged, match=rf"step {GOOD_STEPS + 1}: .*rnnlab replay .* --step {GOOD_STEPS + 1}`"
        ) as raised:
            loop.run()
    assert raised.value.exit_code == 4
    monkeypatch.undo()
    saved, damage = checkpoint.newest(loop.folder.checkpoints)
    assert (saved.step, damage) == (GOOD_STEPS, [])
    for name, x in before.items():
        assert torch.equal(loop.learner.model.state_dict()[name], x), name
        assert torch.equal(saved.tensors[f"model/{name}"], x), name
        assert bool(x.isfinite().all())
    result = loop.folder.result()
    assert result is not None
    assert (result["status"], result["steps"]) == ("diverged", GOOD_STEPS)
    again = replay(loop.folder.path, GOOD_STEPS + 1)
    in_the_checkpoint = place in (in_the_carried_state, in_the_optimizer)
    assert bool(again.not_finite) == in_the_checkpoint
    assert math.isfinite(again.loss) == (place is not in_the_carried_state)
    assert again.chunks[0].texts[0]


def test_f9_a_run_that_diverges_by_itself_exits_4_and_the_replay_shows_it(processes: Processes, tmp_path: Path) -> None:
    run, text = tmp_path / "run", write_text(tmp_path)
    child = processes.train(run, text, "Muon.lr = 1e30", "Trainer.clip = None")
    assert child.wait() == 4, child.err
    assert len(child.err.strip().splitlines()) == 1
    step = checkpoint.newest(run / "checkpoints")[0].step + 1
    assert f"--step {step}`" in child.err
    shown = processes.start("replay", str(run), "--step", str(step))
    assert shown.wait() == 0, shown.err
    assert "loss nan" in shown.out or "loss inf" in shown.out or "norm nan" in shown.out
    again = processes.resume(run)
    assert again.wait() == 4, "it is the same step"


def a_step_that_went_astray(run: Path, text: Path, processes: Processes) -> Child:
    """One step at a learning rate that leaves parameters of 1e30, then the evaluation at the end."""
    recipe = ("Trainer.steps = 1", "Trainer.optimizer = @optimizer.AdamW", "AdamW.lr = 1e30", "Cosine.warmup = 0")
    return processes.train(run, text, *recipe)


def test_f31_a_run_whose_score_is_not_finite_is_not_done(processes: Processes, text: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    child = a_step_that_went_astray(run, text, processes)
    assert child.wait() == 4, child.err
    assert re.search(r"step 1: the valid BPC is (nan|inf).*`rnnlab replay .* --step 1` shows the step", child.err)
    assert json.loads((run / "result.json").read_text())["status"] == "diverged"
    assert processes.start("replay", str(run), "--step", "1").wait() == 0
    assert processes.resume(run).wait() == 4, "the same state scores the same"


@pytest.mark.parametrize(
    "command",
    [
        ["eval"],
        ["eval", "--memory", "1,8"],
        ["generate"],
        ["probe", "--split", "train"],
        ["export", "--out", "exported"],
    ],
    ids=" ".join,
)
def test_f31_a_model_that_is_not_finite_ends_what_reads_it(
    command: list[str], processes: Processes, text: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert a_step_that_went_astray(run, text, processes).wait() == 4
    child = processes.start(command[0], str(run), *command[1:])
    assert child.wait() == 4, child.err
    assert "not finite" in child.err
    assert "Traceback" not in child.err
    assert child.out == ""


@pytest.mark.parametrize("at", [61, 64, 70])
def test_f10_a_spike_is_told_at_its_step(at: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text turns into noise where the step begins: not a fault in the numbers, and the run goes on."""
    batch_size, chunk = 4, 24
    known, noise = b"ab" * (chunk * (at - 1) // 2), bytes(range(128, 128 + chunk))
    sequence = known + noise + b"ab" * (chunk * 10)
    text, other = tmp_path / "text", write_text(tmp_path)
    text.write_bytes(sequence * batch_size)
    quick = [
        "Muon.lr = 0.03",
        "Cosine.warmup = 0",
        "Trainer.jitter = False",
        "Trainer.log_every = 1000",
        "dropout = 0.0",
    ]
    files = [f"File.valid = {str(other)!r}", f"File.test = {str(other)!r}", "Trainer.eval_every = 1_000_000"]
    train(tmp_path / "run", text, *quick, *files, f"Trainer.steps = {at + 2}")
    spikes = [record for record in journal(tmp_path / "run") if record["kind"] == "spike"]
    assert [record["step"] for record in spikes][:1] == [at]
    assert spikes[0]["loss"] > training.SPIKE_FACTOR * spikes[0]["average"]
    told = capsys.readouterr().err
    assert f"at step {at} " in told
    assert f"rnnlab replay {tmp_path / 'run'} --step {at}`" in told
