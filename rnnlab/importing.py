"""Moving in from the first implementation of the SHA-RNN: its state dict becomes a run, which can also train on.

Widths, depth and which layers attend are read off the shapes. Logits agree with the original's up to the first chunk of
more than one position that ends beyond M: before a chunk of T <= M positions the original cuts its memory to M - T, so
that all its queries but the last see fewer than M. Read a position at a time the two never part.
"""

import json
import re
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rnnlab import config
from rnnlab.data.splits import VOCABULARY
from rnnlab.errors import DataError
from rnnlab.storage import statedict
from rnnlab.storage.durable import storage_errors
from rnnlab.training import experiment
from rnnlab.training.loop import Loop
from rnnlab.training.run import create, held

LAYER = {
    "lnstart": "start_norm",
    "rnn": "core.lstm",
    "lnff": "skip_norm",
    "lnxff": "feedforward_norm",
    "ff.linear1": "feedforward.up",
}
ATTENDING_LAYER = {
    "lnmid": "query_norm",
    "lnmem": "memory_norm",
    "attn.q": "attention.query",
    "attn.qln": "attention.query_norm",
    "attn.qs": "attention.q_gate",
    "attn.ks": "attention.k_gate",
    "attn.vs": "attention.value_gate.v_gate",
    "attn.vq.l1": "attention.value_gate.linear",
}
"""Where each tensor of a layer goes, by the beginning of its name: theirs, ours."""

UNUSED = re.compile(r"blocks\.\d+\.(lnout|lnmid|lnmem|attn\.qkvs|attn\.r_gate)(\.|$)")
"""What the original allocates and never reads, or reads only in a layer that attends."""

OUTER = {"encoder.weight", "decoder.weight", "decoder.bias"}
"""What stands in no layer; the decoder's weight is the encoder's."""

LONGEST_LIST = 1 << 20  # [bytes] of a vocabulary

UNKNOWN_LOGIT = -10.0
"""Bias of a byte without a row, over that of the rarest token, whose row it gets [nats]. At every position it then has
e^-10 of that token's probability; with a row of zeros it would be likely where all logits are low."""

Tensors = dict[str, Tensor]


