"""Cards that this torch has no code for, and precisions that a card lacks, are refused with the remedy."""

from pathlib import Path

import pytest
import torch

from rnnlab.devices import check_card, check_precision, code_for
from rnnlab.errors import ConfigError
from rnnlab.model import LanguageModel
from tests.rnnlab.tiny_runs import build

CU130 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120", "compute_120"]  # the wheel of torch 2.13 for CUDA 13.0
CU126 = ["sm_50", "sm_60", "sm_70", "sm_75", "sm_80", "sm_86", "sm_90"]


@pytest.mark.parametrize(
    ("card", "compiled", "how"),
    [
        ((7, 5), CU130, "with code for sm_75"),  # T4
        ((8, 0), CU130, "with code for sm_80"),  # A100
        ((8, 9), CU130, "with code for sm_86"),  # L4, RTX 4090: binary compatible within 8
        ((9, 0), CU130, "with code for sm_90"),  # H100
        ((12, 1), CU130, "with code for sm_120"),
        ((13, 0), CU130, "compiled at its start from compute_120"),
        ((7, 0), CU130, ""),  # V100, Titan V
        ((6, 1), CU126, "with code for sm_60"),
        ((12, 0), CU126, ""),
        ((9, 0), ["sm_90a"], "with code for sm_90a"),
        ((9, 1), ["sm_90a", "compute_90a"], ""),  # a: of one card alone
        ((8, 0), [], ""),
    ],
)
def test_a_card_runs_code_of_its_major_version_and_ptx_of_older_ones(
    card: tuple[int, int], compiled: list[str], how: str
) -> None:
    assert code_for(compiled, card) == how


def test_a_card_that_the_wheel_does_not_support_is_refused_with_what_to_install() -> None:
    told = (
        r"NVIDIA TITAN V is of sm_70, and torch .* has no code for it \(its oldest is sm_75\); install .*, or use --dev"
    )
    with pytest.raises(ConfigError, match=told):
        check_card("NVIDIA TITAN V", (7, 0), CU130)
    check_card("NVIDIA H100", (9, 0), CU130)


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
        ("is_available", True), ("device_count", 2), ("get_device_name", "a card"), ("get_arch_list", CU130),
        ("get_device_capability", (9, 0)),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(LanguageModel, "to", lambda model, device: model)
    build(text, "Trainer.device = 'cuda:1'")
    assert chosen == [torch.device("cuda:1")]
