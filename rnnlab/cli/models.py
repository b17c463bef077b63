"""Commands that take a trained model: eval, generate, probe, export."""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from rnnlab.cli.options import AddCommand, add_best, add_device, add_run, print_answer
from rnnlab.console import standard_output
from rnnlab.errors import ConfigError


def add_commands(add: AddCommand) -> None:
    evaluate = add("eval", _eval, "Score a run on a split, with state and memory carried.")
    add_run(evaluate)
    evaluate.add_argument("--split", default="test", metavar="S", help="train, valid, test or all (default: test)")
    add_best(evaluate)
    evaluate.add_argument("--corpus", metavar="NAME_OR_PATH", help="another text than the run's own")
    add_device(evaluate)
    evaluate.add_argument("--bytes", type=int, metavar="N", help="score about the first N bytes (default: all)")
    evaluate.add_argument("--at", type=_lengths, default=[], metavar="N,...",
                          help="of a task, difficulties to test at: 256,512 (default: its own)")  # fmt: skip
    evaluate.add_argument("--memory", type=_lengths, metavar="M,...", help="BPC or accuracy against memory length: "
                          "1,256,512 [positions]")  # fmt: skip
    evaluate.add_argument("--dynamic", action="store_true", help="also let it learn from what was scored before")
    evaluate.add_argument("--set", dest="bindings", action="append", default=[], metavar="BINDING",
                          help="with --dynamic: 'Dynamic.rate = 1e-4', 'Dynamic.decay = 0.02'; repeatable")  # fmt: skip

    generate = add("generate", _generate, "Continue a prompt, byte by byte.", prints_json=False)
    add_run(generate)
    prompt = generate.add_mutually_exclusive_group()
    prompt.add_argument("--prompt", default="\n", metavar="TEXT",
                        help="what to continue; '-' for standard input (default: a newline)")  # fmt: skip
    prompt.add_argument("--prompt-file", metavar="FILE", help="take the prompt from a file")
    generate.add_argument("--bytes", type=int, default=200, metavar="N", help="how many to write (default: 200)")
    generate.add_argument("--temperature", type=float, default=1.0, metavar="X",
                          help="0 for the likeliest byte (default: 1)")  # fmt: skip
    generate.add_argument("--top-p", type=float, default=1.0, metavar="X",
                          help="sample from the likeliest that hold this probability (default: 1)")  # fmt: skip
    generate.add_argument("--samples", type=int, default=1, metavar="K", help="continuations side by side (default: 1)")
    generate.add_argument("--seed", type=int, default=0, metavar="N", help="the same draws each time (default: 0)")
    add_best(generate)
    add_device(generate)

    probe = add("probe", _probe,
                "Draw what a run's model does: attention by distance, forget gates, bits by kind of byte.")  # fmt: skip
    add_run(probe)
    probe.add_argument("--out", metavar="DIR", help="folder for the pictures (default: probe/ in the run)")
    probe.add_argument("--text", metavar="FILE", help="color this text by surprisal instead: a picture and a page")
    probe.add_argument("--arrays", metavar="FILE.npz", help="with --text, or of a task's example: write surprisal, "
                       "hidden states, attention weights and gates")  # fmt: skip
    probe.add_argument("--memory", type=int, metavar="M", help="with --text, the memory to read it with [positions] "
                       "(default: the run's own)")  # fmt: skip
    probe.add_argument("--corpus", metavar="NAME_OR_PATH", help="another text than the run's own")
    probe.add_argument("--split", metavar="S", help="train, valid, test or all (default: valid)")
    probe.add_argument("--at", type=int, metavar="N", help="of a task, the difficulty of the examples that are drawn")
    probe.add_argument("--bytes", type=int, default=100_000, metavar="N", help="how much to read (default: 100,000)")
    add_best(probe)
    add_device(probe)

    export = add("export", _export, "Write a run's model for places without rnnlab: safetensors, torch.export, ONNX.")
    add_run(export)
    export.add_argument("--out", metavar="DIR", required=True, help="folder for the files")
    add_best(export)


