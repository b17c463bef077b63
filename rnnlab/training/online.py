"""How a model learns from a text while it codes it."""

from collections.abc import Sequence
from dataclasses import dataclass

from rnnlab.errors import ConfigError
from rnnlab.registry import configurable


@configurable
@dataclass(frozen=True)
class Online:
    """How `rnnlab compress --online` reads a text. The recipe is the Trainer's: its optimizer and schedule, over one
    pass of the text.

    Args:
        stages: [[bytes, streams, bptt, again], ...]: as long as so many bytes of the text are not coded, that many
            streams in chunks of bptt positions, and so many further steps; the last may be left out. The rest has
            Trainer.batch_size, Trainer.bptt and Online.again. Where the number of streams changes they begin anew,
            without state.
        again: further steps after each chunk, on chunks that were coded before [steps].
        again_after: bytes that a number of streams has coded before that begins; so far behind it follows [bytes].
    Raises: ConfigError if an argument is out of its range.
    """

    stages: Sequence[Sequence[int]] = ()
    again: int = 0
    again_after: int = 100_000

    def __post_init__(self) -> None:
        ends = [0]
        for stage in self.stages:
            fits = len(stage) in (3, 4) and stage[0] > ends[-1] and stage[1] >= 1 and stage[2] >= 2
            if not fits or (len(stage) == 4 and stage[3] < 0):
                raise ConfigError(
                    f"Online.stages: {list(stage)}: [bytes, streams, bptt] with more bytes than the stage before, a "
                    f"stream at least, and a bptt of 2 or more; behind them the further steps, if not Online.again"
                )
            ends.append(stage[0])
        if self.again < 0 or self.again_after < 0:
            raise ConfigError(f"Online.again = {self.again}, Online.again_after = {self.again_after}: 0 or more")
