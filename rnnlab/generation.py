"""Generation, a byte at a time with the state carried: work and memory per byte do not grow with what was written."""

import codecs
import itertools
import math
from collections.abc import Iterator
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from rnnlab.data.splits import VOCABULARY
from rnnlab.errors import ConfigError, Diverged
from rnnlab.interfaces import HasInPlaceState
from rnnlab.matmul import for_many_shapes, products_in
from rnnlab.model import LanguageModel, fold
from rnnlab.rng import generator
from rnnlab.state import State

PROMPT_CHUNK = 1024  # [positions] read at a time, so that a long prompt needs no more memory than a short one
MOST_SAMPLES = 1 << 16  # side by side: each has a state, and memory for more would not be there


def generate(
    model: nn.Module,
    prompt: bytes = b"\n",
    *,
    count: int | None = 200,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int = 0,
    samples: int = 1,
) -> Iterator[bytes]:
    """Yield `count` times the next byte of each of `samples` continuations, as a `bytes` of that many.

    Args:
        model: a LanguageModel; a folded copy in eval mode does the work.
        prompt: what comes before, at least one byte.
        count: how many bytes each continuation gets [bytes]; None for no end.
        temperature: logits are divided by it, any finite number >= 0; 0 takes the likeliest byte.
        top_p: sample among the likeliest bytes that together hold this much probability.
        seed: the same seed, any whole number, gives the same bytes.
        samples: continuations written side by side, 1 to 65,536.
    Raises: ConfigError if the prompt is empty or an argument is out of its range.
    """
    if (vocabulary := getattr(model, "vocabulary", VOCABULARY)) != VOCABULARY:
        raise ConfigError(f"the model knows {vocabulary} tokens of a task, and only one of bytes can continue a text")
    if not prompt:
        raise ConfigError("the prompt is empty; a model needs at least one byte to go on from (a newline will do)")
    if count is not None and count < 0:
        raise ConfigError(f"bytes {count}: 0 or more")
    if not 0.0 <= temperature < math.inf:
        raise ConfigError(f"temperature {temperature}: a finite number is needed, 0 (the likeliest byte) or more")
    if not 0.0 < top_p <= 1.0:
        raise ConfigError(f"top-p {top_p}: a probability in (0, 1] is needed")
    if not 1 <= samples <= MOST_SAMPLES:
        raise ConfigError(f"samples {samples}: 1 to {MOST_SAMPLES:,} at a time; another seed gives others")
    return _continue(fold(model), prompt, count, temperature, top_p, seed, samples)


def _continue(
    model: nn.Module, prompt: bytes, count: int | None, temperature: float, top_p: float, seed: int, samples: int
) -> Iterator[bytes]:
    device = next(model.parameters()).device
    draws = generator(seed, 0, "generation")
    state = model.initial_state(samples)  # type: ignore[operator]
    tokens = torch.frombuffer(bytearray(prompt), dtype=torch.uint8).long()
    tokens = tokens.unsqueeze(1).expand(-1, samples).to(device)  # (T, B)
    with torch.inference_mode(), for_many_shapes(), products_in("fp32"):
        for chunk in torch.split(tokens, PROMPT_CHUNK):
            logits, state = model(chunk, state)
        state = in_place(model, state)
    for number in itertools.count(1) if count is None else range(1, count + 1):
        with torch.inference_mode(), for_many_shapes(), products_in("fp32"):
            chosen = choose(logits[-1].cpu(), temperature, top_p, draws)
        yield bytes(chosen.tolist())
        if number != count:
            with torch.inference_mode(), for_many_shapes(), products_in("fp32"):
                logits, state = model(chosen.unsqueeze(0).to(device), state)


def in_place(part: Any, state: State) -> State:
    """The state that nobody else looks at, kept in place by the parts that offer it.

    A model's state is a tuple that goes with its blocks; a block's is a NamedTuple whose fields are named as its parts.
    """
    if isinstance(part, HasInPlaceState):
        return part.in_place(state)
    if isinstance(part, LanguageModel):
        return tuple(in_place(block, block_state) for block, block_state in zip(part.blocks, state, strict=True))
    if not hasattr(state, "_fields"):
        return state
    children = {name: in_place(getattr(part, name, None), child) for name, child in state._asdict().items()}
    return type(state)(**children)


def choose(logits: Tensor, temperature: float, top_p: float, draws: torch.Generator) -> Tensor:
    """logits (B, V), in any precision -> the next byte of each sequence (B,). Raises: Diverged if one is not finite."""
    if not bool(logits.isfinite().all()):
        raise Diverged("the logits are not finite: neither are the parameters, or what they give")
    if temperature == 0.0:
        return logits.argmax(dim=-1)
    # In double, where a temperature or top_p above 0 is not 0; the likeliest stays at 0 however small a temperature is.
    exact = logits.double()
    probabilities = ((exact - exact.amax(dim=-1, keepdim=True)) / temperature).softmax(dim=-1)
    if top_p == 1.0:
        return torch.multinomial(probabilities.float(), 1, generator=draws).squeeze(-1)
    probabilities, order = probabilities.sort(dim=-1, descending=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    probabilities = probabilities.masked_fill(before >= top_p, 0.0)  # the first is always kept: nothing is before it
    place = torch.multinomial(probabilities.float(), 1, generator=draws)
    return order.gather(-1, place).squeeze(-1)


def write(continuation: Iterator[bytes], out: BinaryIO, samples: int = 1, readable: bool = False) -> None:
    """Write what `generate` yields: the first sample as it comes, then the others, each under its number.

    Args:
        readable: for a terminal: what is not UTF-8 is shown as \\xff, and so is what would move its cursor.
    Raises: BrokenPipeError if nobody reads any more.
    """
    show = Readable() if readable else bytes
    others = [bytearray() for _ in range(samples - 1)]
    _write_heading(out, 1, samples)
    for step in continuation:
        out.write(show(step[:1]))
        out.flush()
        for other, byte in zip(others, step[1:], strict=True):
            other.append(byte)
    for number, other in enumerate(others, start=2):
        out.write(b"\n")
        _write_heading(out, number, samples)
        out.write((Readable() if readable else bytes)(bytes(other)))
    if samples > 1:
        out.write(b"\n")
    out.flush()


def _write_heading(out: BinaryIO, number: int, samples: int) -> None:
    if samples > 1:
        out.write(f"--- sample {number} of {samples}\n".encode())


class Readable:
    """Bytes of UTF-8 as they are, all others as escapes; a character of several bytes comes with its last one."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")

    def __call__(self, data: bytes) -> bytes:
        text = self._decoder.decode(data)
        shown = [c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text]
        return "".join(shown).encode()