def _eval(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from rnnlab.api import evaluate
    from rnnlab.cli.scores import accuracy_table

    if options.bytes is not None and options.bytes < 1:
        raise ConfigError(f"--bytes {options.bytes}: at least 1; leave it out to score all of the split")
    if options.bindings and not options.dynamic:
        raise ConfigError(f"--set {options.bindings[0]!r} goes with --dynamic; leave it out")
    if options.dynamic and (options.memory is not None or options.at):
        raise ConfigError("--dynamic goes with neither --memory nor --at; leave one of them out")
    if options.memory is not None:
        if options.bytes is not None:
            raise ConfigError("--bytes does not go with --memory, which scores all of the split; leave one of them out")
        return _eval_memory(options)
    score = evaluate(
        options.run, options.split, best=options.best, corpus=options.corpus, device=options.device,
        limit=options.bytes, at=options.at,
    )  # fmt: skip
    p = score.protocol
    memory = "no memory" if p.memory is None else f"memory {p.memory:,}"
    how = f"batch size {p.batch_size}, bptt {p.bptt}, {memory}"
    if score.accuracy is None:
        answer = {"split": options.split, "corpus": options.corpus, "bpc": score.bpc, **p.told()}
        text = f"{options.split} {score.bpc:.4f} bpc ({p.bytes_scored:,} bytes scored, {how})"
        if options.dynamic:
            dynamic = evaluate(
                options.run, options.split, best=options.best, corpus=options.corpus, device=options.device,
                limit=options.bytes, dynamic=True, overrides=options.bindings,
            )  # fmt: skip
            rule = dynamic.protocol.dynamic or {}
            answer |= {"dynamic_bpc": dynamic.bpc, "dynamic_protocol": dynamic.protocol.told()}
            settings = ", ".join(f"{name} {value}" for name, value in rule.items())
            text += f"\nwith dynamic evaluation {dynamic.bpc:.4f} bpc ({settings})"
    else:
        by = [asdict(one) for one in score.by]
        figures = {"accuracy": score.accuracy, "nats": score.nats, "chance": score.chance}
        answer = {"split": options.split, **figures, "by": by, **p.told()}
        text = f"{accuracy_table(options.split, score)}\n({how})"
    print_answer(options, answer, text)


def _eval_memory(options: argparse.Namespace) -> None:
    from rnnlab.views import memory_curve, tables

    curve = memory_curve.memory_curve(
        options.run, options.memory, options.split, best=options.best, corpus=options.corpus, device=options.device,
        at=options.at,
    )  # fmt: skip
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
    with standard_output() as out:
        write(continuation, out.buffer, options.samples, readable=out.isatty())
        if out.isatty():
            print(file=out)


def _probe(options: argparse.Namespace) -> None:
    out = Path(options.out) if options.out else None
    arrays = Path(options.arrays) if options.arrays else None
    read: dict[str, Any] = {"size": options.bytes, "best": options.best, "device": options.device, "arrays": arrays}
    if options.text is None:
        from rnnlab.views.probe import probe

        if options.memory is not None:
            raise ConfigError(
                f"--memory {options.memory} goes with --text; `rnnlab eval {options.run} --memory {options.memory}` "
                f"scores the run with another memory"
            )
        split = options.split or "valid"
        told = probe(options.run, out, corpus=options.corpus, split=split, at=options.at, **read)
    else:
        from rnnlab.views.text_probe import probe_text

        for name in ("corpus", "split", "at"):
            if getattr(options, name) is not None:
                raise ConfigError(
                    f"--{name} does not go with --text, which reads a file as it is; leave one of them out"
                )
        told = probe_text(options.run, options.text, out, memory=options.memory, **read)
    print_answer(options, told, "\n".join(told["files"]))


def _export(options: argparse.Namespace) -> None:
    from rnnlab.export import export

    told = export(options.run, Path(options.out), best=options.best)
    lines = [f"written to {options.out}: {', '.join(told['sha256'])}, config.json"]
    lines += [f"{name}: logits within {x:.1e} of float64" for name, x in told["largest_error_of_logits"].items()]
    print_answer(options, told, "\n".join(lines))
