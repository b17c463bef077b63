"""The model against its specification: a forward pass in plain tensor operations, counts, initialization."""

import copy
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from rnnlab import cli, config
from rnnlab.model import LanguageModel, count_parameters, fold, reach
from rnnlab.state import detach, flatten
from rnnlab.testing import rounding
from rnnlab.training.experiment import build
from tests.sampled import sampled

BATCH_SIZE = 3
EXACT = 1e-9  # relative and absolute, in float64


def assert_exact(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=EXACT, atol=EXACT)


def build_model(fragments: Sequence[str], overrides: Sequence[str] = ()) -> LanguageModel:
    resolved = config.resolve([fragments[0], "size/tiny", *fragments[1:]], ["LanguageModel.dim = 16", *overrides])
    return build(resolved, needs_source=False).model


def randomized(model: LanguageModel) -> LanguageModel:
    """In float64, with every parameter drawn anew: gates and biases that start at 0 would hide their part in it."""
    torch.manual_seed(11)
    model.double()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            center = 1.0 if name.endswith("norm.weight") else 0.0
            parameter.copy_(center + 0.4 * torch.randn(parameter.shape, dtype=torch.float64))
    return model


@dataclass
class LayerState:
    h: Tensor  # (B, D)
    c: Tensor  # (B, D)
    seen: list[Tensor]  # of (B, D): what the memory was given, oldest first


class Written:
    """The SHA-RNN one position at a time, from its equations alone.

    Args:
        weights: the parameters by name.
        memory: M [positions] that a query may see, itself included.
    """

    def __init__(self, weights: dict[str, Tensor], layers: int, heads: int, memory: int) -> None:
        self.weights, self.layers, self.heads, self.memory = weights, layers, heads, memory
        self.dim = weights["embedding.weight"].shape[1]

    def start(self) -> list[LayerState]:
        zero = torch.zeros(BATCH_SIZE, self.dim, dtype=torch.float64)
        return [LayerState(zero, zero, []) for _ in range(self.layers)]

    def forward(self, tokens: Tensor, states: list[LayerState]) -> Tensor:
        """tokens (T, B) -> logits (T, B, V); `states` is brought forward in place."""
        logits = []
        for token in tokens:
            h = self.weights["embedding.weight"][token]
            for layer, state in enumerate(states):
                h = self.block(h, state, f"blocks.{layer}.")
            logits.append(h @ self.weights["embedding.weight"].T + self.weights["output_bias"])
        return torch.stack(logits)

    def block(self, h: Tensor, state: LayerState, at: str) -> Tensor:
        h = self.lstm(self.norm(h, at + "start_norm"), state, at + "core.lstm.")
        if at + "attention.q_gate" in self.weights:
            remembered, query = self.norm(h, at + "memory_norm"), self.norm(h, at + "query_norm")
            state.seen.append(remembered)
            h = self.attention(query, state.seen[-self.memory :], at + "attention.") + query
        x, h = self.norm(h, at + "feedforward_norm"), self.norm(h, at + "skip_norm")
        return self.feedforward(x, at + "feedforward.") + h

    def norm(self, x: Tensor, name: str) -> Tensor:
        centered = x - x.mean(-1, keepdim=True)
        variance = (centered**2).mean(-1, keepdim=True)
        return centered / torch.sqrt(variance + 1e-12) * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def lstm(self, x: Tensor, state: LayerState, at: str) -> Tensor:
        w = self.weights
        into = x @ w[at + "weight_ih_l0"].T + w[at + "bias_ih_l0"]
        gates = into + state.h @ w[at + "weight_hh_l0"].T + w[at + "bias_hh_l0"]
        D = self.dim
        input_gate, forget_gate = torch.sigmoid(gates[:, :D]), torch.sigmoid(gates[:, D : 2 * D])
        candidate, output_gate = torch.tanh(gates[:, 2 * D : 3 * D]), torch.sigmoid(gates[:, 3 * D :])
        state.c = forget_gate * state.c + input_gate * candidate
        state.h = output_gate * torch.tanh(state.c)
        return state.h

    def attention(self, query: Tensor, seen: list[Tensor], at: str) -> Tensor:
        w = self.weights
        keys = torch.stack(seen)  # (M', B, D)
        q = torch.sigmoid(w[at + "q_gate"]) * self.norm(self.linear(query, at + "query"), at + "query_norm")
        k = torch.sigmoid(w[at + "k_gate"]) * keys
        gate = self.linear(torch.sigmoid(w[at + "value_gate.v_gate"]), at + "value_gate.linear")
        v = torch.sigmoid(gate[self.dim :]) * torch.tanh(gate[: self.dim]) * keys
        width = self.dim // self.heads
        answers = []
        for head in range(self.heads):
            mine = slice(head * width, (head + 1) * width)
            scores = (q[:, mine] * k[:, :, mine]).sum(-1) / math.sqrt(width)  # (M', B)
            shares = torch.exp(scores - scores.max(0).values)
            shares = shares / shares.sum(0)
            answers.append((shares.unsqueeze(-1) * v[:, :, mine]).sum(0))
        return torch.cat(answers, dim=-1)

    def feedforward(self, x: Tensor, at: str) -> Tensor:
        inner = self.linear(x, at + "up")
        inner = inner * torch.sigmoid(1.702 * inner)
        if at + "down.weight" in self.weights:
            return self.linear(inner, at + "down")
        return sum(torch.split(inner, self.dim, dim=-1), torch.zeros_like(x))


