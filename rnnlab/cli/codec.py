"""Commands that turn a model's probabilities into a file and back: compress, decompress."""

import argparse
from typing import Any

from rnnlab.cli.options import AddCommand, add_best, overrides, print_answer
from rnnlab.errors import ConfigError


def add_commands(add: AddCommand) -> None:
    compress = add("compress", _compress, "Compress a file with a run's model, or with one that learns as it codes.")
    compress.add_argument("file", metavar="FILE", help="any file")
    how = compress.add_mutually_exclusive_group(required=True)
    how.add_argument("--run", metavar="RUN", help="the run whose model predicts")
    how.add_argument("--online", nargs="+", metavar="FRAGMENT", help="start from the seed of this configuration")
    compress.add_argument("--out", metavar="FILE.rnn", required=True, help="what to write")
    compress.add_argument("--streams", type=int, metavar="N",
                          help="with --run: pieces coded side by side (default: eval_batch_size)")  # fmt: skip
    compress.add_argument("--dynamic", action="store_true", help="with --run: let it learn from what is coded")
    compress.add_argument("--set", dest="bindings", action="append", default=[], metavar="BINDING",
                          help="one gin binding: 'Dynamic.rate = 1e-4', 'Online.again = 1'; repeatable")  # fmt: skip
    compress.add_argument("--seed", type=int, metavar="N", help="with --online: Trainer.seed")
    add_best(compress)

    decompress = add("decompress", _decompress, "Make the file again that was compressed, or refuse.")
    decompress.add_argument("file", metavar="FILE.rnn", help="what compress wrote")
    decompress.add_argument("--run", metavar="RUN", help="the run that it was compressed with, if it was with one")
    decompress.add_argument("--out", metavar="FILE", required=True, help="what to write")


def _compress(options: argparse.Namespace) -> None:
    from rnnlab.codec.files import compress_online, compress_with_run

    if options.online:
        for name in ("streams", "dynamic", "best"):
            if getattr(options, name):
                raise ConfigError(
                    f"--{name} goes with --run; a model that learns online takes Trainer.batch_size streams"
                )
        figures = compress_online(options.file, options.out, options.online, overrides(options))
    else:
        if options.seed is not None:
            raise ConfigError(f"--seed {options.seed} goes with --online; a run has its own")
        if options.bindings and not options.dynamic:
            raise ConfigError(f"--set {options.bindings[0]!r} goes with --dynamic or --online")
        figures = compress_with_run(
            options.file, options.out, options.run, streams=options.streams, best=options.best,
            dynamic=options.dynamic, overrides=options.bindings,
        )  # fmt: skip
    print_answer(options, figures, _text(figures))


def _text(figures: dict[str, Any]) -> str:
    size, packed = figures["bytes"], figures["compressed_bytes"]
    rate = "" if figures["bits_per_byte"] is None else f", {figures['bits_per_byte']:.4f} bits/byte"
    lines = [f"{size:,} bytes to {packed:,}{rate}; {figures['bytes_per_second']:,.0f} bytes/s"]
    if figures["stored_as_it_is"]:
        lines.append("stored as it is: coding would have made it larger")
    if figures["payload_bpc"] is not None:
        evaluated = figures.get("eval_bpc")
        beside = f"eval of the same bytes {evaluated:.4f} bpc" if evaluated is not None else "online code length "
        beside += "" if evaluated is not None else f"{figures['model_bpc']:.4f} bpc"
        lines.append(f"payload {figures['payload_bpc']:.4f} bpc on {figures['coded_bytes']:,} bytes; {beside}")
        streams = figures["streams"]
        told = f"{streams}" if isinstance(streams, int) else " then ".join(map(str, streams))
        header, plain = figures["header_bytes"], figures["plain_bytes"]
        lines.append(
            f"beside it {header:,} bytes of header and checksum, and {plain:,} stored as they are: the first of each "
            f"stream ({told}), and the rest behind the streams"
        )
    return "\n".join(lines)


def _decompress(options: argparse.Namespace) -> None:
    from rnnlab.codec.files import decompress

    figures = decompress(options.file, options.out, options.run)
    text = f"{figures['bytes']:,} bytes, SHA-256 {figures['sha256']}; {figures['bytes_per_second']:,.0f} bytes/s"
    print_answer(options, figures, text)
