"""What a study will take before it starts: its cells, what they read and score, and about how long, on what disk.

On a CPU the time is from a few steps of the baseline, and of the largest variant, as they train here; what lies between
them is interpolated by multiply-accumulates. Where a single step would take long, nothing is measured. For a GPU it is
estimated as `rnnlab plan` does, so that this process holds no memory of a card which its workers need.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rnnlab.config import Config
from rnnlab.errors import RnnlabError, reporting_out_of_memory
from rnnlab.planning import estimate
from rnnlab.planning.cards import Card, card_of_device
from rnnlab.planning.measure import measure
from rnnlab.planning.needs import PlannedRun, planned
from rnnlab.studies.source import trains_on_task
from rnnlab.views import numerals

STEPS = 2  # that are timed, after one that is not
LONGEST = 5.0  # [s] that measuring one configuration may take, by a guess at it
SPEED = 2e10  # [multiply-accumulates/s] of that guess


@dataclass(frozen=True)
class Rate:
    """What a configuration takes here."""

    training: float  # [s] a byte
    scoring: float  # [s] a byte
    checkpoint: float  # [bytes] a parameter


UNMEASURED = Rate(0.0, 0.0, checkpoint=12.0)  # the weight and two averages of an optimizer


@dataclass(frozen=True)
class Work:
    """What a number of runs takes; the attributes are those of a forecast.

    Attributes:
        runs: how many.
    """

    runs: int
    trained: int
    scored: int
    seconds: float | None
    evaluation_share: float | None
    disk: int


@dataclass(frozen=True)
class Forecast:
    """What is left of a study.

    Attributes:
        noun: "ablation" or "search".
        folder: of the study.
        shape: of its cells, in words.
        cells, done: how many there are, and are done.
        at_most: whether some of it may be left out, as trials that are pruned are.
        unit: "bytes" or "positions".
        trained, scored: by the cells that are left.
        seconds: about how long all of them take, so many `workers` at a time; None if it was not measured.
        evaluation_share: the part of it that scores [fraction].
        basis: what the time is from, or why there is none.
        disk: [bytes] that their checkpoints will take; free: those of the disk.
        most: the same if all seeds are needed that the study may add; None where it adds none.
    """

    noun: str
    folder: str
    shape: str
    cells: int
    done: int
    at_most: bool
    unit: str
    trained: int
    scored: int
    workers: int
    seconds: float | None
    evaluation_share: float | None
    basis: str
    disk: int
    free: int | None
    most: Work | None = None

    def facts(self) -> dict[str, Any]:
        """For programs."""
        return {**vars(self), "most": None if self.most is None else vars(self.most)}

    def text(self) -> str:
        """For a terminal."""
        least, most, left = "at most " if self.at_most else "", self.most, self.cells - self.done
        to_train = f"{left:,} to train" + ("" if most is None else f", at most {most.runs:,} if all looks are taken")
        lines = [f"{self.noun} {self.folder}: {self.shape}", f"{self.cells:,} cells, {self.done:,} done, {to_train}"]
        if left or most is not None:
            lines += [
                f"{least}{self.trained:,} {self.unit} to train on, and {self.scored:,} to score in evaluations"
                + ("" if most is None else f"; at most {most.trained:,} and {most.scored:,}"),
                self._time(),
                f"{least}{_size(self.disk)} of checkpoints"
                + ("" if most is None else f", at most {_size(most.disk)}")
                + ("" if self.free is None else f", {_size(self.free)} free"),
            ]
            if self.free is not None and (most or self).disk > self.free:
                lines.append("warning: that is more than the disk has free; choose a --run on another")
        return "\n".join(lines)

    def _time(self) -> str:
        share = self.evaluation_share if self.most is None else self.most.evaluation_share
        if self.seconds is None or share is None:
            return f"time: {self.basis}"
        least, most = "at most " if self.at_most else "", self.most
        longest = "" if most is None or most.seconds is None else f", at most {numerals.duration(most.seconds)}"
        time = f"{least}about {numerals.duration(self.seconds)}{longest} with {self.workers} at a time"
        return f"{time}, {100 * share:.0f}% of it evaluation ({self.basis})"


def _size(size: int) -> str:
    return f"{size / 1e9:,.2f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"


def forecast(
    noun: str,
    folder: Path,
    shape: str,
    runs: Sequence[tuple[Config, int]],
    done: int,
    workers: int,
    at_most: bool = False,
    further: Sequence[int] = (),
    untested: Sequence[int] = (),
) -> Forecast:
    """Plan what is left of a study. A few steps are taken, unless nothing is left; nothing is written.

    Args:
        runs: each configuration with the number of its runs that are left, the baseline first, be it with 0.
        done: runs that are done.
        workers: runs at a time.
        further: how many runs more there may be of each configuration; empty where there is no question of it.
        untested: how many of those that are left will not be scored on the test split; empty where all are.
    Raises: ConfigError, DataError of what cannot be built; steps that fail are no error.
    """
    counts = [count for _, count in runs]
    left, many = sum(counts), sum(counts) + sum(further)
    needs = [planned(config) for config, _ in runs] if many else []
    rates, basis = _rates(needs) if many else ({}, "")
    least = _work(needs, counts, untested, rates, workers)
    every = [count + more for count, more in zip(counts, further, strict=True)] if sum(further) else []
    return Forecast(
        noun=noun,
        folder=str(folder),
        shape=shape,
        cells=done + left,
        done=done,
        at_most=at_most,
        unit="positions" if trains_on_task(runs[0][0]) else "bytes",
        trained=least.trained,
        scored=least.scored,
        workers=max(1, min(workers, many)),
        seconds=least.seconds,
        evaluation_share=least.evaluation_share,
        basis=basis,
        disk=least.disk,
        free=_free(folder),
        most=_work(needs, every, untested, rates, workers) if every else None,
    )


def _work(
    needs: Sequence[PlannedRun],
    counts: Sequence[int],
    untested: Sequence[int],
    rates: Mapping[int, Rate],
    workers: int,
) -> Work:
    """Of so many runs of each; nothing is known of the time without rates."""
    training = scoring = longest = disk = 0.0
    scored = 0
    for of, count, no_test in zip(needs, counts, untested or [0] * len(needs), strict=True) if needs else ():
        rate = _between(rates, of.macs)
        each, test = _scored(of), estimate.bytes_tested(of.evaluations, len(of.source.test))
        own = of.budget * rate.training, each * rate.scoring
        scored += count * each - no_test * test
        training, scoring = training + count * own[0], scoring + (count * each - no_test * test) * rate.scoring
        longest = max(longest, sum(own) if count else 0.0)
        disk += count * (of.trainer.keep + 1) * of.parameters * rate.checkpoint
    whole = training + scoring
    return Work(
        runs=sum(counts),
        trained=sum(count * of.budget for of, count in zip(needs, counts, strict=bool(needs))),
        scored=scored,
        seconds=max(longest, whole / max(1, min(workers, sum(counts)))) if rates else None,
        evaluation_share=(scoring / whole if whole else 0.0) if rates else None,
        disk=round(disk),
    )


def _scored(of: PlannedRun) -> int:
    """[bytes] that a run scores in all."""
    return estimate.bytes_scored(of.evaluations, of.budget, len(of.source.valid), len(of.source.test))


def _rates(of: Sequence[PlannedRun]) -> tuple[dict[int, Rate], str]:
    """(the rates of the baseline and of the largest by their multiply-accumulates, what they are from in words)."""
    baseline, largest = of[0], max(of, key=lambda one: one.macs)
    device = baseline.trainer.torch_device()
    if device.type == "cuda":
        card = card_of_device(torch.cuda.get_device_name(device))
        if card is None:
            return {}, "this GPU is not in the table of `rnnlab plan`"
        every = {one.macs: one for one in (largest, baseline)}
        return {macs: _estimated(one, card) for macs, one in every.items()}, f"estimated for {card.name}: docs/gpu.md"
    if _guess(baseline) > LONGEST:
        return {}, "not measured, as a few steps alone would take long here; `rnnlab plan` of the base says more"
    rates, words = dict[int, Rate](), f"from {STEPS} steps of the baseline"
    try:
        rates[baseline.macs] = _measured(baseline)
        if largest.macs > baseline.macs:
            if _guess(largest) > LONGEST:
                return rates, f"{words}; the largest takes longer than that"
            rates[largest.macs], words = _measured(largest), f"{words} and of the largest"
    except RnnlabError as error:  # such as a loss that is not finite: a result of the study, not the end of it
        return rates, f"{words}; {error}" if rates else f"not measured: {error}"
    return rates, words


def _guess(of: PlannedRun) -> float:
    """[s] that measuring takes, or rather less: three passes over what is learned from, one over what is read."""
    t = of.trainer
    read = (of.memory or 0) * t.batch_size + STEPS * t.eval_bptt * t.eval_batch_size
    return of.macs * (read + 3 * (1 + STEPS) * of.step_bytes) / SPEED


def _measured(of: PlannedRun) -> Rate:
    threads = of.trainer.threads or 1  # as a worker of a study has it
    own = ["Trainer.jitter = False", f"Trainer.threads = {threads}"]
    with reporting_out_of_memory():
        found = measure(of.config.override(own), of.source, STEPS)
    return Rate(found.step / of.step_bytes, found.scoring, found.checkpoint / of.parameters)


def _estimated(of: PlannedRun, card: Card) -> Rate:
    """Of a step and a chunk of an evaluation on the meta device."""
    t, seen = of.trainer, of.shadow()
    step = estimate.seconds_of(seen.kernels, card, t.precision).total
    scoring = estimate.seconds_of(seen.evaluation, card, t.precision).total / (t.eval_bptt * t.eval_batch_size)
    return Rate(step / of.step_bytes, scoring, seen.checkpoint / of.parameters)


def _between(rates: Mapping[int, Rate], macs: int) -> Rate:
    """The rate at so many multiply-accumulates, between those that were measured."""
    if not rates:
        return UNMEASURED
    low, high = min(rates), max(rates)
    share = 0.0 if high == low else min(1.0, max(0.0, (macs - low) / (high - low)))
    names = ("training", "scoring", "checkpoint")
    first, last = ([getattr(rates[at], name) for name in names] for at in (low, high))
    return Rate(*(one + share * (other - one) for one, other in zip(first, last, strict=True)))


def _free(folder: Path) -> int | None:
    """[bytes] on the disk that the folder is on, or will be."""
    there = next((path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()), None)
    try:
        return None if there is None else shutil.disk_usage(there).free
    except OSError:
        return None
