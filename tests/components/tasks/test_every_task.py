"""What holds for every task, over the defaults and the published settings."""

from collections import Counter

import numpy as np
import pytest

from rnnlab import registry
from rnnlab.components.tasks.brackets import Brackets
from rnnlab.components.tasks.copy import Copy
from rnnlab.components.tasks.in_context_recall import InContextRecall
from rnnlab.components.tasks.induction import Induction
from rnnlab.components.tasks.memorize import Memorize
from rnnlab.components.tasks.modular_sum import ModularSum
from rnnlab.components.tasks.mqar import MQAR
from rnnlab.components.tasks.parity import Parity
from rnnlab.components.tasks.permutations import Permutations
from rnnlab.components.tasks.recall import Recall
from rnnlab.components.tasks.recall_at_distance import RecallAtDistance
from rnnlab.components.tasks.selective_copy import SelectiveCopy
from rnnlab.config import config_folder, resolve
from rnnlab.task import Integers, Task
from tests.components.tasks.drawing import drawn

CASES: dict[str, tuple[Task, int, int]] = {
    "parity": (Parity(), 40, 40),
    "parity of one": (Parity(shortest=1), 1, 1),
    "parity, the last asked": (Parity(asked="last"), 7, 7),
    "sum": (ModularSum(), 40, 40),
    "sum of one": (ModularSum(), 1, 1),
    "S3": (Permutations(), 40, 40),
    "S3 of one": (Permutations(), 1, 1),
    "S5": (Permutations(points=5), 17, 17),
    "recall": (Recall(), 8, 24),
    "recall through a gap": (Recall(keys=64, gap=5), 4, 17),
    "MQAR as published": (MQAR(), 4, 64),
    "MQAR with few tokens": (MQAR(pairs=[3], test=[3], vocabulary=20, stretch=6), 3, 18),
    "in-context recall as published": (InContextRecall(), 128, 128),
    "in-context recall without the last value": (InContextRecall(keys=3, values=3), 7, 7),
    "recall at a distance": (RecallAtDistance(), 16, 21),
    "recall of the first token": (RecallAtDistance(lead=0, values=3), 1, 2),
    "induction": (Induction(), 64, 65),
    "shortest induction": (Induction(symbols=3, shortest=3), 3, 4),
    "selective copy": (SelectiveCopy(), 32, 36),
    "selective copy without blanks": (SelectiveCopy(tokens=5, symbols=3), 5, 10),
    "selective copy of MAD": (SelectiveCopy(tokens=16, lengths=[239], symbols=14), 239, 255),
    "copy": (Copy(), 32, 64),
    "copy of one": (Copy(symbols=3), 1, 2),
    "brackets": (Brackets(), 40, 41),
    "brackets of an odd number": (Brackets(kinds=3), 7, 8),
    "brackets that are mostly closed": (Brackets(kinds=5, depth=2), 4, 5),
    "shallow brackets": (Brackets(depth=1), 6, 7),
    "one bracket": (Brackets(), 1, 2),
    "memorize as published": (Memorize(), 32, 32),
    "memorize of an odd length": (Memorize(vocabulary=8), 5, 5),
}
"""Name: the task, a difficulty, and how many positions an example of it has."""
COUNTED = {name: case[:2] for name, case in CASES.items() if case[0].vocabulary < 1000}
"""Those with so few answers that each comes often."""
every_case = pytest.mark.parametrize(("task", "difficulty", "length"), CASES.values(), ids=CASES)


@every_case
def test_the_oracle_knows_every_answer(task: Task, difficulty: int, length: int) -> None:
    inputs, targets, weights = drawn(task, difficulty, 2000)
    answers = task.oracle(inputs, difficulty)
    assert (answers == targets)[weights > 0].all()


@every_case
def test_examples_have_the_length_that_is_promised_and_tokens_of_the_vocabulary(
    task: Task, difficulty: int, length: int
) -> None:
    inputs, targets, weights = drawn(task, difficulty)
    assert inputs.shape == targets.shape == weights.shape == (200, length)
    assert inputs.min() >= 0 <= targets.min()
    assert max(inputs.max(), targets.max()) < task.vocabulary
    assert (weights > 0).any(axis=1).all()
    if task.judged == "last":
        assert (weights[:, -1] > 0).all()


@pytest.mark.parametrize(("task", "difficulty"), COUNTED.values(), ids=COUNTED)
def test_chance_is_what_the_best_constant_and_the_best_table_by_token_score(task: Task, difficulty: int) -> None:
    inputs, targets, weights = drawn(task, difficulty, 20_000)
    judged = weights > 0
    if task.judged == "last":
        judged[:, :-1] = False
    half = len(inputs) // 2  # chosen on one half and counted on the other: the best of many is luck
    given = [(inputs[part][judged[part]], targets[part][judged[part]]) for part in (slice(half), slice(half, None))]
    constant = scored([(np.zeros_like(tokens), answers) for tokens, answers in given])
    assert constant == pytest.approx(task.chance(difficulty), abs=0.016)
    assert scored(given) == pytest.approx(task.chance_by_token(difficulty), abs=0.016)


def scored(given: list[tuple[Integers, Integers]]) -> float:
    """How often the table that says the most frequent answer to each token is right: counted on the first, scored on
    the second."""
    (tokens, answers), (other_tokens, other_answers) = given
    table = {}
    for token in np.unique(tokens):
        ((table[token], _),) = Counter(answers[tokens == token].tolist()).most_common(1)
    said = np.array([table.get(token, 0) for token in other_tokens])
    return float(np.mean(said == other_answers))


@every_case
def test_an_example_is_the_same_whatever_is_drawn_beside_it(task: Task, difficulty: int, length: int) -> None:
    for few, many in zip(drawn(task, difficulty, 3), drawn(task, difficulty, 50), strict=True):
        np.testing.assert_array_equal(few, many[:3])


@every_case
def test_examples_differ_from_key_to_key(task: Task, difficulty: int, length: int) -> None:
    inputs, others = drawn(task, difficulty).inputs, drawn(task, difficulty, key=8).inputs
    assert (inputs != others).any()


SHIPPED = [part for part in registry.parts("task") if part.distribution == "rnnlab"]


def test_every_task_is_among_the_cases() -> None:
    assert {part.factory for part in SHIPPED} == {type(task) for task, _, _ in CASES.values()}


@pytest.mark.parametrize("part", SHIPPED, ids=lambda part: part.name)
def test_what_is_trained_and_tested_by_default_can_be_drawn(part: registry.Part) -> None:
    task = part.factory()
    for difficulty in {*task.trained, *task.tested}:
        assert len(drawn(task, difficulty, 2).inputs) == 2
    assert max(task.tested) > max(task.trained)


@pytest.mark.parametrize("part", SHIPPED, ids=lambda part: part.name)
def test_a_fragment_makes_the_task_what_is_trained_on(part: registry.Part) -> None:
    name = part.factory.__module__.rpartition(".")[2]
    config = resolve(["sha_rnn", "size/tiny", f"task/{name}"], ["Trainer.optimizer = @optimizer.AdamW"])
    with config.activate():
        assert type(config.construct("Trainer").source()) is part.factory
    assert {"Trainer.steps", "optimizer.AdamW.lr"} <= set(config.bindings)


def test_every_fragment_of_a_task_belongs_to_one() -> None:
    names = {path.stem.replace("_", "") for path in (config_folder() / "task").glob("*.gin")}
    assert names == {part.name.lower() for part in SHIPPED}
