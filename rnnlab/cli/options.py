"""What several commands take, and how an answer is printed."""

import argparse
import json
import os
from collections.abc import Callable
from typing import Any, Protocol

from rnnlab.console import standard_output
from rnnlab.safe_text import escaped

Command = Callable[[argparse.Namespace], int | None]


class AddCommand(Protocol):
    """What a module of commands is called with; the group "rnnlab.commands" of entry points as well."""

    def __call__(
        self, name: str, run_command: Command, summary: str, *, takes_config: bool = False, prints_json: bool = True
    ) -> argparse.ArgumentParser:
        """A command with the options that all have."""


def add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="folder of the run")


def add_best(command: argparse.ArgumentParser) -> None:
    command.add_argument("--best", action="store_true", help="the best checkpoint in place of the newest")


def add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", metavar="D", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")


def add_overrides(command: argparse.ArgumentParser) -> None:
    command.add_argument("--set", dest="bindings", action="append", default=[], metavar="BINDING",
                         help="one gin binding, 'Block.dropout = 0.2'; repeatable")  # fmt: skip
    command.add_argument("--corpus", metavar="NAME_OR_PATH", help="what to train on")
    command.add_argument("--bytes", type=int, metavar="N", help="budget: Trainer.bytes")
    command.add_argument("--seed", type=int, metavar="N", help="Trainer.seed")
    command.add_argument("--device", metavar="D", help="Trainer.device: auto, cpu, cuda, cuda:1")


def overrides(options: argparse.Namespace) -> list[str]:
    """The bindings that the sugar stands for, before those of --set, which win."""
    from rnnlab.data.corpora import corpus_bindings

    corpus = getattr(options, "corpus", None)  # a resumption has no seed to choose
    sugar = corpus_bindings(corpus) if corpus else []
    for name in ("bytes", "seed", "device"):
        value = getattr(options, name, None)
        if value is not None:
            sugar.append(f"Trainer.{name} = {value!r}")
    return [*sugar, *options.bindings]


def print_answer(options: argparse.Namespace, answer: Any, text: str) -> None:
    """One JSON object if that was asked for, else the text; once, however many ranks there are."""
    from rnnlab.storage.metrics import finite

    if speaks(options):
        with standard_output() as out:
            print(json.dumps(finite(answer), indent=2, default=str) if options.json else escaped(text), file=out)


def ranks_of(options: argparse.Namespace) -> int:
    """How many processes torchrun started for this command.

    What is left over in the environment is none of its own: of another command, without the place where torchrun lets
    its ranks meet, or of a rank that cannot be one.
    """
    count, rank = os.environ.get("WORLD_SIZE", "1"), os.environ.get("RANK", "0")
    is_of_torchrun = all(os.environ.get(name) for name in ("MASTER_ADDR", "MASTER_PORT"))
    if not (getattr(options, "is_distributed", False) and is_of_torchrun and count.isdecimal() and rank.isdecimal()):
        return 1
    return int(count) if int(rank) < int(count) else 1


def speaks(options: argparse.Namespace) -> bool:
    """Whether this process prints: of those that torchrun started, the first alone."""
    return ranks_of(options) == 1 or os.environ.get("RANK", "0") == "0"
