"""Which environment variables are shown, and which are told to be unset."""

from collections.abc import Mapping

import pytest

from rnnlab.doctor.finding import Finding
from rnnlab.doctor.variables import judged


def found(environment: Mapping[str, str]) -> dict[str, Finding]:
    return {finding.name: finding for finding in judged(environment)}


def test_those_that_change_results_are_shown_and_no_others() -> None:
    shown = found({"OMP_NUM_THREADS": "4", "RNNLAB_DATA": "/data", "HOME": "/root", "LANG": "C", "CCACHE": "1"})
    assert {name: finding.detail for name, finding in shown.items()} == {"OMP_NUM_THREADS": "4", "RNNLAB_DATA": "/data"}
    assert {finding.verdict for finding in shown.values()} == {"good"}


def test_secrets_in_values_are_hidden() -> None:
    shown = found({"RNNLAB_MIRROR": "https://me:secret@host/dc", "PYTORCH_HUB_TOKEN": "secret"})
    assert shown["RNNLAB_MIRROR"].detail == "https://***@host/dc"
    assert shown["PYTORCH_HUB_TOKEN"].detail == "***"


def test_a_long_value_is_cut_and_a_control_character_shown_as_none() -> None:
    shown = found({"LD_PRELOAD": "x" * 1000, "CC": "gcc\x1b[31m\n-O2"})
    assert len(shown["LD_PRELOAD"].detail) < 110
    assert shown["CC"].detail == "gcc -O2"


def test_ranks_that_are_left_over_are_to_be_unset() -> None:
    shown = found({"WORLD_SIZE": "4", "RANK": "0", "MASTER_ADDR": "node1"})
    assert {finding.verdict for finding in shown.values()} == {"warning"}
    assert shown["RANK"].remedy == "unset WORLD_SIZE RANK MASTER_ADDR"


def test_ranks_of_torchrun_are_as_they_should_be() -> None:
    shown = found({"WORLD_SIZE": "4", "RANK": "0", "TORCHELASTIC_RUN_ID": "none"})
    assert {finding.verdict for finding in shown.values()} == {"good"}


@pytest.mark.parametrize(
    ("name", "value", "verdict"),
    [
        ("CUDA_VISIBLE_DEVICES", "", "warning"),
        ("CUDA_VISIBLE_DEVICES", "-1", "warning"),
        ("CUDA_VISIBLE_DEVICES", "0,1", "good"),
        ("NVIDIA_TF32_OVERRIDE", "1", "warning"),
        ("NVIDIA_TF32_OVERRIDE", "0", "good"),
        ("CUDA_LAUNCH_BLOCKING", "1", "warning"),
        ("TRITON_INTERPRET", "1", "warning"),
        ("TRITON_INTERPRET", "0", "good"),
        ("CUBLAS_WORKSPACE_CONFIG", ":4096:8", "good"),
    ],
)
def test_a_value_that_is_seldom_meant_is_a_warning(name: str, value: str, verdict: str) -> None:
    finding = found({name: value})[name]
    assert finding.verdict == verdict
    assert bool(finding.remedy) == (verdict == "warning")
