"""An optimizer's memory, saved and given to another."""

import copy
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

from rnnlab.errors import StorageError
from rnnlab.training import optim
from rnnlab.training.optimizer_state import load_optimizer_tensors, optimizer_tensors
from tests.rnnlab.small_models import small_model, take_steps

BUILDERS: dict[str, Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]] = {
    "Lamb": lambda params: optim.Lamb(params, weight_decay=0.01),
    "AdamW": lambda params: optim.AdamW(params),
    "SGD": lambda params: optim.SGD(params, momentum=0.9),
    "plain SGD": lambda params: optim.SGD(params),
    "Muon": lambda params: optim.Muon(params),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_an_optimizer_restored_from_its_tensors_continues_bit_for_bit(name: str) -> None:
    whole = small_model()
    optimizer = BUILDERS[name](whole.parameters())
    take_steps(whole, optimizer, range(4))
    saved = {key: value.clone() for key, value in optimizer_tensors(optimizer, whole.named_parameters()).items()}

    resumed = copy.deepcopy(whole)
    fresh = BUILDERS[name](resumed.parameters())
    load_optimizer_tensors(fresh, resumed.named_parameters(), saved)
    restored = optimizer_tensors(fresh, resumed.named_parameters())
    assert restored.keys() == saved.keys()
    assert all(torch.equal(restored[key], saved[key]) and restored[key].dtype == saved[key].dtype for key in saved)

    take_steps(whole, optimizer, range(4, 8))
    take_steps(resumed, fresh, range(4, 8))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_restoring_into_an_optimizer_forgets_what_it_had() -> None:
    model = small_model()
    optimizer = optim.Lamb(model.parameters())
    take_steps(model, optimizer, range(2))
    load_optimizer_tensors(optimizer, model.named_parameters(), {})
    assert optimizer_tensors(optimizer, model.named_parameters()) == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {"9.weight/exp_avg": next(iter(t.values()))}, "9.weight/exp_avg"),
        (lambda t: {"1.weight/exp_avg": torch.zeros(2, 2)}, r"\(2, 2\).*\(5, 4\)"),
    ],
    ids=["another name", "another shape"],
)
def test_an_optimizer_of_another_model_is_refused(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], words: str
) -> None:
    model = small_model()
    optimizer = optim.Lamb(model.parameters())
    take_steps(model, optimizer, range(1))
    tensors = change(optimizer_tensors(optimizer, model.named_parameters()))
    with pytest.raises(StorageError, match=words):
        load_optimizer_tensors(optimizer, model.named_parameters(), tensors)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", BUILDERS)
def test_an_optimizer_saved_on_a_gpu_goes_on_there_without_waiting_for_it(name: str) -> None:
    model = small_model().cuda()
    optimizer = BUILDERS[name](model.parameters())
    take_steps_on_gpu(model, optimizer, range(3))
    saved = {k: v.cpu() for k, v in optimizer_tensors(optimizer, model.named_parameters()).items()}
    resumed = copy.deepcopy(model)
    fresh = BUILDERS[name](resumed.parameters())
    load_optimizer_tensors(fresh, resumed.named_parameters(), saved)
    take_steps_on_gpu(model, optimizer, range(3, 6))
    take_steps_on_gpu(resumed, fresh, range(3, 6))
    for a, b in zip(model.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def take_steps_on_gpu(model: nn.Module, optimizer: torch.optim.Optimizer, seeds: Iterable[int]) -> None:
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.device)
        torch.cuda.set_sync_debug_mode("error")
        try:
            optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