@dataclass(frozen=True)
class Composition:
    name: str
    fragments: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    heads: int = 1
    memory: int = 256


CASES = [
    Composition("single head", ("sha_rnn",)),
    Composition("single head, short memory", ("sha_rnn",), ("memory = 5",), memory=5),
    Composition("single head, memory of one", ("sha_rnn",), ("memory = 1",), memory=1),
    Composition(
        "four heads", ("sha_rnn", "attention/multi_head"), ("MultiHead.heads = 4", "memory = 7"), heads=4, memory=7
    ),
    Composition("every layer", ("sha_rnn_every_layer",), ("memory = 6",), memory=6),
    Composition("every layer, four heads", ("sha_rnn_every_layer", "attention/multi_head"), heads=4),
    Composition("no attention", ("sha_lstm_no_attention",)),
    Composition("standard feed-forward", ("sha_rnn", "feedforward/standard"), ("memory = 9",), memory=9),
    Composition("wider Boom", ("sha_rnn",), ("Boom.inner = 96",)),
]
all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

CHUNKS = [1, 7, 4, 1, 12, 2]  # [positions]; longer and shorter than the short memories


def written_for(case: Composition, model: LanguageModel) -> Written:
    weights = {
        name: parameter.detach().double().clone().requires_grad_() for name, parameter in model.named_parameters()
    }
    return Written(weights, len(model.blocks), case.heads, case.memory)


def some_tokens(positions: int) -> Tensor:
    return torch.randint(256, (positions, BATCH_SIZE), generator=torch.Generator().manual_seed(5))


@pytest.mark.slow
@all_cases
def test_logits_are_those_of_the_equations_over_several_chunks(case: Composition) -> None:
    model = randomized(build_model(case.fragments, case.overrides)).eval()
    written = written_for(case, model)
    state, expected_state = model.initial_state(BATCH_SIZE), written.start()
    with torch.no_grad():
        for tokens in torch.split(some_tokens(sum(CHUNKS)), CHUNKS):
            logits, state = model(tokens, state)
            assert_exact(logits, written.forward(tokens, expected_state))
    flat = flatten(state)
    for layer, expected in enumerate(expected_state):
        assert_exact(flat[f"state.{layer}.core.h"], expected.h)
        assert_exact(flat[f"state.{layer}.core.c"], expected.c)


def weighted() -> Iterator[tuple[Tensor, Tensor]]:
    """Tokens of each chunk, and the weights of their logits in a loss."""
    generator = torch.Generator().manual_seed(6)
    for tokens in torch.split(some_tokens(sum(CHUNKS)), CHUNKS):
        yield tokens, torch.randn(*tokens.shape, 256, dtype=torch.float64, generator=generator)


def gradients(model: LanguageModel, truncated: bool) -> dict[str, Tensor]:
    """Of a loss over all logits of several chunks, through their state or cut where one chunk ends."""
    state, parameters = model.initial_state(BATCH_SIZE), dict(model.named_parameters())
    total = torch.zeros((), dtype=next(model.parameters()).dtype)
    for tokens, weight in weighted():
        logits, state = model(tokens, state)
        total = total + (logits * weight.to(total.dtype)).mean()
        state = detach(state) if truncated else state
    return dict(zip(parameters, torch.autograd.grad(total, list(parameters.values())), strict=True))


