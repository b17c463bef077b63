import torch

from rnnlab.components.attention.alibi import ALiBi
from rnnlab.components.attention.multi_head import MultiHead


def test_scores_fall_by_the_slopes_of_the_paper() -> None:
    distance = torch.arange(5.0).reshape(1, 5)
    bias = ALiBi(16, heads=8).bias(distance)
    for head in range(8):  # for 8 heads: 1/2, 1/4, ... 1/256
        torch.testing.assert_close(bias[head], -distance / 2 ** (head + 1))


def test_it_is_multi_head_attention_with_those_scores() -> None:
    alibi, plain = ALiBi(8, heads=2, memory=6).double(), MultiHead(8, heads=2, memory=6).double()
    plain.load_state_dict(alibi.state_dict())
    source = torch.randn(9, 3, 8, dtype=torch.float64)
    y, state = alibi(source, source, alibi.initial_state(3))
    here = torch.arange(9)
    distance = here.unsqueeze(1) - here
    hidden = (distance < 0) | (distance >= 6)
    slopes = torch.tensor([1 / 16, 1 / 256], dtype=torch.float64).reshape(2, 1, 1)
    q = plain.scaled_query(source).reshape(9, 3, 2, 4)
    scores = torch.einsum("tbhd,mbhd->bhtm", q, source.reshape(9, 3, 2, 4)) - slopes * distance
    weights = scores.masked_fill(hidden, -torch.inf).softmax(-1)
    torch.testing.assert_close(y, plain.read(weights, source, source[:0]))
    torch.testing.assert_close(state.positions, source[-5:], check_dtype=False)
