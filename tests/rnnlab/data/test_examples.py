"""Examples of a task in batches: which are read when, by whom, and how many there are."""

from collections import Counter

import numpy as np
import pytest
import torch

from rnnlab.data.examples import TrainingExamples
from rnnlab.data.source import Chunk
from rnnlab.data.task_source import TaskSource
from rnnlab.errors import ConfigError
from rnnlab.task import Draws, Examples
from tests.rnnlab.small_tasks import Echo, source

CPU = torch.device("cpu")


def training(of: TaskSource, batch_size: int = 4, shard: tuple[int, int] = (0, 1)) -> TrainingExamples:
    return of.training(batch_size, shard, CPU)


def whole(reader: TrainingExamples, reading: int) -> Chunk:
    return Chunk(reading, 0, reader.positions(reading))


def test_a_batch_is_what_the_task_made_of_its_numbers() -> None:
    of = source()
    reader = training(of)
    for reading in (0, 3, 1):
        difficulty, numbers = reader.drawn(reading)
        made = of.make("train", difficulty, numbers)
        read = reader.read(whole(reader, reading))
        assert read.inputs.shape == (difficulty, 4)
        assert torch.equal(read.inputs, torch.from_numpy(made.inputs.T))
        assert torch.equal(read.targets[1:], read.inputs[:-1])
        assert read.weights is not None
        assert read.weights.dtype == torch.float32
        assert read.weights.sum(0).tolist() == [2.0] * 4
        assert read.asked is not None
        assert read.asked.tolist() == list(range(4 * difficulty - 8, 4 * difficulty))
        assert torch.equal(read.answers(read.targets), read.targets[-2:].flatten())


def test_new_examples_come_without_end_and_each_difficulty_as_often_as_the_others() -> None:
    reader = training(source())
    drawn = [reader.drawn(reading) for reading in range(400)]
    assert [number for _, numbers in drawn for number in numbers] == list(range(1600))
    counts = Counter(difficulty for difficulty, _ in drawn)
    assert set(counts) == {3, 5}
    assert abs(counts[3] - 200) < 5 * 10  # five standard deviations of a fair coin


def test_pieces_of_a_batch_are_the_batch() -> None:
    reader = training(source(Echo(trained=(8,))))
    pieces = [reader.read(Chunk(2, start, min(3, 8 - start))) for start in (0, 3, 6)]
    together = reader.read(Chunk(2, 0, 8))
    for name in ("inputs", "targets", "weights"):
        assert torch.equal(torch.cat([getattr(piece, name) for piece in pieces]), getattr(together, name))
    assert [reader.weight(Chunk(2, start, min(3, 8 - start))) for start in (0, 3, 6)] == [0.0, 0.0, 8.0]
    assert reader.mean_chunk(3) == pytest.approx(8 / 3)
    assert reader.mean_chunk(100) == 8


def test_ranks_share_the_batch_that_one_process_reads() -> None:
    of = source()
    alone, shards = training(of), [training(of, shard=(rank, 2)) for rank in range(2)]
    for reading in range(5):
        want = alone.read(whole(alone, reading)).inputs
        got = torch.cat([shard.read(whole(alone, reading)).inputs for shard in shards], dim=1)
        assert torch.equal(got, want)
        assert [shard.weight(whole(alone, reading)) for shard in shards] == [alone.weight(whole(alone, reading))] * 2
    assert [shard.first for shard in shards] == [0, 2]


def test_the_seed_of_a_run_moves_training_and_leaves_valid_and_test() -> None:
    one, other = source(seed=1), source(seed=2)
    numbers = np.arange(50)
    assert not np.array_equal(one.make("train", 5, numbers).inputs, other.make("train", 5, numbers).inputs)
    for split in ("valid", "test"):
        assert np.array_equal(one.make(split, 5, numbers).inputs, other.make(split, 5, numbers).inputs)
    assert one.sha256 == other.sha256


def test_splits_and_difficulties_do_not_draw_the_same() -> None:
    of = source()
    drawn = [of.make(split, 5, np.arange(200)).inputs for split in ("train", "valid", "test")]
    drawn += [of.make("test", 8, np.arange(200)).inputs[:, :5]]
    for i, first in enumerate(drawn):
        for second in drawn[i + 1 :]:
            assert (first == second).all(axis=1).mean() < 0.05


