"""How numbers read in tables and plots."""

import math
from collections.abc import Callable

from rnnlab.views.intervals import Interval


def decimal(digits: int) -> Callable[[float], str]:
    """2.6123 -> 2.612."""
    return lambda value: f"{value:.{digits}f}"


def plus_minus(digits: int, signed: bool = False) -> Callable[[Interval], str]:
    """Interval -> 2.612 ± 0.031; with `signed`, +0.038 ± 0.012."""

    def show(interval: Interval) -> str:
        mean = f"{interval.mean:{'+' if signed else ''}.{digits}f}"
        return mean if interval.half_width is None else f"{mean} ± {interval.half_width:.{digits}f}"

    return show


def engineering(value: float) -> str:
    """Three figures and a prefix: 53,773,517 -> 53.8M."""
    for limit, prefix in ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit * 0.9995:
            scaled = value / limit
            power = math.floor(math.log10(abs(scaled) * 1.0005))
            return f"{scaled:.{max(0, 2 - power)}f}{prefix}"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.3g}"


def grouped(value: float) -> str:
    """12345.6 -> 12,346."""
    return f"{value:,.0f}"


def probability(p: float) -> str:
    """p-values: 0.012, and never 0.000."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    """75 -> 1 min 15 s."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
