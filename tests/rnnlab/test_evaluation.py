"""BPC over a split: the right bytes, each once, whatever the cut."""

import math
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnnlab import config
from rnnlab.data.corpora import File
from rnnlab.data.splits import Split
from rnnlab.errors import DataError, Stopped
from rnnlab.evaluation import evaluate, longest_memory
from rnnlab.model import LanguageModel
from rnnlab.scoring.losses import cross_entropy
from rnnlab.testing import rounding
from rnnlab.training.experiment import build


def split_of(folder: Path, data: bytes) -> Split:
    """All of `data`, as a split."""
    for name in ("train", "valid", "test"):
        (folder / name).write_bytes(data)
    return File(str(folder / "train"), valid=str(folder / "valid"), test=str(folder / "test")).valid


def text(size: int, seed: int = 0) -> bytes:
    letters = torch.randint(97, 105, (size,), generator=torch.Generator().manual_seed(seed))
    return bytes(letters.tolist())


class Oracle(nn.Module):
    """Gives every byte a fixed probability, and notes what it was asked to read."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)
        self.read: list[Tensor] = []
        self.modes: set[bool] = set()

    def initial_state(self, batch: int) -> Tensor:
        return torch.zeros(batch, 1)

    def forward(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        self.read.append(tokens)
        self.modes.add(self.training)
        return self.logits.expand(*tokens.shape, 256), state + 1


@pytest.mark.parametrize(("batch_size", "bptt"), [(1, 1000), (1, 7), (4, 10), (3, 64), (5, 1)])
def test_bpc_is_the_mean_over_the_bytes_that_have_something_before_them(
    tmp_path: Path, batch_size: int, bptt: int
) -> None:
    data = text(203)
    model = Oracle(torch.randn(256, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    score = evaluate(model, split_of(tmp_path, data), batch_size=batch_size, bptt=bptt)
    length = 203 // batch_size
    targets = [data[sequence * length + place] for sequence in range(batch_size) for place in range(1, length)]
    log_probabilities = torch.log_softmax(model.logits.detach(), 0)
    expected = -sum(count * log_probabilities[byte].item() for byte, count in Counter(targets).items())
    assert score.protocol.bytes_scored == len(targets)
    assert score.bpc == pytest.approx(expected / len(targets) / math.log(2), rel=1e-12)
    assert (score.protocol.batch_size, score.protocol.bptt, score.protocol.memory) == (batch_size, bptt, None)


def test_what_knows_nothing_scores_eight_bits(tmp_path: Path) -> None:
    assert evaluate(Oracle(torch.zeros(256)), split_of(tmp_path, text(100)), batch_size=2).bpc == pytest.approx(8.0)


@pytest.mark.parametrize("bptt", [1, 9, 50, 1000])
def test_every_byte_is_read_once_and_in_order(tmp_path: Path, bptt: int) -> None:
    data = text(150)
    model = Oracle(torch.zeros(256))
    evaluate(model, split_of(tmp_path, data), batch_size=3, bptt=bptt)
    read = torch.cat(model.read)
    assert read.shape == (49, 3)  # the last byte of a sequence is a target only
    for sequence in range(3):
        assert bytes(read[:, sequence].tolist()) == data[sequence * 50 : sequence * 50 + 49]
    assert max(len(piece) for piece in model.read) <= bptt


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    bindings = ["LanguageModel.dim = 16", "memory = 12", "dropout = 0.4", "LanguageModel.init_std = 0.3"]
    return build(config.resolve(["sha_rnn", "size/tiny"], bindings), needs_source=False).model.double()


@pytest.mark.parametrize("bptt", [1, 5, 33, 200])
def test_the_figure_does_not_depend_on_the_chunk(model: LanguageModel, tmp_path: Path, bptt: int) -> None:
    split = split_of(tmp_path, text(401))
    whole = evaluate(model, split, batch_size=4, bptt=1000)
    assert evaluate(model, split, batch_size=4, bptt=bptt).bpc == pytest.approx(whole.bpc, rel=1e-12)
    assert whole.protocol.memory == 12


def test_state_and_memory_are_carried_and_begin_anew_with_each_sequence(model: LanguageModel, tmp_path: Path) -> None:
    data = text(400)
    score = evaluate(model, split_of(tmp_path, data), batch_size=4, bptt=7)
    nats = 0.0
    model.eval()
    with torch.no_grad():
        for sequence in range(4):
            tokens = torch.tensor(list(data[sequence * 100 : sequence * 100 + 100])).unsqueeze(1)
            logits, _ = model(tokens[:-1], model.initial_state(1))
            nats += cross_entropy(logits, tokens[1:], reduction="sum").item()
    assert score.bpc == pytest.approx(nats / 396 / math.log(2), rel=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_it_leaves_no_trace(model: LanguageModel, tmp_path: Path, training: bool) -> None:
    """No mode, gradient or random draw is changed: evaluating more often changes no bit of a run."""
    split = split_of(tmp_path, text(200))
    model.train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.get_rng_state()
    first, second = (evaluate(model, split, batch_size=2) for _ in range(2))
    assert first == second
    assert model.training == training
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_nothing_is_dropped_while_it_scores(tmp_path: Path) -> None:
    oracle = Oracle(torch.zeros(256)).train()
    evaluate(oracle, split_of(tmp_path, text(50)), batch_size=2)
    assert oracle.modes == {False}
    assert oracle.training


@pytest.mark.parametrize(("limit", "scored"), [(100, 96), (1, 4), (8, 4), (10**9, 396), (None, 396)])
def test_a_limit_scores_the_head_of_the_split(tmp_path: Path, limit: int | None, scored: int) -> None:
    data = text(400)
    oracle = Oracle(torch.zeros(256))
    score = evaluate(oracle, split_of(tmp_path, data), batch_size=4, limit=limit)
    assert score.protocol.bytes_scored == scored
    length = scored // 4 + 1
    assert bytes(torch.cat(oracle.read)[:, 1].tolist()) == data[length : 2 * length - 1]


def test_a_split_too_short_for_its_sequences_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="valid split has 15 bytes, too few for 8 sequences"):
        evaluate(Oracle(torch.zeros(256)), split_of(tmp_path, text(15)), batch_size=8)


def test_an_interruption_between_chunks_leaves_the_model_in_its_mode(tmp_path: Path) -> None:
    calls = 0

    def interrupt() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Stopped(signal.SIGTERM)

    oracle = Oracle(torch.zeros(256)).train()
    with pytest.raises(Stopped):
        evaluate(oracle, split_of(tmp_path, text(100)), batch_size=1, bptt=10, between_chunks=interrupt)
    assert len(oracle.read) == 2
    assert oracle.training


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_cross_entropy_is_summed_in_at_least_single_precision(dtype: torch.dtype) -> None:
    logits = torch.randn(50, 3, 256, dtype=torch.float64).to(dtype)
    targets = torch.randint(256, (50, 3))

    def exact() -> Tensor:
        return -torch.log_softmax(logits.double(), -1).gather(-1, targets.unsqueeze(-1)).mean()

    loss = cross_entropy(logits, targets)
    assert loss.dtype == max(dtype, torch.float32, key=lambda d: d.itemsize)
    rounding.expected(exact, loss.dtype).check(loss)


@pytest.mark.parametrize(
    ("fragments", "expected"),
    [(["sha_rnn", "memory/2k"], 2048), (["sha_lstm_no_attention"], None), (["sha_rnn", "attention/projected"], 5000)],
    ids=str,
)
def test_the_longest_window_is_found_among_the_attentions(fragments: list[str], expected: Any) -> None:
    model = build(config.resolve(fragments), shapes_only=True, needs_source=False).model
    assert longest_memory(model) == expected
