"""The parts that stand in a model, all of them modules: what a law of theirs is tried on."""

from rnnlab.testing.blocks import fillings
from rnnlab.testing.case import ModuleFactory, Subject
from rnnlab.testing.law import Book

SEQUENCES = ("core", "attention", "block")
MODULES = (*SEQUENCES, "feedforward")


def _subjects(part: ModuleFactory, kind: str, dim: int = 16, seed: int = 0) -> list[Subject]:
    """The part at width `dim`; a block once for every way to fill its open slots with small parts."""
    return [Subject(each, kind, dim, seed) for each in (fillings(part) if kind == "block" else [part])]


law = Book(_subjects).law
