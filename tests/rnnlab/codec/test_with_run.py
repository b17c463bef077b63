"""Compressed by a run's model and back: the same bytes, or a refusal and no file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnlab import api
from rnnlab.codec.container import Container, read_container
from rnnlab.codec.files import compress_with_run, decompress
from rnnlab.errors import ConfigError, DataError, StorageError
from rnnlab.ops import native
from tests.rnnlab.codec.small import keep_coded, there_is_no, words
from tests.rnnlab.small_texts import random_bytes, written


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"xy", b"\0" * 40, bytes(range(256)), b"the rain in spain " * 12],
    ids=["empty", "one byte", "two", "zeros", "each byte once", "words"],
)
def test_any_bytes_come_back(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    keep_coded(monkeypatch)
    source = written(tmp_path / "in", content)
    figures = compress_with_run(source, tmp_path / "x.rnn", whole)
    assert figures["compressed_bytes"] == (tmp_path / "x.rnn").stat().st_size
    told = decompress(tmp_path / "x.rnn", tmp_path / "out", whole)
    assert (tmp_path / "out").read_bytes() == content
    assert told["sha256"] == figures["sha256"]


def test_what_coding_makes_larger_is_stored_as_it_is_and_needs_no_run(whole: Path, tmp_path: Path) -> None:
    source = written(tmp_path / "noise", random_bytes(2000))
    figures = compress_with_run(source, tmp_path / "x.rnn", whole, streams=40)
    assert figures["stored_as_it_is"]
    assert figures["compressed_bytes"] - 2000 < 64
    decompress(tmp_path / "x.rnn", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == source.read_bytes()


def test_the_payload_agrees_with_an_evaluation_of_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    source = words(tmp_path, 9000)
    figures = compress_with_run(source, tmp_path / "x.rnn", whole, streams=30)
    assert figures["coded_bytes"] == 9000 - 30
    assert figures["plain_bytes"] == 30
    score = api.evaluate(whole, "all", corpus=str(source), device="cpu")
    assert figures["eval_bpc"] != score.bpc  # other streams, another protocol
    assert figures["model_bpc"] == pytest.approx(figures["eval_bpc"], rel=1e-5)
    assert figures["payload_bpc"] == pytest.approx(figures["eval_bpc"], rel=1e-3, abs=64 / 8970)
    whole_file = (
        8 * (figures["header_bytes"] + figures["plain_bytes"]) + figures["payload_bpc"] * figures["coded_bytes"]
    )
    assert whole_file == pytest.approx(8 * figures["compressed_bytes"])


def test_it_is_the_evaluation_that_the_command_makes_with_as_many_sequences(whole: Path, tmp_path: Path) -> None:
    source = words(tmp_path, 900)
    figures = compress_with_run(source, tmp_path / "x.rnn", whole, streams=8)
    assert figures["eval_bpc"] == pytest.approx(api.evaluate(whole, "all", corpus=str(source)).bpc, rel=1e-12)


@pytest.mark.parametrize("rule", ["sgd", "rms"])
def test_dynamic_evaluation_decodes_so_it_was_honest(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    keep_coded(monkeypatch)
    source = words(tmp_path, 500)
    bound = [f"Dynamic.rule = '{rule}'", "Dynamic.rate = 1e-3", "Dynamic.decay = 0.01", "Dynamic.bptt = 16"]
    bound += ["Dynamic.statistics = 400"] if rule == "rms" else []
    figures = compress_with_run(source, tmp_path / "x.rnn", whole, streams=4, dynamic=True, overrides=bound)
    static = compress_with_run(source, tmp_path / "y.rnn", whole, streams=4)
    assert figures["eval_bpc"] != static["eval_bpc"]
    assert figures["payload_bpc"] == pytest.approx(figures["eval_bpc"], rel=1e-3, abs=64 / 496)
    decompress(tmp_path / "x.rnn", tmp_path / "out", whole)
    assert (tmp_path / "out").read_bytes() == source.read_bytes()


@pytest.fixture
def packed(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a model has coded."""
    keep_coded(monkeypatch)
    assert not compress_with_run(words(tmp_path, 200), tmp_path / "x.rnn", whole, streams=10)["stored_as_it_is"]
    return tmp_path / "x.rnn"


def test_every_byte_that_was_changed_and_every_cut_leaves_no_output(packed: Path, whole: Path, tmp_path: Path) -> None:
    data = packed.read_bytes()
    broken, out = tmp_path / "broken.rnn", tmp_path / "out"
    for place in range(len(data)):
        for content in (data[:place], data[:place] + bytes([data[place] ^ 1 << place % 8]) + data[place + 1 :]):
            broken.write_bytes(content)
            with pytest.raises((DataError, StorageError)) as refused:
                decompress(broken, out, whole)
            assert refused.value.exit_code in (3, 5)
            assert there_is_no(out)


@pytest.mark.parametrize("name", ["torch", "rnnlab", "kernels", "memory", "model", "machine", "constriction"])
def test_what_is_needed_and_is_otherwise_is_named_before_anything_is_decoded(
    packed: Path, whole: Path, tmp_path: Path, name: str
) -> None:
    before = read_container(packed)
    header = json.loads(json.dumps(before.header))
    header["needs"][name] = "another"
    packed.write_bytes(Container(before.body, header).packed())
    with pytest.raises(ConfigError, match=f"written with {name} another"):
        decompress(packed, tmp_path / "out", whole)
    assert there_is_no(tmp_path / "out")


def test_another_run_and_other_kernels_are_refused(
    packed: Path, whole: Path, tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.rnnlab.tiny_runs import train

    train(tmp_path / "other", text, "Trainer.seed = 5", "Trainer.steps = 1")
    with pytest.raises(ConfigError, match=r"model .* name the run"):
        decompress(packed, tmp_path / "out", tmp_path / "other")
    with pytest.raises(ConfigError, match="name the run, --run RUN"):
        decompress(packed, tmp_path / "out")
    if native.kernels() is not None:
        monkeypatch.setattr(native, "kernels", lambda: None)
        with pytest.raises(ConfigError, match=r"kernels \w+ \(here none\)"):
            decompress(packed, tmp_path / "out", whole)
    assert there_is_no(tmp_path / "out")


def test_a_model_that_computes_otherwise_gives_no_wrong_bytes(
    packed: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no header can know: the same facts, other numbers."""
    from rnnlab.codec import streams

    honest: Callable[[torch.Tensor], Any] = streams.distribution
    monkeypatch.setattr(streams, "distribution", lambda logits: honest(logits + 1e-3 * torch.arange(256)))
    with pytest.raises(DataError):
        decompress(packed, tmp_path / "out", whole)
    assert there_is_no(tmp_path / "out")


@pytest.mark.parametrize(("entry", "value"), [("size", 10**15), ("size", -1), ("streams", 0), ("kind", "next")])
def test_a_header_that_somebody_made_up_is_refused(
    packed: Path, whole: Path, tmp_path: Path, entry: str, value: object
) -> None:
    before = read_container(packed)
    packed.write_bytes(Container(before.body, {**before.header, entry: value}).packed())
    with pytest.raises(StorageError):
        decompress(packed, tmp_path / "out", whole)
    assert there_is_no(tmp_path / "out")


def test_a_place_that_cannot_be_written_is_refused_at_once(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such folder"):
        compress_with_run(words(tmp_path, 100), tmp_path / "none" / "x.rnn", whole)
    with pytest.raises(DataError, match="nowhere"):
        compress_with_run(tmp_path / "nowhere", tmp_path / "x.rnn", whole)