def import_state_dict(
    state_dict: Path, run: Path, vocabulary: Path | None = None, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """Make a run of the tensors in a file that `torch.save(model.state_dict(), FILE)` wrote.

    Args:
        state_dict: the file.
        run: the folder to make.
        vocabulary: a JSON list with the byte that each row of the embedding stands for; None if row i is byte i. Bytes
            without a row get that of the rarest token, which is the one with the lowest bias, and a bias still lower.
        overrides: gin bindings over those that the shapes decide, such as the corpus to go on with.
    Returns: what was made, for the user.
    Raises: DataError naming the tensor or the entry that does not fit; StorageError; ConfigError as `rnnlab.train`.
    """
    theirs = statedict.read(state_dict, tied="decoder.weight")
    try:
        attending = _attending_layers(theirs)
        names = _names(theirs, attending)
        theirs = {name: _in_single_precision(theirs, name) for name in sorted(names.keys() | OUTER & theirs.keys())}
        row_of = _row_of(theirs, vocabulary)
        resolved = config.resolve(["sha_rnn"], [*_bindings(theirs, attending), *overrides])
        without_numbers = experiment.build(resolved, shapes_only=True)
        _check_shapes(theirs, names, without_numbers.model)
        built = experiment.build(resolved)
        wanted = built.model.state_dict()
        ours = _translated(theirs, names, row_of)
        built.model.load_state_dict({name: x.reshape(wanted[name].shape) for name, x in ours.items()})
    except _Misfit as misfit:
        raise DataError(f"{state_dict}: {misfit}") from None
    folder = create(run, built, imported=state_dict.name)
    with held(folder):
        Loop(built, folder).save(must=True)
    layers = [index for index, attends in enumerate(attending) if attends]
    unknown = [byte for byte in range(VOCABULARY) if byte not in row_of]
    return {
        "run": str(run), **experiment.describe(built), "attention_in_layers": layers, "bytes_without_a_row": unknown,
    }  # fmt: skip


def spans(numbers: Sequence[int]) -> str:
    """[0, 1, 2, 9] -> 0-2, 9; for numbers that rise."""
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return ", ".join(f"{a}-{b}" if a < b else f"{a}" for a, b in zip(starts, ends, strict=True))


class _Misfit(Exception):
    """What is wrong with the tensors; the caller adds in which file."""


def _attending_layers(theirs: Tensors) -> list[bool]:
    """Whether each layer attends."""
    numbers = {int(match[1]) for name in theirs if (match := re.match(r"blocks\.(\d+)\.", name))}
    missing = next((layer for layer in range(len(numbers)) if layer not in numbers), None)
    if not numbers or missing is not None:
        found = "found none" if missing is None else f"there is no blocks.{missing}"
        raise _Misfit(f"not a SHA-RNN: its layers should be blocks.0, blocks.1, ...; {found}")
    return [f"blocks.{layer}.attn.q.weight" in theirs for layer in range(len(numbers))]


def _bindings(theirs: Tensors, attending: Sequence[bool]) -> list[str]:
    """What the shapes say of the model."""
    dim = _get(theirs, "encoder.weight", 2).shape[1]
    inner = {len(_get(theirs, f"blocks.{layer}.ff.linear1.weight", 2)) for layer in range(len(attending))}
    if len(inner) > 1:
        raise _Misfit(f"the feed-forwards of its layers differ in width: {reprlib.repr(sorted(inner))}")
    if min(inner) % dim:
        raise _Misfit(f"blocks.0.ff.linear1.weight has {min(inner)} rows, no multiple of the width {dim}")
    blocks = ", ".join("@sha/Block" if attends else "@Block" for attends in attending)
    return [f"LanguageModel.dim = {dim}", f"LanguageModel.blocks = [{blocks}]", f"Boom.inner = {inner.pop()}"]


def _names(theirs: Tensors, attending: Sequence[bool]) -> dict[str, str]:
    """Our name of every tensor that a layer reads, by theirs."""
    of_layer: dict[str, list[str]] = {}
    for name in theirs.keys() - OUTER:
        of_layer.setdefault(".".join(name.split(".")[:2]), []).append(name)
    ours: dict[str, str] = {}
    for layer, attends in enumerate(attending):
        for their_part, our_part in (LAYER | ATTENDING_LAYER if attends else LAYER).items():
            part = f"blocks.{layer}.{their_part}"
            names = [name for name in of_layer.get(f"blocks.{layer}", []) if f"{name}.".startswith(f"{part}.")]
            if not names:
                raise _Misfit(f"lacks {part}")
            ours |= {name: f"blocks.{layer}.{our_part}{name.removeprefix(part)}" for name in names}
    unknown = min((name for name in theirs.keys() - ours.keys() - OUTER if not UNUSED.match(name)), default=None)
    if unknown is not None:
        raise _Misfit(f"holds {unknown}, which the SHA-RNN does not have")
    return ours


def _in_single_precision(theirs: Tensors, name: str) -> Tensor:
    x = theirs[name].float()
    if not x.isfinite().all():
        raise _Misfit(f"{name} holds numbers that are not finite in single precision")
    return x


def _translated(theirs: Tensors, names: dict[str, str], row_of: dict[int, int]) -> Tensors:
    """The tensors under our names. Args: row_of: for each byte that they know, its row."""
    bias = theirs["decoder.bias"]
    rarest = int(bias.argmin())
    rows = [row_of.get(byte, rarest) for byte in range(VOCABULARY)]
    low = torch.tensor([0.0 if byte in row_of else UNKNOWN_LOGIT for byte in range(VOCABULARY)])
    ours = {"embedding.weight": theirs["encoder.weight"][rows], "output_bias": bias[rows] + low}
    return ours | {our_name: theirs[name] for name, our_name in names.items()}


def _check_shapes(theirs: Tensors, names: dict[str, str], model: nn.Module) -> None:
    """Hold the layers to a model on the meta device. Gates are (1, 1, D) in the original and (D,) here."""
    wanted = {
        name: x.shape for name, x in model.state_dict().items() if name not in ("embedding.weight", "output_bias")
    }
    for name, ours in sorted(names.items()):
        shape = theirs[name].shape
        if ours not in wanted:
            raise _Misfit(f"holds {name}, which the model has no place for")
        if wanted[ours] not in (shape, theirs[name].squeeze().shape):
            raise _Misfit(f"{name}: {tuple(shape)} does not fit {ours}, which is {tuple(wanted[ours])}")
    lacking = min(wanted.keys() - names.values(), default=None)
    if lacking is not None:
        raise _Misfit(f"lacks the tensor for {lacking}")


def _row_of(theirs: Tensors, vocabulary: Path | None) -> dict[int, int]:
    """The row of the embedding that stands for each byte that has one."""
    bias = _get(theirs, "decoder.bias", 1)
    count = len(_get(theirs, "encoder.weight", 2))
    decoder = theirs.get("decoder.weight", theirs["encoder.weight"])
    if len(bias) != count or not torch.equal(decoder, theirs["encoder.weight"]):
        raise _Misfit("its decoder is not its encoder; only a SHA-RNN with tied embeddings can be imported")
    if vocabulary is None and count > VOCABULARY:
        raise _Misfit(f"has {count} tokens, more than there are bytes; say with --vocabulary which byte each is")
    listed = range(count) if vocabulary is None else _listed(vocabulary, count)
    return {byte: row for row, byte in enumerate(listed)}


def _listed(vocabulary: Path, count: int) -> list[int]:
    """The byte of each row. Raises: DataError naming the entry that is none."""
    with storage_errors(f"{vocabulary}: cannot be read"), vocabulary.open("rb") as file:
        content = file.read(LONGEST_LIST + 1)
    try:
        if len(content) > LONGEST_LIST:
            raise ValueError(f"more than {LONGEST_LIST:,} bytes")
        listed = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{vocabulary}: not JSON: {error}; a list with the byte of each row is expected") from None
    if not isinstance(listed, list) or len(listed) != count:
        size = f"a list of {len(listed)}" if isinstance(listed, list) else f"a {type(listed).__name__}"
        raise DataError(f"{vocabulary}: holds {size}; the embedding has {count} rows, and a byte is needed for each")
    first: dict[int, int] = {}
    for row, byte in enumerate(listed):
        if not isinstance(byte, int) or isinstance(byte, bool) or not 0 <= byte < VOCABULARY:
            raise DataError(
                f"{vocabulary}: entry {row} is {reprlib.repr(byte)}; a byte is a whole number from 0 to 255"
            )
        if byte in first:
            raise DataError(f"{vocabulary}: entries {first[byte]} and {row} are both byte {byte}")
        first[byte] = row
    return listed


def _get(theirs: Tensors, name: str, dimensions: int) -> Tensor:
    if name not in theirs:
        raise _Misfit(f"lacks {name}")
    if theirs[name].dim() != dimensions or not theirs[name].numel():
        raise _Misfit(f"{name} has the shape {tuple(theirs[name].shape)}, not {dimensions} dimensions of 1 or more")
    return theirs[name]
