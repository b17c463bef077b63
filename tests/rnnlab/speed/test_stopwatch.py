"""Contenders of a measurement, without anything that takes time."""

from rnnlab.speed.stopwatch import alternate


def test_contenders_take_turns() -> None:
    order: list[str] = []
    seconds = alternate({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2, lambda: len(order))
    assert order == ["a", "b"] * 3
    assert seconds == {"a": [1, 1], "b": [1, 1]}
