"""The GPUs that a plan knows, and every constant that its estimates stand on.

Memory, bandwidth and FLOP/s are of the vendors' data sheets (dense, without sparsity). What is marked as an estimate
was derived from those, and what is marked as measured was measured on one H100 (docs/gpu.md); `rnnlab bench` on another
card shows what is true there.
"""

import re
from dataclasses import dataclass

from rnnlab.errors import ConfigError

GIB = 2**30

CONTEXT = 0.9 * GIB
"""[bytes] that a process holds beside its tensors: the CUDA context, loaded kernels, cuBLAS' and cuDNN's workspaces,
and what the allocator cannot use. An estimate; 0.7 to 1 GiB is usual."""

BANDWIDTH_SHARE = 0.85  # of the bandwidth, that a kernel of one operation a number reaches; an estimate
FULL_MATRIX_SHARE = 0.85  # of the FLOP/s, that a large product in fp32 reaches; an estimate
TENSOR_MATRIX_SHARE = 0.5  # the same on tensor cores (tf32, bf16, fp16), at the sizes of these models; an estimate

RESERVE = {"lstm": 6, "gru": 5}
"""Numbers that cuDNN keeps for the backward pass of a layer, for each of the T B D outputs; an estimate."""

NARROW_SHARE = 0.6
"""Of the seconds of a position at width 1024, that one takes at any smaller width: it waits for latency. Measured on an
H100 at 256: 0.75 in fp16, 0.6 in fp32."""

GRU_SHARE = 0.8
"""Of the seconds of an LSTM's position in fp32, that a GRU's takes in fp16 and fp32 alike: cuDNN has no persistent
kernels for it. Measured on an H100: 44 and 52 us, where the LSTM takes 58 in fp32 and 8 in fp16."""


@dataclass(frozen=True)
class Card:
    """One GPU."""

    name: str  # what --gpu takes
    product: str  # what a driver calls it contains this
    memory: int  # [bytes]
    bandwidth: float  # [bytes/s]
    fp32: float  # [FLOP/s] of products
    tf32: float
    half: float  # bf16 and fp16, summed in fp32
    position: float  # [s] of one position of an LSTM layer of width 1024 in fp16, forward and backward
    position_fp32: float  # the same in fp32
    launch: float = 5e-6  # [s] that a kernel takes at least; an estimate
    link: float = 20e9  # [bytes/s] to another card in an all-reduce: PCIe 4 where there is no NVLink; an estimate
    bf16: bool = True  # whether it multiplies in bf16; before Ampere it is emulated

    def matrix(self, precision: str) -> float:
        """[FLOP/s] that products of a run's precision reach."""
        if precision == "fp32" or (precision == "bf16" and not self.bf16):
            return FULL_MATRIX_SHARE * self.fp32
        return TENSOR_MATRIX_SHARE * (self.tf32 if precision == "tf32" else self.half)


# The seconds of a position were measured on an H100, with 16 sequences: 4,096 positions, four layers of 1,024, in 33 ms
# in fp16 and in 240 ms in fp32. The others are estimates, scaled from these by what was expected of the cards before.
CARDS = {
    card.name: card
    for card in (
        # NVIDIA H100 SXM data sheet (2023); NVLink 4: 450 GB/s a direction, of which two thirds are assumed
        Card("h100", "H100", 80 * GIB, 3.35e12, 67e12, 495e12, 989e12, 8.0e-6, 58e-6, link=300e9),
        # NVIDIA H200 SXM data sheet (2024): the H100 with another memory
        Card("h200", "H200", 141 * 10**9, 4.8e12, 67e12, 495e12, 989e12, 8.0e-6, 58e-6, link=300e9),
        # NVIDIA A100 SXM data sheet (2021), the 80 GB version and the 40 GB version; NVLink 3: 300 GB/s a direction
        Card("a100", "A100", 80 * GIB, 2.04e12, 19.5e12, 156e12, 312e12, 9.5e-6, 68e-6, link=200e9),
        Card("a100-40", "A100-SXM4-40GB", 40 * GIB, 1.555e12, 19.5e12, 156e12, 312e12, 9.5e-6, 68e-6, link=200e9),
        # NVIDIA Ada GPU architecture white paper (2022), appendix A: tensor cores with sums in fp32
        Card("4090", "RTX 4090", 24 * GIB, 1.008e12, 82.6e12, 82.6e12, 165.2e12, 8.7e-6, 64e-6),
        # NVIDIA Ampere GA102 white paper (2021), appendix A
        Card("3090", "RTX 3090", 24 * GIB, 0.936e12, 35.6e12, 35.6e12, 71e12, 12e-6, 87e-6),
        # NVIDIA L4 data sheet (2023); its figures with sparsity are halved
        Card("l4", "L4", 24 * GIB, 0.3e12, 30.3e12, 60e12, 121e12, 18e-6, 130e-6),
        # NVIDIA Titan V specifications (2017); PCIe 3; neither tf32 nor bf16
        Card("titanv", "TITAN V", 12 * GIB, 0.653e12, 14.9e12, 14.9e12, 110e12, 13e-6, 95e-6, link=10e9, bf16=False),
    )
}

SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:GB|GiB|G)", re.IGNORECASE)


def find_card(name: str) -> Card | int:
    """The card of that name, or the memory [bytes] that a plain size such as 12GB stands for.

    A size is counted in 2^30 bytes, as those of cards are. Raises: ConfigError if it is neither.
    """
    if card := CARDS.get(name.lower()):
        return card
    if (size := SIZE.fullmatch(name)) and float(size[1]) > 0:
        return int(float(size[1]) * GIB)
    raise ConfigError(f"--gpu {name}: the cards are {', '.join(CARDS)}; or a size of memory, 12GB")


def card_of_device(product: str) -> Card | None:
    """The card that the driver gives this name, such as "NVIDIA H100 80GB HBM3"; None if it is not in the table."""
    named = [card for card in CARDS.values() if re.search(rf"\b{card.product}\b", product, re.IGNORECASE)]
    return max(named, key=lambda card: len(card.product), default=None)
