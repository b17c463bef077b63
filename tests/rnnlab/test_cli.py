"""The command line: what its commands answer, and what it says, and leaves alone, when it is asked the impossible."""

import contextlib
import hashlib
import io
import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnlab import cli, registry
from rnnlab.api import load
from rnnlab.data.corpora import open_corpus
from rnnlab.errors import ConfigError, DataError, StorageError
from rnnlab.evaluation import evaluate
from rnnlab.state import flatten
from rnnlab.testing import rounding

TEXT = b"<page>\n<title>Foxes</title>\nThe quick brown fox [[jump]]s over 12 lazy dogs.\n</page>\n" * 60
TINY = [
    *("--set", "LanguageModel.dim = 16"),
    *("--set", "memory = 24"),
    *("--set", "Trainer.batch_size = 2"),
    *("--set", "Trainer.bptt = 16"),
    *("--set", "Trainer.eval_batch_size = 2"),
]


def write_text(folder: Path) -> Path:
    path = folder / "text.txt"
    path.write_bytes(TEXT)
    return path


def answer(*arguments: str) -> str:
    """What a command that succeeds prints on standard output."""
    out = io.TextIOWrapper(io.BytesIO(), write_through=True)
    with contextlib.redirect_stdout(out):
        code = cli.main(arguments)
    assert code == 0
    out.seek(0)
    return out.read()