def test_a_fixed_number_is_read_once_an_epoch_in_an_order_that_changes() -> None:
    of = source(train=26)  # 13 of each of two difficulties: three batches of four, and one left over
    reader = training(of)
    assert reader.epoch == 3 * 4 * (3 + 5)
    epochs = [[reader.drawn(6 * epoch + place) for place in range(6)] for epoch in range(3)]
    for batches in epochs:
        for difficulty in (3, 5):
            numbers = [n for d, batch in batches for n in batch.tolist() if d == difficulty]
            assert sorted(numbers) == list(range(12))
    assert [n.tolist() for _, n in epochs[0]] != [n.tolist() for _, n in epochs[1]]
    assert [n.tolist() for _, n in epochs[2]] == [training(of).drawn(12 + place)[1].tolist() for place in range(6)]


def test_too_few_examples_for_a_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"TaskSplits\.train = 6: too few for a batch of 4 at each of the 2"):
        training(source(train=6))
    with pytest.raises(ConfigError, match="3 ranks"):
        training(source(), batch_size=4, shard=(0, 3))
    with pytest.raises(ConfigError, match=r"TaskSplits\.test = 0"):
        source(test=0)


def test_valid_looks_at_some_of_the_trained_difficulties_and_test_at_all_of_its_own() -> None:
    of = source(Echo(trained=tuple(range(3, 41)), tested=(5, 90)), valid=80, test=30)
    assert of.valid.difficulties == [3, 8, 14, 19, 24, 29, 35, 40]
    assert of.valid.each == 10
    assert (list(of.test.difficulties), of.test.each, len(of.test)) == ([5, 90], 30, 30 * 95)
    assert of.test.scored(8, None) == {"examples": 60, "answers": 120}
    assert of.test.scored(8, 30 * 95 // 3) == {"examples": 20, "answers": 40}
    assert of.at([7]).scored(8, None) == {"examples": 30, "answers": 60}
    with pytest.raises(ConfigError, match="no split 'train' of the task Echo to score; there are valid and test"):
        of.split("train")


def test_scored_examples_are_the_splits_in_order_whatever_the_batch() -> None:
    of = source(test=10)
    found = []
    for batch_size in (3, 10, 64):
        parts = of.test.parts(batch_size, None, CPU)
        assert [part.difficulty for part in parts] == [5, 8]
        found.append(
            [torch.cat([part.reader.read(chunk).inputs for chunk in part.chunks(99)], dim=1) for part in parts]
        )
    for parts in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], parts, strict=True))


def test_what_training_has_read_is_found_among_what_is_scored() -> None:
    of = source(Echo(trained=(3,), tested=(3, 5)), test=100)
    reader = training(of)
    read = {tuple(row) for k in range(20) for row in of.make("train", 3, reader.drawn(k)[1]).inputs.tolist()}
    tested = [tuple(row) for row in of.make("test", 3, np.arange(100)).inputs.tolist()]
    share = sum(row in read for row in tested) / 100
    assert 0 < share < 1
    assert of.seen(of.test, 4, readings=20) == {3: share, 5: 0.0}
    assert of.seen(of.test, 4, readings=1500)[3] > 0.99  # 6,000 draws of 343 strings


def test_tokens_that_are_never_asked_are_unseen() -> None:
    class Even(Echo):
        def oracle(self, inputs, difficulty):  # type: ignore[no-untyped-def]
            return super().oracle(inputs, difficulty) // 2 * 2

    assert source(Even()).unseen().tolist() == [False, True, False, True, False, True, False]


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (lambda made: made._replace(targets=made.targets[:, 1:]), r"shapes .* for 4 draws"),
        (lambda made: made._replace(inputs=made.inputs + 7), "tokens from 7"),
        (lambda made: made._replace(weights=0 * made.weights), "asks nothing"),
    ],
)
def test_a_task_that_does_not_make_examples_is_told_so(breaks, message) -> None:  # type: ignore[no-untyped-def]
    class Broken(Echo):
        def examples(self, draws: Draws, difficulty: int) -> Examples:
            return breaks(super().examples(draws, difficulty))  # type: ignore[no-any-return]

    with pytest.raises(ConfigError, match=message):
        source(Broken()).make("train", 5, np.arange(4))


@pytest.mark.parametrize("given", [(), (0,), ("a",)])
def test_a_task_without_difficulties_is_refused(given: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match=r"Echo\.trained = .*: one or several whole numbers"):
        source(Echo(trained=given))
