"""Values and types: read, printed back, and held against what a part takes."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal, NewType, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rnnlab.config import Macro, Reference, format_value
from rnnlab.config.checks import describe, fits
from rnnlab.config.parser import Assignment, parse
from rnnlab.errors import ConfigError

LITERALS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8") | st.sampled_from("\n\r\0\u2028\ud800'\"\\"))
    | st.binary()
    | st.sampled_from(
        [Reference("", "core.LSTM"), Reference("a/b", "Block", True), Macro("dropout"), math.inf, -math.inf]
    ),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(0, 9) | st.booleans() | st.none(), inner)
    ),
    max_leaves=20,
)


WORDS = [
    *"=@%()[]{}:,./-\n\\#'\"",
    "a",
    "B.c",
    "sha/B.c",
    " = ",
    "\n  ",
    "'s'",
    "1",
    "-2.5e3",
    "0x",
    "None",
    "True",
    "include",
]


def read_or_refusal(text: str) -> list[Any] | str:
    """The values that a text assigns, or what is said against it."""
    try:
        return [statement.value for statement in parse(text, "noise.gin") if isinstance(statement, Assignment)]
    except ConfigError as error:
        return str(error)


class TestValues:
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
    @given(LITERALS)
    @pytest.mark.slow
    def test_print_back_exactly(self, value: Any) -> None:
        text = f"x = {format_value(value)}"
        assert "\n" not in text
        [statement] = parse(text, "x")
        assert repr(statement.value) == repr(value)  # type: ignore[union-attr]

    @settings(max_examples=300, deadline=None, derandomize=True)
    @given(st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=12))
    @pytest.mark.slow
    def test_any_text_is_read_or_refused_and_what_is_read_prints_back(self, words: list[str]) -> None:
        outcome = read_or_refusal("".join(words))
        if isinstance(outcome, str):
            assert outcome.startswith("noise.gin")
            assert len(outcome.splitlines()) == 1
            return
        for value in outcome:
            assert read_or_refusal(f"x = {format_value(value)}") == [value]

    @pytest.mark.parametrize("value", [math.nan, object(), 1j, {1, 2}])
    def test_that_no_file_can_hold_are_not_printed(self, value: Any) -> None:
        with pytest.raises(ValueError, match="no literal"):
            format_value(value)


Positions = NewType("Positions", int)
T = TypeVar("T")
LSTM = Reference("", "core.LSTM")
CALL = Reference("", "core.LSTM", evaluate=True)


@pytest.mark.parametrize(
    ("hint", "right", "wrong"),
    [
        (int, [0, -3], [1.0, True, "1", None, [1], LSTM]),
        (float, [0, 0.5, 1e999], [True, "1", None, LSTM]),
        (bool, [True, False], [0, 1, None]),
        (str, ["", "a"], [1, b"a", None, LSTM]),
        (bytes, [b"a"], ["a"]),
        (None, [None], [0]),
        (int | None, [1, None], [1.0, LSTM]),
        (Literal["a", 1], ["a", 1], ["b", True, 1.0]),
        (list[int], [[], [1]], [(1,), ["a"], 1, LSTM]),
        (list, [["a", 1]], [(1,)]),
        (tuple[int, ...], [(), (1, 2)], [[1], (1, "a")]),
        (tuple[int, str], [(1, "a")], [(1,), ("a", 1), (1, "a", 2)]),
        (Sequence[float], [[1, 2.0], (1,)], [["a"], "ab", LSTM]),
        (dict[str, int], [{}, {"a": 1}], [{1: 1}, {"a": "b"}, []]),
        (Mapping[str, Any], [{"a": None}], [{1: 1}]),
        (Callable[..., Any], [LSTM, CALL], [1, "core.LSTM", None]),
        (Callable[..., Any] | None, [LSTM, None], [1]),
        (type[Any], [LSTM], [1]),
        (Sequence[Callable[..., Any]], [[LSTM, LSTM], []], [LSTM, [1]]),
        (Annotated[int, "positions"], [1], ["a"]),
        (Positions, [1], ["a"]),
        (PurePath, [CALL], ["a", LSTM]),
        (Any, [1, None, LSTM, {}], []),
        (object, [1, LSTM], []),
        (T, [1, LSTM], []),
    ],
)
def test_types_fit_or_not(hint: Any, right: list[Any], wrong: list[Any]) -> None:
    assert [value for value in right if not fits(value, hint)] == []
    assert [value for value in wrong if fits(value, hint)] == []
    assert fits(Macro("later"), hint)
    assert describe(hint)
