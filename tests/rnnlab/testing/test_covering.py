"""Pairs in place of products."""

from itertools import combinations, product

import pytest

from rnnlab.testing import covering

AXES = [("lstm", "gru", "qrnn"), (1, 2, 7, None), ("a", "b"), (True, False, None)]


@pytest.mark.parametrize("axes", [AXES, AXES[:2], AXES[:1], []], ids=len)
def test_every_pair_meets_in_few_candidates(axes: list[tuple[object, ...]]) -> None:
    candidates = list(product(*axes))
    chosen = covering(candidates)
    assert set(chosen) <= set(candidates)
    for (i, first), (j, second) in combinations(enumerate(axes), 2):
        assert {(row[i], row[j]) for row in chosen} == set(product(first, second))
    if len(axes) > 2:
        assert len(chosen) < len(candidates) / 3
    assert chosen == covering(candidates), "the same every time"


def test_pairs_that_no_candidate_has_are_not_asked_for() -> None:
    allowed = [row for row in product((1, 2, 3), (1, 2, 3), (1, 2, 3)) if row[0] != row[1]]
    assert {row[:2] for row in covering(allowed)} == {row[:2] for row in allowed}
