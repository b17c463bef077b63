"""Commands that train: train, resume, replay, import."""

import argparse
from pathlib import Path
from typing import Any

from rnnlab.cli.options import AddCommand, add_device, add_overrides, add_run, overrides, print_answer


def add_commands(add: AddCommand) -> None:
    train = add("train", _train, "Train a configuration.", takes_config=True)
    train.set_defaults(is_distributed=True)
    train.add_argument("--run", metavar="DIR", help="folder of the run (default: a new one under runs/)")
    train.add_argument("--init", metavar="RUN", help="start from the weights of another run of the same model")

    resume = add("resume", _resume, "Go on with a run from its newest whole checkpoint.")
    resume.set_defaults(is_distributed=True)
    add_run(resume)
    resume.add_argument("--set", dest="bindings", action="append", default=[], metavar="BINDING",
                        help="budget, evaluation, logging or saving, 'Trainer.keep = 5'; repeatable")  # fmt: skip
    resume.add_argument(
        "--corpus", metavar="NAME_OR_PATH", help="where its text lies now; the hash has to be the old one"
    )
    resume.add_argument("--bytes", type=int, metavar="N", help="another budget: Trainer.bytes")
    resume.add_argument("--device", metavar="D", help="Trainer.device: auto, cpu, cuda, cuda:1")

    replay = add("replay", _replay, "Look at one step once more: loss, gradient norms, the bytes it read.")
    add_run(replay)
    replay.add_argument("--step", type=int, required=True, metavar="K", help="1 is the first")
    replay.add_argument(
        "--corpus", metavar="NAME_OR_PATH", help="where its text lies now; the hash has to be the old one"
    )
    add_device(replay)

    importing = add("import", _import, "Make a run of a state dict of the first SHA-RNN implementation.")
    importing.add_argument("state_dict", metavar="STATE_DICT", help="what torch.save(model.state_dict(), FILE) wrote")
    importing.add_argument("--out", metavar="RUN", required=True, help="folder of the run")
    importing.add_argument("--vocabulary", metavar="FILE",
                           help="JSON list: the byte of each row (default: row i is byte i)")  # fmt: skip
    add_overrides(importing)


def _train(options: argparse.Namespace) -> None:
    from rnnlab.api import train

    result = train(options.fragments, overrides(options), run=options.run, init=options.init)
    print_answer(options, result, _result_text(result))


def _resume(options: argparse.Namespace) -> None:
    from rnnlab.api import resume

    result = resume(options.run, overrides(options))
    print_answer(options, result, _result_text(result))


def _result_text(result: dict[str, Any]) -> str:
    from rnnlab.cli.scores import task_text

    evaluating, saving, training = (result[name] for name in ("seconds_evaluating", "seconds_saving", "seconds"))
    shares = " and ".join(f"{100 * seconds / training:.0f}%" for seconds in (evaluating, saving)) if training else ""
    of_training = f", {shares} of training's {training:.1f} s" if training else ""
    unit = "positions" if "task" in result else "bytes"
    return (
        f"{task_text(result) if 'task' in result else _bpc_text(result)}\n"
        f"{result['bytes_trained']:,} {unit} in {result['steps']:,} steps, {result['bytes_per_second']:,.0f} {unit}/s; "
        f"evaluation took {evaluating:.1f} s and saving {saving:.1f} s{of_training}\n"
        f"run: {result['run']}"
    )


def _replay(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from rnnlab.data.corpora import corpus_bindings
    from rnnlab.training.replay import replay, replay_text

    moved = corpus_bindings(options.corpus) if options.corpus else []
    found = replay(options.run, options.step, options.device, moved)
    print_answer(options, asdict(found), replay_text(found))


def _bpc_text(result: dict[str, Any]) -> str:
    scored = [f"{result[protocol]['bytes_scored']:,}" for protocol in ("valid_protocol", "protocol")]
    return f"valid {result['valid_bpc']:.4f} bpc on {scored[0]} bytes, test {result['test_bpc']:.4f} bpc on {scored[1]}"


def _import(options: argparse.Namespace) -> None:
    from rnnlab.importing import UNKNOWN_LOGIT, import_state_dict, spans

    vocabulary = Path(options.vocabulary) if options.vocabulary else None
    made = import_state_dict(Path(options.state_dict), Path(options.out), vocabulary, overrides(options))
    layers = ", ".join(map(str, made["attention_in_layers"])) or "none"
    text = f"{made['layers']} layers of width {made['dim']}, attention in {layers}; {made['parameters']:,} parameters"
    if unknown := made["bytes_without_a_row"]:
        text += (
            f"\n{len(unknown)} bytes have no row, and start {-UNKNOWN_LOGIT:g} nats below the rarest: {spans(unknown)}"
        )
    print_answer(options, made, f"{text}\nrun: {made['run']}")
