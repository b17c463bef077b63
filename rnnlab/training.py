"""Training by truncated backpropagation through time, with state and memory carried from chunk to chunk.

What is random or due at a step is a function of the run's state before it, so a run that was killed and resumed, or
evaluated and saved more often, goes through the same numbers.
"""

import math
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor
from tqdm import tqdm

from rnnlab.checkpoint import Snapshot
from rnnlab.data import Lanes, Split, chunk_length
from rnnlab.errors import Diverged, Stopped, StorageError
from rnnlab.evaluation import LN2, Score, cross_entropy, evaluate
from rnnlab.experiment import Experiment
from rnnlab.interrupts import Interrupts
from rnnlab.model import count_parameters, fold
from rnnlab.optim import clip_gradients, global_norm, load_optimizer_tensors, optimizer_tensors, scale_lr
from rnnlab.recipe import Trainer
from rnnlab.rng import seed_torch
from rnnlab.runfolder import RunFolder
from rnnlab.state import State, detach, flatten, to, unflatten

Record = dict[str, Any]
Observer = Callable[[Record], None]

SPIKE_AFTER = 50  # [steps] that the average needs before a spike can be told
SPIKE_FACTOR = 1.5  # times the average: a step whose loss is higher is reported
MOST_FAILED_SAVES = 3  # in a row, before the run gives up


@dataclass(frozen=True)
class Progress:
    """Where a run stands, but for its tensors; everything here is in the manifest of a checkpoint."""

    step: int = 0
    bytes: int = 0  # trained on so far
    epoch: int = 0
    position: int = 0  # within the lanes
    schedule_pass: int = 0  # of the schedule; a new one starts with a fresh optimizer
    pass_start: int = 0  # [step] at which it began
    seconds: float = 0.0  # of training, over all the times it was resumed
    loss_average: float = math.nan  # [nats] exponential, over about 50 steps: what a spike is measured against
    overflows: int = 0  # steps that fp16 skipped
    evaluated_at: int = -1  # [step] of the last evaluation
    evaluated_bytes: int = 0  # [bytes] at the last evaluation
    valid_bpc: float | None = None  # the last evaluation's
    best_valid_bpc: float | None = None
    records: int = 0  # lines of metrics.jsonl that belong to this state


