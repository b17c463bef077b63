"""What torch.compile is given does not grow with the chunk."""

from pathlib import Path

import pytest
import torch

from rnnlab.training.compiled import compiled
from rnnlab.training.learner import Learner
from tests.rnnlab.tiny_runs import build


def nodes(text: Path, core: str, positions: int) -> int:
    """Of all graphs of a forward and backward pass."""
    from torch._dynamo.testing import AotEagerAndRecordGraphs

    torch._dynamo.reset()
    model = Learner(build(text, f"Block.core = @core.{core}", "dropout = 0.0")).model
    record = AotEagerAndRecordGraphs()
    logits, _ = compiled(model, backend=record)(torch.zeros(positions, 2, dtype=torch.long), model.initial_state(2))
    logits.sum().backward()
    return sum(len(graph.graph.nodes) for graph in (*record.fw_graphs, *record.bw_graphs))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own, about itself
@pytest.mark.long
@pytest.mark.parametrize("core", ["LSTM", "GRU"])
def test_the_number_of_compiled_operations_does_not_depend_on_the_length_of_a_chunk(text: Path, core: str) -> None:
    short, long = (nodes(text, core, positions) for positions in (8, 24))
    assert short == long
    assert short > 50


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of what the compiler imports
@pytest.mark.parametrize("stays", [True, False])
def test_a_part_stays_eager_if_it_says_so(stays: bool) -> None:
    class Part(torch.nn.Linear):
        stays_eager = stays

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x)

    before = Part.forward
    compiled(torch.nn.Sequential(Part(2, 2)))
    assert (Part.forward is not before) == stays
