"""A model that starts from its seed and learns from what it codes: the decoder learns the same."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnnlab import config
from rnnlab.codec import online
from rnnlab.codec.container import Container, read_container
from rnnlab.codec.files import compress_online, decompress
from rnnlab.codec.streams import Cut
from rnnlab.data.memory_text import Columns
from rnnlab.data.source import Chunk
from rnnlab.errors import ConfigError, DataError
from rnnlab.scoring.order import ScoreFirst
from rnnlab.scoring.running import RunningScore
from rnnlab.training.learner import Learner
from tests.rnnlab.codec.small import ONLINE, keep_coded, there_is_no, words
from tests.rnnlab.small_texts import written
from tests.sampled import sampled

FRAGMENTS = ["sha_rnn", "size/tiny"]


def compressed(source: Path, out: Path, *more: str) -> dict[str, Any]:
    return compress_online(source, out, FRAGMENTS, [*ONLINE, *more])


@pytest.mark.parametrize("content", [b"", b"x", b"xy", b"abcabcabc" * 9], ids=["empty", "one", "two", "some"])
def test_any_bytes_come_back(tmp_path: Path, content: bytes) -> None:
    source = written(tmp_path / "in", content)
    compressed(source, tmp_path / "x.rnn")
    decompress(tmp_path / "x.rnn", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content


LEARNING = {
    "plain": (),
    "noise": ("dropout = 0.3", "Trainer.jitter = True"),
    "stages": ("Online.stages = [[100, 1, 6], [230, 3, 9]]",),
    "growing": ("Online.stages = [[100, 2, 6], [230, 2, 9]]",),
    "again": ("Online.again = 2", "Online.again_after = 60", "Online.stages = [[250, 2, 8], [300, 2, 9, 0]]"),
    "others": ("Trainer.optimizer = @optimizer.AdamW", "block/pre_norm"),
}


@pytest.mark.parametrize("kind", sampled(LEARNING, ("again",)))
def test_the_decoder_learns_what_the_encoder_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    keep_coded(monkeypatch)
    source, more = words(tmp_path, 500), LEARNING[kind]
    fragments = [*FRAGMENTS, *(item for item in more if "=" not in item)]
    bindings = [line for line in [*ONLINE, *more] if "=" in line]
    if "block/pre_norm" in more:
        bindings = [line for line in bindings if not line.startswith("Muon")]
    figures = compress_online(source, tmp_path / "x.rnn", fragments, bindings)
    assert not figures["stored_as_it_is"]
    assert figures["payload_bpc"] == pytest.approx(figures["model_bpc"], rel=1e-3, abs=64 / 490)
    told = decompress(tmp_path / "x.rnn", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == source.read_bytes()
    assert told["sha256"] == figures["sha256"]


def test_nothing_is_stored_of_the_model_but_its_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_coded(monkeypatch)
    secret = written(tmp_path / "in-a-folder-of-mine", b"some words " * 20)
    compressed(secret, tmp_path / "x.rnn")
    header = read_container(tmp_path / "x.rnn").header
    assert set(header) == {"kind", "threads", "config", "needs", "size", "sha256"}
    assert str(tmp_path) not in str(header)
    resolved = config.resolve(FRAGMENTS, ONLINE).override(["Trainer.device = 'cpu'"])
    assert header["config"] == config.identity(resolved.text)


def test_another_seed_in_the_header_gives_no_wrong_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_coded(monkeypatch)
    compressed(words(tmp_path, 300), tmp_path / "x.rnn", "Trainer.seed = 3")
    before = read_container(tmp_path / "x.rnn")
    changed = before.header["config"].replace("Trainer.seed = 3", "Trainer.seed = 4")
    (tmp_path / "x.rnn").write_bytes(Container(before.body, {**before.header, "config": changed}).packed())
    with pytest.raises((ConfigError, DataError)):
        decompress(tmp_path / "x.rnn", tmp_path / "out")
    assert there_is_no(tmp_path / "out")


def test_a_byte_is_learned_from_after_it_was_coded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a learner reads is known: it asks for no position that was not scored."""
    keep_coded(monkeypatch)
    seen: list[str] = []
    score, step = RunningScore.add, Learner.step

    def scored(self: RunningScore, read: Any, logits: Any, chunk: Chunk) -> None:
        seen.append("score")
        score(self, read, logits, chunk)

    def stepped(self: Learner, by_part: bool = False) -> Any:
        seen.append("step")
        return step(self, by_part)

    monkeypatch.setattr(RunningScore, "add", scored)
    monkeypatch.setattr(Learner, "step", stepped)
    compressed(words(tmp_path, 150), tmp_path / "x.rnn")
    chunks = "".join("s" if word == "score" else "L" for word in seen).split("L")
    assert [len(chunk) for chunk in chunks] == [12, 12, 12, 12, 12, 12, 2, 0]


