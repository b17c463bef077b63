"""A law: a sentence about parts, the kind it holds for, and the function that looks for a counterexample."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import torch

from rnnlab.errors import ConfigError, LawError
from rnnlab.training.threads import using_threads

PartFactory: TypeAlias = Callable[..., Any]
"""What the laws take: a class, a `functools.partial` or any function that builds a part."""


class HasPart(Protocol):
    """What a law is tried on: a part and the setting it is tried in, which `str` tells."""

    @property
    def part(self) -> PartFactory: ...


S = TypeVar("S", bound=HasPart)

Verify: TypeAlias = Callable[[S], str | None]
"""Looks for a counterexample among the cases of a subject. Returns: what is to be said of one that obeys, if anything.
Raises: LawError."""


def always(subject: HasPart) -> bool:
    return True


@dataclass(frozen=True)
class Law(Generic[S]):
    """Call it with a part: a LawError tells what was violated and the smallest case of it, or nothing happens."""

    name: str  # one word or a few, as `rnnlab check` prints it
    kind: str  # the kind of part it is asked about
    statement: str  # the law as one sentence
    verify: Verify[S]
    subjects: Callable[..., Sequence[S]]  # subjects(part, kind, **setting): what of a part the law is tried on
    applies: Callable[[S], bool] = always  # whether it has anything to say; the others obey it trivially
    slow: bool = False  # takes seconds rather than milliseconds

    @property
    def __name__(self) -> str:
        """Shown by pytest as the parameter's id."""
        return self.name

    def __call__(self, part: PartFactory, **setting: int) -> str:
        """Hold `part` to the law, in the setting that its kind takes: `dim` and `seed`, of a task `seed` alone.

        Returns: what there is to say beside "ok"; mostly nothing.
        Raises: LawError.
        """
        name, where, notes = part_name(part), "", []
        try:
            for subject in self._subjects(part, **setting):
                name, where = part_name(subject.part), f" ({subject})"
                with _undisturbed():
                    notes.append(self.verify(subject))
        except LawError as violation:
            raise LawError(f"{name} breaks {self.name!r}: {violation}") from violation
        except Exception as error:
            raised = f"it raised {type(error).__name__}: {error}"
            raise LawError(f"{name} breaks {self.name!r}: {raised}{where}") from error
        return "; ".join(note for note in notes if note)

    def applies_to(self, part: PartFactory) -> bool:
        """Whether the law has anything to say about this part. Of one that cannot be built each law says so."""
        try:
            return bool(self._subjects(part))
        except LawError:
            return True

    def _subjects(self, part: PartFactory, **setting: int) -> list[S]:
        with _undisturbed():
            subjects = self.subjects(part, self.kind, **setting)
            return [subject for subject in (subjects[:1] if self.slow else subjects) if self.applies(subject)]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """The caller's random numbers stay as they are; no graphs; one thread, as more only get in each other's way."""
    with using_threads(1), torch.random.fork_rng(devices=[]), torch.no_grad():
        yield


@dataclass(frozen=True)
class Book(Generic[S]):
    """The laws of some kinds of parts, those that are tried on the same sort of subject."""

    subjects: Callable[..., Sequence[S]]

    def law(
        self, *kinds: str, applies: Callable[[S], bool] = always, slow: bool = False
    ) -> Callable[[Verify[S]], Verify[S]]:
        """Enter a function in the book. Its name is the law's, its docstring's first line is the statement."""

        def enter(verify: Verify[S]) -> Verify[S]:
            name = verify.__name__.replace("_", " ")
            assert name not in _laws, f"two laws are called {name}"
            statement = (verify.__doc__ or "").partition("\n")[0]
            _laws[name] = kinds, Law(name, "", statement, verify, self.subjects, applies, slow)
            return verify

        return enter


_laws: dict[str, tuple[tuple[str, ...], Law[Any]]] = {}


def kinds() -> list[str]:
    """The kinds of parts that there are laws for."""
    return list(dict.fromkeys(kind for kinds, _ in _laws.values() for kind in kinds))


def laws(kind: str, *, slow: bool = False) -> list[Law[Any]]:
    """The laws for a kind of part, ready for `pytest.mark.parametrize("law", laws("core"))`.

    Args:
        kind: "core", "attention", "feedforward", "block" or "task".
        slow: also those that take seconds a part (torch.compile).
    Raises: ConfigError if there are no laws for that kind.
    """
    book = [replace(entry, kind=kind) for kinds, entry in _laws.values() if kind in kinds and (slow or not entry.slow)]
    if not book:
        raise ConfigError(f"no laws for kind {kind!r}; there are laws for {', '.join(kinds())}")
    return book


def part_name(part: PartFactory) -> str:
    """What to call a part in a message."""
    inner = getattr(part, "func", part)  # functools.partial
    return str(getattr(inner, "__name__", type(inner).__name__))
