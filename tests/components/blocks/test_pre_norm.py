import pytest
import torch
import torch.nn.functional as F

from rnnlab.components.attention.single_head import SingleHead
from rnnlab.components.blocks.pre_norm import PreNorm
from rnnlab.components.cores.min_gru import MinGRU
from rnnlab.components.feedforward.swiglu import SwiGLU
from rnnlab.errors import ConfigError


def test_every_part_is_added_to_the_stream() -> None:
    block = PreNorm(8, core=MinGRU, attention=SingleHead, feedforward=SwiGLU).double()
    x = torch.randn(6, 2, 8, dtype=torch.float64)
    y, state = block(x, block.initial_state(2))
    changed, core_state = block.core(F.layer_norm(x, (8,), eps=1e-12), block.core.initial_state(2))
    h = x + changed
    normed = F.layer_norm(h, (8,), eps=1e-12)
    h = h + block.attention(normed, normed, block.attention.initial_state(2))[0]
    h = h + block.feedforward(F.layer_norm(h, (8,), eps=1e-12))
    torch.testing.assert_close(y, h)
    torch.testing.assert_close(state.core, core_state)
    assert state.attention.positions.shape == (6, 2, 8)


def test_parts_left_out_leave_no_parameters() -> None:
    block = PreNorm(8, core=MinGRU)
    assert {name.split(".")[0] for name, _ in block.named_parameters()} == {"core", "core_norm"}
    assert block.initial_state(2).attention is None
    assert block.macs() == block.core.macs()


def test_dropout_spares_the_stream_itself() -> None:
    block = PreNorm(64, core=MinGRU, dropout=0.5)
    x = torch.full((5, 3, 64), 9.0) + torch.randn(5, 3, 64)
    y, _ = block(x, block.initial_state(3))
    untouched = (y == x).float().mean().item()
    assert untouched == pytest.approx(0.5, abs=0.1)


def test_a_dropout_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"Block.dropout = 1.5"):
        PreNorm(8, core=MinGRU, dropout=1.5)
