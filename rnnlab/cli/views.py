"""Commands that show: compare, board, show, diff, parts, check, bench, fetch."""

import argparse
import json
from pathlib import Path

from rnnlab.cli.options import AddCommand, overrides, print_answer
from rnnlab.console import standard_output
from rnnlab.errors import ConfigError


def add_commands(add: AddCommand) -> None:
    compare = add("compare", _compare, "Lay runs, or the runs of a study, beside each other.")
    compare.add_argument(
        "paths", nargs="+", metavar="RUN_OR_STUDY", help="folders of runs and of studies, and cells.jsonl"
    )
    compare.add_argument("--out", metavar="DIR", help="write the tables, the curves and compare.html there")

    board = add("board", _board, "Look at runs and studies in TensorBoard, on this machine only.", prints_json=False)
    board.add_argument("paths", nargs="+", metavar="RUN_OR_STUDY", help="folders of runs and of studies")
    board.add_argument("--port", type=int, metavar="N", help="0 for any that is free (default: 6006, or the next)")

    add("show", _show, "What a configuration builds: parts, parameters, cost.", takes_config=True)

    diff = add("diff", _diff, "What two configurations or runs differ in, after resolution.")
    diff.add_argument("a", metavar="A", help="a run folder, or fragments separated by commas: sha_rnn,size/tiny")
    diff.add_argument("b", metavar="B", help="the same")

    parts = add("parts", _parts, "The parts there are, with what they cost at D 1024.")
    parts.add_argument("kind", nargs="?", metavar="KIND", help="core, attention, feedforward, ... (default: all)")

    check = add("check", _check, "Hold a part to the laws.")
    check.add_argument("parts", nargs="*", metavar="PART", help="core.QRNN, SingleHead, ...")
    check.add_argument("--all", action="store_true", help="every part there is, and every pair of block slots")
    check.add_argument("--slow", action="store_true", help="also the laws that take seconds a part (torch.compile)")

    bench = add("bench", _bench, "How fast a configuration trains here, part by part.", takes_config=True)
    bench.add_argument("--against", choices=("plain",), help="in turns with the plainest torch, bench/ of a checkout")
    bench.add_argument("--repeats", type=int, default=7, metavar="N", help="steps that are timed (default: 7)")
    bench.add_argument("--cpu-time", action="store_true", help="count CPU time of one thread: on a machine in use")

    fetch = add("fetch", _fetch, "Download a corpus, or take it from a file, and verify it.", prints_json=False)
    fetch.add_argument("corpus", metavar="CORPUS", help="enwik8, text8 or python_stdlib")
    fetch.add_argument("--from", dest="source", metavar="FILE", help="a zip or a raw file that is already here")


def _compare(options: argparse.Namespace) -> None:
    from rnnlab.views import tables
    from rnnlab.views.compare import compare

    found = compare([Path(path) for path in options.paths], Path(options.out) if options.out else None)
    answer = {"tables": [json.loads(tables.to_json(table)) for table in found.tables], "differences": found.differences}
    print_answer(options, answer, "\n".join([found.text, *map(str, found.files)]))


def _board(options: argparse.Namespace) -> None:
    from rnnlab.views.boardview import serve

    serve([Path(path) for path in options.paths], options.port)


def _show(options: argparse.Namespace) -> None:
    from rnnlab.config import resolve
    from rnnlab.data.source import counted_in
    from rnnlab.training.experiment import build, describe, groups_of
    from rnnlab.training.groups import told, told_in_words

    experiment = build(resolve(options.fragments, overrides(options)), shapes_only=True, needs_source=False)
    facts, source = describe(experiment), experiment.source
    one = "byte" if source is None else counted_in(source).removesuffix("s")
    groups = groups_of(experiment.model, experiment.trainer)
    decay = max(group.get("weight_decay", 0.0) for group in experiment.optimizer.param_groups)
    head = [
        f"{facts['parameters']:,} parameters ({facts['parameters_deployable']:,} deployable), "
        f"{facts['macs_per_byte']:,} multiply-accumulates per {one}, {facts['state_floats']:,} floats of state",
        *told_in_words(groups, decay),
    ]
    answer = {**facts, **told(groups), "config": experiment.config.text}
    print_answer(options, answer, "\n".join([*head, "", experiment.operative]))


def _diff(options: argparse.Namespace) -> None:
    from rnnlab.api import resolve_any
    from rnnlab.config import diff, format_differences

    differences = diff(resolve_any(options.a), resolve_any(options.b))
    answer = {"differences": [{"key": d.key, "a": d.left, "b": d.right, "default": d.is_default} for d in differences]}
    print_answer(options, answer, format_differences(differences).rstrip("\n") or "no difference")


def _parts(options: argparse.Namespace) -> None:
    from rnnlab.catalog import catalog, catalog_text

    entries = catalog(options.kind)
    print_answer(options, {"parts": entries}, catalog_text(entries))


def _check(options: argparse.Namespace) -> int:
    from rnnlab import testing

    if bool(options.parts) == options.all:
        raise ConfigError("name the parts to check, or --all")
    with standard_output() as out:
        return testing.report(options.parts, slow=options.slow, as_json=options.json, out=out)  # no part named: all


def _bench(options: argparse.Namespace) -> None:
    import torch

    from rnnlab.speed.bench import benchmark
    from rnnlab.speed.bench_text import benchmark_text

    if options.cpu_time:
        torch.set_num_threads(1)
    answer = benchmark(options.fragments, overrides(options), options.against, options.repeats, options.cpu_time)
    print_answer(options, answer, benchmark_text(answer))


def _fetch(options: argparse.Namespace) -> None:
    from rnnlab.data.fetch import fetch

    path = fetch(options.corpus, options.source)
    with standard_output() as out:
        print(path, file=out)
