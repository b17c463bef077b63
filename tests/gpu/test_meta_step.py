"""A whole training step on torch's meta device: what a GPU would be asked for, held to what was recorded.

python -m tests.gpu.test_meta_step          # prints the table below anew, after a change that is meant
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnlab import config
from rnnlab.planning.outline import outline
from rnnlab.planning.shadow import Shadow, shadow
from tests.sampled import sampled

pytestmark = pytest.mark.slow

SHORT = ["Trainer.bptt = 64", "Trainer.jitter = False"]  # the shapes of the paper's size but for the length of a chunk
BY_POSITION = {"mogrifier_lstm", "slstm"}  # operators at every position: minutes, and a count that says little
CORES = sorted(
    {path.stem for path in (Path(__file__).parents[2] / "gin" / "core").glob("*.gin")} - BY_POSITION - {"lstm"}
)
MORE = 1.05  # than was recorded is too much

RECORDED = {
    # fragments, precision: (operators on the device in a step, recurrent layers among them; peak [MiB])
    ("sha_rnn", "fp32"): (283, 1070),
    ("sha_rnn_every_layer", "fp32"): (532, 1280),
    ("sha_lstm_no_attention", "fp32"): (200, 976),
    ("sru_pp", "fp32"): (956, 4724),
    ("sha_rnn core/convolution", "fp32"): (343, 701),
    ("sha_rnn core/gated_delta_net", "fp32"): (1165, 1297),
    ("sha_rnn core/gla", "fp32"): (1557, 1357),
    ("sha_rnn core/gru", "fp32"): (275, 958),
    ("sha_rnn core/mamba2", "fp32"): (861, 1287),
    ("sha_rnn core/min_gru", "fp32"): (349, 765),
    ("sha_rnn core/mlstm", "fp32"): (1037, 2006),
    ("sha_rnn core/qrnn", "fp32"): (399, 798),
    ("sha_rnn core/rg_lru", "fp32"): (469, 926),
    ("sha_rnn core/sru", "fp32"): (445, 894),
    ("sha_rnn core/sru_pp", "fp32"): (601, 1062),
    ("sha_rnn", "bf16"): (511, 1052),
}


def step(fragments: str, precision: str) -> Shadow:
    memory = [] if "no_attention" in fragments else ["memory = 257"]
    bindings = [*SHORT, *memory, f"Trainer.precision = '{precision}'"]
    return shadow(config.resolve(fragments.split(), bindings), outline("a text", 10_000_000))


def test_every_core_is_recorded() -> None:
    assert {f"sha_rnn core/{core}" for core in CORES} == {name for name, _ in RECORDED if " core/" in name}


SOAKED = ("sha_rnn core/gla-fp32", "sha_rnn core/mlstm-fp32")
HERE = ("sha_rnn-fp32", "sha_rnn-bf16", "sha_lstm_no_attention-fp32", "sha_rnn core/qrnn-fp32")


@pytest.mark.parametrize("kind", sampled(RECORDED, HERE, "-".join, soaked=SOAKED))
def test_a_step_waits_once_mixes_no_devices_and_asks_for_no_more_than_was_recorded(
    kind: tuple[str, str],
) -> None:
    seen = step(*kind)
    assert sum(seen.waits.values()) <= 1, seen.waits
    assert not seen.mixed
    kernels, peak = RECORDED[kind]
    assert len(seen.kernels) <= MORE * kernels
    assert seen.peak / 2**20 <= MORE * peak


def _kinds() -> Iterator[tuple[str, str]]:
    yield from ((root, "fp32") for root in ("sha_rnn", "sha_rnn_every_layer", "sha_lstm_no_attention", "sru_pp"))
    yield from ((f"sha_rnn core/{core}", "fp32") for core in CORES)
    yield "sha_rnn", "bf16"


if __name__ == "__main__":
    for fragments, precision in _kinds():
        seen = step(fragments, precision)
        print(f'    ("{fragments}", "{precision}"): ({len(seen.kernels)}, {seen.peak / 2**20:.0f}),')
