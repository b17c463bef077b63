from fractions import Fraction

import numpy as np
import pytest

from rnnlab.components.tasks.brackets import Brackets
from rnnlab.errors import ConfigError
from tests.components.tasks.drawing import asked, drawn, tokens


def test_an_example_by_hand() -> None:
    """( is 0, [ is 1, ) is 2, ] is 3; 4 is the question and "nothing is open"."""
    inputs = tokens("0 1 3 0 2 2 1 4")  # ( [ ] ( ) ) [ ?
    assert Brackets().oracle(inputs, 7).tolist() == [[2, 3, 2, 2, 2, 4, 3, 3]]


@pytest.mark.parametrize(("kinds", "depth", "length"), [(2, 6, 40), (3, 1, 9), (1, 2, 30), (4, 30, 25)])
def test_the_brackets_match_and_the_answer_is_what_closes_the_innermost(kinds: int, depth: int, length: int) -> None:
    task = Brackets(kinds, depth)
    examples = drawn(task, length)
    deepest = 0
    for row, answers in zip(examples.inputs.tolist(), asked(task, examples, examples.targets), strict=True):
        stack: list[int] = []
        for token, answer in zip(row[:-1], answers[:-1], strict=True):
            if token < kinds:
                stack.append(token)
            else:
                assert token == kinds + stack.pop()
            assert answer == (kinds + stack[-1] if stack else 2 * kinds)
            deepest = max(deepest, len(stack))
        assert row[-1] == 2 * kinds
        assert answers[-1] == answers[-2]
    assert deepest == depth or length < 4 * depth
    assert deepest <= depth


def test_the_oracle_answers_strings_that_are_deeper_or_close_what_is_not_open() -> None:
    inputs = tokens("0 1 0 4", "2 2 1 4")  # ( [ ( ? and ) ) [ ?
    assert Brackets(depth=1).oracle(inputs, 3).tolist() == [[2, 3, 2, 2], [4, 4, 3, 3]]


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_the_chance_that_nothing_is_open_is_that_of_all_walks(depth: int) -> None:
    """Step by step: up from 0, down from the greatest depth, either way with one half between."""
    shares = {0: Fraction(1)}
    for length in range(1, 30):
        moved: dict[int, Fraction] = {}
        for at, share in shares.items():
            ways = [at + 1] if at == 0 else [at - 1] if at == depth else [at - 1, at + 1]
            for to in ways:
                moved[to] = moved.get(to, Fraction(0)) + share / len(ways)
        shares = moved
        nothing = float(shares.get(0, Fraction(0)))
        assert Brackets(2, depth).chance(length) == pytest.approx(max(nothing, (1 - nothing) / 2), abs=1e-12)


def test_the_depths_are_those_of_that_walk() -> None:
    depths = (drawn(Brackets(depth=3), 12, 20_000).inputs[:, :-1] < 2) * 2 - 1
    ends = np.bincount(depths.sum(axis=1), minlength=4) / 20_000
    # by the recursion above, 12 steps with at most 3 open: only 0 and 2 can be
    assert ends == pytest.approx([0.3335, 0, 0.6665, 0], abs=0.015)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kinds": 0}, r"Brackets.kinds = 0: at least 1"),
        ({"depth": 0}, r"Brackets.depth = 0: from 1 to 1000"),
        ({"depth": 1001}, r"Brackets.depth = 1001: from 1 to 1000"),
        ({"shortest": 0}, r"Brackets.shortest = 0"),
        ({"test": [0]}, r"Brackets.test = 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Brackets(**arguments)  # type: ignore[arg-type]
