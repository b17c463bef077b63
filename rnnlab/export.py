"""A run's model for places without rnnlab: its weights, and one step of it as a program for torch and for ONNX.

A step takes a byte and the state of before, and gives the logits of the next byte and the state after. Its memory has a
fixed size and rolls: positions that are not filled yet are hidden, so the numbers are those of the memory that grows.
"""

import copy
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from rnnlab.api import LoadedRun, load
from rnnlab.errors import ConfigError, Diverged
from rnnlab.interfaces import HasAttentionWeights
from rnnlab.model import fold, replace_parts
from rnnlab.state import flatten, leaves, unflatten
from rnnlab.storage.durable import STAGED, storage_errors, write_file
from rnnlab.testing.rounding import NO_WORSE, error, rounding_of
from rnnlab.training.experiment import describe

WEIGHTS, CONFIG, PROGRAM, ONNX = "model.safetensors", "config.json", "model.pt2", "model.onnx"
NEEDED = ("onnx", "onnxscript")
OPSET = 18
STEPS_COMPARED = 100


class RolledMemory(NamedTuple):
    positions: Tensor  # (M - 1, B, D) past sources, oldest first; only the newest `filled` count
    filled: Tensor  # (1, B, 1) int64 [positions]


class RolledAttention(nn.Module):
    """An attention over a memory whose size never changes, one position at a time.

    Shapes: queries, source (1, B, D) -> y (1, B, D); state RolledMemory.
    Differs: every sequence has to have seen equally many positions.
    """

    def __init__(self, attention: HasAttentionWeights) -> None:
        super().__init__()
        self.attention, self.memory = attention, attention.memory

    def initial_state(self, batch: int) -> RolledMemory:
        empty = self.attention.initial_state(batch)[0]  # type: ignore[attr-defined]
        return RolledMemory(
            empty.new_zeros(self.memory - 1, *empty.shape[1:]), torch.zeros(1, batch, 1, dtype=torch.int64)
        )

    def forward(self, queries: Tensor, source: Tensor, state: RolledMemory) -> tuple[Tensor, RolledMemory]:
        positions, room = state.positions, self.memory - 1
        hidden = torch.arange(self.memory, device=source.device) < room - state.filled[0, 0]
        weights = self.attention.weights(queries, source, positions, hidden.unsqueeze(0))
        y = self.attention.read(weights, source, positions)
        return y, RolledMemory(torch.cat([positions, source])[1:], (state.filled + 1).clamp(max=room))


def roll(model: nn.Module) -> nn.Module:
    """Give every attention in the model a memory of fixed size, in place."""
    replace_parts(model, HasAttentionWeights, RolledAttention)
    return model


