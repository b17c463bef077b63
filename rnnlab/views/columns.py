"""The columns of a comparison: BPC where a run is on text, accuracy beside chance where one is on a task."""

from collections.abc import Sequence

from rnnlab.views import numerals
from rnnlab.views.metrics import METRICS
from rnnlab.views.runs import Run
from rnnlab.views.tables import Better, Column

TEXT = {"valid_bpc": "Valid BPC", "best_valid_bpc": "Best valid", "test_bpc": "Test BPC"}
LEARNED_FROM_WHAT_WAS_SCORED = {
    "valid_dynamic_bpc": "Valid BPC (dynamic)",
    "test_dynamic_bpc": "Test BPC (dynamic)",
    "online_bpc": "Online BPC",
}
"""Where a run has them: other figures than those above, and never mixed with them."""

TASK = {
    "valid_accuracy": "Valid accuracy",
    "best_valid_accuracy": "Best valid",
    "test_accuracy": "Test accuracy",
    "chance": "Chance",
    "valid_nats": "Valid nats",
    "test_nats": "Test nats",
}
DIFFERS_IN = Column("bindings", "Differs in", "code")


def tasks_of(runs: Sequence[Run]) -> list[str]:
    """Names of the tasks that runs are on, in order of appearance; "" for text."""
    return list(dict.fromkeys(run.task for run in runs))


def figures(runs: Sequence[Run]) -> dict[str, str]:
    """Keys and titles of what the runs reached."""
    on_text, on_task = "" in tasks_of(runs), any(tasks_of(runs))
    beside = LEARNED_FROM_WHAT_WAS_SCORED.items()
    had = {key: title for key, title in beside if any(run.number(key) is not None for run in runs)}
    found = (TEXT | had if on_text else {}) | (TASK if on_task else {})
    if on_text and on_task:  # there would be two that are called the best of valid
        found |= {key: METRICS[key].heading for key in found if key.startswith("best_")}
    return found


def run_columns(runs: Sequence[Run]) -> list[Column]:
    shown = [
        Column(key, title, "number", numerals.decimal(3), better=_better(key)) for key, title in figures(runs).items()
    ]
    return [Column("run", "Run"), *_task(runs), Column("status", "Status"), Column("seed", "Seed", "number"), *shown]


def variant_columns(runs: Sequence[Run]) -> list[Column]:
    shown = [
        Column(key, title, "number", numerals.decimal(3))
        if key == "chance"
        else Column(key, title, "interval", numerals.plus_minus(3), better=_better(key))
        for key, title in figures(runs).items()
    ]
    return [Column("variant", "Variant"), *_task(runs), Column("seeds", "Seeds"), *shown]


def cost_columns(runs: Sequence[Run]) -> list[Column]:
    """What training took. Of a text one position is one byte."""
    counted, one = ("Bytes", "byte") if "" in tasks_of(runs) else ("Positions", "position")
    return [
        Column("bytes_trained", counted, "number", numerals.engineering),
        Column("seconds", "Time", "number", numerals.duration),
        Column("parameters", "Parameters", "number", numerals.engineering),
        Column("macs_per_byte", f"MACs/{one}", "number", numerals.engineering),
        Column("state_floats", "State", "number", numerals.engineering, unit="floats"),
        Column("bytes_per_second", f"{counted}/s", "number", numerals.engineering),
        Column("peak_memory_mb", "Memory", "number", numerals.grouped, unit="MB"),
    ]


def _task(runs: Sequence[Run]) -> list[Column]:
    return [Column("task", "Task")] if len(tasks_of(runs)) > 1 else []


def _better(key: str) -> Better:
    return "" if key not in METRICS else "higher" if METRICS[key].higher_is_better else "lower"
