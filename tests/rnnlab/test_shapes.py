"""Modules without numbers have the sizes of those with numbers, and are there at once."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rnnlab import config
from rnnlab.shapes import INSTEAD, without_numbers
from rnnlab.training.experiment import build, describe
from tests.rnnlab.cli.commands import run_process

EXAMPLES: dict[Callable[..., Tensor], Sequence[Callable[[], Tensor]]] = {
    nn.init.normal_: [lambda: nn.init.normal_(torch.ones(3, 4, dtype=torch.float16), std=0.1)],
    Tensor.normal_: [lambda: torch.ones(3, 4).normal_(0.0, 2.0)],
    Tensor.__pow__: [lambda: torch.ones(3, 4) ** 0.5, lambda: torch.ones(3, 1) ** torch.ones(4)],
    Tensor.mul: [
        lambda: torch.ones(3, 1) * torch.ones(2, 1, 4),
        lambda: torch.ones(3) * 2.0,
        lambda: torch.ones(3, dtype=torch.bfloat16) * torch.tensor(2.0),
    ],
    torch.logit: [lambda: torch.logit(torch.ones(3, 4) / 2)],
    torch.sigmoid: [lambda: torch.sigmoid(torch.ones(2, 4).t())],
    torch.exp: [lambda: torch.exp(torch.ones(3, dtype=torch.float64))],
    torch.expm1: [lambda: torch.expm1(torch.ones(3, 4).t())],
    torch.log: [lambda: torch.log(torch.ones(3, 4))],
    torch.tanh: [lambda: torch.tanh(torch.ones(3, 4, dtype=torch.float64))],
    F.linear: [
        lambda: F.linear(torch.ones(4), torch.ones(3, 4), torch.ones(3)),
        lambda: F.linear(torch.ones(5, 2, 4), torch.ones(3, 4)),
    ],
}


@pytest.mark.parametrize("function", INSTEAD, ids=lambda function: function.__name__)
def test_what_is_done_without_numbers_has_the_shape_and_type_of_what_torch_does(
    function: Callable[..., Tensor],
) -> None:
    for example in EXAMPLES[function]:
        real = example()
        with without_numbers():
            bare = example()
        assert bare.device.type == "meta"
        assert (bare.shape, bare.dtype, bare.stride()) == (real.shape, real.dtype, real.stride())


@pytest.mark.parametrize(
    "fragments", [["sha_rnn"], ["sha_rnn", "core/rg_lru", "attention/multi_head"], ["sru_pp"]], ids=" ".join
)
def test_a_model_is_described_without_numbers_as_with_them(fragments: list[str]) -> None:
    resolved = config.resolve([*fragments, "size/tiny"])
    bare, real = (describe(build(resolved, shapes_only=bare, needs_source=False)) for bare in (True, False))
    assert bare == real


@pytest.mark.long
def test_to_look_at_models_and_parts_does_not_wait_for_torchs_compiler() -> None:
    script = (
        "import sys; from rnnlab.cli import main\n"
        "main(['show', 'sha_task']); main(['parts', '--json'])\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = run_process("-c", script)
    assert done.stderr == ""
    assert done.stdout.endswith("\nFalse\n")
