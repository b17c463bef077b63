"""How far long work has come: a bar where standard error is a terminal, elsewhere a line every ten seconds."""

import os
import time
from typing import Any, Self

from tqdm import tqdm

from rnnlab.console import say

LINE_EVERY = 10.0  # [s]
_last_line: dict[int, float] = {}  # [s, monotonic] by process, whatever it was doing: a fork begins anew


class ProgressBar:
    """What is done of what is to do, with speed, time left, and whatever else is told.

    Args:
        doing: one word, "train".
        total, done: of what is counted.
        shown: False to keep silent.
        counted: bytes, or positions of a task's examples.
    """

    def __init__(self, doing: str, total: int, done: int = 0, shown: bool = True, counted: str = "bytes") -> None:
        self._doing, self._total, self._began_with, self._shown = doing, total, done, shown
        self._counted = counted
        self._began = time.monotonic()
        _last_line.setdefault(os.getpid(), self._began)
        disable = None if shown else True  # None: where there is no terminal
        unit = "B" if counted == "bytes" else " "
        self._bar = tqdm(total=total, initial=done, unit=unit, unit_scale=True, desc=doing, disable=disable)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def show(self, done: int, **facts: str) -> None:
        """So many bytes are done [bytes]; facts stand behind the bar."""
        if not self._bar.disable:
            self._bar.set_postfix(facts, refresh=False)
            self._bar.update(done - self._bar.n)
        elif self._shown:
            self._say(done, facts)

    def _say(self, done: int, facts: dict[str, Any]) -> None:
        now, process = time.monotonic(), os.getpid()
        if now - _last_line[process] < LINE_EVERY:
            return
        _last_line[process] = now
        speed = (done - self._began_with) / max(now - self._began, 1e-9)
        left = f", {tqdm.format_interval((self._total - done) / speed)} left" if speed > 0 else ""
        told = "".join(f", {name} {value}" for name, value in facts.items())
        say(
            f"{self._doing} {done:,} of {self._total:,} {self._counted} ({100 * done / max(1, self._total):.0f}%), "
            f"{speed:,.0f} {self._counted}/s{left}{told}"
        )
