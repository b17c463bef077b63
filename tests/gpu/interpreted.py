"""Every Triton kernel on the CPU, in Triton's interpreter.

    TRITON_INTERPRET=1 python -m tests.gpu.interpreted

Triton decides at its import whether it interprets, so this runs in a process of its own.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.ops import dropout, dropout_triton, triton_trial
from tests.rnnlab.ops import test_recurrence as recurrence

LAYOUTS = [  # shape, which dimension is the batch
    ((13, 8, 6), 1), ((8, 5, 7), 0), ((3, 5, 8, 2), 2), ((12, 12), None), ((2, 2, 2500), 1), ((40, 7, 1), 1),
    ((1, 1, 1), 1), ((0, 3, 4), 1),
]  # fmt: skip
KEYS = (0, 1, 16, 2**31 - 1)
RATES = {torch.float32: 0.3, torch.float16: 0.9, torch.bfloat16: 0.5}
"""The interpreter cuts what it rounds to bfloat16, which shows where the scale is no power of 2."""


def masked(
    x: Tensor, p: float, key: int | Tensor, offset: int, batch_dim: int | None, padding: tuple[int, int] = (0, 0)
) -> Tensor:
    y = torch.full_like(x, torch.nan, memory_format=torch.contiguous_format)
    _, first, threshold, scale = dropout.kernel_arguments(p, 0, offset, batch_dim)
    layout = dropout._layout(x.shape, batch_dim)
    where = layout, x.shape[-1], padding
    dropout_triton.apply_mask(x.contiguous(), y, *where, key, first, dropout._signed(threshold), scale)
    return y


def check_dropout() -> None:
    """The same bits as those of the CPU, for keys given at launch and keys read from memory, back as well as forth."""
    table = torch.tensor(KEYS)
    for dtype, p in RATES.items():
        for number, (shape, batch_dim) in enumerate(LAYOUTS):
            x, place = torch.randn(shape).to(dtype), number % len(KEYS)
            key = KEYS[place]
            keep = dropout.keep_mask(x.shape, p, key, 5, batch_dim)
            got = masked(x, p, key, 5, batch_dim)
            case = f"{dtype}, rate {p}, {shape} with batch at {batch_dim}, key {key}"
            assert torch.equal(got, dropout.apply_mask(x, p, key, 5, batch_dim)), case
            assert torch.equal(got, torch.where(keep, x * (1 / (1 - p)), 0.0).to(dtype)), case
            assert torch.equal(masked(x, p, table[place], 5, batch_dim), got), case


def check_padded_dropout() -> None:
    """What stands between the padding has the mask that it has without it, in torch and in Triton."""
    for shape, batch_dim in (((4, 2, 9, 21), 0), ((9, 4, 21), 1), ((2, 1, 70, 61), 0)):
        for padding in ((1, 2), (3, 0), (0, 4)):
            x = torch.randn(shape)
            inside = slice(padding[0], padding[0] + shape[-1])
            padded = F.pad(x, padding)
            want = dropout.apply_mask(x, 0.3, 7, 5, batch_dim)
            for got in (masked(padded, 0.3, 7, 5, batch_dim, padding),
                        dropout.apply_mask(padded, 0.3, 7, 5, batch_dim, padding)):  # fmt: skip
                assert torch.equal(got[..., inside], want), f"{shape}, {padding}"
                assert not bool(F.pad(got[..., inside], padding).sub(got).any()), "the padding stays 0"


def check_dropout_gradient() -> None:
    x = torch.randn(9, 4, 6, requires_grad=True)
    grad = torch.randn(6, 4, 9).transpose(0, 2)
    torch.manual_seed(1)
    (want,) = torch.autograd.grad(dropout.dropout(x, 0.3, True), x, grad)
    torch.manual_seed(1)
    assert torch.equal(masked(grad, 0.3, dropout.draw_key(), 0, 1), want)


def check_recurrence() -> None:
    """h and all gradients, against a float64 loop."""
    for steps, gates, batch in ((1, "anywhere", 1), (33, "zero, one and between", 5)):
        given = recurrence.problem(steps, gates, batch=batch)
        recurrence.assert_close(recurrence.scanned(*given, "triton"), recurrence.reference(*given))


def check_trial() -> None:
    triton_trial.run(torch.device("cpu"))


if __name__ == "__main__":
    for check in (check_trial, check_dropout, check_padded_dropout, check_dropout_gradient, check_recurrence):
        check()
        print(check.__name__)
