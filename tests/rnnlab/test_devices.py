"""Cards that this torch has no code for, and precisions that a card lacks, are refused with the remedy."""

from pathlib import Path

import pytest
import torch

from rnnlab.devices import check_card, check_precision, has_code_for
from rnnlab.errors import ConfigError
from rnnlab.model import LanguageModel
from tests.rnnlab.tiny_runs import build

OF_A_WHEEL = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]
"""What torch.cuda.get_arch_list() gives in the wheel of torch 2.13 for CUDA 13."""


@pytest.mark.parametrize(
    ("card", "capability", "runs"),
    [
        ("V100", (7, 0), False),
        ("Titan V", (7, 0), False),
        ("T4", (7, 5), True),
        ("A100", (8, 0), True),
        ("RTX 4090", (8, 9), True),
        ("H100", (9, 0), True),
        ("a card of a generation in between", (11, 0), False),
        ("a card of the future, from the PTX", (13, 0), True),
    ],
)
def test_a_card_needs_code_of_its_own_generation_or_ptx(card: str, capability: tuple[int, int], runs: bool) -> None:
    assert has_code_for(capability, OF_A_WHEEL) == runs, card


def test_code_for_one_architecture_alone_counts_for_it() -> None:
    assert has_code_for((9, 0), ["sm_90a"])
    assert not has_code_for((8, 0), ["sm_86"])


def test_a_card_that_the_wheel_does_not_support_is_refused_with_what_to_install() -> None:
    told = (
        r"NVIDIA TITAN V is of sm_70, and torch .* has no code for it \(its oldest is sm_75\); install .*, or use --dev"
    )
    with pytest.raises(ConfigError, match=told):
        check_card("NVIDIA TITAN V", (7, 0), OF_A_WHEEL)
    check_card("NVIDIA H100", (9, 0), OF_A_WHEEL)


@pytest.mark.parametrize("precision", ["bf16", "tf32"])
def test_a_precision_that_a_card_emulates_or_lacks_is_refused(precision: str) -> None:
    with pytest.raises(ConfigError, match=rf"Trainer.precision = '{precision}': Tesla T4 is of sm_75.*use 'fp16'"):
        check_precision("Tesla T4", (7, 5), precision)
    check_precision("NVIDIA A100", (8, 0), precision)
    check_precision("Tesla T4", (7, 5), "fp16")


def test_a_card_by_its_number_becomes_the_current_one(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams, recorded graphs and Triton's kernels are the current card's. Here are no two cards: torch is made to say
    so, and the model stays where it is."""
    chosen: list[torch.device] = []
    for name, answer in (
        ("is_available", True), ("device_count", 2), ("get_device_name", "a card"), ("get_arch_list", OF_A_WHEEL),
        ("get_device_capability", (9, 0)),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(LanguageModel, "to", lambda model, device: model)
    build(text, "Trainer.device = 'cuda:1'")
    assert chosen == [torch.device("cuda:1")]
