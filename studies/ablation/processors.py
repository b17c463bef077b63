"""Speed and memory are of one processor, or there are none: cells of a study may have been trained on several."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rnnlab.storage.cells import COSTS
from rnnlab.studies.ablation.table import TrainedVariant

UNKNOWN = "a processor of unknown name"


def on_one_processor(variants: Sequence[TrainedVariant]) -> tuple[list[TrainedVariant], list[str]]:
    """(the variants with what they cost on one processor alone, notes for the table).

    That is the processor with the most cells among those on which every variant has one. Where there is none such,
    nothing is said of speed and memory.
    """
    ran = [[_processor(result) for result in variant.results.values()] for variant in variants]
    every = list(dict.fromkeys(one for of in ran for one in of))
    if len(every) < 2:
        return list(variants), []
    shared = [one for one in every if all(one in of for of in ran)]
    count = {one: sum(of.count(one) for of in ran) for one in every}
    chosen = max(shared, key=lambda one: count[one], default=None)
    told = ", ".join(f"{count[one]} on {one}" for one in every)
    note = (
        f"Speed and memory are left out: the cells ran on several processors ({told}), and no one ran every variant."
        if chosen is None
        else f"Speed and memory are those of the cells on {chosen}; the cells ran on several processors ({told})."
    )
    return [replace(variant, results=_with_costs_of(chosen, variant.results)) for variant in variants], [note]


def _with_costs_of(chosen: str | None, results: Mapping[int, Mapping[str, Any]]) -> dict[int, Mapping[str, Any]]:
    return {
        seed: result if _processor(result) == chosen else {k: v for k, v in result.items() if k not in COSTS}
        for seed, result in results.items()
    }


def _processor(result: Mapping[str, Any]) -> str:
    return str(result.get("processor") or UNKNOWN)