def json_answer(*arguments: str) -> Any:
    """The one JSON value that `--json` prints; anything beside it would not parse."""
    return json.loads(answer(*arguments, "--json"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and two runs, R and R2, made by the commands that the project shows."""
    folder = tmp_path_factory.mktemp("runs")
    common = ["--corpus", str(write_text(folder)), "--seed", "1", *TINY]
    R = json_answer("train", "sha_rnn", "size/small", "--bytes", "640", *common, "--run", str(folder / "R"))
    assert R["status"] == "done"
    composed = ["size/tiny", "core/lstm", "attention/multi_head", "feedforward/standard", "memory/512"]
    own = ["--set", "Block.dropout = 0.2", "--bytes", "320"]
    answer("train", "sha_rnn", *composed, *common[:4], *TINY[:2], *TINY[4:], *own, "--run", str(folder / "R2"))
    return folder


def run_process(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=120, env=environment)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["nonsense"]], ids=" ".join)
def test_help_does_not_wait_for_torch(arguments: list[str]) -> None:
    code = f"""
import sys
from rnnlab.cli import main
try:
    main({arguments!r})
finally:
    print("imported:", [name for name in ("torch", "numpy", "gin", "optuna", "matplotlib") if name in sys.modules])
"""
    done = run_process("-c", code)
    assert "imported: []" in done.stdout
    assert done.returncode == (2 if arguments == ["nonsense"] else 0)


def test_the_installed_command_and_the_module_are_the_same_program() -> None:
    command = Path(sys.executable).with_name("rnnlab")
    installed = subprocess.run([str(command), "--help"], capture_output=True, text=True, timeout=120)
    module = run_process("-m", "rnnlab", "--help")
    assert installed.returncode == module.returncode == 0
    assert installed.stdout == module.stdout
    for name in ("train", "resume", "eval", "generate", "show", "diff", "parts", "check", "fetch"):
        assert f"\n    {name} " in installed.stdout


def test_train_leaves_a_result_and_prints_it(runs: Path) -> None:
    result = json.loads((runs / "R" / "result.json").read_text())
    assert result["status"] == "done"
    assert 640 <= result["bytes_trained"] < 640 + 2 * 16
    assert result["steps"] == result["bytes_trained"] // (2 * 16)
    assert result["seed"] == 1
    for figure in ("valid_bpc", "test_bpc", "bytes_per_second", "parameters", "macs_per_byte", "seconds"):
        assert math.isfinite(result[figure])
        assert result[figure] > 0
    assert result["protocol"] == {"batch_size": 2, "bptt": 256, "bytes_scored": result["protocol"]["bytes_scored"],
                                  "memory": 24}  # fmt: skip
    for name in ("config.gin", "operative.gin", "environment.json", "metrics.jsonl", "checkpoints"):
        assert (runs / "R" / name).exists()


@pytest.mark.parametrize("split", ["valid", "test"])
def test_eval_repeats_the_figure_of_the_run(runs: Path, split: str) -> None:
    result = json.loads((runs / "R" / "result.json").read_text())
    scored = result["protocol" if split == "test" else "valid_protocol"]["bytes_scored"]
    again = json_answer("eval", str(runs / "R"), "--split", split, "--bytes", str(scored + 2))
    assert (again["bpc"], again["bytes_scored"]) == (result[f"{split}_bpc"], scored)
    score = json_answer("eval", str(runs / "R"), "--split", split)
    assert {key: score[key] for key in ("batch_size", "bptt", "memory")} == {
        "batch_size": 2,
        "bptt": 256,
        "memory": 24,
    }
    assert score["bytes_scored"] > scored
    assert f"{score['bpc']:.4f} bpc" in answer("eval", str(runs / "R"), "--split", split)


@pytest.mark.parametrize(
    ("more", "words"),
    [(["--bytes", "0"], "--bytes 0: at least 1"), (["--bytes", "50", "--memory", "1,8"], "does not go with --memory")],
)
def test_eval_refuses_a_part_that_it_cannot_score(
    runs: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert cli.main(["eval", str(runs / "R"), *more]) == ConfigError.exit_code
    assert words in capsys.readouterr().err


def test_eval_on_another_text_scores_that_text(runs: Path, tmp_path: Path) -> None:
    other = tmp_path / "noise"
    other.write_bytes(bytes(range(256)) * 8)
    score = json_answer("eval", str(runs / "R"), "--corpus", str(other))
    expected = evaluate(load(runs / "R").model, open_corpus(str(other)).test, batch_size=2, bptt=256)
    assert (score["bpc"], score["bytes_scored"]) == (expected.bpc, expected.protocol.bytes_scored)
    assert score["bytes_scored"] == (2048 - 2048 * 9 // 10 - 2048 // 20) // 2 * 2 - 2


@pytest.mark.parametrize(
    "command",
    ["show sha_rnn size/tiny", "parts", "parts core", "diff sha_rnn sha_rnn,core/qrnn", "replay R --step 3", "eval R"],
)
def test_json_is_one_object_and_nothing_else(runs: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    assert isinstance(json_answer(*command.split()), dict)


def test_nothing_is_drawn_where_there_is_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code = cli.main(["train", "sha_rnn", "size/tiny", "--corpus", str(write_text(tmp_path)), "--bytes", "64", *TINY])
    out, err = capsys.readouterr()
    assert code == 0
    assert "\r" not in out + err
    assert "bpc" in out
    (made,) = (tmp_path / "runs").iterdir()  # without --run a name is made
    assert made.name.startswith("sha_rnn-tiny-")
    assert f"run: {Path('runs') / made.name}" in out


def test_sugar_stands_for_bindings(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    sugar = ["--corpus", str(text), "--bytes", "123", "--seed", "7", "--device", "cpu"]
    written = ["Trainer.source = @corpus.File", f"File.path = {str(text)!r}", "Trainer.bytes = 123",
               "Trainer.seed = 7", "Trainer.device = 'cpu'"]  # fmt: skip
    as_set = [word for binding in written for word in ("--set", binding)]
    shown = [json_answer("show", "sha_rnn", "size/tiny", *more)["config"] for more in (sugar, as_set)]
    assert shown[0] == shown[1]
    override = json_answer("show", "sha_rnn", *sugar, "--set", "Trainer.seed = 9")["config"]
    assert "Trainer.seed = 9\n" in override  # what is spelt out wins over sugar


def test_parts_lists_every_part_with_its_cost() -> None:
    entries = json_answer("parts")["parts"]
    assert [entry["selector"] for entry in entries] == [part.selector for part in registry.parts()]
    text = answer("parts")
    for entry in entries:
        assert entry["selector"] in text


def test_diff_of_two_runs_lists_exactly_what_differs(runs: Path) -> None:
    found = {d["key"]: (d["a"], d["b"]) for d in json_answer("diff", str(runs / "R"), str(runs / "R2"))["differences"]}
    assert found == {
        "sha/Block.attention": ("@attention.SingleHead", "@attention.MultiHead"),
        "attention.SingleHead.memory": ("24", None),
        "attention.MultiHead.memory": (None, "512"),
        "Block.feedforward": ("@feedforward.Boom", "@feedforward.Standard"),
        "Block.dropout": ("0.0", "0.2"),
        "optimizer.Muon.lr": ("0.003", "0.005"),
        "Trainer.bytes": ("640", "320"),
    }
    text = answer("diff", str(runs / "R"), str(runs / "R2"))
    assert len(text.splitlines()) >= len(found)
    assert "0.0 -> 0.2" in text


def test_diff_of_what_is_the_same_is_empty(runs: Path) -> None:
    assert json_answer("diff", str(runs / "R"), str(runs / "R")) == {"differences": []}
    assert json_answer("diff", "sha_rnn", "sha_rnn,size/paper") == {"differences": []}
    assert json_answer("diff", "sha_rnn,core/lstm", "core/lstm,sha_rnn") == {"differences": []}


def test_an_ablation_in_one_line_is_one_difference() -> None:
    (difference,) = json_answer("diff", "sha_rnn", "sha_rnn,core/qrnn")["differences"]
    assert difference == {"key": "Block.core", "a": "@core.LSTM", "b": "@core.QRNN"}


@pytest.mark.slow
def test_fetch_prints_where_the_corpus_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLAB_DATA", str(tmp_path))
    path = Path(answer("fetch", "python_stdlib").strip())
    assert path.parent == tmp_path
    assert path.stat().st_size > 1_000_000


def generated(capsysbinary: pytest.CaptureFixture[bytes], *arguments: str) -> bytes:
    assert cli.main(["generate", *arguments]) == 0
    return capsysbinary.readouterr().out


@pytest.mark.slow
def test_generate_writes_so_many_bytes_and_the_same_ones_each_time(
    runs: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    command = [str(runs / "R"), "--prompt", "[[", "--bytes", "200", "--seed"]
    first, again, other = (generated(capsysbinary, *command, seed) for seed in ("3", "3", "4"))
    assert len(first) == len(other) == 200
    assert first == again
    assert first != other


def test_a_prompt_is_the_same_by_whichever_way_it_comes(
    runs: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = "né [[".encode()
    (tmp_path / "prompt").write_bytes(prompt)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(prompt)))
    ways = (["--prompt", prompt.decode()], ["--prompt-file", str(tmp_path / "prompt")], ["--prompt", "-"])
    written = [generated(capsysbinary, str(runs / "R"), "--bytes", "40", *way) for way in ways]
    assert written[0] == written[1] == written[2]
    assert written[0] != generated(capsysbinary, str(runs / "R"), "--bytes", "40", "--prompt", "something else")


def test_temperature_zero_needs_no_seed(runs: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    command = [str(runs / "R"), "--bytes", "30", "--temperature", "0", "--seed"]
    assert generated(capsysbinary, *command, "1") == generated(capsysbinary, *command, "2")


def test_the_state_after_streaming_bytes_is_that_of_one_pass_over_them(runs: Path) -> None:
    model = load(runs / "R").model
    tokens = torch.tensor(list(TEXT[:150])).unsqueeze(1)  # several times the memory of 24
    with torch.no_grad():
        logits, whole = model(tokens, model.initial_state(1))
        state, steps = model.initial_state(1), []
        for token in tokens.split(1):  # type: ignore[no-untyped-call]
            step, state = model(token, state)
            steps.append(step)
        twin = model.double()
        exact, end = twin(tokens, twin.initial_state(1))
    rounding.check_no_worse(torch.cat(steps), than=logits, exact=exact)
    rounding.check_no_worse(flatten(state), than=flatten(whole), exact=flatten(end))


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
