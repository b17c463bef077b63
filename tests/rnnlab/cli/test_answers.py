"""What the commands answer."""

import io
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rnnlab import cli, registry
from rnnlab.api import load
from rnnlab.data.corpora import open_corpus
from rnnlab.errors import ConfigError
from rnnlab.evaluation import evaluate
from rnnlab.state import flatten
from rnnlab.testing import rounding
from tests.rnnlab.cli.commands import TEXT, TINY, answer, generated, json_answer, run_process, write_text


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
    for figure in (
        "valid_bpc",
        "test_bpc",
        "bytes_per_second",
        "parameters",
        "macs_per_byte",
        "state_floats",
        "seconds",
    ):
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
    [
        (["--bytes", "0"], "--bytes 0: at least 1"),
        (["--bytes", "50", "--memory", "1,8"], "does not go with --memory"),
        (["--set", "Dynamic.rate = 1e-3"], "goes with --dynamic"),
        (["--dynamic", "--memory", "8"], "neither --memory"),
        (["--dynamic", "--set", "Dynamic.rate = -1"], "Dynamic.rate = -1"),
    ],
)
def test_eval_refuses_a_part_that_it_cannot_score(
    runs: Path, capsys: pytest.CaptureFixture[str], more: list[str], words: str
) -> None:
    assert cli.main(["eval", str(runs / "R"), *more]) == ConfigError.exit_code
    assert words in capsys.readouterr().err


def test_eval_says_a_dynamic_figure_beside_the_static_one(runs: Path) -> None:
    bound = ["--set", "Dynamic.rule = 'sgd'", "--set", "Dynamic.rate = 0.05", "--set", "Dynamic.bptt = 16"]
    arguments = ["eval", str(runs / "R"), "--bytes", "200"]
    static, both = json_answer(*arguments), json_answer(*arguments, "--dynamic", *bound)
    assert static == {name: both[name] for name in static}
    assert both["dynamic_bpc"] != static["bpc"]
    rule = {"rule": "sgd", "rate": 0.05, "decay": 0.0, "bptt": 16}
    assert both["dynamic_protocol"] == {"batch_size": 2, "bptt": 16, "bytes_scored": 198, "memory": 24, "dynamic": rule}
    assert f"dynamic evaluation {both['dynamic_bpc']:.4f} bpc (rule sgd" in answer(*arguments, "--dynamic", *bound)


def test_compress_and_decompress_give_the_file_and_its_figures(runs: Path, tmp_path: Path) -> None:
    source, packed, out = runs / "text.txt", tmp_path / "x.rnn", tmp_path / "out"
    told = json_answer("compress", str(source), "--run", str(runs / "R"), "--streams", "40", "--out", str(packed))
    assert told["compressed_bytes"] == packed.stat().st_size
    assert told["payload_bpc"] == pytest.approx(told["eval_bpc"], rel=2e-3)
    back = answer("decompress", str(packed), "--run", str(runs / "R"), "--out", str(out))
    assert out.read_bytes() == source.read_bytes()
    assert told["sha256"] in back


def test_eval_on_another_text_scores_that_text(runs: Path, tmp_path: Path) -> None:
    other = tmp_path / "noise"
    other.write_bytes(bytes(range(256)) * 8)
    score = json_answer("eval", str(runs / "R"), "--corpus", str(other))
    expected = evaluate(load(runs / "R").model, open_corpus(str(other)).test, batch_size=2, bptt=256)
    assert (score["bpc"], score["bytes_scored"]) == (expected.bpc, expected.protocol.bytes_scored)
    assert score["bytes_scored"] == (2048 - 2048 * 9 // 10 - 2048 // 20) // 2 * 2 - 2


def test_eval_of_all_scores_the_whole_text(runs: Path) -> None:
    """Each of two sequences begins with a byte that nothing predicts, and so does each split by itself."""
    score = json_answer("eval", str(runs / "R"), "--split", "all")
    text = open_corpus(str(runs / "text.txt")).split("all")
    assert len(text) == len(TEXT)
    assert score["bytes_scored"] == len(TEXT) // 2 * 2 - 2
    assert score["bpc"] == evaluate(load(runs / "R").model, text, batch_size=2, bptt=256).bpc


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
    assert difference == {"key": "Block.core", "a": "@core.LSTM", "b": "@core.QRNN", "default": False}


@pytest.mark.slow
def test_fetch_prints_where_the_corpus_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLAB_DATA", str(tmp_path))
    path = Path(answer("fetch", "python_stdlib").strip())
    assert path.parent == tmp_path
    assert path.stat().st_size > 1_000_000


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
