"""What a task is: small examples made on the spot, whose answers are known, so that minutes tell parts apart.

    @register("task")
    class Echo(Task):
        "Say again the token before. ..."
        difficulty = "length"

        def __init__(self, lengths=(4, 8, 16), test=(16, 32)):
            self.vocabulary, self.trained, self.tested = 4, lengths, test

        def examples(self, draws, difficulty):
            tokens = draws.integers(4, difficulty)
            return Examples(tokens, np.roll(tokens, 1, axis=1), asked_at(tokens, slice(1, None)))

        def oracle(self, inputs, difficulty): ...
        def chance(self, difficulty): ...

Bound like any other part: `Trainer.source = @task.Echo`. Letters: N examples, L their length.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from rnnlab import rng
from rnnlab.errors import ConfigError

Integers = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]


class Examples(NamedTuple):
    """N examples of one length."""

    inputs: Integers  # (N, L) tokens that are read
    targets: Integers  # (N, L) the answer at each position; any token where nothing is asked
    weights: Weights  # (N, L) what each answer counts in the loss; 0 where nothing is asked


class Task:
    """The source of examples whose answers are known. `rnnlab check task.NAME` holds it to the laws of its kind.

    Attributes:
        vocabulary: tokens there are, V, of inputs and targets alike.
        trained: difficulties that are trained on; each batch has one of them, drawn evenly.
        tested: difficulties that are tested, those that were trained and greater ones.
        difficulty: what a difficulty counts, in one word: "length", "pairs", "distance".
        judged: which answers accuracy is about: all that is "asked", or of every example the "last".
    """

    vocabulary: int
    trained: Sequence[int]
    tested: Sequence[int]
    difficulty: ClassVar[str] = "length"
    judged: ClassVar[Literal["asked", "last"]] = "asked"

    def examples(self, draws: "Draws", difficulty: int) -> Examples:
        """As many examples as there are draws, of this difficulty and of one length; all that is random is drawn."""
        raise NotImplementedError

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        """The answers (N, L) by the inputs (N, L) alone: what a perfect model says where something is asked."""
        raise NotImplementedError

    def chance(self, difficulty: int) -> float:
        """Accuracy of the best constant answer to what is judged [fraction]."""
        raise NotImplementedError

    def chance_by_token(self, difficulty: int) -> float:
        """Accuracy on what is judged of the best table from the input at the answer's own position [fraction]: chance,
        unless that token says more."""
        return self.chance(difficulty)


class Draws:
    """The random numbers of some examples. Each example's are a function of the key and of its own number: they do not
    depend on which others are drawn beside it. Every call gives new ones.

    Source: Steele et al. 2014, "Fast splittable pseudorandom number generators", for the hash (SplitMix64).
    """

    def __init__(self, key: int, numbers: Integers) -> None:
        """Args:
        key: what sets a split of one seed apart; see `key_of`.
        numbers: (N,) of the examples.
        """
        self._rows = _mixed(_mixed(numbers.astype(np.uint64) + np.uint64(1)) + np.uint64(key))
        self._calls = 0

    def __len__(self) -> int:
        return len(self._rows)

    def uniform(self, *shape: int) -> npt.NDArray[np.float64]:
        """(N, *shape), evenly from [0, 1)."""
        self._calls += 1
        places = np.arange(math.prod(shape), dtype=np.uint64) * _STEP + _mixed(np.array([self._calls], dtype=np.uint64))
        bits = _mixed(self._rows[:, None] + places)
        return ((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(len(self), *shape)

    def integers(self, high: int, *shape: int) -> Integers:
        """(N, *shape), evenly from 0 to high - 1."""
        return (self.uniform(*shape) * high).astype(np.int64)

    def choice(self, count: int, among: int) -> Integers:
        """(N, count) different ones of 0 to among - 1, in an order that is random as well."""
        assert 0 <= count <= among
        if among <= 16 * count:  # faster there
            return np.argsort(self.uniform(among), axis=1)[:, :count]
        lasts = np.arange(among - count, among)
        chosen = (self.uniform(count) * (lasts + 1)).astype(np.int64)
        for place, last in enumerate(lasts):  # Floyd's: a number that is there gives its place up
            taken = (chosen[:, :place] == chosen[:, place, None]).any(axis=1)
            chosen[taken, place] = last
        return np.take_along_axis(chosen, np.argsort(self.uniform(count), axis=1), axis=1)


def key_of(seed: int, split: str) -> int:
    """Of the draws of a split: training's follow the seed of the run, the others are the same for every run."""
    return rng.derive(seed if split == "train" else 0, 0, f"examples: {split}")


def span(task: str, shortest: int, longest: int, least: int = 1) -> range:
    """The lengths from one to the other, both among them. Raises: ConfigError unless least <= shortest <= longest."""
    if not least <= shortest <= longest:
        raise ConfigError(f"{task}.shortest = {shortest}, {task}.longest = {longest}: {least} <= shortest <= longest")
    return range(shortest, longest + 1)


def difficulties(
    task: str, name: str, values: Sequence[int], least: int = 1, most: float = math.inf, why: str = ""
) -> tuple[int, ...]:
    """What the argument `name` of a task lists. Raises: ConfigError unless there are some, all from least to most."""
    if not values:
        raise ConfigError(f"{task}.{name} = []: at least one is needed")
    for value in values:
        within(task, name, value, least, most, why)
    return tuple(values)


def within(task: str, name: str, value: int, least: int, most: float = math.inf, why: str = "") -> int:
    """The value. Raises: ConfigError unless least <= value <= most; the message ends with why, if something is said."""
    if not least <= value <= most:
        allowed = f"at least {least}" if most == math.inf else f"from {least} to {most}"
        raise ConfigError(f"{task}.{name} = {value}: {allowed}" + (f", {why}" if why else ""))
    return value


def asked_at(inputs: Integers, positions: slice) -> Weights:
    """Weights (N, L) of 1 at these positions."""
    weights = np.zeros(inputs.shape, dtype=np.float32)
    weights[:, positions] = 1.0
    return weights


_STEP = np.uint64(0x9E3779B97F4A7C15)


def _mixed(x: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finalizer: a bijection of 64 bits in which every bit of x moves every other."""
    x = x + _STEP
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
