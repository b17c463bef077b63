"""The command line: arguments in, a public function called, its answer printed. Nothing is decided here.

torch is imported by the commands that need it, so that `rnnlab --help` answers at once.
"""

import argparse
import difflib
import importlib.metadata
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import rnnlab
from rnnlab.errors import ConfigError, DataError, RankLost, RnnlabError, Stopped
from rnnlab.interrupts import stopping_at_once

FIRST_RANK = os.environ.get("RANK", "0") == "0"  # of those that torchrun starts, the one that speaks for all


def run() -> NoReturn:
    """The `rnnlab` command: `main`, and the end of the process."""
    code = main()
    if "RANK" in os.environ:
        from rnnlab.training.ranks import leave

        leave(code)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 a broken law, and for the rest see `rnnlab.errors`."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        with stopping_at_once():
            return int(options.run_command(options) or 0)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains again on its way out
        return 0
    except KeyboardInterrupt:
        return 130
    except RnnlabError as error:
        if options.debug:
            traceback.print_exc()
        if FIRST_RANK or isinstance(error, (DataError, RankLost)):  # the others say only what may be theirs alone
            label = "" if isinstance(error, Stopped) else "error: "
            print(f"rnnlab: {label}{error}", file=sys.stderr)
        return error.exit_code


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
        print(f"rnnlab: error: {message}; `{self.prog} --help` shows what it takes", file=sys.stderr)
        raise SystemExit(ConfigError.exit_code)


Command = Callable[[argparse.Namespace], int | None]
AddCommand = Callable[..., argparse.ArgumentParser]

COMMANDS = "rnnlab.commands"
"""Entry-point group of functions that are called with `add(name, run_command, summary, ...)` and add commands by it."""


def _parser() -> argparse.ArgumentParser:
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
            _add_config(command)
        return command

    train = add("train", _train, "Train a configuration.", takes_config=True)
    train.add_argument("--run", metavar="DIR", help="folder of the run (default: a new one under runs/)")

    resume = add("resume", _resume, "Go on with a run from its newest whole checkpoint.")
    _add_run(resume)
    resume.add_argument("--set", dest="bindings", action="append", default=[], metavar="BINDING",
                        help="budget, evaluation, logging or saving, 'Trainer.keep = 5'; repeatable")  # fmt: skip
    resume.add_argument("--bytes", type=int, metavar="N", help="another budget: Trainer.bytes")
    resume.add_argument("--device", metavar="D", help="Trainer.device: auto, cpu, cuda, cuda:1")

    replay = add("replay", _replay, "Look at one step once more: loss, gradient norms, the bytes it read.")
    _add_run(replay)
    replay.add_argument("--step", type=int, required=True, metavar="K", help="1 is the first")
    _add_device(replay)

    evaluate = add("eval", _eval, "Score a run on a split, with state and memory carried.")
    _add_run(evaluate)
    evaluate.add_argument(
        "--split", default="test", choices=("train", "valid", "test"), help="which part of the text (default: test)"
    )
    _add_best(evaluate)
    evaluate.add_argument("--corpus", metavar="NAME_OR_PATH", help="another text than the run's own")
    _add_device(evaluate)
    evaluate.add_argument("--bytes", type=int, metavar="N", help="score about the first N bytes (default: all)")
    evaluate.add_argument("--memory", type=_lengths, metavar="M,...", help="BPC against memory length, table and plot: "
                          "1,256,512 [positions]")  # fmt: skip

    generate = add("generate", _generate, "Continue a prompt, byte by byte.", prints_json=False)
    _add_run(generate)
    prompt = generate.add_mutually_exclusive_group()
    prompt.add_argument(
        "--prompt", default="\n", metavar="TEXT", help="what to continue; '-' for standard input (default: a newline)"
    )
    prompt.add_argument("--prompt-file", metavar="FILE", help="take the prompt from a file")
    generate.add_argument("--bytes", type=int, default=200, metavar="N", help="how many to write (default: 200)")
    generate.add_argument(
        "--temperature", type=float, default=1.0, metavar="X", help="0 for the likeliest byte (default: 1)"
    )
    generate.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        metavar="X",
        help="sample from the likeliest that hold this probability (default: 1)",
    )
    generate.add_argument("--samples", type=int, default=1, metavar="K", help="continuations side by side (default: 1)")
    generate.add_argument("--seed", type=int, default=0, metavar="N", help="the same draws each time (default: 0)")
    _add_best(generate)
    _add_device(generate)

    probe = add("probe", _probe, "Draw what a run's model does: where it looks, how it forgets, what is hard for it.")
    _add_run(probe)
    probe.add_argument("--out", metavar="DIR", help="folder for the pictures (default: probe/ in the run)")
    probe.add_argument("--corpus", metavar="NAME_OR_PATH", help="another text than the run's own")
    probe.add_argument(
        "--split", default="valid", choices=("train", "valid", "test"), help="which part of the text (default: valid)"
    )
    probe.add_argument("--bytes", type=int, default=100_000, metavar="N", help="how much to read (default: 100,000)")
    _add_best(probe)
    _add_device(probe)

    export = add("export", _export, "Write a run's model for places without rnnlab: safetensors, torch.export, ONNX.")
    _add_run(export)
    export.add_argument("--out", metavar="DIR", required=True, help="folder for the files")
    _add_best(export)

    importing = add("import", _import, "Make a run of a state dict of the first SHA-RNN implementation.")
    importing.add_argument("state_dict", metavar="STATE_DICT", help="what torch.save(model.state_dict(), FILE) wrote")
    importing.add_argument("--out", metavar="RUN", required=True, help="folder of the run")
    importing.add_argument(
        "--vocabulary", metavar="FILE", help="JSON list: the byte of each row (default: row i is byte i)"
    )
    add_overrides(importing)

    compare = add("compare", _compare, "Lay runs, or the runs of a study, beside each other.")
    compare.add_argument("paths", nargs="+", metavar="RUN_OR_STUDY", help="folders of runs and of studies")
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

    for entry in sorted(importlib.metadata.entry_points(group=COMMANDS), key=lambda entry: entry.name):
        entry.load()(add)
    return parser


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="folder of the run")


