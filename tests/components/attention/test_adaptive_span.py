import pytest
import torch

from rnnlab.components.attention.adaptive_span import AdaptiveSpan
from rnnlab.components.attention.multi_head import MultiHead
from rnnlab.errors import ConfigError


def test_a_weight_falls_to_nothing_over_the_ramp_behind_the_span() -> None:
    part = AdaptiveSpan(8, heads=2, memory=101, ramp=4.0)
    with torch.no_grad():
        part.share.copy_(torch.logit(torch.tensor([0.1, 0.5])))
    masks = part.bias(torch.arange(60.0).reshape(1, 60)).exp().reshape(2, 60)
    assert part.spans().tolist() == pytest.approx([10.0, 50.0])
    assert masks[0, 9:16].tolist() == pytest.approx([1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0])
    assert masks[1, 49:56].tolist() == pytest.approx([1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0])


def test_its_weights_are_those_of_the_paper() -> None:
    part, plain = AdaptiveSpan(8, heads=2, memory=20, ramp=5.0).double(), MultiHead(8, heads=2, memory=20).double()
    with torch.no_grad():
        part.share.copy_(torch.logit(torch.tensor([0.1, 0.4])))
    plain.load_state_dict({name: tensor for name, tensor in part.state_dict().items() if name != "share"})
    source = torch.randn(18, 2, 8, dtype=torch.float64)
    distance = torch.arange(18).unsqueeze(1) - torch.arange(18)
    hidden = distance < 0
    mask = torch.stack([((5.0 + span - distance) / 5.0).clamp(0.0, 1.0) for span in part.spans()])
    softmax = plain.weights(source, source, source[:0], hidden)
    wanted = mask * softmax / (mask * softmax).sum(-1, keepdim=True)
    torch.testing.assert_close(part.weights(source, source, source[:0], hidden), wanted)


def test_the_penalty_is_on_the_mean_span() -> None:
    part = AdaptiveSpan(8, heads=2, memory=101, penalty=0.01)
    with torch.no_grad():
        part.share.copy_(torch.logit(torch.tensor([0.1, 0.5])))
    assert part.penalty().item() == pytest.approx(0.01 * 30.0)
    assert part.figures() == {"span": pytest.approx(30.0), "longest_span": pytest.approx(50.0)}


@pytest.mark.parametrize(
    "arguments",
    [
        {"ramp": 0.0},
        {"penalty": -1.0},
        {"first": 1.5},
        {"first": 0.0},
        {"heads": 3},
        {"memory": 0},
        {"penalty": float("nan")},
    ],
)
def test_numbers_that_cannot_be_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"AdaptiveSpan\."):
        AdaptiveSpan(8, **arguments)  # type: ignore[arg-type]
