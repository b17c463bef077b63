"""What is computed: one operator a file, its plain-torch reference first, then its backends, one function that chooses.

    from rnnlab.ops import linear_recurrence
    h = linear_recurrence(a, b, h0)               # C on the CPU, Triton on a GPU, torch anywhere else

An operator knows no part, keeps nothing, and gives the same numbers whichever backend computes them, but for rounding:
`tests/rnnlab/ops/test_backends.py` holds each to its reference. `backend="reference"` forces one. Without a C compiler,
under torch.compile and for what the kernels do not cover, torch takes their place.
"""

from rnnlab.ops.boom import boom_layer
from rnnlab.ops.gru import gru_layer
from rnnlab.ops.lstm import lstm_layer
from rnnlab.ops.min_gru import min_gru_scan
from rnnlab.ops.qrnn import qrnn_layer
from rnnlab.ops.recurrence import linear_recurrence
from rnnlab.ops.rg_lru import rg_lru_scan
from rnnlab.ops.sru import sru_scan
from rnnlab.ops.window import window_attention

__all__ = [
    "boom_layer",
    "gru_layer",
    "linear_recurrence",
    "lstm_layer",
    "min_gru_scan",
    "qrnn_layer",
    "rg_lru_scan",
    "sru_scan",
    "window_attention",
]
