"""A law: a sentence about parts, the kinds it holds for, and the function that looks for a counterexample."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from rnnlab.errors import ConfigError, LawError
from rnnlab.testing.blocks import fillings
from rnnlab.testing.case import PartFactory, Subject, part_name
from rnnlab.training.threads import using_threads

SEQUENCES = ("core", "attention", "block")
EVERY_KIND = (*SEQUENCES, "feedforward")


def always(subject: Subject) -> bool:
    return True


@dataclass(frozen=True)
class Law:
    """Call it with a part: nothing happens, or a LawError tells what was violated and the smallest case of it."""

    name: str  # one word or a few, as `rnnlab check` prints it
    kind: str  # the kind of part it is asked about
    statement: str  # the law as one sentence
    verify: Callable[[Subject], None]  # looks for a counterexample among the cases of a subject
    applies: Callable[[Subject], bool] = always  # whether it has anything to say; the others obey it trivially
    slow: bool = False  # takes seconds rather than milliseconds

    @property
    def __name__(self) -> str:
        """Shown by pytest as the parameter's id."""
        return self.name

    def __call__(self, part: PartFactory, dim: int = 16, seed: int = 0) -> None:
        """Hold `part` to the law at width `dim`; the open slots of a block get small parts. Raises: LawError."""
        name = part_name(part)
        try:
            for subject in self._subjects(part, dim, seed):
                name = part_name(subject.part)
                with _undisturbed():
                    self.verify(subject)
        except LawError as violation:
            raise LawError(f"{name} breaks {self.name!r}: {violation}") from violation
        except Exception as error:
            raised = f"it raised {type(error).__name__}: {error}"
            raise LawError(f"{name} breaks {self.name!r}: {raised} (dim={dim}, seed={seed})") from error

    def applies_to(self, part: PartFactory, dim: int = 16) -> bool:
        """Whether the law has anything to say about this part. Of one that cannot be built each law says so."""
        try:
            return bool(self._subjects(part, dim, 0))
        except LawError:
            return True

    def _subjects(self, part: PartFactory, dim: int, seed: int) -> list[Subject]:
        parts = fillings(part) if self.kind == "block" else [part]
        parts = parts[:1] if self.slow else parts
        with _undisturbed():
            return [subject for each in parts if self.applies(subject := Subject(each, self.kind, dim, seed))]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The caller's random numbers stay as they are; no graphs; one thread, as more only get in each other's way."""
    with using_threads(1), torch.random.fork_rng(devices=[]), torch.no_grad():
        yield


_laws: dict[str, tuple[tuple[str, ...], Law]] = {}


def law(
    *kinds: str, applies: Callable[[Subject], bool] = always, slow: bool = False
) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
    """Enter a function in the book of laws. Its name is the law's, its docstring's first line is the statement."""

    def enter(verify: Callable[[Subject], None]) -> Callable[[Subject], None]:
        name = verify.__name__.replace("_", " ")
        statement = (verify.__doc__ or "").partition("\n")[0]
        _laws[name] = kinds, Law(name, "", statement, verify, applies, slow)
        return verify

    return enter


def laws(kind: str, *, slow: bool = False) -> list[Law]:
    """The laws for a kind of part, ready for `pytest.mark.parametrize("law", laws("core"))`.

    Args:
        kind: "core", "attention", "feedforward" or "block".
        slow: also those that take seconds a part (torch.compile).
    Raises: ConfigError if there are no laws for that kind.
    """
    book = [replace(entry, kind=kind) for kinds, entry in _laws.values() if kind in kinds and (slow or not entry.slow)]
    if not book:
        raise ConfigError(f"no laws for kind {kind!r}; there are laws for {', '.join(EVERY_KIND)}")
    return book
