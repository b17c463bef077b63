"""The parts there are, and what each costs."""

import inspect
from typing import Any

from rnnlab import registry
from rnnlab.console import say
from rnnlab.model import count_parameters
from rnnlab.shapes import without_numbers
from rnnlab.state_size import count_state

DIM = 1024  # D at which costs are listed, the paper's


def catalog(kind: str | None = None) -> list[dict[str, Any]]:
    """One entry a part: kind, name, selector, summary, source, package, and for modules parameters, macs and state
    (floats a sequence) at D 1024; what a part raises when it is built stands under "broken".

    Raises: ConfigError if there is no such kind.
    """
    return [_entry(part) for part in registry.parts(kind)]


def _entry(part: registry.Part) -> dict[str, Any]:
    entry = {name: getattr(part, name) for name in ("kind", "name", "selector", "summary", "source")}
    entry["package"] = part.distribution
    if part.kind in ("core", "attention", "feedforward"):
        try:
            with without_numbers():
                module = part.factory(DIM)
            costs = {"parameters": count_parameters(module), "macs": module.macs(), "state": count_state(module)}
            entry |= {**costs, "dim": DIM}
        except Exception as error:  # someone's part, and no reason to hide the others
            entry["broken"] = f"{type(error).__name__}: {error}"
            say(
                f"{part.selector} of {part.distribution} has no cost at D {DIM}: {entry['broken']}; "
                f"`rnnlab check {part.selector}` says more"
            )
        memory = inspect.signature(part.factory).parameters.get("memory")
        if memory is not None:
            entry["memory"] = memory.default
    return entry


def catalog_text(entries: list[dict[str, Any]]) -> str:
    """For a terminal: a line of name, cost and summary a part, its source below."""
    lines = []
    for entry in entries:
        cost = "  [broken]" if "broken" in entry else ""
        if "macs" in entry:
            memory = f" at memory {entry['memory']:,}" if "memory" in entry else ""
            figures = f"{entry['parameters']:,} parameters, {entry['macs']:,} MACs/position, {entry['state']:,} floats"
            cost = f"  [{figures} of state at D {DIM}{memory}]"
        lines.append(f"{entry['selector']:<24}{entry['summary']}{cost}")
        if entry["source"]:
            lines.append(f"{'':<24}{entry['source']}")
    return "\n".join(lines)
