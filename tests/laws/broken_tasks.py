"""Tasks, each broken in one way."""

import random

import numpy as np

from rnnlab.task import Draws, Examples, Integers
from tests.laws.honest_tasks import LastIsFirst, Lookup


class AnswersInTheInput(LastIsFirst):
    """The token that asks is the answer."""

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        examples = super().examples(draws, difficulty)
        examples.inputs[:, -1] = examples.targets[:, -1]
        return examples


class SharesItsSeeds(LastIsFirst):
    """Draws from the place in the batch, and not from what it was given: the splits have the same examples."""

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        return super().examples(Draws(0, np.arange(len(draws))), difficulty)


class CopiesFromItsNeighbor(LastIsFirst):
    def examples(self, draws: Draws, difficulty: int) -> Examples:
        tokens = draws.integers(4, difficulty)
        tokens[:, 0] = np.roll(tokens[:, 0], 1)
        return super().examples(draws, difficulty)._replace(inputs=tokens, targets=self.oracle(tokens, difficulty))


class BuiltUnseeded(LastIsFirst):
    """Each one that is built has a cipher of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.cipher = np.array([random.SystemRandom().randrange(4) for _ in range(20)])

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        tokens = (super().examples(draws, difficulty).inputs + self.cipher[:difficulty]) % 4
        return super().examples(draws, difficulty)._replace(inputs=tokens, targets=self.oracle(tokens, difficulty))


class AsksOneEarly(Lookup):
    """Asks before the key is there; the target is nobody's business there."""

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        examples = super().examples(draws, difficulty)
        return examples._replace(weights=np.roll(examples.weights, -1, axis=1))


class AsksOneLate(Lookup):
    def examples(self, draws: Draws, difficulty: int) -> Examples:
        examples = super().examples(draws, difficulty)
        return examples._replace(weights=np.roll(examples.weights, 1, axis=1))


class AnswersOneEarly(Lookup):
    """Weights, targets and oracle all one too early: the key that is asked for comes after the answer."""

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        inputs, targets, weights = super().examples(draws, difficulty)
        return Examples(inputs, targets, np.roll(weights, -1, axis=1))

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        return np.roll(super().oracle(inputs, difficulty), -1, axis=1)


class OracleForItsOwnAlone(Lookup):
    """Fails where the key that is asked for is not there, as after a splice."""

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        examples = super().examples(draws, difficulty)
        examples.weights[:, 1] = 1.0
        examples.targets[:, 1] = examples.inputs[:, 1]
        return examples

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        answers = super().oracle(inputs, difficulty)
        answers[:, 1] = inputs[:, 1]
        if not (inputs[:, :-2:2] == inputs[:, -2:-1]).any(axis=1).all():
            raise KeyError("no such key")
        return answers


class AsksTheLastButOne(LastIsFirst):
    def examples(self, draws: Draws, difficulty: int) -> Examples:
        examples = super().examples(draws, difficulty)
        return examples._replace(weights=np.roll(examples.weights, -1, axis=1))


class AsksNothingOfSome(Lookup):
    def examples(self, draws: Draws, difficulty: int) -> Examples:
        examples = super().examples(draws, difficulty)
        examples.weights[examples.inputs[:, 0] == 1] = 0.0
        return examples


class WeighsBelowZero(Lookup):
    def examples(self, draws: Draws, difficulty: int) -> Examples:
        examples = super().examples(draws, difficulty)
        examples.weights[:, -1] = -1.0
        return examples


class OracleWrongInOneCase(LastIsFirst):
    """Of five tokens that are all the same, it says another one."""

    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        answers = super().oracle(inputs, difficulty)
        return np.where((inputs[:, :5] == 3).all(axis=1, keepdims=True), 0, answers)

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        inputs, _, weights = super().examples(draws, difficulty)
        return Examples(inputs, super().oracle(inputs, difficulty), weights)


class OracleChangesTheInputs(LastIsFirst):
    def oracle(self, inputs: Integers, difficulty: int) -> Integers:
        answers = super().oracle(inputs, difficulty)
        inputs[:, 1:] = (inputs[:, 1:] + 1) % 4
        return answers


class ChanceTooHigh(LastIsFirst):
    def chance(self, difficulty: int) -> float:
        return 0.3


class ChanceTooLow(LastIsFirst):
    def chance(self, difficulty: int) -> float:
        return 0.2


class ChanceOfTheWrongAlphabet(Lookup):
    """One of sixteen tokens, half of which are never an answer."""

    def chance(self, difficulty: int) -> float:
        return 1 / 16


class LovesItsFirstLetter(LastIsFirst):
    """An answer that is more common than chance says, among tokens that are not."""

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        inputs = super().examples(draws, difficulty).inputs
        inputs[:, 0] *= draws.uniform() < 0.8
        return super().examples(draws, difficulty)._replace(inputs=inputs, targets=self.oracle(inputs, difficulty))


class SaysThatTokensTell(LastIsFirst):
    def chance_by_token(self, difficulty: int) -> float:
        return 0.5


class OfLengthsThatVary(LastIsFirst):
    """As long as the longest of what was drawn."""

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        longest = 1 + int((draws.uniform() ** 8 * difficulty).max())
        return super().examples(draws, longest)


class ShorterWhenItIsHarder(LastIsFirst):
    def examples(self, draws: Draws, difficulty: int) -> Examples:
        return super().examples(draws, 24 - difficulty)


class IgnoresByMinusOneHundred(Lookup):
    """The label by which torch's cross_entropy leaves a position out."""

    def examples(self, draws: Draws, difficulty: int) -> Examples:
        examples = super().examples(draws, difficulty)
        return examples._replace(targets=np.where(examples.weights > 0, examples.targets, -100))


class AnswersInInt32(LastIsFirst):
    def examples(self, draws: Draws, difficulty: int) -> Examples:
        examples = super().examples(draws, difficulty)
        return examples._replace(targets=examples.targets.astype(np.int32))


class TestsWhatIsEasy(LastIsFirst):
    def __init__(self) -> None:
        super().__init__(lengths=(4, 8), test=(4,))


class TrainsOnNothing(LastIsFirst):
    def __init__(self) -> None:
        super().__init__(lengths=())