class OneStep(nn.Module):
    """One position of one sequence, the state as tensors in a row: token (1,), *state -> logits (1, V), *next state."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._start = model.initial_state(1)  # type: ignore[operator]
        self.names = [name for name, _ in leaves(self._start)]

    def start(self) -> list[Tensor]:
        """The state before the first position; no two are one tensor, or the program would take one for both."""
        return [leaf.clone() for _, leaf in leaves(self._start)]

    def forward(self, token: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        before = unflatten(self._start, dict(zip(self.names, state, strict=True)))
        logits, after = self.model(token.unsqueeze(0), before)
        return logits[0], *flatten(after).values()


def export(run: str | Path, out: Path, *, best: bool = False) -> dict[str, Any]:
    """Write a run's model in three forms, and see that each computes what the run's model does.

    Args:
        run: the folder of the run.
        out: where `model.safetensors` (weights, with the gates folded), `model.pt2` (torch.export), `model.onnx` and
            `config.json` (what the inputs and outputs are) go.
        best: the best checkpoint in place of the newest.
    Returns: what config.json says.
    Raises: ConfigError if a package of the extra `export` is not installed, the state of a part has no fixed size, or a
        program does not compute what the model does; Diverged if the model's logits are not finite; StorageError.
        Nothing is written then.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"`rnnlab export` needs {', '.join(missing)}; pip install onnx onnxscript onnxruntime")
    loaded = load(run, best=best, device="cpu")
    folded = fold(loaded.model)
    step = OneStep(roll(fold(loaded.model))).eval()
    with torch.no_grad(), _staged(out) as staged:
        _check_fixed(step)
        with storage_errors(f"{out}: cannot be written"):
            weights = {name: x.contiguous() for name, x in folded.state_dict().items()}
            write_file(staged / WEIGHTS, safetensors.torch.save(weights))
            _write_programs(step, staged)
        yardstick = Yardstick.of(folded)
        errors = {PROGRAM: yardstick.error_of(PROGRAM, _in_torch(staged / PROGRAM), step)}
        if importlib.util.find_spec("onnxruntime") is not None:
            errors[ONNX] = yardstick.error_of(ONNX, _in_onnxruntime(staged / ONNX, step), step)
        told = _description(loaded, step, staged, yardstick, errors)
        with storage_errors(f"{out / CONFIG}: cannot be written"):
            write_file(staged / CONFIG, (json.dumps(told, indent=2) + "\n").encode())
    return told


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder beside `out` whose files are moved into `out` at the end of the block, and are gone if it raises.

    Raises: StorageError if one of the two cannot be made or written to.
    """
    with storage_errors(f"{out}: cannot be made"):
        missing = [folder for folder in (out, *out.parents) if not folder.exists()]
        out.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=STAGED, dir=out))
    try:
        yield staged
        with storage_errors(f"{out}: cannot be written"):
            for file in sorted(staged.iterdir(), key=lambda file: file.name == CONFIG):  # the description comes last
                os.replace(file, out / file.name)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        for folder in missing:
            folder.rmdir()
        raise
    staged.rmdir()


def _check_fixed(step: OneStep) -> None:
    """Raises: ConfigError if a tensor of the state grows."""
    _, *after = step(torch.zeros(1, dtype=torch.int64), *step.start())
    for name, old, new in zip(step.names, step.start(), after, strict=True):
        if old.shape != new.shape:
            raise ConfigError(
                f"{name} cannot be exported: it grows from {tuple(old.shape)} to {tuple(new.shape)}; an attention with "
                f"`weights` and `read` (rnnlab.interfaces.HasAttentionWeights) gets a memory of fixed size"
            )
        if old.any():
            raise ConfigError(f"{name} cannot be exported: it does not begin as zeros, which those who run it rely on")


def _write_programs(step: OneStep, out: Path) -> None:
    inputs = (torch.zeros(1, dtype=torch.int64), *step.start())
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # libraries we do not use
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the exporters themselves do
        program = torch.export.export(step, inputs)
        torch.export.save(program, out / PROGRAM)
        torch.onnx.export(
            program, inputs, out / ONNX, dynamo=True, opset_version=OPSET, external_data=False, verbose=False,
            custom_translation_table=_exact_near_zero(),
            input_names=["token", *step.names], output_names=["logits", *(f"next_{name}" for name in step.names)],
        )  # fmt: skip


def _exact_near_zero() -> dict[Any, Callable[..., Any]]:
    """ONNX lacks expm1 and log1p; the exporter's Exp - 1, Log(1 + x) and Log(Sigmoid) lose their digits near 0."""
    from onnxscript import opset18 as op

    def expm1(x: Any) -> Any:
        return op.Mul(op.Tanh(op.Mul(x, 0.5)), op.Add(op.Exp(x), 1.0))

    def log1p(x: Any) -> Any:
        return op.Mul(op.Atanh(op.Div(x, op.Add(x, 2.0))), 2.0)

    def log_sigmoid(x: Any) -> Any:
        return op.Sub(op.Min(x, 0.0), log1p(op.Exp(op.Neg(op.Abs(x)))))

    aten = torch.ops.aten
    return {aten.expm1.default: expm1, aten.log1p.default: log1p, aten.log_sigmoid.default: log_sigmoid}


