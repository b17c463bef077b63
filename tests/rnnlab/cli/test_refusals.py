"""What the command line says, and leaves alone, when it is asked the impossible."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from rnnlab import cli
from rnnlab.errors import ConfigError, DataError, StorageError
from tests.rnnlab.cli.commands import TEXT, TINY, generated, write_text


@dataclass(frozen=True)
class Bad:
    """A command line, run in a folder that holds text.txt, short.txt, empty.txt and a run R; and the answer to it."""

    name: str
    arguments: Sequence[str]
    error: type[ConfigError] | type[DataError] | type[StorageError]
    told: Sequence[str]  # the thing, the place, the remedy


def train_with(*more: str, corpus: str = "text.txt", run: str = "new") -> list[str]:
    return ["train", "sha_rnn", "size/tiny", "--corpus", corpus, "--bytes", "64", *TINY, *more, "--run", run]


def set_to(binding: str) -> list[str]:
    return train_with("--set", binding)


BAD = [
    Bad("fragment", ["train", "sha_rnn", "core/qrn", "--run", "new"], ConfigError, ["'core/qrn'", "'core/qrnn'"]),
    Bad("file", ["train", "nowhere.gin", "--run", "new"], ConfigError, ["'nowhere.gin'"]),
    Bad("no root", ["train", "size/tiny", "--bytes", "64", "--run", "new"], ConfigError, ["no model", "sha_rnn"]),
    Bad("part", set_to("Block.core = @core.LSMT"), ConfigError, ["--set", "core.LSMT", "'core.LSTM'"]),
    Bad("argument", set_to("LSTM.dropconect = 0.1"), ConfigError, ["--set", "dropconect", "'dropconnect'"]),
    Bad("macro", set_to("Block.dropout = %dropuot"), ConfigError, ["--set", "dropuot", "'dropout'"]),
    Bad("macro that nobody uses", set_to("memroy = 512"), ConfigError, ["--set", "memroy", "'memory'"]),
    Bad("argument without its owner", set_to("lr = 1e-3"), ConfigError, ["--set", "%lr", "'Muon.lr'"]),
    Bad("scope", set_to("sah/Block.dropout = 0.1"), ConfigError, ["--set", "'sah'", "'sha'"]),
    Bad("a word of 0.1.0", set_to("Trainer.lanes = 8"), ConfigError, ["--set", "Trainer.lanes", "Trainer.batch_size"]),
    Bad("type", set_to("Trainer.batch_size = 'eight'"), ConfigError, ["--set", "Trainer.batch_size", "int", "'eight'"]),
    Bad("value", set_to("Boom.inner = 17"), ConfigError, ["Boom.inner = 17", "16", "multiple"]),
    Bad("no binding", set_to("dropout"), ConfigError, ["--set", "dropout"]),
    Bad("no effect", set_to("Lamb.lr = 0.1"), ConfigError, ["--set", "optimizer.Lamb", "no effect"]),
    Bad("no budget", train_with("--bytes", "0"), ConfigError, ["Trainer.bytes", "0"]),
    Bad("corpus that is not there", train_with(corpus="nowhere.txt"), DataError, ["'nowhere.txt'", "enwik8"]),
    Bad("corpus misspelt", train_with(corpus="enwik9"), DataError, ["'enwik9'", "'enwik8'"]),
    Bad("empty corpus", train_with(corpus="empty.txt"), DataError, ["empty.txt", "empty"]),
    Bad("empty name", [*train_with()[:-1], ""], ConfigError, ["empty argument for RUN"]),
    Bad("empty corpus name", train_with(corpus=""), ConfigError, ["empty argument for CORPUS"]),
    Bad("empty run to score", ["eval", ""], ConfigError, ["empty argument for RUN"]),
    Bad("short corpus", train_with(corpus="short.txt"), DataError, ["short.txt", "39", "longer"]),
    Bad(
        "too many sequences",
        set_to("Trainer.batch_size = 4000"),
        DataError,
        ["text.txt", "4000 sequences", "smaller batch"],
    ),
    Bad("corpus not fetched", train_with(corpus="text8"), DataError, ["text8", "rnnlab fetch text8", "--from"]),
    Bad("wrong hash", train_with(corpus="enwik8"), DataError, ["enwik8", "SHA-256", "2b49720e", "rnnlab fetch enwik8"]),
    Bad("file in the way", train_with(run="text.txt"), StorageError, ["text.txt"]),
    Bad("file on the way", train_with(run="text.txt/below/new"), StorageError, ["text.txt/below/new"]),
    Bad("system's folder", train_with(run="/proc/new"), StorageError, ["/proc/new"]),
    Bad("another run", train_with(run="R"), ConfigError, ["R", "holds a run", "rnnlab resume R", "--run"]),
    Bad("device", train_with("--device", "tpu"), ConfigError, ["Trainer.device = 'tpu'", "'cpu'"]),
    Bad("no run to evaluate", ["eval", "elsewhere"], ConfigError, ["elsewhere", "config.gin"]),
    Bad("run to plan", ["plan", "R"], ConfigError, ["'R' is the folder of a run", "'R/config.gin'"]),
    Bad("run to show", ["show", "R"], ConfigError, ["'R' is the folder of a run", "'R/config.gin'"]),
    Bad("folder to show", ["show", "."], ConfigError, ["'.' is a folder", "name a .gin file"]),
    Bad("no run to resume", ["resume", "."], ConfigError, ["config.gin"]),
    Bad("no such split", ["eval", "R", "--split", "dev"], ConfigError, ["'dev'", "valid"]),
    Bad(
        "fragment behind an option",
        train_with("--bytes", "5", "core/qrnn"),
        ConfigError,
        ["core/qrnn here", "in front"],
    ),
    Bad("option cut short", train_with("--byte", "5"), ConfigError, ["--byte", "mean --bytes"]),
    Bad("empty prompt", ["generate", "R", "--prompt", ""], ConfigError, ["prompt", "empty"]),
    Bad("prompt file", ["generate", "R", "--prompt-file", "nowhere"], ConfigError, ["nowhere"]),
    Bad("temperature", ["generate", "R", "--temperature", "-1"], ConfigError, ["temperature", "-1"]),
    Bad("top-p", ["generate", "R", "--top-p", "0"], ConfigError, ["top-p", "0"]),
    Bad("nothing to compress with", ["compress", "text.txt", "--out", "x"], ConfigError, ["--run", "--online"]),
    Bad("nothing to compress", ["compress", "nowhere", "--run", "R", "--out", "x"], DataError, ["nowhere"]),
    Bad(
        "streams", ["compress", "text.txt", "--run", "R", "--streams", "0", "--out", "x"], ConfigError, ["--streams 0"]
    ),
    Bad(
        "streams online",
        ["compress", "text.txt", "--online", "sha_rnn", "--streams", "2", "--out", "x"],
        ConfigError,
        ["--streams", "--run"],
    ),
    Bad("no compressed file", ["decompress", "text.txt", "--out", "x"], DataError, ["text.txt", "rnnlab compress"]),
    Bad("kind", ["parts", "cores"], ConfigError, ["'cores'", "core"]),
    Bad("nothing to fetch", ["fetch", "enwik7"], DataError, ["'enwik7'", "'enwik8'"]),
    Bad("not the corpus", ["fetch", "text8", "--from", "text.txt"], DataError, ["text.txt", "text8"]),
    Bad("no command", [], ConfigError, ["COMMAND", "--help"]),
    Bad("unknown command", ["trian"], ConfigError, ["'trian'", "train"]),
    Bad("unknown option", ["train", "sha_rnn", "--sed", "1"], ConfigError, ["--sed", "--help"]),
    Bad("a number that is none", ["train", "sha_rnn", "--bytes", "many"], ConfigError, ["--bytes", "'many'"]),
]


@pytest.fixture
def place(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder that `Bad` describes; the data folder beside it holds an enwik8 that is none."""
    (tmp_path / "here").mkdir()
    write_text(tmp_path / "here")
    (tmp_path / "here" / "short.txt").write_bytes(b"x" * 39)
    (tmp_path / "here" / "empty.txt").touch()
    (tmp_path / "here" / "R").symlink_to(runs / "R")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "enwik8").write_bytes(TEXT)
    monkeypatch.setenv("RNNLAB_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def contents(folder: Path) -> dict[str, str]:
    """{path: hash} of every file, links to folders followed; locks, and hashes noted for the next time, aside."""
    found = {}
    for root, _, names in os.walk(folder, followlinks=True):
        for path in (Path(root) / name for name in names):
            if path.suffix != ".lock" and path.name != "lock" and path.parent.name != "stamps":
                found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def main_code(arguments: Sequence[str]) -> int:
    try:
        return cli.main(arguments)
    except SystemExit as stopped:  # argparse's way out
        return int(stopped.code or 0)


@pytest.mark.parametrize("bad", BAD, ids=[bad.name for bad in BAD])
def test_what_cannot_be_done_is_told_in_a_line_and_harms_nothing(
    bad: Bad, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(place)
    code = main_code(bad.arguments)
    out, err = capsys.readouterr()
    assert code == bad.error.exit_code, err
    assert out == ""
    assert err.startswith("rnnlab: error: ")
    assert 1 <= len(err.splitlines()) <= 2
    for word in bad.told:
        assert word in err
    assert contents(place) == before
    assert not (place / "here" / "new").exists()
    assert not (place / "here" / "runs").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_where_there_is_none_is_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(train_with("--device", "cuda")) == 2
    assert "Trainer.device = 'cuda': this torch sees no CUDA device; use --device cpu" in capsys.readouterr().err
    assert not (place / "here" / "new").exists()


def test_a_run_on_a_lost_corpus_is_told_where_it_was(runs: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    hidden = (runs / "text.txt").rename(runs / "hidden.txt")
    try:
        assert cli.main(["eval", str(runs / "R")]) == DataError.exit_code
        assert str(runs / "text.txt").encode() in capsysbinary.readouterr().err
        assert len(generated(capsysbinary, str(runs / "R"), "--bytes", "5")) == 5  # which needs no corpus
    finally:
        hidden.rename(runs / "text.txt")


def test_debug_shows_where_an_error_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", "core/qrn", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "sources.py" in err


def test_a_bug_of_ours_is_not_dressed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("ours")

    monkeypatch.setattr("rnnlab.catalog.catalog", broken)
    with pytest.raises(KeyError):  # Python's own exit code for it is 1
        cli.main(["parts"])
