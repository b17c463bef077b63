"""Learning by truncated backpropagation through time, with state and memory carried from chunk to chunk.

What is random or due at a step is a function of the state before it, so a run that was killed and resumed, or evaluated
and saved more often, goes through the same numbers. Nothing here touches the disk.
"""

import math
import resource
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor
from torch.profiler import record_function

from rnnlab.data.source import Chunk, Portion, Read
from rnnlab.data.splits import chunk_length
from rnnlab.errors import Diverged, StorageError
from rnnlab.interfaces import HasPenalty, TellsFigures
from rnnlab.matmul import products_in
from rnnlab.ops.dropout import set_batch_offset
from rnnlab.rng import seed_torch
from rnnlab.scoring.forecaster import Forecaster
from rnnlab.scoring.losses import LN2, cross_entropy, right_answers, weighted_cross_entropy
from rnnlab.scoring.order import ScoreFirst
from rnnlab.state import State, detach, flatten, leaves, map_state, select_batch, to, unflatten
from rnnlab.storage.checkpoint import Snapshot, check_same_experiment
from rnnlab.storage.metrics import Record
from rnnlab.training.budget import budgets, check_ends
from rnnlab.training.compiled import compiled
from rnnlab.training.cudagraph import GraphedPass, Pass, Told
from rnnlab.training.experiment import Experiment
from rnnlab.training.gradients import clip_gradients, global_norm, norms_by_part
from rnnlab.training.optim import scale_lr
from rnnlab.training.optimizer_state import load_optimizer_tensors, optimizer_tensors
from rnnlab.training.ranks import ALONE, Ranks
from rnnlab.training.recipe import Trainer


@dataclass(frozen=True)
class Progress:
    """Where a run stands, but for its tensors; everything here is in the manifest of a checkpoint."""

    step: int = 0
    bytes: int = 0  # trained on so far; of a task, positions
    reading: int = 0  # of the text, or batch of examples
    position: int = 0  # within each sequence of the batch
    schedule_pass: int = 0  # of the schedule; a new one starts with a fresh optimizer
    pass_start: int = 0  # [step] at which it began
    seconds: float = 0.0  # of training, over all the times it was resumed
    seconds_evaluating: float = 0.0
    seconds_saving: float = 0.0  # that training waited for checkpoints: copying, and for the one before
    loss_average: float | None = None  # [nats] exponential, over about 50 steps: what a spike is measured against
    overflows: int = 0  # steps that fp16 skipped
    evaluated_at: int = -1  # [step] of the last evaluation
    evaluated_bytes: int = 0  # [bytes] at the last evaluation
    valid_loss: float | None = None  # the last evaluation's: BPC of a text, nats of a task
    valid_accuracy: float | None = None  # of a task
    best_valid_loss: float | None = None
    best_valid_accuracy: float | None = None  # where the loss was lowest
    records: int = 0  # lines of metrics.jsonl that belong to this state
    online_nats: float = 0.0  # of the first pass, each byte scored before it was learned from
    online_bytes: int = 0  # scored so


