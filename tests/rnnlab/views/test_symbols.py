"""Any bytes become symbols that can be seen and that share out all the bits."""

import unicodedata

import numpy as np
import pytest

from rnnlab.views.symbols import LEVELS, Symbol, symbols, visible
from tests.rnnlab.small_texts import random_bytes

ODD = "naïve 漢字 🙂 e\u0301 a\u202eb\u00a0\u2028\x1b[31m\t\r\n\0".encode() + b"\xff\xc3(\xe2\x82\xf0\x9f"


def read(text: bytes) -> list[Symbol]:
    costs = np.linspace(0.0, 12.0, len(text))
    costs[0] = np.nan
    return list(symbols(np.frombuffer(text, dtype=np.uint8), costs))


@pytest.mark.parametrize("text", [ODD, bytes(range(256)), random_bytes(4000)], ids=["odd", "each", "random"])
def test_symbols_are_the_whole_text_in_order_and_all_its_bits(text: bytes) -> None:
    found = read(text)
    assert b"".join(symbol.raw for symbol in found) == text
    assert [symbol.start for symbol in found] == np.cumsum([0, *(len(symbol.raw) for symbol in found)])[:-1].tolist()
    assert found[0].bits is None
    skipped = len(found[0].raw)
    assert sum(symbol.bits or 0.0 for symbol in found) == pytest.approx(
        np.linspace(0.0, 12.0, len(text))[skipped:].sum()
    )


@pytest.mark.parametrize("text", [ODD, bytes(range(256)), random_bytes(4000)], ids=["odd", "each", "random"])
def test_what_is_shown_is_visible_and_commands_nothing(text: bytes) -> None:
    for symbol in read(text):
        assert symbol.shown
        assert all(unicodedata.category(c)[0] not in "CZ" or c == " " for c in symbol.shown), symbol


def test_characters_stay_whole_and_stray_bytes_stand_alone() -> None:
    assert [symbol.shown for symbol in read("ï漢\n\x1b\u202e\u0301".encode() + b"\xff\xe2\x82")] == [
        "ï", "漢", "⏎", "\\x1b", "\\u202e", "◌\u0301", "\\xff", "\\xe2", "\\x82",
    ]  # fmt: skip
    assert [visible(c) for c in "\t\r\u00a0"] == ["⇥", "\\r", "\\xa0"]


def test_levels_begin_with_certain_and_end_with_a_guess() -> None:
    costs = np.array([np.nan, 0.0, 0.49, 0.5, 7.49, 7.5, 8.0, 30.0])
    levels = [symbol.level for symbol in symbols(np.frombuffer(b"abcdefgh", dtype=np.uint8), costs)]
    assert levels == [None, 0, 0, 1, LEVELS - 2, LEVELS - 1, LEVELS - 1, LEVELS - 1]
