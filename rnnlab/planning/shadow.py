"""The shadow of a training step: all that a GPU would be asked for, seen without a GPU and without a number computed.

The learner is real and so is its step: forward, backward, clipping, optimizer, with state and full memory carried. Its
tensors lie on torch's meta device and have no numbers (rnnlab.planning.behavior). An account is kept of what it
launches and holds (rnnlab.planning.tracker).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rnnlab.config import Config
from rnnlab.data.source import Source
from rnnlab.planning.behavior import CudaBehavior
from rnnlab.planning.tracker import Account, Kernel, Tracker
from rnnlab.speed.bench import fill_memory
from rnnlab.speed.timeline import LABELS, SLOTS
from rnnlab.state import leaves, map_state
from rnnlab.training.experiment import build
from rnnlab.training.learner import Learner

HELD = ("parameters", "gradients", "optimizer", "state and memory", "text")
"""What is held from step to step, beside activations; the optimizer's also has what its step works on."""


@dataclass(frozen=True)
class Shadow:
    """What a step asks of a GPU, and what a chunk of an evaluation does."""

    kernels: list[Kernel]
    memory: dict[str, int]  # [bytes] at the peak of the step, by part: those of HELD, then activations by part
    waits: Counter[str]  # of the host for the device, for numbers and copies, by file and line
    mixed: Counter[str]  # operators that took tensors of the host and of the device
    evaluation: list[Kernel]
    evaluation_peak: int  # [bytes]
    carried: int  # [bytes] of state and memory that a checkpoint has
    checkpoint: int  # [bytes] of its tensors, those among them

    @property
    def peak(self) -> int:
        """[bytes] of tensors, the most that is held at a time."""
        return sum(self.memory.values())


def shadow(config: Config, source: Source, like: str = "cuda") -> Shadow:
    """Take a step of a configuration on the meta device.

    Args:
        source: whose sizes count; nothing of a text is read.
        like: the device whose behavior is followed; "cpu" for what plain torch does there.
    Raises: ConfigError, DataError as training does.
    """
    experiment = build(config, shapes_only=True, needs_source=False)
    experiment.source = source
    for group in experiment.optimizer.param_groups:
        if "fused" in group:
            # As on CUDA. Of SGD the meta device has no fused kernel, and the lists of tensors are the next best.
            group["fused" if "betas" in group else "foreach"] = True
    learner = Learner(experiment)
    tracker = Tracker()
    with CudaBehavior(tracker.recurrence, like) as behavior, tracker, _parts_named(learner.model, tracker):
        fill_memory(learner, at_once=learner.batches.positions(0))
        learner.span = lambda name: tracker.within(name if name in LABELS else "rest")
        learner.step()  # the optimizer makes its moments
        behavior.waits.clear()
        _hold(learner, tracker)
        tracker.begin()
        learner.step()
        step, waits = tracker.account, Counter(behavior.waits)
        _hold(learner, tracker)  # new gradients and the new state are told apart now that they are known
        evaluate, _ = evaluation_chunk(learner)
        tracker.begin()
        evaluate()
        evaluation = tracker.account
        saved = {name: tensor.nbytes for name, tensor in learner.snapshot().tensors.items()}
    return Shadow(
        kernels=step.kernels,
        memory=_by_part(step),
        waits=waits + step.copies,
        mixed=step.mixed,
        evaluation=evaluation.kernels,
        evaluation_peak=evaluation.peak,
        carried=sum(nbytes for name, nbytes in saved.items() if name.startswith("state/")),
        checkpoint=sum(saved.values()),
    )


def evaluation_chunk(learner: Learner) -> tuple[Callable[[], None], int]:
    """What scores one chunk with its memory full, as `rnnlab.evaluation.evaluate` does, and how many bytes that is."""
    t, model = learner.trainer, learner.model
    portions = learner.source.test.parts(t.eval_batch_size, None, torch.device("meta"))
    length = min(t.eval_bptt, max(portion.reader.positions(0) for portion in portions))
    tokens = torch.zeros(length, t.eval_batch_size, dtype=torch.int64, device=learner.device)
    dtype = model.embedding.weight.dtype

    def resized(leaf: Tensor) -> Tensor:
        return leaf.new_zeros(*leaf.shape[:-2], t.eval_batch_size, leaf.shape[-1], dtype=dtype)

    state = map_state(resized, learner.state)

    def evaluate() -> None:
        model.eval()
        try:
            with torch.no_grad():
                model(tokens, state)
        finally:
            model.train()

    return evaluate, tokens.numel()


def _hold(learner: Learner, tracker: Tracker) -> None:
    parameters = list(learner.model.parameters())
    moments = [x for slots in learner.optimizer.state.values() for x in slots.values() if isinstance(x, Tensor)]
    gradients = [p.grad for p in parameters if p.grad is not None]
    text = list(learner.batches.held())
    held: tuple[Sequence[Tensor], ...] = parameters, gradients, moments, [x for _, x in leaves(learner.state)], text
    for part, tensors in zip(HELD, held, strict=True):
        tracker.hold(tensors, part)


def _by_part(account: Account) -> dict[str, int]:
    found: Counter[str] = Counter()
    for allocation in account.at_peak:
        found[allocation.part] += allocation.nbytes
    activations = sorted((part for part in found if part not in HELD), key=lambda part: -found[part])
    return {part: found[part] for part in (*HELD, *activations) if found[part]}


@contextmanager
def _parts_named(model: nn.Module, tracker: Tracker) -> Iterator[None]:
    """Within the block the tracker knows which part of the model runs: as in rnnlab.speed.timeline."""
    named: list[tuple[nn.Module, str]] = [(model, "head")]
    for block in model.blocks:  # type: ignore[union-attr]
        named.append((block, "wiring"))
        parts = ((getattr(block, slot, None), label) for slot, label in SLOTS.items())
        named += [(part, label) for part, label in parts if isinstance(part, nn.Module)]
    handles = []
    for module, label in named:
        handles.append(module.register_forward_pre_hook(lambda *_, label=label: tracker.enter(label)))
        handles.append(module.register_forward_hook(lambda *_: tracker.leave()))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
