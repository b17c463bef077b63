"""The recurrence of the sLSTM, a position at a time: each looks at the output of the one before it.

    z = tanh(.), o = sigmoid(.), i = exp(.), f = sigmoid(.), each of drive_t + h_{t-1} R
    c_t = f c_{t-1} + i z,  n_t = f n_{t-1} + i,  h_t = o c_t / n_t

Kept are c / e^m and n / e^m, m_t = max(log f + m_{t-1}, log i): no exponential overflows, and h is the same for any m.

Source: Beck et al. 2024, arXiv:2405.04517, section 2.2.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class SLSTMCell(NamedTuple):
    h: Tensor  # (H, B, W) output
    c: Tensor  # (H, B, W) cell, divided by e^m
    n: Tensor  # (H, B, W) sum of the input gates, divided by e^m; 0 before the first position
    m: Tensor  # (H, B, W) logarithm of what the two were divided by


def slstm(drive: Tensor, recurrent: Tensor, cell: SLSTMCell) -> tuple[Tensor, SLSTMCell]:
    """h (T, H, B, W) for drive (T, H, B, 4 W), its parts i, f, z, o side by side, and R (H, W, 4 W)."""
    outputs = []
    for drive_t in drive:
        log_input, forget, candidate, gate = torch.baddbmm(drive_t, cell.h, recurrent).chunk(4, dim=-1)
        log_kept = (F.logsigmoid(forget) + cell.m).masked_fill(cell.n == 0, -torch.inf)  # at first there is nothing
        m = torch.maximum(log_input, log_kept).detach()  # it cancels
        new, kept = (log_input - m).exp(), (log_kept - m).exp()
        c, n = kept * cell.c + new * torch.tanh(candidate), kept * cell.n + new
        cell = SLSTMCell(torch.sigmoid(gate) * c / n, c, n, m)
        outputs.append(cell.h)
    return torch.stack(outputs), cell
