"""The QRNN's pass over time: what does not add up over many positions."""

import pytest
import torch

from rnnlab.ops import native, qrnn_layer
from rnnlab.ops.qrnn import Gates


@pytest.mark.skipif(native.kernels() is None, reason="there are no CPU kernels")
@pytest.mark.parametrize("zoneout", [0.0, 0.3])
def test_a_cell_gets_the_gradient_by_its_share_of_the_cell_8192_positions_later(zoneout: float) -> None:
    width = 16
    forget = torch.linspace(
        8.0, 11.0, width
    )  # 1 - f from 3e-4 down to 2e-5: in float its rest would round alike each time
    zeros = torch.zeros(width, 1), torch.zeros(width)
    gates = Gates(candidate=zeros, forget=(torch.zeros(width, 1), forget), output=zeros)
    first = torch.ones(1, width, requires_grad=True)
    _, last = qrnn_layer(torch.zeros(8192, 1, 1), gates, first, zoneout, backend="native")  # nothing is added to it
    gradient = torch.autograd.grad(last.sum(), first)[0]
    torch.testing.assert_close(gradient, last.detach(), rtol=1e-6, atol=0.0)
