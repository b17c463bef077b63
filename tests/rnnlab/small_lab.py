"""A laboratory of a few registered stand-ins, for tests of what configurations do to what is registered."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from rnnlab.errors import ConfigError, DataError
from rnnlab.registry import configurable, register

Slot = Callable[..., Any]


class LSTM:
    def __init__(self, dim: int, dropconnect: float = 0.0) -> None:
        if not 0.0 <= dropconnect < 1.0:
            raise ConfigError(f"LSTM.dropconnect = {dropconnect}: a probability in [0, 1) is needed")
        self.dim, self.dropconnect = dim, dropconnect


class QRNN:
    def __init__(self, dim: int, width: Literal[1, 2] = 1) -> None:
        self.dim, self.width = dim, width


class Picky:
    """Raises what the binding of `mood` says, and needs `taste`."""

    def __init__(self, dim: int, taste: str, mood: str = "") -> None:
        if mood == "value":
            raise ValueError("mood is out of range")
        if mood == "data":
            raise DataError("mood: the corpus is gone")
        if mood == "outside":
            raise ConfigError("Block.dropout is too much for me")
        if mood == "bug":
            raise KeyError("mood")


class Lonely:
    """Takes no width, so it fits no slot."""

    def __init__(self) -> None:
        pass


class SingleHead:
    def __init__(self, dim: int, memory: int = 1024) -> None:
        self.dim, self.memory = dim, memory


class Cosine:
    def __init__(self, warmup: int = 0, final: float = 0.0) -> None:
        self.warmup, self.final = warmup, final


class LanguageModel:
    def __init__(self, dim: int, blocks: Sequence[Slot], init_std: float | None = None) -> None:
        self.init_std = init_std
        self.blocks = [block(dim) for block in blocks]


class Block:
    def __init__(self, dim: int, core: Slot, attention: Slot | None = None, dropout: float = 0.0) -> None:
        self.core, self.attention, self.dropout = core(dim), attention(dim) if attention else None, dropout


class Trainer:
    def __init__(
        self,
        batch_size: int,
        bytes: int | None = None,
        rate: float = 1e-3,
        jitter: bool = False,
        precision: Literal["fp32", "bf16"] = "fp32",
        device: str = "auto",
        schedule: Slot | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        names: list[str] | None = None,
        space: Mapping[str, Any] | None = None,
        anything: Any = None,
    ) -> None:
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})


def open_lab() -> None:
    """Register all of it; for the fixture `empty_registry`."""
    for noun in (LanguageModel, Block, Trainer):
        configurable(noun)
    for part in (LSTM, QRNN, Picky, Lonely):
        register("core")(part)
    register("attention")(SingleHead)
    register("schedule")(Cosine)


FRAGMENTS = {
    "sha_rnn.gin": """
        include 'train/base.gin'
        LanguageModel.blocks = [@Block, @sha/Block]
        Block.core = @core.LSTM
        sha/Block.attention = %attention
        """,
    "train/base.gin": """
        dropout = 0.1
        memory = 5000
        attention = @attention.SingleHead
        LanguageModel.dim = 1024
        Block.dropout = %dropout
        SingleHead.memory = %memory
        Trainer.batch_size = 16
        """,
    "size/tiny.gin": """
        LanguageModel.dim = 64
        memory = 256
        LSTM.dropconnect = 0.0
        """,
    "train/fast.gin": "Trainer.batch_size = 4\nTrainer.rate = 0.01",
    "core/lstm.gin": "Block.core = @core.LSTM",
    "core/qrnn.gin": "Block.core = @core.QRNN\nQRNN.width = 2",
    "attention/none.gin": "attention = None",
    "memory/2k.gin": "memory = 2048",
    "memory/512.gin": "memory = 512",
    "dropout/low.gin": "dropout = 0.05",
    "dropout/high.gin": "dropout = 0.5",
    "recipe/low.gin": "dropout = 0.05",
    "recipe/none.gin": "dropout = 0.0",
}
