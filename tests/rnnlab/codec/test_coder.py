"""The range coder gives back what it was given, and only distributions go in."""

import numpy as np
import pytest
import torch

from rnnlab.codec.coder import Decoder, Encoder, check, distribution
from rnnlab.errors import DataError, Diverged


def probabilities(count: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.full(256, 0.1), size=(count, 3))


def test_what_is_decoded_is_what_was_encoded_at_the_cost_of_its_probabilities() -> None:
    given = probabilities(300)
    draws = np.random.default_rng(1)
    symbols = np.array([[draws.choice(256, p=p) for p in row] for row in given], dtype=np.uint8)
    encoder = Encoder()
    for row, now in zip(given, symbols, strict=True):
        encoder(row, now)
    payload = encoder.payload()
    decoder = Decoder(payload)
    assert np.array_equal([decoder(row, np.zeros(3, np.uint8)) for row in given], symbols)
    ideal = -np.log2(np.take_along_axis(given, symbols[..., None].astype(int), -1)).sum()
    assert 8 * len(payload) == pytest.approx(ideal, abs=64 + 0.001 * ideal)  # the last words, and 24 bits of precision


def test_a_byte_held_impossible_costs_about_24_bits() -> None:
    certain = np.zeros((1, 256))
    certain[0, 0] = 1.0
    encoder = Encoder()
    for _ in range(100):
        encoder(certain, np.array([5], np.uint8))
    assert 8 * len(encoder.payload()) / 100 == pytest.approx(24.0, abs=0.5)
    decoder = Decoder(encoder.payload())
    assert all(decoder(certain, np.zeros(1, np.uint8))[0] == 5 for _ in range(100))


@pytest.mark.parametrize("scale", [1.01, 0.99, 1.0 + 1e-7])
def test_what_does_not_sum_to_one_is_refused_though_the_coder_would_take_it(scale: float) -> None:
    check(probabilities(1)[0])
    wrong = probabilities(1)[0]
    wrong[1] *= scale
    with pytest.raises(Diverged, match="sum to"):
        check(wrong)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    logits = torch.zeros(2, 256)
    logits[1, 3] = bad
    with pytest.raises(Diverged):
        distribution(logits)


def test_a_negative_probability_is_refused() -> None:
    wrong = probabilities(1)[0]
    wrong[0, 0] -= 2.0
    wrong[0, 1] += 2.0
    with pytest.raises(Diverged):
        check(wrong)


def test_a_payload_cut_within_a_word_is_refused() -> None:
    with pytest.raises(DataError, match="whole number of words"):
        Decoder(b"12345")