def _add_best(command: argparse.ArgumentParser) -> None:
    command.add_argument("--best", action="store_true", help="the best checkpoint in place of the newest")


def _add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", metavar="D", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("fragments", nargs="+", metavar="FRAGMENT", help="sha_rnn, size/tiny, core/qrnn, a file, ...")
    add_overrides(command)


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

    corpus = getattr(options, "corpus", None)  # a resumption has neither corpus nor seed to choose
    sugar = corpus_bindings(corpus) if corpus else []
    for name in ("bytes", "seed", "device"):
        value = getattr(options, name, None)
        if value is not None:
            sugar.append(f"Trainer.{name} = {value!r}")
    return [*sugar, *options.bindings]


def print_answer(options: argparse.Namespace, answer: Any, text: str) -> None:
    """One JSON object if that was asked for, else the text; once, however many ranks there are."""
    from rnnlab.storage.metrics import finite

    if FIRST_RANK:
        print(json.dumps(finite(answer), indent=2, default=str) if options.json else text)


def _train(options: argparse.Namespace) -> None:
    from rnnlab.api import train

    result = train(options.fragments, overrides(options), run=options.run)
    print_answer(options, result, _result_text(result))


def _resume(options: argparse.Namespace) -> None:
    from rnnlab.api import resume

    result = resume(options.run, overrides(options))
    print_answer(options, result, _result_text(result))


def _result_text(result: dict[str, Any]) -> str:
    scored = [f"{result[protocol]['bytes_scored']:,}" for protocol in ("valid_protocol", "protocol")]
    evaluating, training = result["seconds_evaluating"], result["seconds"]
    share = f", {100 * evaluating / training:.0f}% of training's {training:.1f} s" if training else ""
    return (
        f"valid {result['valid_bpc']:.4f} bpc on {scored[0]} bytes, test {result['test_bpc']:.4f} bpc on {scored[1]}\n"
        f"{result['bytes_trained']:,} bytes in {result['steps']:,} steps, {result['bytes_per_second']:,.0f} bytes/s; "
        f"evaluation took {evaluating:.1f} s{share}\n"
        f"run: {result['run']}"
    )