RunStep = Callable[[Tensor, Sequence[Tensor]], Sequence[Tensor]]


def _in_torch(path: Path) -> RunStep:
    """A program of torch.export, step by step."""
    program = torch.export.load(path).module()
    return lambda token, state: program(token, *state)


def _in_onnxruntime(path: Path, step: OneStep) -> RunStep:
    """An ONNX model, step by step."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run_step(token: Tensor, state: Sequence[Tensor]) -> Sequence[Tensor]:
        inputs = {name: x.numpy() for name, x in zip(["token", *step.names], [token, *state], strict=True)}
        return [torch.from_numpy(y) for y in session.run(None, inputs)]

    return run_step


class Yardstick(NamedTuple):
    """What a program is held to: the model's logits over bytes drawn at random."""

    tokens: Tensor  # (T, 1)
    exact: Tensor  # (T, 1, V) in float64
    own_error: float  # of the model as it is, the largest of a logit [nats]

    @classmethod
    def of(cls, model: nn.Module) -> "Yardstick":
        vocabulary: int = model.vocabulary  # type: ignore[assignment]
        tokens = torch.randint(vocabulary, (STEPS_COMPARED, 1), generator=torch.Generator().manual_seed(0))
        logits, _ = model(tokens, model.initial_state(1))  # type: ignore[operator]
        double = copy.deepcopy(model).double()
        exact, _ = double(tokens, double.initial_state(1))  # type: ignore[operator]
        if not bool(logits.isfinite().all()):
            raise Diverged("the run's logits are not finite; a model like this is of no use anywhere")
        return cls(tokens, exact, error(logits, exact))

    def error_of(self, name: str, run_step: RunStep, step: OneStep) -> float:
        """The largest error of a program's logits [nats]. Raises: ConfigError if rounding does not explain it."""
        state: Sequence[Tensor] = step.start()
        worst = 0.0
        for token, exact in zip(self.tokens, self.exact, strict=True):
            found, *state = run_step(token, state)
            worst = max(worst, error(found, exact))
        # the model's own error, or a rounding of the largest logit where it happens to be smaller
        allowed = NO_WORSE * max(self.own_error, rounding_of(self.exact))
        if not worst <= allowed:
            raise ConfigError(
                f"{name} does not compute what the run does: its logits are off by {worst:.1e}, and rounding explains "
                f"{allowed:.1e}; nothing was written. A part's operation has no faithful counterpart there"
            )
        return worst


def _description(
    loaded: LoadedRun, step: OneStep, out: Path, yardstick: Yardstick, errors: dict[str, float]
) -> dict[str, Any]:
    vocabulary, task = loaded.model.vocabulary, loaded.experiment.source and loaded.experiment.source.task
    kind, token, following = "byte-level language model", "a byte", "the next byte"
    if task is not None:
        name = type(task).__name__
        kind, token, following = f"model of the task {name}", f"a token of {name}", "the answer at this position"
    return {
        "about": f"One step of a {kind}: (token, *state) -> (logits of {following}, *next state).",
        **describe(loaded.experiment),
        "token": {"shape": [1], "dtype": "int64", "meaning": f"{token}, 0 to {vocabulary - 1}"},
        "logits": {"shape": [1, vocabulary], "dtype": "float32", "meaning": "natural logarithms, not normalized"},
        "state": [
            {"name": name, "shape": list(x.shape), "dtype": str(x.dtype).removeprefix("torch."), "start": "zeros"}
            for name, x in zip(step.names, step.start(), strict=True)
        ],
        "step": loaded.snapshot.step,
        "corpus": loaded.folder.environment.get("corpus"),
        "corpus_sha": loaded.folder.corpus_sha,
        "config": loaded.folder.config_text,
        "largest_error_of_logits": {"the run's own": yardstick.own_error, **errors},
        "sha256": {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in (WEIGHTS, PROGRAM, ONNX)},
    }
