"""Seconds and remedies, from what is asked of a card to what is told."""

from dataclasses import replace

import pytest
import torch

from rnnlab.errors import ConfigError
from rnnlab.planning.cards import BANDWIDTH_SHARE, CARDS, GIB, GRU_SHARE, NARROW_SHARE, card_of_device, find_card
from rnnlab.planning.estimate import bytes_scored, exchange, seconds_of
from rnnlab.planning.tracker import Kernel
from rnnlab.training.evaluations import EvaluationPlan

H100 = CARDS["h100"]
NOTHING = Kernel("add", "core", False, 0, 0, torch.float32)


def test_a_kernel_takes_the_longest_of_launch_traffic_and_products() -> None:
    read = replace(NOTHING, traffic=10**9)
    multiplied = replace(NOTHING, traffic=10**6, flops=10**12, dtype=torch.bfloat16)
    found = seconds_of([NOTHING, read, multiplied], H100, "bf16")
    assert found.launches == H100.launch
    assert found.traffic == pytest.approx(10**9 / (BANDWIDTH_SHARE * 3.35e12))
    assert found.products == pytest.approx(10**12 / H100.matrix("bf16"))
    assert found.total == pytest.approx(found.launches + found.traffic + found.products)


def test_the_positions_of_a_recurrent_layer_wait_for_each_other() -> None:
    layer = replace(NOTHING, positions=1000, width=1024, dtype=torch.float16)
    both = [layer, replace(layer, backward=True)]
    assert seconds_of(both, H100, "bf16").positions == pytest.approx(1000 * H100.position, rel=0.06)
    narrow = replace(layer, width=64)
    assert seconds_of([narrow], H100, "bf16").positions == pytest.approx(1000 / 3 * NARROW_SHARE * H100.position)
    gru = [replace(layer, name=f"cudnn_gru{way}", dtype=dtype)
           for way, dtype in (("", torch.float16), ("_backward", torch.float32))]  # fmt: skip
    for each in gru:
        assert seconds_of([each], H100, "bf16").positions == pytest.approx(1000 / 3 * GRU_SHARE * H100.position_fp32)


def test_fp32_uses_tensor_cores_only_in_a_run_of_tf32() -> None:
    product = replace(NOTHING, flops=10**12)
    assert seconds_of([product], H100, "tf32").products < seconds_of([product], H100, "fp32").products / 3
    titan = CARDS["titanv"]
    assert titan.matrix("bf16") == titan.matrix("fp32") < titan.matrix("fp16")


def test_cards_are_found_by_name_by_size_and_by_what_the_driver_says() -> None:
    assert find_card("H100") is H100
    assert find_card("12GB") == find_card("12 GiB") == 12 * GIB
    assert card_of_device("NVIDIA H100 80GB HBM3") is H100
    assert card_of_device("NVIDIA A100-SXM4-40GB") is CARDS["a100-40"]
    assert card_of_device("NVIDIA A100-SXM4-80GB") is CARDS["a100"]
    assert card_of_device("NVIDIA GeForce RTX 4090") is CARDS["4090"]
    assert card_of_device("NVIDIA L40S") is None
    assert card_of_device("Radeon") is None
    for wrong in ("h10", "0GB", "12"):
        with pytest.raises(ConfigError, match="the cards are h100"):
            find_card(wrong)


def test_a_ring_of_ranks_moves_the_gradients_nearly_twice() -> None:
    assert exchange(10**9, 1, H100) == 0.0
    assert exchange(10**9, 4, H100) == pytest.approx(1.5e9 / H100.link)


def test_bytes_scored_are_those_of_every_point_and_of_the_test() -> None:
    assert bytes_scored(EvaluationPlan(every=100, valid=7, test=None), budget=1000, valid=50, test=60) == 10 * 7 + 60
