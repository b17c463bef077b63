"""What makes a run fit into a GPU that is too small for it: the smallest change of the recipe that does."""

from collections.abc import Iterator
from dataclasses import dataclass

from rnnlab.planning.cards import CONTEXT
from rnnlab.planning.needs import PlannedRun
from rnnlab.planning.shadow import Shadow

SHORTER = (2048, 512)  # [positions] memories that are tried: those of gin/memory


@dataclass(frozen=True)
class Remedy:
    """Bindings to add, and the memory that is needed with them."""

    bindings: list[str]
    peak: int  # [bytes]

    @property
    def words(self) -> str:
        """To be pasted behind the command."""
        return " ".join(f'--set "{binding}"' for binding in self.bindings)


def needed(of: Shadow) -> int:
    """[bytes] of a GPU's memory: at the peak of a step or of an evaluation, with all that lies around it."""
    return int(max(of.peak, of.evaluation_peak) + CONTEXT)


def find_remedy(subject: PlannedRun, available: int, bf16: bool = True) -> Remedy | None:
    """The first of the changes that fits into so many bytes; None if none does.

    In this order: products in bf16; a batch of half the size, a quarter, ... in as many more chunks a step; the same
    with a shorter memory, which is another model.
    """
    for shorter in _memories(subject):
        ladder = list(_ladder(subject, shorter, bf16))
        if not ladder or _tried(subject, ladder[-1]) > available:
            continue  # if the last of them does not fit, none before it does
        for bindings in ladder:
            if (peak := _tried(subject, bindings)) <= available:
                return Remedy(bindings, peak)
    return None


def _tried(subject: PlannedRun, bindings: list[str]) -> int:
    return needed(subject.changed(bindings).shadow())


def _memories(subject: PlannedRun) -> Iterator[list[str]]:
    yield []
    bound = subject.config.bindings.get("memory")  # the knob that the shipped roots have
    if bound is not None and subject.memory is not None and subject.memory == bound.value:
        yield from ([f"memory = {length}"] for length in SHORTER if length < subject.memory)


def _ladder(subject: PlannedRun, shorter: list[str], bf16: bool) -> Iterator[list[str]]:
    t, batch, accumulate = subject.trainer, subject.trainer.batch_size, subject.trainer.accumulate
    halves: list[list[str]] = [["Trainer.precision = 'bf16'"]] if bf16 and t.precision in ("fp32", "tf32") else []
    if shorter:
        yield shorter
    yield from ([*shorter, *half] for half in halves)
    while not t.cuda_graph and batch % (2 * subject.ranks) == 0:
        batch, accumulate = batch // 2, accumulate * 2
        smaller = [*shorter, f"Trainer.batch_size = {batch}", f"Trainer.accumulate = {accumulate}"]
        yield smaller
        yield from ([*smaller, *half] for half in halves)
