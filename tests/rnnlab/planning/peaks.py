"""The peak of torch's allocations over a real step, and what its shadow says, as one JSON line.

Run in a process of its own, without compiled kernels: `RNNLAB_NATIVE=0 python -m tests.rnnlab.planning.peaks ...`. Both
take the same path: plain torch on the CPU, with the LSTM's equations one position at a time.
"""

import json
import sys
from pathlib import Path

import torch
from torch import Tensor

from rnnlab import config
from rnnlab.ops import gru, lstm
from rnnlab.planning.outline import outline_of
from rnnlab.planning.shadow import shadow
from rnnlab.speed.bench import steady_learner
from rnnlab.state import leaves
from rnnlab.training.experiment import build
from rnnlab.training.learner import Learner


def held(learner: Learner) -> int:
    """[bytes] before a step: parameters, moments, state."""
    tensors: list[Tensor] = list(learner.model.parameters())
    tensors += [x for slots in learner.optimizer.state.values() for x in slots.values() if isinstance(x, Tensor)]
    tensors += [leaf for _, leaf in leaves(learner.state)]
    storages = {x.untyped_storage()._cdata: x.untyped_storage().nbytes() for x in tensors}
    return sum(storages.values())


def peak_of_allocations(learner: Learner) -> int:
    """[bytes] at most during a step, by the records of torch's allocator."""
    learner.optimizer.zero_grad(set_to_none=True)  # the records lack what is freed that was there before them
    before = held(learner)
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profiler:
        learner.step()
    records = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    assert len(records) > 100
    now = most = before
    for record in sorted(records, key=lambda event: event.start_ns()):
        now += record.nbytes()
        most = max(most, now)
    return most


def main(fragments: list[str], overrides: list[str]) -> None:
    torch.set_num_threads(1)
    lstm._torch, gru._torch = lstm.reference, gru.reference
    learner = steady_learner(fragments, overrides)
    learner.step()
    real = peak_of_allocations(learner)
    resolved = config.resolve(fragments, [*overrides, "Trainer.jitter = False"])
    corpus = build(resolved, shapes_only=True).source
    assert corpus is not None
    seen = shadow(resolved, outline_of(corpus), like="cpu")
    text = seen.memory.get("text", 0)  # which stays on disk where the device is the CPU
    print(json.dumps({"real": real, "shadow": seen.peak - text, "memory": seen.memory}))


if __name__ == "__main__":
    main(sys.argv[1].split(","), [f"File.path = {str(Path(sys.argv[2]))!r}", *sys.argv[3:]])
