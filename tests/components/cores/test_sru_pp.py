import pytest
import torch
from torch import Tensor

from rnnlab import config
from rnnlab.components.cores.sru_pp import SRUPP, SRUPPState
from rnnlab.errors import ConfigError
from rnnlab.model import count_parameters
from rnnlab.training import experiment
from tests.components.cores.straight import agrees, sigmoid


def straight(core: SRUPP, x: Tensor, state: SRUPPState) -> Tensor:
    c, outputs = state.c, []
    seen = x if state.attention is None else torch.cat([state.attention.positions, x])
    start = len(seen) - len(x)
    low = seen @ core.projection.query.T
    for t, x_t in enumerate(x, start=start):
        mixed = low[t]
        if state.attention is not None:
            window = low[max(0, t - core.projection.memory + 1) : t + 1]
            k, v = (window @ core.projection.key_value.T).chunk(2, dim=-1)
            scores = (low[t] * k).sum(-1) / core.rank**0.5  # (window, B)
            weights = torch.exp(scores) / torch.exp(scores).sum(0)
            mixed = mixed + core.projection.alpha * (weights.unsqueeze(-1) * v).sum(0)
        centered = mixed - mixed.mean(-1, keepdim=True)
        normed = centered / torch.sqrt((centered**2).mean(-1, keepdim=True) + 1e-5) * core.norm.weight + core.norm.bias
        u, forget, reset = (normed @ core.output.T).chunk(3, dim=-1)
        f = sigmoid(forget + core.forget_bias)
        r = sigmoid(reset + core.reset_cell * c + core.reset_bias)
        c = f * c + (1 - f) * u
        outputs.append(r * c + (1 - r) * x_t)
    return torch.stack(outputs)


@pytest.mark.parametrize("memory", [None, 1, 4, 100])
def test_it_computes_the_papers_equations(memory: int | None) -> None:
    agrees(SRUPP(6, rank=3, memory=memory), straight, positions=12)


def test_attention_is_silent_at_first() -> None:
    with_memory, without = SRUPP(8), SRUPP(8, memory=None)
    without.load_state_dict({name: with_memory.state_dict()[name] for name in without.state_dict()})
    x = torch.randn(5, 2, 8)
    y, _ = with_memory(x, with_memory.initial_state(2))
    torch.testing.assert_close(y, without(x, without.initial_state(2))[0])


def test_a_layer_has_the_weights_that_are_published() -> None:
    with torch.device("meta"):
        with_attention, without = SRUPP(3072, rank=768), SRUPP(3072, rank=768, memory=None)
    products = 3072 * 768 + 768 * 3 * 3072
    vectors = 2 * 768 + 3 * 3072
    assert sum(p.numel() for p in with_attention.parameters()) == products + 768 * 2 * 768 + vectors + 1
    assert sum(p.numel() for p in without.parameters()) == products + vectors


@pytest.mark.parametrize(
    "arguments", [{"dim": 0}, {"dim": 8, "rank": 0}, {"dim": 8, "memory": 0}, {"dim": 8, "dropout": 1.0}]
)
def test_numbers_that_cannot_be_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"SRUPP\."):
        SRUPP(**arguments)  # type: ignore[arg-type]


def test_the_root_has_the_size_that_is_published_but_for_the_output_layer() -> None:
    resolved = config.resolve(["sru_pp"])
    model = experiment.build(resolved, shapes_only=True, needs_source=False).model
    output = 205 * 3072  # the characters of enwik8, and no embedding to share with
    assert round((count_parameters(model) + output) / 1e6) == 108