def test_what_is_not_known_yet_cannot_be_read() -> None:
    columns = Columns(np.zeros((2, 10), dtype=np.uint8), known=4)
    columns.read(Chunk(0, 0, 3))
    with pytest.raises(AssertionError, match="not known yet"):
        columns.read(Chunk(0, 1, 3))


def test_what_is_predicted_is_scored_before_anything_is_learned() -> None:
    import torch

    from rnnlab.model import LanguageModel
    from rnnlab.scoring.forecaster import Forecaster
    from rnnlab.testing.small import Leaky

    columns = Columns(np.zeros((1, 10), dtype=np.uint8))
    order = ScoreFirst(Forecaster(LanguageModel(4, [Leaky])))
    order.open(online.portion_of(columns), torch.device("cpu"))
    order.begin(1)
    read = columns.read(Chunk(0, 0, 3))
    with pytest.raises(AssertionError, match="learned from was scored"):
        order.learn(read)
    order.predict(read.inputs)
    for refused in (lambda: order.learn(read), lambda: order.predict(read.inputs)):
        with pytest.raises(AssertionError, match="scored before"):
            refused()
    with pytest.raises(AssertionError, match="every position"):
        order.score(columns.read(Chunk(0, 0, 2)), Chunk(0, 0, 2))


def test_online_takes_chunks_one_by_one_and_stages_in_order(tmp_path: Path) -> None:
    source = words(tmp_path, 100)
    with pytest.raises(ConfigError, match=r"Trainer.accumulate = 2: a coder learns chunk by chunk"):
        compressed(source, tmp_path / "x.rnn", "Trainer.accumulate = 2")
    with pytest.raises(ConfigError, match=r"Online\.stages"):
        compressed(source, tmp_path / "x.rnn", "Online.stages = [[100, 1, 6], [50, 3, 9]]")
    with pytest.raises(ConfigError, match=r"Online\.stages: \[100, 1, 6, -1\]"):
        compressed(source, tmp_path / "x.rnn", "Online.stages = [[100, 1, 6, -1]]")
    assert there_is_no(tmp_path / "x.rnn")


def test_stages_are_cut_where_the_number_of_streams_changes() -> None:
    def stages(bound: str, size: int) -> list[online.Stretch]:
        bindings = [*ONLINE, f"Online.stages = {bound}", "Online.again = 2"]
        return online._stages(online._build(config.resolve(FRAGMENTS, bindings)), size)

    first = online.Stretch(Cut(0, 5_000, 1), (online.Pace(5_000, 6, 0),))
    second = online.Stretch(Cut(5_000, 50_000, 4), (online.Pace(50_000, 9, 2),))
    rest = online.Stretch(Cut(50_000, 200_000, 2), (online.Pace(200_000, 12, 2),))
    assert stages("[[5_000, 1, 6, 0], [50_000, 4, 9]]", 200_000) == [first, second, rest]
    short = online.Stretch(Cut(0, 3_000, 1), (online.Pace(3_000, 6, 0),))
    assert stages("[[5_000, 1, 6, 0], [50_000, 4, 9]]", 3_000) == [short]
    assert stages("[[5_000, 1, 6], [50_000, 4, 9]]", 0) == []
    growing = stages("[[5_000, 1, 6, 0], [20_000, 2, 4, 1], [50_000, 2, 8]]", 200_000)[1]
    assert growing.cut == Cut(5_000, 200_000, 2)
    paces = [growing.pace(position) for position in (0, 7_499, 7_500, 22_500, 97_499)]
    assert [(pace.bptt, pace.again) for pace in paces] == [(4, 1), (4, 1), (8, 2), (12, 2), (12, 2)]
