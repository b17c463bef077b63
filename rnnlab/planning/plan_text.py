"""What `rnnlab plan` prints."""

from typing import Any

from rnnlab.planning.cards import GIB
from rnnlab.planning.shadow import HELD

MIB = 2**20
BESIDE = (*HELD, "buckets of gradients", "context and workspaces")
LABELS = {"traffic": "memory traffic", "products": "products", "launches": "small kernels",
          "positions": "recurrence", "exchange": "exchange between ranks"}  # fmt: skip


def plan_text(answer: dict[str, Any]) -> str:
    """An answer of `rnnlab.planning.plan.plan`: a table of memory, then a line for each thing to know."""
    lines = [_head(answer), ""]
    lines += _memory(answer) if answer["basis"] == "estimate" else [f"{'peak memory':<14}{_mb(answer)} of this process"]
    if "step_seconds" in answer:
        lines += [*_speed(answer), *_time(answer)]
    each, kept, total = (answer["checkpoints"][key] for key in ("bytes", "kept", "total"))
    held = f"{each / 1e9:,.2f} GB each, {kept} kept: {total / 1e9:,.2f} GB, and one more while it is written"
    lines.append(f"{'checkpoints':<14}{held}")
    if answer["basis"] == "estimate":
        lines += ["", "an estimate; beside an H100 it was within 4% in memory and 28% in time (docs/gpu.md)"]
    return "\n".join([*lines, *(f"warning: {warning}" for warning in answer["warnings"])])


def _head(answer: dict[str, Any]) -> str:
    memory = "no attention" if answer["attention_memory"] is None else f"memory {answer['attention_memory']:,}"
    batch = f"batch size {answer['batch_size']}"
    batch += f" x {answer['accumulate']}" if answer["accumulate"] > 1 else ""
    batch += f" on {answer['ranks']} ranks" if answer["ranks"] > 1 else ""
    where = answer["device"] if answer["basis"] == "measured" else answer["gpu"] or "a GPU"
    return (
        f"{answer['parameters']:,} parameters, {batch}, bptt {answer['bptt']:,}, {memory}, "
        f"{answer['precision']}, {where}, {answer['corpus']}"
    )


def _memory(answer: dict[str, Any]) -> list[str]:
    parts = answer["memory"]
    named = [(name, parts[name]) for name in BESIDE if name in parts]
    named += [(f"activations: {name}", size) for name, size in parts.items() if name not in BESIDE]
    lines = [f"{'memory at the peak of a step':<36}{'MiB':>8}"]
    lines += [f"{name:<36}{size / MIB:>8,.0f}" for name, size in named if size >= MIB / 10]
    lines.append(f"{'in all':<36}{answer['memory_needed'] / MIB:>8,.0f}")
    each = " each" if answer["ranks"] > 1 else ""
    does = "fits" if answer["fits"] else "does not fit"
    needs, has = answer["memory_needed"] / GIB, answer["memory_available"] / GIB
    lines += ["", f"{does}: {needs:.2f} of {has:,.0f} GiB{each}"]
    if not answer["fits"]:
        remedy = answer["remedy"]
        lines.append(
            "nothing tried makes it fit: bf16, a smaller batch, a shorter memory; take a smaller LanguageModel.dim"
            if remedy is None
            else f"this does, with {remedy['memory_needed'] / GIB:.2f} GiB: {remedy['words']}"
        )
    return lines


def _mb(answer: dict[str, Any]) -> str:
    return f"{answer['memory_needed'] / 1e6:,.0f} MB"


def _speed(answer: dict[str, Any]) -> list[str]:
    bounds = [(LABELS[name], s) for name, s in answer.get("bounded_by", {}).items() if s > 0.0]
    inside = ", ".join(f"{label} {s * 1e3:,.0f}" for label, s in bounds)
    return [
        f"{'step':<14}{answer['step_seconds'] * 1e3:,.0f} ms" + (f" ({inside})" if inside else ""),
        f"{'speed':<14}{answer['bytes_per_second']:,.0f} {answer['counted']}/s",
    ]


def _time(answer: dict[str, Any]) -> list[str]:
    hours = answer["hours"]
    if hours is None:
        return [f"{'time':<14}{_hours(answer['hours_per_100_mb'])} for each 100 MB trained on"]
    millions = "MB" if answer["counted"] == "bytes" else f"million {answer['counted']}"
    trained = f"{answer['budget_bytes'] / 1e6:,.1f} {millions} in {answer['steps']:,} steps"
    parts = f"{_hours(hours['training'])} for {trained}, {_hours(hours['evaluation'])} to evaluate"
    return [f"{'time':<14}{_hours(hours['total'])}: {parts}"]


def _hours(hours: float) -> str:
    return (
        f"{hours:,.2f} h" if hours >= 0.1 else f"{hours * 60:,.1f} min" if hours >= 1 / 60 else f"{hours * 3600:.0f} s"
    )
