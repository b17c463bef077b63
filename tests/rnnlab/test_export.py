"""Exported models compute what the run does, where rnnlab cannot be imported."""

import json
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle, product
from pathlib import Path

import pytest
import torch

import rnnlab
from rnnlab import config, registry
from rnnlab.cli import main
from rnnlab.errors import ConfigError
from rnnlab.export import OneStep, RolledAttention, export, roll
from rnnlab.generation import generate
from rnnlab.model import fold
from rnnlab.testing import covering, rounding
from rnnlab.training import experiment
from tests.once import once
from tests.rnnlab import quick_runs
from tests.sampled import sampled

ARRANGEMENTS = {
    "default": [],
    "qrnn, projected, residual": [
        "Block.core = @core.QRNN",
        "QRNN.width = 2",
        "attention = @attention.Projected",
        "Block.wiring = @block.PreNorm",
        "Block.feedforward = @feedforward.SwiGLU",
    ],
}
GENERATE = """
import json, sys
sys.modules["rnnlab"] = None
import torch
folder, prompt = sys.argv[1], bytes.fromhex(sys.argv[2])
told = json.load(open(folder + "/config.json"))
state = [torch.zeros(entry["shape"], dtype=getattr(torch, entry["dtype"])) for entry in told["state"]]
if sys.argv[3] == "torch":
    program = torch.export.load(folder + "/model.pt2").module()
    step = lambda token: program(token, *state)
else:
    import onnxruntime
    session = onnxruntime.InferenceSession(folder + "/model.onnx")
    names = ["token"] + [entry["name"] for entry in told["state"]]
    def step(token):
        inputs = dict(zip(names, [x.numpy() for x in [token] + state]))
        return [torch.from_numpy(y) for y in session.run(None, inputs)]
written = b""
with torch.no_grad():
    for byte in prompt:
        logits, *state = step(torch.tensor([byte]))
    for _ in range(1000):
        byte = int(logits.argmax())
        written += bytes([byte])
        logits, *state = step(torch.tensor([byte]))
print(written.hex())
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Path]]:
    """(run, folder of the export) of an arrangement, made when first asked for."""

    def get(name: str) -> tuple[Path, Path]:
        def make(folder: Path) -> None:
            quick_runs.train(folder / "run", steps=2, extra=["LanguageModel.init_std = 0.2", *ARRANGEMENTS[name]])
            export(folder / "run", folder / "out")

        folder = once(tmp_path_factory, f"export {name}", make)
        return folder / "run", folder / "out"

    return get


@pytest.mark.long
@pytest.mark.parametrize("form", ["torch", "onnx"])
@pytest.mark.parametrize(
    "name", sampled(["default", "qrnn, projected, residual"], (), soaked=("qrnn, projected, residual",))
)
def test_a_thousand_greedy_bytes_are_the_same_without_rnnlab(
    exported: Callable[[str], tuple[Path, Path]], name: str, form: str
) -> None:
    run, out = exported(name)
    prompt = quick_runs.TEXT[:40]
    expected = b"".join(generate(rnnlab.load(run).model, prompt, count=1000, temperature=0.0))
    command = [sys.executable, "-c", GENERATE, str(out), prompt.hex(), form]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=out, check=False)
    assert answer.returncode == 0, answer.stderr
    assert bytes.fromhex(answer.stdout) == expected
    assert len(set(expected)) > 3, "or equality would say little"


@pytest.mark.long
def test_the_weights_are_folded_and_described(exported: Callable[[str], tuple[Path, Path]]) -> None:
    from safetensors.torch import load_file

    run, out = exported("default")
    told = json.loads((out / "config.json").read_text())
    weights = load_file(out / "model.safetensors")
    assert sum(x.numel() for x in weights.values()) == told["parameters_deployable"] < told["parameters"]
    assert "blocks.2.attention.value_gate.gate" in weights
    model = fold(rnnlab.load(run).model)
    model.load_state_dict(weights)
    assert told["vocabulary"] == 256
    assert told["config"] == (run / "config.gin").read_text()
    errors = told["largest_error_of_logits"]
    assert set(errors) == {"the run's own", "model.pt2", "model.onnx"}
    assert 0 < max(errors.values()) <= rounding.NO_WORSE * errors["the run's own"]
    assert {entry["name"]: entry["shape"] for entry in told["state"]}["state.2.attention.positions"] == [23, 1, 16]


@pytest.mark.long
def test_the_command_says_what_it_wrote(
    exported: Callable[[str], tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = exported("default")
    assert main(["export", str(run), "--out", str(tmp_path / "out"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told["sha256"]) == {"model.safetensors", "model.pt2", "model.onnx"}


CORES = [part.name for part in registry.parts("core")]
ATTENTIONS = ["None", *(f"@attention.{part.name}" for part in registry.parts("attention"))]


@pytest.mark.parametrize(("core", "attention", "memory"), covering(list(product(CORES, ATTENTIONS, [1, 2, 7]))))
def test_a_step_over_a_rolled_memory_is_the_models_own(tmp_path: Path, core: str, attention: str, memory: int) -> None:
    parts = [f"Block.core = @core.{core}", f"attention = {attention}", "LanguageModel.init_std = 0.3"]
    bound = [line for line in quick_runs.bindings(tmp_path, extra=parts) if not line.startswith("memory")]
    more = [] if attention == "None" else [f"memory = {memory}"]
    model = experiment.build(config.resolve(["sha_rnn", "size/tiny"], [*bound, *more])).model.eval()
    step = OneStep(roll(fold(model)))
    tokens = torch.randint(256, (20, 1), generator=torch.Generator().manual_seed(1))
    state, steps = step.start(), []
    with torch.no_grad():
        logits, _ = model(tokens, model.initial_state(1))
        for token in tokens:
            found, *state = step(token, *state)
            steps.append(found)
        twin = model.double()
        exact, _ = twin(tokens, twin.initial_state(1))
    rounding.check_no_worse(torch.stack(steps), than=logits, exact=exact)


EVERY_ATTENTION = list(zip(["GRU", "RGLRU", "QRNN", "MinGRU", "SRU", "MLSTM"], ATTENTIONS, strict=True))
EVERY_CORE = [pair for pair in zip(CORES, cycle(ATTENTIONS), strict=False) if pair not in EVERY_ATTENTION]
HERE = ("GRU", "RGLRU", "SRU", "LSTM")  # with none and three attentions; the others in `make soak`


@pytest.mark.long
@pytest.mark.parametrize(
    ("core", "attention"),
    [pytest.param(*pair, marks=[] if pair[0] in HERE else [pytest.mark.soak]) for pair in EVERY_ATTENTION + EVERY_CORE],
)
def test_every_core_and_attention_goes_through_the_real_exporter(tmp_path: Path, core: str, attention: str) -> None:
    parts = [f"Block.core = @core.{core}", f"attention = {attention}", "LanguageModel.init_std = 0.2"]
    quick_runs.train(tmp_path / "run", steps=2, extra=parts)
    errors = export(tmp_path / "run", tmp_path / "out")["largest_error_of_logits"]
    assert set(errors) == {"the run's own", "model.pt2", "model.onnx"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


FILES = ["config.json", "model.onnx", "model.pt2", "model.safetensors"]


@pytest.mark.long
def test_a_program_that_computes_something_else_is_refused_and_nothing_stays_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter's own Exp - 1 and Log(Sigmoid), under -O as well: what a user relies on is no assert."""
    parts = ["Block.core = @core.RGLRU", "attention = None", "LanguageModel.init_std = 0.2"]
    quick_runs.train(tmp_path / "run", steps=2, extra=parts)
    monkeypatch.setattr("rnnlab.export._exact_near_zero", dict)
    with pytest.raises(ConfigError, match=r"model\.onnx does not compute what the run does.*nothing was written"):
        export(tmp_path / "run", tmp_path / "deep" / "out")
    assert not (tmp_path / "deep").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.onnx").write_text("an earlier one")
    with pytest.raises(ConfigError):
        export(tmp_path / "run", tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["model.onnx"]
    assert (tmp_path / "mine" / "model.onnx").read_text() == "an earlier one"


class Growing(torch.nn.Module):
    """An attention that is not HasAttentionWeights."""

    def initial_state(self, batch: int) -> tuple[torch.Tensor]:
        return (torch.zeros(0, batch, 4),)

    def forward(
        self, queries: torch.Tensor, source: torch.Tensor, state: tuple[torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor]]:
        return source, (torch.cat([state[0], source]),)


def test_a_memory_that_grows_is_refused_by_name() -> None:
    from rnnlab.export import _check_fixed

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = Growing()

        def initial_state(self, batch: int) -> tuple[tuple[torch.Tensor]]:
            return (self.attention.initial_state(batch),)

        def forward(self, tokens: torch.Tensor, state: tuple[tuple[torch.Tensor]]) -> tuple[torch.Tensor, object]:
            x = torch.zeros(*tokens.shape, 4)
            y, after = self.attention(x, x, state[0])
            return y, (after,)

    assert not isinstance(roll(Model()).attention, RolledAttention)
    with pytest.raises(ConfigError, match=r"state\.0\.0 cannot be exported: it grows"):
        _check_fixed(OneStep(roll(Model())))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("rnnlab.export.NEEDED", ("onnx", "a_library_that_nobody_has"))
    with pytest.raises(ConfigError, match=r"a_library_that_nobody_has; pip install onnx onnxscript onnxruntime"):
        export(tmp_path, tmp_path / "out")
