"""`rnnlab plan` beside what an H100 did: docs/gpu/NVIDIA-H100-80GB-HBM3/3.json, as `make gpu STAGE=3` wrote it there.

python -m tests.gpu.test_plans_beside_a_card          # prints the table of docs/gpu.md
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from rnnlab.planning.plan import plan
from tests.sampled import sampled

RECORD = Path(__file__).parents[2] / "docs" / "gpu" / "NVIDIA-H100-80GB-HBM3" / "3.json"
MEASURED = {name: found["measured"] for name, found in json.loads(RECORD.read_text()).items() if name != "machine"}
TEXT = 2.6  # [MiB] that the card held
MEMORY, TIME = 0.05, 0.25
"""How far a plan may be off, of what was measured."""


@cache
def planned(name: str) -> dict[str, Any]:
    *fragments, precision = name.split()
    return plan([*fragments, "data/enwik8"], [f"Trainer.precision = {precision!r}"], gpu="h100")


def peaks(name: str) -> tuple[float, float]:
    """[MiB] of tensors, planned and measured, each without its text."""
    memory = planned(name)["memory"]
    tensors = sum(memory.values()) - memory["context and workspaces"] - memory["text"]
    return tensors / 2**20, MEASURED[name]["peak_memory_mb"] - TEXT


def steps(name: str) -> tuple[float, float]:
    """[s] of a step, planned and measured."""
    return planned(name)["step_seconds"], MEASURED[name]["step_seconds"]["median"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    sampled(["sha_rnn bf16", "sha_rnn fp32", "sha_rnn core/gru bf16", "sha_rnn core/qrnn bf16"], ("sha_rnn bf16",)),
)
def test_memory_and_time_are_near_what_a_card_took(name: str) -> None:
    for (own, measured), off in ((peaks(name), MEMORY), (steps(name), TIME)):
        assert own == pytest.approx(measured, rel=off)


if __name__ == "__main__":
    for name, measured in MEASURED.items():
        cells = [name]
        for (own, real), unit in ((peaks(name), 1), (steps(name), 1e3)):
            cells += [f"{own * unit:,.0f}", f"{real * unit:,.0f}", f"{100 * (own / real - 1):+.0f}%"]
        print(f"| {' | '.join(cells)} | {measured['bytes_per_second']['median'] / 1e3:.0f} |")
