"""Laws about what answers are worth that know little: always the same one, or one for each input token.

The answers of an example may depend on each other. So each example counts once, as a number in [0, 1]; examples are
independent, and the bound holds for the mean of such numbers.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rnnlab.task import Integers
from rnnlab.testing.tasks import TaskSubject, law

POSITIONS = 500_000
"""Of the examples that are counted, and as many again on which the answers are chosen [positions]."""

MOST_EXAMPLES = 4_096

FALSE_ALARM = 1e-7
"""Chance that a comparison refuses a figure that is true, at most: that of a normal deviate above 5.2."""


class Judged(NamedTuple):
    """The answers that are judged, A of them in N examples."""

    tokens: Integers  # (A,) inputs at their own positions
    answers: Integers  # (A,)
    examples: Integers  # (A,) which of the N examples each belongs to
    total: int  # N


class Tally(NamedTuple):
    """How some examples were answered."""

    scores: npt.NDArray[np.float64]  # (N,) each in [0, 1], with the mean that was stated if that is the true accuracy
    accuracy: float  # of all answers
    answers: int

    def is_above(self, stated: float) -> bool:
        return self.scores.mean() > stated and self._is_improbable(stated)

    def is_below(self, stated: float) -> bool:
        return self.scores.mean() < stated and self._is_improbable(stated)

    def _is_improbable(self, stated: float) -> bool:
        """Whether a mean m of N scores this far from the stated p has a probability below `FALSE_ALARM`.

        Source: Hoeffding 1963, "Probability inequalities for sums of bounded random variables", theorem 1: it is at
        most exp(-N KL(m, p)) for independent numbers in [0, 1] whose mean has the expectation p.
        """
        mean = min(float(self.scores.mean()), 1.0)
        terms = ((mean, stated), (1.0 - mean, 1.0 - stated))
        if any(ours > 0 and theirs <= 0 for ours, theirs in terms):
            return True
        divergence = sum(ours * math.log(ours / theirs) for ours, theirs in terms if ours > 0)
        return len(self.scores) * divergence > -math.log(FALSE_ALARM)


@law("task")
def chance(subject: TaskSubject) -> None:
    """chance(difficulty) is the accuracy of the best constant answer to what is judged, as far as counting can tell."""
    _compare(subject, "chance", "the best constant answer", lambda tokens: np.zeros_like(tokens))


@law("task")
def own_token(subject: TaskSubject) -> None:
    """chance_by_token(difficulty) is the accuracy of the best table from the input at an answer's own position."""
    for difficulty in subject.difficulties:
        constant, table = (_stated(subject, name, difficulty) for name in ("chance", "chance_by_token"))
        if table < constant:
            subject.refuse(f"chance_by_token is {table:.4g}, and chance, a table as well, {constant:.4g}", difficulty)
    _compare(subject, "chance_by_token", "the best answer by the input at its own position", lambda tokens: tokens)


def _compare(subject: TaskSubject, name: str, what: str, read: Callable[[Integers], Integers]) -> None:
    """Count, at each difficulty and then at all together. A rule that was found on other examples is no better than the
    best rule; the rule that fits the examples themselves best scores no less on them than the best rule does."""
    count = subject.affordable(POSITIONS, subject.difficulties, MOST_EXAMPLES)
    found, fitted, expected = [], [], []
    for place, difficulty in enumerate(subject.difficulties):
        stated = _stated(subject, name, difficulty)
        first = 2 * place * count  # numbers of its own, as example n draws the same at every difficulty
        ours, others = (_judged(subject, difficulty, start, count) for start in (first, first + count))
        found.append(_tally(ours, _answer(read(ours.tokens), read(others.tokens), others.answers), stated))
        fitted.append(_tally(ours, _answer(read(ours.tokens), read(ours.tokens), ours.answers), stated))
        expected.append(stated)
        _judge(subject, found[-1], fitted[-1], stated, f"{name}({difficulty})", what, difficulty)
    if len(expected) > 1:
        together = f"{name} at all difficulties together"
        _judge(subject, _joined(found), _joined(fitted), float(np.mean(expected)), together, what, None)


def _judge(
    subject: TaskSubject, found: Tally, fitted: Tally, stated: float, name: str, what: str, difficulty: int | None
) -> None:
    if found.is_above(stated):
        scored = f"{what}, found on other examples, is right for {found.accuracy:.2%} of {found.answers:,} answers"
        subject.refuse(f"{name} is {stated:.4g}, and {scored}", difficulty)
    if fitted.is_below(stated):
        scored = f"{what} is right for no more than {fitted.accuracy:.2%} of {fitted.answers:,} answers"
        subject.refuse(f"{name} is {stated:.4g}, and {scored}", difficulty)


def _stated(subject: TaskSubject, name: str, difficulty: int) -> float:
    stated: Any = getattr(subject.task, name)(difficulty)
    if not (isinstance(stated, float | int) and 0.0 <= stated <= 1.0):
        subject.refuse(f"{name}({difficulty}) is {stated!r}; it is a fraction in [0, 1]", difficulty)
    return float(stated)


def _judged(subject: TaskSubject, difficulty: int, first: int, count: int) -> Judged:
    inputs, targets, weights = subject.draw(difficulty, range(first, first + count))
    is_judged = weights > 0
    if subject.task.judged == "last":
        is_judged[:, :-1] = False
    if not is_judged.any():
        subject.refuse("nothing is judged", difficulty)
    return Judged(inputs[is_judged], targets[is_judged], np.nonzero(is_judged)[0], count)


def _answer(tokens: Integers, seen: Integers, answers: Integers) -> Integers:
    """To each token the answer that was seen most often beside it; to one that was not seen, the most common of all."""
    known, which = np.unique(seen, return_inverse=True)
    base = int(answers.max()) + 1
    pairs, counts = np.unique(which * base + answers, return_counts=True)
    pairs = pairs[np.lexsort((counts, pairs // base))]  # token by token, the most common answer of each last
    common = pairs[np.searchsorted(pairs // base, np.arange(len(known)), side="right") - 1] % base
    place = np.minimum(np.searchsorted(known, tokens), len(known) - 1)
    return np.where(known[place] == tokens, common[place], np.bincount(answers).argmax())


def _tally(judged: Judged, answers: Integers, stated: float) -> Tally:
    is_right = answers == judged.answers
    right = np.bincount(judged.examples, is_right, minlength=judged.total)
    asked = np.bincount(judged.examples, minlength=judged.total)
    return Tally(stated + (right - stated * asked) / asked.max(), float(is_right.mean()), len(answers))


def _joined(tallies: list[Tally]) -> Tally:
    answers = sum(tally.answers for tally in tallies)
    right = sum(tally.accuracy * tally.answers for tally in tallies)
    return Tally(np.concatenate([tally.scores for tally in tallies]), right / answers, answers)