def gradients_by_hand(case: Composition, model: LanguageModel, truncated: bool) -> dict[str, Tensor]:
    """The same of the equations, in float64."""
    written = written_for(case, model)
    state, total = written.start(), torch.zeros((), dtype=torch.float64)
    for tokens, weight in weighted():
        total = total + (written.forward(tokens, state) * weight).mean()
        if truncated:
            for layer in state:
                layer.h, layer.c, layer.seen = layer.h.detach(), layer.c.detach(), [x.detach() for x in layer.seen]
    weights = written.weights
    return dict(zip(weights, torch.autograd.grad(total, list(weights.values())), strict=True))


@pytest.mark.parametrize("truncated", [False, True], ids=["through all chunks", "truncated at each chunk"])
@all_cases
@pytest.mark.slow
def test_gradients_are_those_of_the_equations(case: Composition, truncated: bool) -> None:
    model = randomized(build_model(case.fragments, case.overrides)).train()  # nothing is dropped in size/tiny
    expected = gradients_by_hand(case, model, truncated)
    for name, gradient in gradients(model, truncated).items():
        assert_exact(gradient, expected[name])


@pytest.mark.parametrize(
    "case",
    sampled(CASES, ("single head, short memory", "no attention", "standard feed-forward"), lambda case: case.name),
)
@pytest.mark.slow
def test_single_precision_as_it_trains_stays_near_the_equations(case: Composition) -> None:
    model = randomized(build_model(case.fragments, case.overrides)).float().train()
    twin = copy.deepcopy(model).double()
    exact = rounding.expected(lambda: gradients(twin, truncated=True))
    exact.check(gradients(model, truncated=True))
    exact.check(gradients_by_hand(case, model, truncated=True))


@all_cases
def test_the_folded_model_gives_the_same_logits_and_state(case: Composition) -> None:
    model = randomized(build_model(case.fragments, case.overrides)).eval()
    folded = fold(model)
    state, folded_state = model.initial_state(BATCH_SIZE), folded.initial_state(BATCH_SIZE)  # type: ignore[operator]
    with torch.no_grad():
        for tokens in torch.split(some_tokens(sum(CHUNKS)), CHUNKS):
            logits, state = model(tokens, state)
            folded_logits, folded_state = folded(tokens, folded_state)
            assert_exact(folded_logits, logits)
    expected = flatten(state)
    for name, tensor in flatten(folded_state).items():
        assert_exact(tensor, expected[name])


def test_folding_leaves_the_model_as_it_was() -> None:
    model = randomized(build_model(["sha_rnn"])).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = fold(model)
    assert not folded.training
    assert model.training
    assert list(model.state_dict()) == list(before)
    with torch.no_grad():
        for parameter in folded.parameters():
            parameter.zero_()
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


D, F, L, V, M = 1024, 4096, 4, 256, 5000


def macs(attentions: int) -> int:
    """By the closed form: LSTM, Boom, tied output; an attention projects its query and reads M positions twice."""
    return L * (8 * D * D + D * F) + D * V + attentions * (D * D + 2 * M * D)


