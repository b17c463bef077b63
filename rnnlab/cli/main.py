"""The command line: arguments in, a public function called, its answer printed. Nothing is decided here.

torch is imported by the commands that need it, so that `rnnlab --help` answers at once.
"""

import argparse
import difflib
import importlib.metadata
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import rnnlab
from rnnlab.cli import codec, doctor, models, plan, train, views
from rnnlab.cli.options import Command, add_overrides, speaks
from rnnlab.console import prepare_streams, say
from rnnlab.errors import (
    NEEDS_LESS,
    ConfigError,
    DataError,
    OutOfMemory,
    RankLost,
    RnnlabError,
    Stopped,
    first_line,
    is_out_of_memory,
)
from rnnlab.interrupts import stopping_at_once

COMMANDS = "rnnlab.commands"
"""Entry-point group of functions that are called with `add(name, run_command, summary, ...)` and add commands by it."""


def run() -> NoReturn:
    """The `rnnlab` command: `main`, and the end of the process."""
    prepare()
    code = main()
    if os.environ.get("WORLD_SIZE", "1") != "1":
        from rnnlab.training.ranks import leave

        leave(code)
    sys.exit(code)


def prepare() -> None:
    """Make this process fit for commands, whatever it was started from."""
    prepare_streams()
    os.environ.update(MPLBACKEND="agg", MATPLOTLIBRC=os.devnull)  # a notebook's backend, or TeX, is not there for us


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 a broken law, and for the rest see `rnnlab.errors`."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    for name, value in vars(options).items():
        if name != "prompt" and "" in (value if isinstance(value, list) else [value]):
            parser.error(f"an empty argument for {name.upper()}: it names nothing")
    try:
        with stopping_at_once():
            return int(options.run_command(options) or 0)
    except KeyboardInterrupt:
        return 130
    except RnnlabError as error:
        if options.debug:
            traceback.print_exc()
        # the other ranks say only what may be theirs alone
        if speaks(options) or isinstance(error, (DataError, OutOfMemory, RankLost)):
            say(f"{error}" if isinstance(error, Stopped) else f"error: {error}")
        return error.exit_code
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if options.debug:
            traceback.print_exc()
        say(f"error: there is not enough memory ({first_line(error)}). {NEEDS_LESS}")
        return ConfigError.exit_code


class _CommandLine(argparse.ArgumentParser):
    """Options are written out: `--byte 5` is a slip, and must not start an hour of something else."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        namespace, unknown = super().parse_known_args(args, namespace)
        if unknown:
            option = unknown[0].partition("=")[0]
            near = difflib.get_close_matches(option, self._option_string_actions, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            if not option.startswith("-"):
                hint = " here: names stand together, in front of the options"
            self.error(f"no such argument: {option}{hint}")
        return namespace, unknown

    def error(self, message: str) -> Any:
        say(f"error: {message}; `{self.prog} --help` shows what it takes")
        raise SystemExit(ConfigError.exit_code)


def build_parser() -> argparse.ArgumentParser:
    parser = _CommandLine(prog="rnnlab", description="What does each part of a recurrent-attention model buy?")
    parser.add_argument("--version", action="version", version=f"rnnlab {rnnlab.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_CommandLine)

    def add(
        name: str, run_command: Command, summary: str, *, takes_config: bool = False, prints_json: bool = True
    ) -> Any:
        command = commands.add_parser(name, help=summary, description=summary)
        command.set_defaults(run_command=run_command)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        if prints_json:
            command.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")
        if takes_config:
            fragments = "sha_rnn, size/tiny, core/qrnn, a file, ..."
            command.add_argument("fragments", nargs="+", metavar="FRAGMENT", help=fragments)
            add_overrides(command)
        return command

    for module in (train, plan, models, codec, views, doctor):
        module.add_commands(add)
    for entry in sorted(importlib.metadata.entry_points(group=COMMANDS), key=lambda entry: entry.name):
        entry.load()(add)
    return parser
