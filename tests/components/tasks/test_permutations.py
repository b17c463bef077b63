import itertools

import numpy as np
import pytest

from rnnlab.components.tasks.permutations import Permutations
from rnnlab.errors import ConfigError
from tests.components.tasks.drawing import asked, drawn, tokens


def test_an_example_by_hand() -> None:
    """Tokens of S3: 0 is 012, 1 is 021, 2 is 102, 3 is 120, 4 is 201, 5 is 210."""
    # 102 swaps the first two points: 0 to 1, 1 to 0. Then 021 swaps the last two: 0 to 1 to 2, 1 to 0, 2 to 1, which is
    # 201. Then 201 once more: 0 to 2 to 1, 1 to 0 to 2, 2 to 1 to 0, which is 120. 120 after it brings all home.
    inputs, answers = tokens("2 1 4 4"), [[2, 4, 3, 0]]
    assert Permutations().oracle(inputs, 4).tolist() == answers


@pytest.mark.parametrize("points", [2, 3, 4, 5])
def test_the_answer_is_where_each_point_has_come_to(points: int) -> None:
    task = Permutations(points=points)
    elements = list(itertools.permutations(range(points)))
    assert task.vocabulary == len(elements)
    examples = drawn(task, 13, 20)
    for row, answers in zip(examples.inputs.tolist(), asked(task, examples, examples.targets), strict=True):
        places = list(range(points))
        for token, answer in zip(row, answers, strict=True):
            places = [elements[token][place] for place in places]
            assert elements[answer] == tuple(places)


def test_the_order_of_the_tokens_matters() -> None:
    one_way, other_way = Permutations().oracle(tokens("1 2", "2 1"), 2)[:, -1]
    assert one_way != other_way


def test_every_element_is_drawn() -> None:
    assert len(np.unique(drawn(Permutations(points=5), 20).inputs)) == 120


@pytest.mark.parametrize("points", [1, 6])
def test_points_that_are_too_few_or_too_many_are_refused(points: int) -> None:
    with pytest.raises(ConfigError, match=rf"Permutations.points = {points}: from 2 to 5"):
        Permutations(points=points)