def _replay(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from rnnlab.training.replay import replay, replay_text

    found = replay(options.run, options.step, options.device)
    print_answer(options, asdict(found), replay_text(found))


def _eval(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from rnnlab.api import evaluate

    if options.bytes is not None and options.bytes < 1:
        raise ConfigError(f"--bytes {options.bytes}: at least 1; leave it out to score all of the split")
    if options.memory is not None:
        if options.bytes is not None:
            raise ConfigError("--bytes does not go with --memory, which scores all of the split; leave one of them out")
        return _eval_memory(options)
    score = evaluate(
        options.run, options.split, best=options.best, corpus=options.corpus, device=options.device,
        limit=options.bytes,
    )  # fmt: skip
    answer = {"split": options.split, "bpc": score.bpc, **asdict(score.protocol)}
    p = score.protocol
    memory = "no memory" if p.memory is None else f"memory {p.memory:,}"
    how = f"{p.bytes_scored:,} bytes scored, batch size {p.batch_size}, bptt {p.bptt}, {memory}"
    print_answer(options, answer, f"{options.split} {score.bpc:.4f} bpc ({how})")


def _eval_memory(options: argparse.Namespace) -> None:
    from rnnlab.views import memory_curve, tables

    curve = memory_curve.memory_curve(
        options.run, options.memory, options.split, best=options.best, corpus=options.corpus, device=options.device
    )
    stem = options.split if options.corpus is None else f"{Path(options.corpus).stem}-{options.split}"
    files = [str(path) for path in memory_curve.write(curve, options.run, stem)]
    table = curve.table(options.run)
    text = f"{tables.to_text(table)}\ntable and plot: {Path(options.run) / memory_curve.FOLDER}"
    print_answer(options, {**json.loads(tables.to_json(table)), "split": options.split, "files": files}, text)


def _lengths(text: str) -> list[int]:
    try:
        return [int(length) for length in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: whole numbers with commas between them, 1,256,1024") from None


def _generate(options: argparse.Namespace) -> None:
    from rnnlab.api import load
    from rnnlab.generation import generate, write

    if options.prompt_file is not None:
        try:
            prompt = Path(options.prompt_file).read_bytes()
        except OSError as error:
            raise ConfigError(f"--prompt-file {options.prompt_file}: {error.strerror}") from None
    elif options.prompt == "-":
        prompt = sys.stdin.buffer.read()
    else:
        prompt = os.fsencode(options.prompt)
    loaded = load(options.run, best=options.best, device=options.device)
    continuation = generate(
        loaded.model, prompt, count=options.bytes, temperature=options.temperature, top_p=options.top_p,
        seed=options.seed, samples=options.samples,
    )  # fmt: skip
    write(continuation, sys.stdout.buffer, options.samples, readable=sys.stdout.isatty())
    if sys.stdout.isatty():
        print()


def _probe(options: argparse.Namespace) -> None:
    from rnnlab.views.probe import probe

    told = probe(
        options.run, Path(options.out) if options.out else None, corpus=options.corpus, split=options.split,
        size=options.bytes, best=options.best, device=options.device,
    )  # fmt: skip
    print_answer(options, told, "\n".join(told["files"]))


def _export(options: argparse.Namespace) -> None:
    from rnnlab.export import export

    told = export(options.run, Path(options.out), best=options.best)
    lines = [f"{name}: logits within {x:.1e} of float64" for name, x in told["largest_error_of_logits"].items()]
    print_answer(
        options, told, "\n".join([f"written to {options.out}: {', '.join(told['sha256'])}, config.json", *lines])
    )


def _import(options: argparse.Namespace) -> None:
    from rnnlab.importing import import_state_dict

    vocabulary = Path(options.vocabulary) if options.vocabulary else None
    made = import_state_dict(Path(options.state_dict), Path(options.out), vocabulary, overrides(options))
    layers = ", ".join(map(str, made["attention_in_layers"])) or "none"
    text = f"{made['layers']} layers of width {made['dim']}, attention in {layers}; {made['parameters']:,} parameters"
    print_answer(options, made, f"{text}\nrun: {made['run']}")


def _board(options: argparse.Namespace) -> None:
    from rnnlab.views.boardview import serve

    serve([Path(path) for path in options.paths], options.port)


def _show(options: argparse.Namespace) -> None:
    from rnnlab.config import resolve
    from rnnlab.training.experiment import build, describe

    experiment = build(resolve(options.fragments, overrides(options)), shapes_only=True, needs_corpus=False)
    facts = describe(experiment)
    head = (
        f"{facts['parameters']:,} parameters ({facts['parameters_deployable']:,} deployable), "
        f"{facts['macs_per_byte']:,} multiply-accumulates per byte\n"
    )
    print_answer(options, {**facts, "config": experiment.config.text}, f"{head}\n{experiment.operative}")


def _diff(options: argparse.Namespace) -> None:
    from rnnlab.api import resolve_any
    from rnnlab.config import diff, format_differences

    differences = diff(resolve_any(options.a), resolve_any(options.b))
    answer = {"differences": [{"key": d.key, "a": d.left, "b": d.right} for d in differences]}
    print_answer(options, answer, format_differences(differences).rstrip("\n") or "no difference")


def _compare(options: argparse.Namespace) -> None:
    from rnnlab.views import tables
    from rnnlab.views.compare import compare

    found = compare([Path(path) for path in options.paths], Path(options.out) if options.out else None)
    answer = {"tables": [json.loads(tables.to_json(table)) for table in found.tables], "differences": found.differences}
    written = "".join(f"\n{path}" for path in found.files)
    print_answer(options, answer, found.text + written)


def _parts(options: argparse.Namespace) -> None:
    from rnnlab.catalog import catalog, catalog_text

    entries = catalog(options.kind)
    print_answer(options, {"parts": entries}, catalog_text(entries))


def _check(options: argparse.Namespace) -> int:
    from rnnlab import testing

    if bool(options.parts) == options.all:
        raise ConfigError("name the parts to check, or --all")
    return testing.report(options.parts, slow=options.slow, as_json=options.json)  # no part named: all of them


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

    print(fetch(options.corpus, options.source))
