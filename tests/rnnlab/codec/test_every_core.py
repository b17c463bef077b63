"""Every core there is codes and decodes, as it is, as it goes on learning, and from a seed."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rnnlab import registry
from rnnlab.codec.coder import Coder, Decoder, Encoder
from rnnlab.codec.files import compress_online, decompress
from rnnlab.codec.streams import CPU, code_chunks, portion_of
from rnnlab.config import fragments
from rnnlab.data.memory_text import Columns, MemoryText
from rnnlab.evaluation import examine
from rnnlab.model import LanguageModel
from rnnlab.scoring.dynamic import Dynamic, DynamicForecaster, mean_squares
from rnnlab.scoring.forecaster import Forecaster
from rnnlab.scoring.order import ScoreFirst
from tests.rnnlab.codec.small import ONLINE
from tests.rnnlab.small_texts import written
from tests.sampled import sampled

CORES = registry.parts("core")
TEXT = np.frombuffer(b"to be, or not to be, that is the question: " * 2, dtype=np.uint8)[:84]


def forecaster(model: nn.Module, rule: Dynamic | None) -> Forecaster:
    if rule is None:
        return Forecaster(model)
    (part,) = MemoryText("text", TEXT).parts(2, None, CPU)
    return DynamicForecaster(model, rule, mean_squares(model, part, rule.bptt) if rule.needs_statistics else None)


def coded(model: nn.Module, rule: Dynamic | None, columns: Columns, coder: Coder) -> float:
    order, portion = ScoreFirst(forecaster(model, rule)), portion_of(columns)
    order.open(portion, CPU)
    with order.forecaster:
        code_chunks(order, columns, portion.chunks(8), coder, lambda done: None)
    return order.running.total


RULES = [None, Dynamic(rule="sgd", rate=0.1, bptt=8), Dynamic(rate=1e-3, decay=0.02, epsilon=1e-4, bptt=8)]


@pytest.mark.parametrize("rule", RULES, ids=["static", "sgd", "rms"])
@pytest.mark.parametrize("core", CORES, ids=lambda part: part.name)
def test_a_core_decodes_what_it_coded_at_the_cost_of_its_score(core: registry.Part, rule: Dynamic | None) -> None:
    torch.manual_seed(0)
    model = LanguageModel(16, [core.factory], init_std=0.3)
    before = copy.deepcopy(model.state_dict())
    streams = TEXT.reshape(2, 42)
    encoder = Encoder()
    nats = coded(model, rule, Columns(streams.copy(), known=1), encoder)
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items()), "it is as it was trained"
    unknown = np.zeros_like(streams)
    unknown[:, 0] = streams[:, 0]
    decoded = Columns(unknown, known=1)
    assert coded(copy.deepcopy(model), rule, decoded, Decoder(encoder.payload())) == nats
    assert np.array_equal(decoded.tokens, streams)
    score = examine(ScoreFirst(forecaster(model, rule)), MemoryText("text", TEXT), batch_size=2, bptt=8)
    assert nats / 82 == pytest.approx(score.nats, rel=2e-4)
    static = examine(ScoreFirst(Forecaster(model)), MemoryText("text", TEXT), batch_size=2, bptt=8)
    assert (score.nats < static.nats) == (rule is not None), "to learn from a text that repeats itself helps"


@pytest.mark.slow
@pytest.mark.parametrize(
    "core",
    sampled((name for name in fragments() if name.startswith("core/")), ("core/gru", "core/gated_delta_net")),
)
def test_a_core_learns_online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, core: str) -> None:
    monkeypatch.setattr("rnnlab.codec.written.min", lambda each, key: each[0], raising=False)
    source = written(tmp_path / "in", TEXT.tobytes())
    bindings = [*ONLINE, "LanguageModel.dim = 16"]
    figures = compress_online(source, tmp_path / "x.rnn", ["sha_rnn", "size/tiny", core], bindings)
    assert not figures["stored_as_it_is"]
    decompress(tmp_path / "x.rnn", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == TEXT.tobytes()
