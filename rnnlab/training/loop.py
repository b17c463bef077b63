"""A run from its first step to its result: what is evaluated, written down and saved on the way, and how it ends."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from signal import Signals
from typing import Any

import torch

from rnnlab.console import say
from rnnlab.data.source import Scorable, counted_in
from rnnlab.errors import (
    NEEDS_LESS,
    ConfigError,
    Diverged,
    OutOfMemory,
    Stopped,
    StorageError,
    first_line,
    is_out_of_memory,
)
from rnnlab.evaluation import evaluate, examine, protocol_of
from rnnlab.interrupts import Interrupts
from rnnlab.model import count_parameters, fold
from rnnlab.progress import ProgressBar
from rnnlab.scoring.losses import LN2
from rnnlab.scoring.order import ScoreFirst
from rnnlab.scoring.score import Score
from rnnlab.state_size import count_state
from rnnlab.storage.checkpoint import Snapshot
from rnnlab.storage.metrics import Record
from rnnlab.storage.runfolder import RunFolder
from rnnlab.training.budget import check_ends
from rnnlab.training.dynamic import dynamic_forecaster
from rnnlab.training.evaluations import plan_evaluations
from rnnlab.training.experiment import Experiment
from rnnlab.training.figures import task_facts, test_figures, valid_figures
from rnnlab.training.learner import Learner, peak_memory_mb
from rnnlab.training.ranks import ALONE, Ranks
from rnnlab.training.recipe import Trainer
from rnnlab.training.saving import Saver

Observer = Callable[[Record], None]

SPIKE_AFTER = 50  # [steps] that the average needs before a spike can be told
SPIKE_FACTOR = 2.0  # times the average: a step whose loss is higher is reported,
SPIKE_RISE = LN2  # [nats] and higher than the average by this: near 0 a loss doubles all the time


class Loop:
    """A learner and the folder it is kept in. Evaluating, logging and saving change nothing of what is learned."""

    def __init__(
        self, experiment: Experiment, folder: RunFolder, horizon: Trainer | None = None, ranks: Ranks = ALONE
    ) -> None:
        """Args:
        experiment, horizon, ranks: the learner's; the experiment fits its corpus (`check_fit`).
        folder: where checkpoints, metrics and the result go; held by this process, or by that of rank 0.
        """
        self.learner, self.folder = Learner(experiment, horizon, ranks), folder
        self.tests = True  # at the end; what chooses by valid has no use for it
        self.observers: Sequence[Observer] = ()  # on rank 0 they see each record of metrics.jsonl; they may not touch
        self.trainer, self.ranks, self._experiment = experiment.trainer, ranks, experiment
        learner = self.learner
        self.evaluations = plan_evaluations(
            horizon or experiment.trainer, budget=learner.budget_bytes(learner.horizon), epoch=learner.epoch_bytes(),
            valid=len(learner.source.valid), test=len(learner.source.test), whole=learner.source.task is not None,
        )  # fmt: skip
        self.interrupts = Interrupts()
        self.saver = Saver(learner, folder, ranks)
        self._update_began_at: int | None = None  # [step] before the last one that the optimizer began to take
        learner.optimizer.register_step_pre_hook(self._note_update)

    def restore(self, snapshot: Snapshot | None) -> None:
        """Go on from `snapshot`, or without one from the beginning; cuts the journal there. Raises: StorageError."""
        if snapshot is not None:
            self.learner.restore(snapshot)
            self.saver.note_saved()
        if self.ranks.first:
            self.folder.journal.cut(self.learner.progress.records)

    def run(self) -> Record:
        """Train to the end of the budget, evaluate, write the result and return it.

        Raises: Stopped at a signal and Diverged, both with the state saved; StorageError if it cannot be; OutOfMemory,
            with the state saved if it is whole and the memory is enough for that; DataError if the text is no longer
            what it was; RankLost if another rank died.
        """
        with self.interrupts, closing(self.saver):
            try:
                self.ranks.broadcast_from_rank0(self.folder.discard_result)
                self._train()
                return self._finish()
            except Stopped as error:
                self._end("stopped")
                place = f" at step {self.learner.progress.step}; `rnnlab resume {self.folder.path}` goes on"
                raise Stopped(error.signal, place) from None
            except Diverged as error:
                self._end("diverged")
                step = self.learner.progress.step + 1 if error.step is None else error.step
                raise Diverged(f"{error}; `rnnlab replay {self.folder.path} --step {step}` shows the step") from None
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                told = first_line(error)
            raise self._end_without_memory(told)  # here, where no error holds what the step allocated any more

    def _train(self) -> None:
        learner = self.learner
        done, counted = learner.progress.bytes, counted_in(learner.source)
        with ProgressBar("train", learner.budget_bytes(), done, shown=self.ranks.first, counted=counted) as bar:
            while True:
                finished = learner.fraction() >= 1.0
                if finished or self._evaluation_due():
                    self._evaluate()
                if finished or self.saver.is_due():
                    self.save(must=finished)
                if finished:
                    return
                self._look_around()
                average = learner.progress.loss_average
                record = learner.step(by_part=self._log_is_due(learner.progress.step + 1))
                self._watch(record, average)
                told = {name: f"{record[name]:.3f}" for name in ("loss", "bpc", "accuracy") if name in record}
                bar.show(record["bytes"], **told)

    def _look_around(self) -> None:
        """What came up beside training, on any rank: a signal, a checkpoint that is due by the clock or has failed."""
        signal, is_time, has_failed = self.ranks.largest(
            self.interrupts.received or 0, self.saver.clock_struck, self.saver.has_failed
        )
        self.saver.is_time = bool(is_time)
        if has_failed:
            self.saver.settle()
        if signal:
            raise Stopped(Signals(signal))

    def _evaluation_due(self) -> bool:
        t, p = self.trainer, self.learner.progress
        if p.evaluated_at == p.step or p.step == 0:
            return False
        every = t.eval_every or self.evaluations.every
        return p.bytes // every > p.evaluated_bytes // every

    def _evaluate(self) -> None:
        """Score valid and write it down, once a step."""
        if self.learner.progress.evaluated_at == self.learner.progress.step:
            return
        score = self._score(self.learner.source.valid, self.evaluations.valid)
        p = replace(self.learner.progress, valid_loss=score.loss, valid_accuracy=score.accuracy)
        if p.best_valid_loss is None or score.loss < p.best_valid_loss:
            p = replace(p, best_valid_loss=score.loss, best_valid_accuracy=score.accuracy)
        self.learner.progress = replace(p, evaluated_at=p.step, evaluated_bytes=p.bytes)
        self._write(
            {"kind": "valid", "step": p.step, "bytes": p.bytes, **valid_figures(self.learner),
             **score.protocol.counts(), "seconds": p.seconds, "seconds_evaluating": p.seconds_evaluating,
             "seconds_saving": p.seconds_saving}
        )  # fmt: skip

    def _score(self, split: Scorable, limit: int | None) -> Score:
        t, learner, started = self.trainer, self.learner, time.perf_counter()
        try:
            score = self.ranks.broadcast_from_rank0(
                lambda: evaluate(
                    learner.model, split, batch_size=t.eval_batch_size, bptt=t.eval_bptt, limit=limit, progress=True,
                    between_chunks=self.interrupts.check,
                )
            )  # fmt: skip
        except Diverged as error:
            step = learner.progress.step
            raise Diverged(f"step {step}: {error}", step) from None
        seconds = learner.progress.seconds_evaluating + time.perf_counter() - started
        learner.progress = replace(learner.progress, seconds_evaluating=seconds)
        return score

    def _watch(self, record: Record, average: float | None) -> None:
        """Write the step down when it is due, and a spike of the loss over its average before the step at once."""
        if average is not None and record["step"] > SPIKE_AFTER and _is_spike(record["loss"], average):
            self._write({"kind": "spike", "step": record["step"], "loss": record["loss"], "average": average})
            unit, nats = ("bpc", LN2) if "bpc" in record else ("nats", 1.0)
            self._warn(
                f"the loss jumped to {record['loss'] / nats:.3f} {unit} at step {record['step']} (average "
                f"{average / nats:.3f}); `rnnlab replay {self.folder.path} --step {record['step']}` shows the step"
            )
        if self._log_is_due(record["step"]):
            self._write(record)

    def _log_is_due(self, step: int) -> bool:
        return step % self.trainer.log_every == 0

    def _write(self, record: Record) -> None:
        progress = self.learner.progress
        self.learner.progress = replace(progress, records=progress.records + 1)
        if self.ranks.first:
            self.folder.journal.append(record)
            for observer in self.observers:
                observer(record)

    def _warn(self, message: str) -> None:
        if self.ranks.first:
            say(message)

    def save(self, must: bool = False) -> None:
        """Take a checkpoint of this very state; see `Saver.save`."""
        self.saver.save(must)

    def _end(self, status: str) -> None:
        """Keep the state of a run that ends early. Raises: StorageError if it cannot be; if it diverged, warns."""
        try:
            self.save(must=True)
            self._write_result({**self._summary(), "status": status})
        except StorageError as error:
            if status != "diverged":
                raise
            self._warn(str(error))

    def _end_without_memory(self, told: str) -> OutOfMemory:
        """Keep what can be kept. Of several ranks the others wait in an exchange: they end when this process does."""
        learner, path = self.learner, self.folder.path
        learner.optimizer.zero_grad(set_to_none=True)
        if learner.device.type == "cuda":
            torch.cuda.empty_cache()
        is_whole = self._update_began_at != learner.progress.step
        self._try(lambda: self.save(must=True), wanted=is_whole and self.ranks.count == 1)
        self._try(lambda: self.folder.write_result({**self._summary(), "status": "out of memory"}), self.ranks.first)
        newest = self.folder.newest_step()
        kept = "there is no checkpoint yet"
        if newest is not None:
            kept = (
                f"the newest checkpoint is that of step {newest}; where there is more, `rnnlab resume {path}` goes on"
            )
        return OutOfMemory(f"not enough memory after step {learner.progress.step} ({told}); {kept}. {NEEDS_LESS}")

    def _try(self, act: Callable[[], object], wanted: bool) -> None:
        try:
            if wanted:
                act()
        except (StorageError, MemoryError, RuntimeError) as error:
            self._warn(f"what the run had reached cannot be saved ({first_line(error)})")

    def _note_update(self, *of_the_step: Any) -> None:
        """From here until the progress is that of the next step, parameters may be half way between the two."""
        self._update_began_at = self.learner.progress.step

    def _finish(self) -> Record:
        tested = self._test() if self.tests else {}
        self.ranks.broadcast_from_rank0(self.learner.source.verify_content)
        result = {**self._summary(), "status": "done", **tested, **task_facts(self.learner)}
        self._write_result(result)
        return result

    def _test(self) -> Record:
        score = self._score(self.learner.source.test, self.evaluations.test)
        figures = {**test_figures(score, self.learner, self.evaluations), "protocol": score.protocol.told()}
        return {**figures, **self._score_dynamically()}

    def _score_dynamically(self) -> Record:
        """Valid and test once more, by a model that goes on learning from what was scored; see `Dynamic`."""
        built, t, plan = self._experiment, self.trainer, self.evaluations
        if built.dynamic is None:
            return {}

        def score() -> tuple[Score, Score]:
            forecaster = dynamic_forecaster(built)
            valid, test = (
                examine(
                    ScoreFirst(forecaster), split, batch_size=t.eval_batch_size, bptt=forecaster.rule.bptt, limit=limit,
                    progress=True, between_chunks=self.interrupts.check,
                )
                for split, limit in ((self.learner.source.valid, plan.valid), (self.learner.source.test, plan.test))
            )  # fmt: skip
            return valid, test

        valid, test = self.ranks.broadcast_from_rank0(score)
        return {
            "valid_dynamic_bpc": valid.bpc,
            "test_dynamic_bpc": test.bpc,
            "valid_dynamic_protocol": valid.protocol.told(),
            "dynamic_protocol": test.protocol.told(),
        }

    def _write_result(self, result: Record) -> None:
        self.ranks.broadcast_from_rank0(lambda: self.folder.write_result(result))

    def _summary(self) -> Record:
        learner, t = self.learner, self.trainer
        p, model = learner.progress, learner.model
        valid = protocol_of(
            model, learner.source.valid, batch_size=t.eval_batch_size, bptt=t.eval_bptt, limit=self.evaluations.valid
        )
        return {
            **valid_figures(learner),
            "valid_protocol": valid.told(),
            "bytes_trained": p.bytes,
            "steps": p.step,
            "seconds": p.seconds,
            "bytes_per_second": p.bytes / p.seconds if p.seconds else None,
            "seconds_evaluating": p.seconds_evaluating,
            "seconds_saving": p.seconds_saving,
            "parameters": count_parameters(model),
            "parameters_deployable": count_parameters(fold(model)),
            "macs_per_byte": model.macs(),
            "state_floats": count_state(model),
            "peak_memory_mb": peak_memory_mb(learner.device),
            "overflows": p.overflows,
            "seed": t.seed,
            "device": str(learner.device),
            "precision": t.precision,
            "threads": torch.get_num_threads(),
            "ranks": self.ranks.count,
        }


def _is_spike(loss: float, average: float) -> bool:
    return loss > max(SPIKE_FACTOR * average, average + SPIKE_RISE)


def check_fit(experiment: Experiment, ranks: Ranks = ALONE) -> None:
    """Fail before there is a folder where training, or the evaluation after it, would.

    Raises: DataError if a split is too short for its sequences; ConfigError if the ranks cannot share the batch evenly,
        if the budget has no end, or the device is none for the recipe.
    """
    trainer, source = experiment.trainer, experiment.source
    trainer.training_device(ranks.count)
    assert source is not None
    for name, asked in (("dynamic", trainer.dynamic), ("online", trainer.online)):
        if asked and source.task is not None:
            raise ConfigError(f"Trainer.{name} is for texts, and {source.name} is a task; leave it out")
    batches = source.training(trainer.batch_size, (ranks.rank, ranks.count), torch.device("cpu"))
    check_ends(trainer, batches.epoch, source.name)
    epoch = batches.epoch
    if epoch is not None and (trainer.accumulate - 1) * trainer.bptt >= epoch // trainer.batch_size + 1:
        raise ConfigError(
            f"Trainer.accumulate = {trainer.accumulate}: a step would read more than all of {source.name}, "
            f"{epoch // trainer.batch_size:,} positions a sequence in chunks of {trainer.bptt:,}; take a smaller number"
        )
    for split in (source.valid, source.test):
        split.parts(trainer.eval_batch_size, None, torch.device("cpu"))