@pytest.mark.parametrize(
    ("root", "parameters", "deployable", "attentions"),
    [
        ("sha_rnn", 53_825_792, 51_726_592, 1),
        ("sha_rnn_every_layer", 63_299_840, 54_903_040, 4),
        ("sha_lstm_no_attention", 50_667_776, 50_667_776, 0),
    ],
)
def test_the_papers_models_have_the_specified_sizes_and_costs(
    root: str, parameters: int, deployable: int, attentions: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["show", root, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["parameters"] == parameters
    assert facts["parameters_deployable"] == deployable
    assert facts["macs_per_byte"] == macs(attentions)
    assert facts["state_floats"] == L * 2 * D + attentions * (M - 1) * D
    assert facts["memory"] == (M if attentions else None)


def test_an_embedding_that_is_also_the_output_counts_once() -> None:
    model = build_model(["sha_lstm_no_attention", "feedforward/none"])
    per_block = 8 * 16 * 16 + 8 * 16 + 2 * 16  # LSTM, LN_start
    assert count_parameters(model) == 4 * per_block + 256 * 16 + 256


@pytest.mark.parametrize(
    ("init_std", "expected"), [("None", 0.1 / math.sqrt(128)), ("0.05", 0.05)], ids=["the paper's", "a given one"]
)
def test_linear_and_embedding_weights_are_drawn_normal_and_their_biases_are_zero(
    init_std: str, expected: float
) -> None:
    model = build_model(["sha_rnn"], ["LanguageModel.dim = 128", f"LanguageModel.init_std = {init_std}"])
    redrawn = [module for module in model.modules() if isinstance(module, nn.Linear | nn.Embedding)]
    assert len(redrawn) == 1 + 4 + 2  # embedding, a Boom a layer, the query and the gate of the attention
    for module in redrawn:
        assert module.weight.std().item() == pytest.approx(expected, rel=0.03)
        assert abs(module.weight.mean().item()) < expected / 20
        assert module.weight.abs().max().item() > 3 * expected  # a uniform draw of this deviation ends at 1.73
        if isinstance(module, nn.Linear):
            assert not module.bias.any()
    assert not model.output_bias.any()


def test_norms_start_at_one_gates_at_zero_and_cores_with_their_own_draw() -> None:
    model = build_model(["sha_rnn"], ["LanguageModel.dim = 128", "LanguageModel.init_std = None"])
    for name, parameter in model.named_parameters():
        if "norm." in name:
            assert (parameter == (1.0 if name.endswith("weight") else 0.0)).all(), name
        elif name.endswith("_gate"):
            assert not parameter.any(), name
        elif ".core." in name:
            bound = 1 / math.sqrt(128)
            assert bound * 0.97 < parameter.abs().max().item() <= bound, name
            assert parameter.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1), name


def test_a_layer_norm_divides_by_what_the_specification_adds_to_the_variance() -> None:
    epsilons = {module.eps for module in build_model(["sha_rnn"]).modules() if isinstance(module, nn.LayerNorm)}
    assert epsilons == {1e-12}


def test_the_seed_decides_the_initialization() -> None:
    first, again, other = (build_model(["sha_rnn"], [f"Trainer.seed = {seed}"]) for seed in (1, 1, 2))
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(first.state_dict()["embedding.weight"], other.state_dict()["embedding.weight"])


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["Convolution.width = 3", "attention = None"], 4 * 2),
        (["memory = 6"], 5),
        (["memory = 6", "Convolution.width = 2"], 5 + 4),
        (["memory = 6", "Block.attention = %attention"], 4 * 5),
        (["memory = 1"], 0),
    ],
    ids=str,
)
def test_an_answer_depends_on_what_was_read_within_the_reach_and_on_nothing_further_back(
    overrides: list[str], expected: int
) -> None:
    model = randomized(build_model(["sha_rnn", "core/convolution"], overrides)).eval()
    assert reach(model) == expected
    tokens = torch.randint(256, (expected + 3, 1), generator=torch.Generator().manual_seed(3))
    disturbed = tokens.clone()
    disturbed[0] = (tokens[0] + 1) % 256
    with torch.no_grad():
        want, got = (model(x, model.initial_state(1))[0] for x in (tokens, disturbed))
    assert torch.equal(got[expected + 1 :], want[expected + 1 :])
    assert not torch.equal(got[expected], want[expected])


@pytest.mark.parametrize("fragments", [["sha_rnn"], ["sha_lstm_no_attention"], ["sha_rnn", "core/qrnn"]], ids=" ".join)
def test_a_model_that_recurs_has_no_bound_on_its_reach(fragments: list[str]) -> None:
    assert reach(build_model(fragments)) is None
    assert reach(fold(build_model(fragments))) is None


def test_one_recurrent_layer_is_enough_for_no_bound() -> None:
    model = build_model(["sha_rnn", "core/convolution"], ["sha/Block.core = @core.LSTM"])
    assert reach(model) is None


def test_logits_where_they_are_asked_are_those_of_all_positions_dropout_included() -> None:
    model = build_model(["sha_rnn", "size/tiny"], ["dropout = 0.3"]).train()
    tokens, asked = some_tokens(6), torch.tensor([1, 4, 5])
    found = []
    for where in ((), (asked,)):
        torch.manual_seed(1)
        logits, state = model(tokens, model.initial_state(tokens.shape[1]), *where)
        found.append((logits.flatten(0, -2)[asked] if not where else logits, flatten(state)))
    torch.testing.assert_close(found[1][0], found[0][0])
    assert found[1][0].shape == (3, 256)
    for name, leaf in found[0][1].items():
        assert torch.equal(leaf, found[1][1][name])
