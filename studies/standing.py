"""How one run stands, from its folder alone: nothing is locked, built or written.

What a process that died of an error leaves is not told from an interruption here: a study notes how its cells fail.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rnnlab.locks import holder
from rnnlab.storage import metrics
from rnnlab.storage.runfolder import CONFIG, RunFolder
from rnnlab.views import numerals
from rnnlab.views.metrics import number
from rnnlab.views.runs import parse_bindings

State = Literal["done", "diverged", "failed", "running", "interrupted", "waiting"]
ENDED: tuple[State, ...] = ("done", "diverged")
OF_RESULTS: dict[str, State] = {"done": "done", "diverged": "diverged", "out of memory": "failed"}
BUDGETS = ("bytes", "steps")


@dataclass(frozen=True)
class Standing:
    """One run.

    Attributes:
        state: "failed" of one that ended with an error, as far as is known, or without enough memory; "waiting" where
            there is no run yet.
        step: of the last record of its journal.
        trained: [bytes] by then, of a task [positions].
        fraction: of its budget; None if that is in epochs, or nothing is recorded yet.
        seconds: that training, evaluating and saving took until then.
        by: the process that runs it.
        said: how its worker ended, of one that failed in a study.
        job: of SLURM, that is to run it or did so last.
        log: of this job.
    """

    path: Path
    state: State
    step: int = 0
    trained: int = 0
    fraction: float | None = None
    seconds: float = 0.0
    by: str = ""
    said: str = ""
    job: str = ""
    log: str = ""

    @property
    def steps(self) -> int | None:
        """About how many there will be, by those that were taken."""
        return round(self.step / self.fraction) if self.fraction else None

    @property
    def seconds_left(self) -> float | None:
        return self.seconds * (1 / self.fraction - 1) if self.fraction and self.seconds else None

    def text(self) -> str:
        """As in: running at step 120 of about 2,000 (6%)."""
        if self.state == "waiting":
            return "waiting"
        share = f" of about {self.steps:,} ({100 * self.fraction:.0f}%)" if self.fraction and self.steps else ""
        words = f"{self.state} at step {self.step:,}{'' if self.state in ENDED else share}"
        if self.state == "running":
            left = self.seconds_left
            words += f", by {self.by}" + (f", about {numerals.duration(left)} left" if left is not None else "")
        if self.job and not self.said:
            words += f" (job {self.job}, log: {self.log})"
        return f"{words}: {self.said}" if self.said else words

    def facts(self) -> dict[str, Any]:
        """For programs."""
        return {**vars(self), "path": str(self.path), "steps": self.steps, "seconds_left": self.seconds_left}


def standing(path: Path) -> Standing:
    """Of the run in a folder. Raises: StorageError if a file of it is damaged."""
    if not (path / CONFIG).is_file():
        return Standing(path, "waiting")
    folder, by = RunFolder.open(path), holder(path)
    last = _last(folder)
    step, trained = (int(number(last.get(name)) or 0) for name in ("step", "bytes"))
    seconds = sum(number(last.get(name)) or 0.0 for name in ("seconds", "seconds_evaluating", "seconds_saving"))
    fraction = _fraction(folder, step, trained)
    result = folder.result() or {}
    state = OF_RESULTS.get(str(result.get("status")), "running" if by else "interrupted")
    if result:
        step, trained = (int(number(result.get(name)) or 0) for name in ("steps", "bytes_trained"))
        seconds = sum(number(result.get(key)) or 0.0 for key in ("seconds", "seconds_evaluating", "seconds_saving"))
        fraction = 1.0 if state == "done" else _fraction(folder, step, trained)
    return Standing(path, state, step, trained, fraction, seconds, by)


def _last(folder: RunFolder) -> metrics.Record:
    """The last record that says how far training was, over those before it for what it does not say."""
    found: metrics.Record = {}
    for record in metrics.read(folder.journal.path):
        if record.get("kind") in ("train", "valid"):
            found |= record
    return found


def _fraction(folder: RunFolder, step: int, trained: int) -> float | None:
    """Of the budget, whose first bound ends a run."""
    bindings = parse_bindings("\n".join([folder.config_text, *folder.resumed_with()]))
    reached = {"bytes": trained, "steps": step}
    bounds = {name: bindings.get(f"Trainer.{name}", "") for name in BUDGETS}
    shares = [reached[name] / int(bound) for name, bound in bounds.items() if bound.isdecimal() and int(bound)]
    return min(1.0, max(shares)) if shares and max(shares) > 0 else None