class Learner:
    """One run in memory: the model, its optimizer, the source it reads and where it stands.

    With several ranks each holds some sequences of the batch and the whole model; all of them have to call `step`,
    `snapshot` and `restore` together.
    """

    def __init__(self, experiment: Experiment, horizon: Trainer | None = None, ranks: Ranks = ALONE) -> None:
        """Args:
        experiment: what the configuration built; the learner takes it over.
        horizon: the recipe whose budget the schedule spans, where that is not the experiment's own.
        ranks: the processes that share the batch.
        """
        assert experiment.source is not None
        trainer = experiment.trainer
        self.trainer, self.source, self.ranks = trainer, experiment.source, ranks
        self.model, self.optimizer, self.schedule = experiment.model.train(), experiment.optimizer, experiment.schedule
        self.device = next(self.model.parameters()).device
        self.batches = self.source.training(trainer.batch_size, (ranks.rank, ranks.count), self.device)
        check_ends(trainer, self.batches.epoch, self.source.name)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=trainer.precision == "fp16")
        self.progress = Progress()
        # around "data", "forward and backward" and "optimizer" of a step: names that a trace of torch.profiler shows
        self.span: Callable[[str], AbstractContextManager[object]] = record_function
        self.state: State = self.model.initial_state(self.batches.count)
        self.horizon = budgets(horizon or trainer)  # the schedule's: a longer budget on resume does not move it
        self._distributed = ranks.distribute(self.model)
        self._forward = compiled(self._distributed) if trainer.compile else self._distributed
        self._divisor = 1.0  # of the loss of a chunk of text: its share of the step's bytes, upside down
        self._penalized = [part for part in self.model.modules() if isinstance(part, HasPenalty)]
        self._pass: Pass = self._forward_and_backward
        if trainer.cuda_graph:
            self._pass = GraphedPass(self._forward_and_backward, self.model.parameters())

    def epoch_bytes(self) -> int | None:
        """Of one pass over all that is trained on; None for examples without end."""
        return self.batches.epoch

    def budget_bytes(self, within: dict[str, float] | None = None) -> int:
        """The budget in bytes; about, if it is given in steps whose chunks vary in length."""
        t = self.trainer
        step = self.batches.mean_chunk(t.bptt) * t.batch_size * t.accumulate
        units = {"bytes": 1, "step": step, "epoch": self.epoch_bytes() or math.inf}
        return int(min(units[name] * budget for name, budget in (within or budgets(t)).items()))

    def fraction(self, within: dict[str, float] | None = None) -> float:
        """How much of the budget is used, 0 to 1 and beyond."""
        p = self.progress
        used = {"bytes": p.bytes, "step": p.step, "epoch": p.bytes / (self.epoch_bytes() or math.inf)}
        return max(used[name] / budget for name, budget in (within or budgets(self.trainer)).items())

    def step(self, by_part: bool = False) -> Record:
        """Read the next chunks, take one optimizer step, and return what can be said of it.

        Args:
            by_part: also the norm of every part's gradient, as "grad_norms", like all norms before clipping; and what
                parts tell, as "figures".
        Raises: Diverged, with the parameters, the state and the progress as they were, if the loss, the gradient or
            the optimizer's memory is not finite.
        """
        p, started = self.progress, time.perf_counter()
        chunks = self.chunks()
        read = sum(chunk.length for chunk in chunks) * self.trainer.batch_size
        scored = self._score_online(chunks) if self.trainer.online else 0.0
        schedule_pass, pass_start, lr_factor = self._schedule()
        told, state = self.backward(chunks)
        parts = self._by_part() if by_part else {}
        lr = scale_lr(self.optimizer, lr_factor)
        with self.span("optimizer"):
            loss, norm, stepped, accuracy = self._update(told)
        if stepped or self._is_finite(state):
            self.state = state
        seconds = time.perf_counter() - started
        self.progress = replace(
            p,
            step=p.step + 1,
            bytes=p.bytes + read,
            reading=chunks[-1].reading,
            position=chunks[-1].position + chunks[-1].length,
            schedule_pass=schedule_pass,
            pass_start=pass_start,
            seconds=p.seconds + seconds,
            loss_average=_averaged(p.loss_average, loss),
            overflows=p.overflows + (not stepped),
            online_nats=p.online_nats + scored,
            online_bytes=p.online_bytes + (_first_pass(chunks) * self.trainer.batch_size if self.trainer.online else 0),
        )
        return {
            "kind": "train",
            "step": self.progress.step,
            "bytes": self.progress.bytes,
            "loss": loss,
            **({"bpc": loss / LN2} if accuracy is None else {"accuracy": accuracy}),
            "lr": lr,
            "grad_norm": norm,
            **parts,
            "bytes_per_second": read / seconds,
            "seconds": self.progress.seconds,
            "memory_mb": peak_memory_mb(self.device),
        }

    def _score_online(self, chunks: list[Chunk]) -> float:
        """What is read for the first time, scored in eval mode by the parameters of before the step, with the state
        that training carries [nats]."""
        order = ScoreFirst(Forecaster(self.model))
        order.open(Portion(self.batches, range(1)), self.device)
        order.forecaster.state = self.state
        with order.forecaster:
            for chunk in chunks:
                if chunk.reading == 0:
                    order.read(self.batches.read(chunk).to(self.device), chunk)
        total = torch.tensor(order.running.total, dtype=torch.float64, device=self.device)
        return float(self.ranks.mean(total)) * self.ranks.count

    def _by_part(self) -> Record:
        told = {
            f"{name}.{figure}": value
            for name, part in self.model.named_modules()
            if isinstance(part, TellsFigures)
            for figure, value in part.figures().items()
        }
        norms = {"grad_norms": norms_by_part(self.model.named_parameters())}
        return {**norms, "figures": told} if told else norms

    def chunks(self) -> list[Chunk]:
        """What the next step reads."""
        t, p = self.trainer, self.progress
        reading, position, found = p.reading, p.position, []
        for part in range(t.accumulate):
            if position >= self.batches.positions(reading):
                reading, position = reading + 1, 0
            length = chunk_length(t.seed, p.step * t.accumulate + part, t.bptt, t.jitter)
            found.append(Chunk(reading, position, min(length, self.batches.positions(reading) - position)))
            position += found[-1].length
        return found

    def backward(self, chunks: list[Chunk]) -> tuple[Told, State]:
        """Leave the gradient of the next step in the parameters; returns what it said and the state after it."""
        t, state = self.trainer, self.state
        seed_torch(t.seed, self.progress.step, "dropout")
        set_batch_offset(self.batches.first)
        loss_sum, accuracy_sum = (torch.zeros((), device=self.device) for _ in range(2))
        with self.span("data"):
            weighed = [(self.batches.weight(chunk), self.batches.read(chunk).to(self.device)) for chunk in chunks]
        total = sum(weight for weight, _ in weighed) or 1.0  # a chunk of a task may ask nothing
        self.optimizer.zero_grad(set_to_none=True)
        for chunk, (weight, read) in zip(chunks, weighed, strict=True):
            if chunk.position == 0:
                state = self.model.initial_state(self.batches.count)
            with self.span("forward and backward"), self._shared_gradient(last=chunk is chunks[-1]):
                if read.weights is None:
                    self._divisor = total / weight
                else:
                    read = read._replace(weights=read.weights * (self.ranks.count / total))
                told, state = self._pass(read, state)
            loss_sum += told.loss
            accuracy_sum += 0.0 if told.accuracy is None else told.accuracy
        self.scaler.unscale_(self.optimizer)
        has_accuracy = self.source.task is not None
        return Told(self.ranks.mean(loss_sum), self.ranks.mean(accuracy_sum) if has_accuracy else None), state

    def _forward_and_backward(self, read: Read, state: State) -> tuple[Told, State]:
        """One chunk (T, B): its share of the step's loss, and the state after it; the gradient is added up."""
        accuracy = None
        with products_in(self.trainer.precision):
            with self._autocast():
                logits, state = self._forward(read.inputs, state, *read.where)
                if read.weights is None:
                    loss = cross_entropy(logits, read.targets) / self._divisor
                else:
                    loss = weighted_cross_entropy(logits, read)
                    accuracy = (right_answers(logits.detach(), read) * read.answers(read.weights)).sum()
            penalties = [part.penalty() / self.trainer.accumulate for part in self._penalized]
            with self.ranks.reporting_lost_rank():
                self.scaler.scale(sum(penalties, start=loss)).backward()  # type: ignore[no-untyped-call]
        return Told(loss.detach(), accuracy), detach(state)

    def _schedule(self) -> tuple[int, int, float]:
        """(pass, its first step, factor on the learning rate); a new pass starts with a fresh optimizer."""
        p, fraction = self.progress, min(1.0, self.fraction(self.horizon))
        now, start = self.schedule.pass_of(fraction), p.pass_start
        if now != p.schedule_pass:
            start = p.step
            self.optimizer.state.clear()
        return now, start, self.schedule(p.step, fraction, start)

    def _update(self, told: Told) -> tuple[float, float, bool, float | None]:
        """(loss [nats], gradient norm, whether the step was taken, accuracy): clip and step, if all that goes in is
        finite."""
        here = f"step {self.progress.step + 1}"
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        moments = [x for slots in self.optimizer.state.values() for x in slots.values() if x.dim() > 0]
        norm, moment = global_norm(gradients), global_norm(moments) if moments else torch.zeros_like(told.loss)
        figures = [told.loss, norm, moment, *([] if told.accuracy is None else [told.accuracy])]
        loss_value, norm_value, moment_value, *accuracies = torch.stack(figures).tolist()  # the step's one transfer
        accuracy = min(accuracies[0], 1.0) if accuracies else None  # the weights of a batch add up to 1, or about
        if not math.isfinite(moment_value):
            raise Diverged(f"{here}: the optimizer's moments are not finite; the parameters are from before it")
        if not (math.isfinite(loss_value) and math.isfinite(norm_value)):
            if self.scaler.is_enabled() and self.scaler.get_scale() > 1.0:
                # Not scaler.step: it would take the step if only the loss, or only the norm, had overflowed.
                self.scaler.update(self.scaler.get_scale() * self.scaler.get_backoff_factor())
                return loss_value, norm_value, False, accuracy
            raise Diverged(
                f"{here}: loss {loss_value:g} nats, gradient norm {norm_value:g}; the parameters are from before it"
            )
        if self.trainer.clip is not None:
            clip_gradients(gradients, norm, self.trainer.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss_value, norm_value, True, accuracy

    def _is_finite(self, state: State) -> bool:
        return not self.ranks.any(not all(bool(leaf.isfinite().all()) for _, leaf in leaves(state)))

    def _autocast(self) -> torch.autocast:
        dtype = torch.float16 if self.trainer.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=self.trainer.precision in ("bf16", "fp16"))

    def _shared_gradient(self, last: bool) -> AbstractContextManager[None]:
        """Where gradients accumulate, the ranks exchange them once."""
        return nullcontext() if last or self._distributed is self.model else self._distributed.no_sync()  # type: ignore[operator]

    def snapshot(self) -> Snapshot:
        """Everything that continues, with every rank's sequences."""
        tensors = {f"model/{name}": x for name, x in self.model.state_dict().items()}
        moments = optimizer_tensors(self.optimizer, self.model.named_parameters())
        tensors |= {f"optimizer/{name}": x for name, x in moments.items()}
        tensors |= {f"state/{name}": x for name, x in flatten(self.ranks.gather_batch(self.state)).items()}
        p = self.progress
        best_by = p.valid_loss if p.evaluated_at == p.step else None  # what this very state scored, if it was scored
        facts = {"progress": asdict(p), "scaler": self.scaler.state_dict(), "valid_loss": best_by}
        return Snapshot(p.step, p.position, tensors, facts)

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a run's `snapshot`, on any number of ranks.

        Raises: StorageError if it is of another model, or lacks what a checkpoint has.
        """
        check_same_experiment(snapshot, tensors={f"model/{name}": x for name, x in self.model.state_dict().items()})
        try:
            self._restore(snapshot)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:  # resealed by someone, or written to harm
            said = f"{type(error).__name__}: {str(error).splitlines()[0]}"
            raise StorageError(
                f"the checkpoint of step {snapshot.step} has its hash, but is not as rnnlab writes one ({said}); "
                f"remove it, and `rnnlab resume` takes the one before"
            ) from error

    def _restore(self, snapshot: Snapshot) -> None:
        progress = Progress(**snapshot.facts["progress"])
        if odd := [name for name, value in asdict(progress).items() if not isinstance(value, int | float | None)]:
            raise ValueError(f"progress.{odd[0]} is no number")
        self.model.load_state_dict(snapshot.section("model"))
        load_optimizer_tensors(self.optimizer, self.model.named_parameters(), snapshot.section("optimizer"))
        state = unflatten(self.model.initial_state(self.trainer.batch_size), snapshot.section("state"))
        own = select_batch(state, slice(self.batches.first, self.batches.first + self.batches.count))
        self.state = to(map_state(Tensor.contiguous, own), self.device)
        self.scaler.load_state_dict(snapshot.facts["scaler"])
        self.progress = progress


def peak_memory_mb(device: torch.device) -> float:
    """The most this process has held so far [MB]: of the device's memory, or resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 2**20 if sys.platform == "darwin" else most / 2**10  # bytes there, KiB on Linux


def _first_pass(chunks: list[Chunk]) -> int:
    """Positions of a sequence that are read for the first time."""
    return sum(chunk.length for chunk in chunks if chunk.reading == 0)


def _averaged(average: float | None, loss: float) -> float | None:
    """A step that fp16 skipped has a loss that says nothing."""
    if not math.isfinite(loss):
        return average
    return loss if average is None else average + 0.02 * (loss - average)
