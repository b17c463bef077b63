"""The `rnnlab` command."""

from rnnlab.cli.main import build_parser, main, run

__all__ = ["build_parser", "main", "run"]
