"""The random numbers of examples: each example's are its own, and they are even."""

import numpy as np
import pytest
from scipy import stats

from rnnlab.errors import ConfigError
from rnnlab.task import Draws, key_of, span


def drawn(numbers: list[int], key: int = key_of(1, "train")) -> Draws:
    return Draws(key, np.array(numbers))


def test_an_examples_numbers_do_not_depend_on_who_is_drawn_beside_it() -> None:
    together, alone = drawn([5, 9, 2]), drawn([9])
    for _ in range(3):
        assert np.array_equal(together.uniform(4, 2)[1], alone.uniform(4, 2)[0])
    assert np.array_equal(drawn([5, 9, 2]).choice(3, 50)[1], drawn([9]).choice(3, 50)[0])


def test_calls_keys_and_numbers_give_different_numbers() -> None:
    once = drawn([1, 2])
    first, second = once.uniform(100), once.uniform(100)
    other = drawn([1, 2], key_of(2, "train")).uniform(100)
    rows = [*first, *second, *other]
    assert len({row.tobytes() for row in rows}) == len(rows) == 6
    assert max(abs(np.corrcoef(rows)[np.triu_indices(6, 1)])) < 0.5


def test_draws_are_the_same_on_every_machine() -> None:
    """By hand: SplitMix64 of the number, the key and the place."""

    def mixed(x: int) -> int:
        x = (x + 0x9E3779B97F4A7C15) % 2**64
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return x ^ x >> 31

    row = mixed((mixed(7 + 1) + 123) % 2**64)
    want = [(mixed((row + place * 0x9E3779B97F4A7C15 + mixed(1)) % 2**64) >> 11) / 2**53 for place in range(4)]
    assert Draws(123, np.array([7])).uniform(4)[0].tolist() == want


@pytest.mark.parametrize(("count", "among"), [(3, 5), (2, 40)])
def test_choices_are_different_and_every_order_is_as_likely(count: int, among: int) -> None:
    chosen = drawn(list(range(40_000))).choice(count, among)
    assert (np.diff(np.sort(chosen, axis=1), axis=1) > 0).all()
    for place in range(count):
        assert stats.chisquare(np.bincount(chosen[:, place], minlength=among)).pvalue > 1e-4
    pairs = np.bincount(chosen[:, 0] * among + chosen[:, 1], minlength=among**2).reshape(among, among)
    assert stats.chisquare(pairs[~np.eye(among, dtype=bool)]).pvalue > 1e-4


def test_integers_are_even() -> None:
    assert stats.chisquare(np.bincount(drawn(list(range(2000))).integers(7, 50).ravel(), minlength=7)).pvalue > 1e-4


def test_training_follows_the_seed_and_what_is_scored_does_not() -> None:
    assert len({key_of(1, "train"), key_of(2, "train"), key_of(1, "valid"), key_of(1, "test")}) == 4
    assert [key_of(1, split) for split in ("valid", "test")] == [key_of(2, split) for split in ("valid", "test")]


def test_a_span_of_lengths_begins_at_one() -> None:
    assert list(span("Parity", 3, 5)) == [3, 4, 5]
    with pytest.raises(ConfigError, match=r"Parity\.shortest = 6, Parity\.longest = 5"):
        span("Parity", 6, 5)