class Loop:
    """One run in memory: the model, its optimizer, the text it reads and where it stands."""

    def __init__(
        self,
        experiment: Experiment,
        folder: RunFolder,
        observers: Sequence[Observer] = (),
        horizon: Trainer | None = None,
    ) -> None:
        """Args:
        experiment: what the configuration built; the loop takes it over.
        folder: where checkpoints, metrics and the result go; held by this process.
        observers: called with every record that is written to metrics.jsonl; they may look, not touch.
        horizon: the recipe whose budget the schedule spans, where that is not the experiment's own.
        """
        assert experiment.corpus is not None
        trainer = experiment.trainer
        self.trainer, self.corpus, self.folder, self.observers = trainer, experiment.corpus, folder, observers
        self.model, self.optimizer, self.schedule = experiment.model.train(), experiment.optimizer, experiment.schedule
        self.device = trainer.torch_device()
        self.lanes = Lanes(self.corpus.train, trainer.lanes).to(self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=trainer.precision == "fp16")
        self.progress = Progress()
        self.stream: State = self.model.initial_state(trainer.lanes)
        self.horizon = budgets(horizon or trainer)  # the schedule's: a longer budget on resume does not move it
        self.interrupts = Interrupts()
        self._average_before = math.nan
        self._saved: tuple[int, int] | None = None  # (step, records) of the newest checkpoint
        self._failed_saves = 0

    # --- budget ---------------------------------------------------------------------------------------------------

    def _epoch_bytes(self) -> int:
        return (self.lanes.length - 1) * self.trainer.lanes

    def _budget_bytes(self) -> int:
        """The budget in bytes; about, if it is given in steps whose chunks vary in length."""
        t = self.trainer
        units = {"bytes": 1, "step": t.chunk * t.lanes * t.accumulate, "epoch": self._epoch_bytes()}
        return int(min(units[name] * budget for name, budget in budgets(self.trainer).items()))

    def fraction(self, within: dict[str, float] | None = None) -> float:
        """How much of the budget is used, 0 to 1 and beyond."""
        p = self.progress
        used = {"bytes": p.bytes, "step": p.step, "epoch": p.bytes / self._epoch_bytes()}
        return max(used[name] / budget for name, budget in (within or budgets(self.trainer)).items())

    # --- one step -------------------------------------------------------------------------------------------------

    def step(self) -> Record:
        """Read the next chunks, take one optimizer step, and return what can be said of it.

        Raises: Diverged, with nothing changed, if the loss or the gradient is not finite.
        """
        t, p = self.trainer, self.progress
        started = time.perf_counter()
        schedule_pass, pass_start, lr_factor = self._schedule()
        seed_torch(t.seed, p.step, "dropout")
        stream, epoch, position, read = self.stream, p.epoch, p.position, 0
        loss_sum = torch.zeros((), device=self.device)
        self.optimizer.zero_grad(set_to_none=True)
        for part in range(t.accumulate):
            if position >= self.lanes.length - 1:
                epoch, position = epoch + 1, 0
                stream = self.model.initial_state(t.lanes)
            length = chunk_length(t.seed, p.step * t.accumulate + part, t.chunk, t.jitter)
            length = min(length, self.lanes.length - 1 - position)
            inputs, targets = (x.to(self.device, non_blocking=True) for x in self.lanes.chunk(position, length))
            with self._autocast():
                logits, stream = self.model(inputs, stream)
                loss = cross_entropy(logits, targets) / t.accumulate
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            stream = detach(stream)
            loss_sum += loss.detach()
            position, read = position + length, read + length * t.lanes
        lr = scale_lr(self.optimizer, lr_factor)
        loss_value, norm, stepped = self._update(loss_sum)
        average = loss_value if math.isnan(p.loss_average) else p.loss_average + 0.02 * (loss_value - p.loss_average)
        seconds = time.perf_counter() - started
        self.stream = stream
        self.progress = replace(
            p,
            step=p.step + 1,
            bytes=p.bytes + read,
            epoch=epoch,
            position=position,
            schedule_pass=schedule_pass,
            pass_start=pass_start,
            seconds=p.seconds + seconds,
            loss_average=average,
            overflows=p.overflows + (not stepped),
        )
        return {
            "kind": "train",
            "step": self.progress.step,
            "bytes": self.progress.bytes,
            "loss": loss_value,
            "bpc": loss_value / LN2,
            "lr": lr,
            "grad_norm": norm,
            "bytes_per_second": read / seconds,
            "seconds": self.progress.seconds,
            "memory_mb": peak_memory_mb(self.device),
        }

    def _schedule(self) -> tuple[int, int, float]:
        """(pass, its first step, factor on the learning rate); a new pass starts with a fresh optimizer."""
        p, fraction = self.progress, min(1.0, self.fraction(self.horizon))
        now, start = self.schedule.pass_of(fraction), p.pass_start
        if now != p.schedule_pass:
            start = p.step
            self.optimizer.state.clear()
        return now, start, self.schedule(p.step, fraction, start)

    def _update(self, loss: Tensor) -> tuple[float, float, bool]:
        """(loss [nats], gradient norm, whether the step was taken): clip and step, if all that goes in is finite."""
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        moments = [x for slots in self.optimizer.state.values() for x in slots.values() if x.dim() > 0]
        norm, moment = global_norm(gradients), global_norm(moments) if moments else loss
        loss_value, norm_value, moment_value = torch.stack([loss, norm, moment]).tolist()  # the step's one transfer
        if math.isfinite(loss_value) and not math.isfinite(moment_value):
            raise Diverged(f"step {self.progress.step + 1}: the optimizer's moments are not finite")
        if not (math.isfinite(loss_value) and math.isfinite(norm_value)):
            if self.scaler.is_enabled() and self.scaler.get_scale() > 1.0:
                self.scaler.step(self.optimizer)  # skips it, having seen the overflow
                self.scaler.update()
                return loss_value, norm_value, False
            raise Diverged(
                f"step {self.progress.step + 1}: loss {loss_value:g} nats, gradient norm {norm_value:g}; the parameters "
                f"are from before it; `rnnlab replay {self.folder.path} --step {self.progress.step + 1}` shows the step"
            )
        if self.trainer.clip is not None:
            clip_gradients(gradients, norm, self.trainer.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss_value, norm_value, True

    def _autocast(self) -> torch.autocast:
        dtype = torch.float16 if self.trainer.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=self.trainer.precision != "fp32")

    # --- the whole run ----------------------------------------------------------------------------------------------

    def run(self) -> Record:
        """Train to the end of the budget, evaluate, write the result and return it.

        Raises: Stopped on SIGINT or SIGTERM and Diverged, both with the state saved; StorageError if it cannot be.
        """
        try:
            with self.interrupts, self._bar() as bar:
                while True:
                    finished = self.fraction() >= 1.0
                    if finished or self._evaluation_due():
                        self._evaluate(whole=finished)
                    if finished or self.progress.step % self.trainer.save_every == 0:
                        self.save()
                    if finished:
                        break
                    self.interrupts.check()
                    record = self.step()
                    self._watch(record)
                    bar.show(record)
                return self._finish()
        except (Stopped, Diverged) as error:
            self.save()
            self.folder.write_result(
                {**self._summary(), "status": "stopped" if isinstance(error, Stopped) else "diverged"}
            )
            raise

    def _evaluation_due(self) -> bool:
        t, p = self.trainer, self.progress
        if p.evaluated_at == p.step or p.step == 0:
            return False
        every = t.eval_every or max(1, min(self._epoch_bytes(), self._budget_bytes() // 10))
        return p.bytes // every > p.evaluated_bytes // every

    def _evaluate(self, whole: bool) -> None:
        """Score valid and write it down, once a step."""
        t, p = self.trainer, self.progress
        if p.evaluated_at == p.step:
            return
        self.corpus.verify()
        score = self._score(self.corpus.valid, None if whole else t.eval_bytes)
        best = score.bpc if p.best_valid_bpc is None else min(score.bpc, p.best_valid_bpc)
        self.progress = replace(
            p, evaluated_at=p.step, evaluated_bytes=p.bytes, valid_bpc=score.bpc, best_valid_bpc=best
        )
        self._write(
            {"kind": "valid", "step": p.step, "bytes": p.bytes, "valid_bpc": score.bpc, "best_valid_bpc": best,
             "bytes_scored": score.protocol.bytes_scored, "seconds": p.seconds}
        )  # fmt: skip

    def _score(self, split: Split, limit: int | None = None) -> Score:
        t = self.trainer
        return evaluate(
            self.model, split, lanes=t.eval_lanes, chunk=t.eval_chunk, limit=limit, progress=True,
            between_chunks=self.interrupts.check,
        )  # fmt: skip

    def _watch(self, record: Record) -> None:
        """Write the step down when it is due, and a spike of the loss at once."""
        before = self._average_before
        self._average_before = self.progress.loss_average
        if record["step"] > SPIKE_AFTER and record["loss"] > SPIKE_FACTOR * before:
            self._write({"kind": "spike", "step": record["step"], "loss": record["loss"], "average": before})
            print(
                f"rnnlab: the loss jumped to {record['loss'] / LN2:.3f} bpc at step {record['step']} (average "
                f"{before / LN2:.3f}); `rnnlab replay {self.folder.path} --step {record['step']}` shows the step",
                file=sys.stderr,
            )
        if record["step"] % self.trainer.log_every == 0:
            self._write(record)

    def _write(self, record: Record) -> None:
        self.folder.journal.append(record)
        self.progress = replace(self.progress, records=self.progress.records + 1)
        for observer in self.observers:
            observer(record)

    def _finish(self) -> Record:
        score = self._score(self.corpus.test)
        result = {**self._summary(), "status": "done", "test_bpc": score.bpc, "protocol": asdict(score.protocol)}
        self.folder.write_result(result)
        return result

    def _summary(self) -> Record:
        t, p = self.trainer, self.progress
        return {
            "valid_bpc": p.valid_bpc,
            "best_valid_bpc": p.best_valid_bpc,
            "bytes_trained": p.bytes,
            "steps": p.step,
            "seconds": p.seconds,
            "bytes_per_second": p.bytes / p.seconds if p.seconds else None,
            "parameters": count_parameters(self.model),
            "parameters_deployable": count_parameters(fold(self.model)),
            "macs_per_byte": self.model.macs(),
            "peak_memory_mb": peak_memory_mb(self.device),
            "overflows": p.overflows,
            "seed": t.seed,
            "device": str(self.device),
            "precision": t.precision,
        }

    def _bar(self) -> "ProgressBar":
        return ProgressBar(self._budget_bytes(), self.progress.bytes)

    # --- saving and going on ----------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of this very state, unless it is there already.

        Raises: StorageError at the third failure in a row; before that training goes on, with one warning.
        """
        here = (self.progress.step, self.progress.records)
        if self._saved == here:
            return
        self.folder.journal.sync()
        try:
            self.folder.save(self._snapshot())
        except StorageError as error:
            self._failed_saves += 1
            if self._failed_saves >= MOST_FAILED_SAVES:
                raise
            if self._failed_saves == 1:
                print(f"rnnlab: {error}; going on, the checkpoint before is whole", file=sys.stderr)
            return
        self._failed_saves, self._saved = 0, here

    def _snapshot(self) -> Snapshot:
        tensors = {f"model/{name}": x for name, x in self.model.state_dict().items()}
        moments = optimizer_tensors(self.optimizer, self.model.named_parameters())
        tensors |= {f"optimizer/{name}": x for name, x in moments.items()}
        tensors |= {f"stream/{name}": x for name, x in flatten(self.stream).items()}
        facts = {"progress": asdict(self.progress), "scaler": self.scaler.state_dict(), "valid_bpc": self._valid_here()}
        return Snapshot(self.progress.step, self.progress.position, tensors, facts)

    def _valid_here(self) -> float | None:
        """The BPC that this state scored, if it was scored: what `best` is chosen by."""
        return self.progress.valid_bpc if self.progress.evaluated_at == self.progress.step else None

    def restore(self, snapshot: Snapshot) -> None:
        """Take the place of the run that saved `snapshot`, which must be of the same experiment."""
        self.model.load_state_dict(snapshot.section("model"))
        load_optimizer_tensors(self.optimizer, self.model.named_parameters(), snapshot.section("optimizer"))
        template = self.model.initial_state(self.trainer.lanes)
        self.stream = to(unflatten(template, snapshot.section("stream")), self.device)
        self.scaler.load_state_dict(snapshot.facts["scaler"])
        self.progress = Progress(**snapshot.facts["progress"])
        self._average_before = self.progress.loss_average
        self._saved = (self.progress.step, self.progress.records)
        self.folder.journal.cut(self.progress.records)


def budgets(trainer: Trainer) -> dict[str, float]:
    """The bounds that a recipe sets, by what they count."""
    bounds = {"bytes": trainer.bytes, "step": trainer.steps, "epoch": trainer.epochs}
    return {name: bound for name, bound in bounds.items() if bound is not None}


class ProgressBar:
    """Bytes trained of the budget, with loss, speed and time left; silent when standard error is no terminal."""

    def __init__(self, total: int, done: int) -> None:
        self._bar = tqdm(total=total, initial=done, unit="B", unit_scale=True, desc="train", disable=None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def show(self, record: Record) -> None:
        if not self._bar.disable:
            self._bar.set_postfix(loss=f"{record['loss']:.3f}", bpc=f"{record['bpc']:.3f}", refresh=False)
            self._bar.update(record["bytes"] - self._bar.n)


def peak_memory_mb(device: torch.device) -> float:
    """The most this process has held so far [MB]: of the device's memory, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # Linux counts in KiB
