"""What a run will need, before it starts: for a GPU an estimate, for the machine at hand a few measured steps."""

from collections.abc import Sequence
from typing import Any

import torch

from rnnlab.data.source import counted_in
from rnnlab.errors import ConfigError
from rnnlab.ops.cudnn import SEQUENCES
from rnnlab.planning import estimate
from rnnlab.planning.cards import CONTEXT, Card, card_of_device, find_card
from rnnlab.planning.measure import measure
from rnnlab.planning.needs import PlannedRun, planned_run
from rnnlab.planning.remedy import find_remedy, needed
from rnnlab.planning.shadow import Shadow

HOUR = 3600.0


def plan(
    fragments: Sequence[str], overrides: Sequence[str] = (), gpu: str | None = None, ranks: int = 1
) -> dict[str, Any]:
    """What a run of this configuration will need; nothing is trained and nothing written.

    Args:
        gpu: a card of `cards.CARDS`, or a size of memory such as 12GB, for which only the memory is planned; None for
            the machine at hand: its GPU if the table has it, else a few measured steps.
        ranks: processes, each with a card, that share the batch.
    Returns: "memory" [bytes] by part, whether it "fits" and a "remedy"; "bytes_per_second", "hours"; "checkpoints".
    Raises: ConfigError, DataError as training does; the corpus need not be there.
    """
    if ranks < 1:
        raise ConfigError(f"--ranks {ranks}: at least 1")
    of = planned_run(list(fragments), list(overrides), ranks)
    target = find_card(gpu) if gpu is not None else _card_here(of)
    if target is None:
        if ranks > 1:
            raise ConfigError(f"--ranks {ranks} is planned for GPUs, and the machine at hand is measured; name a --gpu")
        return _for_this_machine(of)
    return _for_gpu(of, target)


def _card_here(of: PlannedRun) -> Card | None:
    device = of.trainer.training_device(of.ranks)
    return card_of_device(torch.cuda.get_device_name(device)) if device.type == "cuda" else None


def _for_gpu(of: PlannedRun, target: Card | int) -> dict[str, Any]:
    card, available = (target, target.memory) if isinstance(target, Card) else (None, target)
    seen = of.shadow()
    total = needed(seen)
    answer = _describe(of) | {
        "gpu": None if card is None else card.name,
        "basis": "estimate",
        "memory": seen.memory | {"context and workspaces": int(CONTEXT)},
        "memory_needed": total,
        "memory_available": available,
        "evaluation_peak": seen.evaluation_peak,
        "fits": total <= available,
        "remedy": None,
        "launches": sum(kernel.launches for kernel in seen.kernels),
        "waits": dict(seen.waits),
        "traffic": sum(kernel.traffic for kernel in seen.kernels),
    }
    if not answer["fits"]:
        remedy = find_remedy(of, available, card is None or card.bf16)
        answer["remedy"] = None if remedy is None else {"words": remedy.words, "memory_needed": remedy.peak}
    if card is not None:
        answer |= _speed(of, seen, card)
    return answer | _checkpoints(of, seen.checkpoint) | {"warnings": _warnings(of, seen, card)}


def _speed(of: PlannedRun, seen: Shadow, card: Card) -> dict[str, Any]:
    t = of.trainer
    step = estimate.seconds_of(seen.kernels, card, t.precision)
    shared = estimate.exchange(4 * of.parameters, of.ranks, card)
    scoring = estimate.seconds_of(seen.evaluation, card, t.precision).total / (t.eval_bptt * t.eval_batch_size)
    bounds = {**vars(step), "exchange": shared}
    return {"step_seconds": step.total + shared, "bounded_by": bounds} | _time(of, step.total + shared, scoring)


def _for_this_machine(of: PlannedRun) -> dict[str, Any]:
    found = measure(of.config.override(["Trainer.jitter = False"]), of.source)
    answer = _describe(of) | {
        "basis": "measured", "device": found.device, "threads": found.threads,
        "memory_needed": found.peak, "step_seconds": found.step,
    }  # fmt: skip
    warnings = _warnings(of, None, None)
    return answer | _time(of, found.step, found.scoring) | _checkpoints(of, found.checkpoint) | {"warnings": warnings}


def _time(of: PlannedRun, step: float, scoring: float) -> dict[str, Any]:
    """Of the whole run; without the size of its text, for each 100 MB."""
    rate = of.step_bytes / step
    hundred = 1e8 / rate / HOUR
    if not of.ends:
        return {"bytes_per_second": rate, "hours_per_100_mb": hundred, "budget_bytes": None, "hours": None}
    scored = estimate.bytes_scored(of.evaluations, of.budget, len(of.source.valid), len(of.source.test))
    training, evaluation = of.budget / rate / HOUR, scored * scoring / HOUR
    hours = {"training": training, "evaluation": evaluation, "total": training + evaluation}
    steps = estimate.steps_of(of.budget, of.step_bytes)
    return {
        "bytes_per_second": rate, "hours_per_100_mb": hundred, "budget_bytes": of.budget, "steps": steps,
        "bytes_scored": scored, "hours": hours,
    }  # fmt: skip


def _checkpoints(of: PlannedRun, each: int) -> dict[str, Any]:
    kept = of.trainer.keep + 1  # the best beside the newest
    return {"checkpoints": {"bytes": each, "kept": kept, "total": kept * each}}


def _describe(of: PlannedRun) -> dict[str, Any]:
    t = of.trainer
    return {
        "parameters": of.parameters,
        "precision": t.precision,
        "batch_size": t.batch_size,
        "accumulate": t.accumulate,
        "bptt": t.bptt,
        "attention_memory": of.memory,
        "ranks": of.ranks,
        "batch_per_rank": t.batch_size // of.ranks,
        "corpus": of.source.name,
        "counted": counted_in(of.source),
    }


def _warnings(of: PlannedRun, seen: Shadow | None, card: Card | None) -> list[str]:
    t, found = of.trainer, list[str]()
    each = t.batch_size // of.ranks
    is_half = seen is not None and any(k.positions and k.dtype == torch.float16 for k in seen.kernels)
    if is_half and each % SEQUENCES:
        found.append(
            f"{each} sequences a rank: in half precision recurrent layers take as long for them as for "
            f"{each + -each % SEQUENCES}, the next multiple of {SEQUENCES}; bind Trainer.batch_size or take fewer ranks"
        )
    if card is not None and t.precision in ("bf16", "tf32") and not card.bf16:
        found.append(f"{card.name} does not compute in {t.precision}: a run is refused there; bind 'fp16', or 'fp32'")
    if seen is not None and (t.compile or t.cuda_graph):
        name = "Trainer.cuda_graph" if t.cuda_graph else "Trainer.compile"
        found.append(f"{name} = True is not planned for: a step is taken as torch runs it by itself")
    if not of.has_size:
        unknown = "" if of.ends else ", so there are no hours to the end; fetch it, or give --bytes"
        found.append(f"the size of the text is not known{unknown}")
    return found
