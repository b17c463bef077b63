"""`rnnlab plan`: what it answers, and what it refuses."""

from pathlib import Path

import pytest

from rnnlab import cli
from rnnlab.errors import ConfigError, DataError
from tests.rnnlab.cli.commands import TINY, answer, json_answer, write_text

SMALL = ["sha_rnn", "size/tiny", "data/enwik8", "--set", "memory = 24", "--set", "Trainer.bptt = 16"]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLAB_CACHE", str(tmp_path / "cache"))


@pytest.mark.long
def test_a_gpu_is_planned_without_the_corpus_and_the_change_that_fits_is_named() -> None:
    paper = ["plan", "sha_rnn", "data/enwik8"]
    found = json_answer(*paper, "--gpu", "6GB")
    assert not found["fits"]
    assert found["memory_needed"] == sum(found["memory"].values()) > found["memory_available"]
    words = found["remedy"]["words"]
    assert words.startswith('--set "Trainer.batch_size = 8" --set "Trainer.accumulate = 2"')
    bindings = [word for word in words.split('"') if "=" in word]
    changed = [argument for binding in bindings for argument in ("--set", binding)]
    again = json_answer(*paper, *changed, "--gpu", "6GB")
    assert again["fits"]
    assert again["memory_needed"] == found["remedy"]["memory_needed"]


@pytest.mark.long
def test_a_card_has_hours_and_checkpoints_and_a_size_of_memory_has_none() -> None:
    found = json_answer("plan", *SMALL, "--gpu", "h100")
    assert found["fits"]
    assert found["hours"]["total"] == pytest.approx(found["hours"]["training"] + found["hours"]["evaluation"])
    assert found["hours"]["training"] == pytest.approx(found["budget_bytes"] / found["bytes_per_second"] / 3600)
    assert found["checkpoints"]["total"] == 3 * found["checkpoints"]["bytes"]
    assert sum(found["waits"].values()) == 1
    assert "hours" not in json_answer("plan", *SMALL, "--gpu", "12GB")


@pytest.mark.long
def test_fp16_is_planned_and_bf16_on_a_card_without_it_is_warned_of() -> None:
    found = json_answer("plan", *SMALL, "--set", "Trainer.precision = 'fp16'", "--gpu", "titanv")
    assert found["hours"]["total"] > 0.0
    assert not any("bf16" in warning for warning in found["warnings"])
    refused = json_answer("plan", *SMALL, "--set", "Trainer.precision = 'bf16'", "--gpu", "titanv")
    assert "titanv does not compute in bf16" in refused["warnings"][0]


@pytest.mark.long
def test_its_text_is_plain_and_says_what_is_an_estimate() -> None:
    bf16 = ["--set", "Trainer.precision = 'bf16'"]
    text = answer("plan", *SMALL[:-1], "Trainer.bptt = 256", *bf16, "--gpu", "a100", "--ranks", "2")
    assert text.isascii()
    for words in ("of 80 GiB each", "activations: core", "bytes/s", "3 kept", "exchange between ranks"):
        assert words in text
    assert "an estimate; beside an H100 it was within" in text
    assert "warning: 4 sequences a rank" in text


@pytest.mark.long
def test_a_text_that_is_not_there_has_no_hours_to_its_end_unless_bytes_are_given(tmp_path: Path) -> None:
    missing = ["plan", *SMALL, "--set", "Trainer.source = @corpus.File", "--gpu", "l4"]
    missing += ["--set", f"File.path = {str(tmp_path / 'none')!r}"]
    found = json_answer(*missing)
    assert found["hours"] is None
    assert found["hours_per_100_mb"] > 0.0
    assert "give --bytes" in found["warnings"][-1]
    assert json_answer(*missing, "--bytes", "1000000")["hours"]["training"] > 0.0


def test_a_run_on_a_task_is_planned_in_positions() -> None:
    text = answer("plan", "sha_task", "task/parity", "--set", "Trainer.steps = 20", "--set", "Trainer.batch_size = 2")
    assert " positions/s" in text
    assert "million positions in 20 steps" in text
    assert "byte" not in text


def test_without_a_gpu_a_few_steps_are_measured_here(tmp_path: Path) -> None:
    arguments = ["plan", "sha_rnn", "size/tiny", *TINY, "--corpus", str(write_text(tmp_path)), "--device", "cpu"]
    found = json_answer(*arguments, "--bytes", "5000")
    assert found["basis"] == "measured"
    assert found["device"] == "cpu"
    assert found["bytes_per_second"] == pytest.approx(2 * 16 / found["step_seconds"])
    assert found["memory_needed"] > 10**7
    assert found["hours"]["total"] > 0.0
    assert "peak memory" in answer(*arguments, "--bytes", "5000")
    assert not list(tmp_path.glob("runs*"))


@pytest.mark.parametrize(
    ("more", "words", "code"),
    [
        (["--gpu", "h900"], "--gpu h900: the cards are h100", ConfigError.exit_code),
        (["--gpu", "h100", "--ranks", "3"], "cannot be shared evenly by 3 ranks", ConfigError.exit_code),
        (["--ranks", "0"], "--ranks 0: at least 1", ConfigError.exit_code),
        (["--ranks", "2", "--device", "cpu"], "name a --gpu", ConfigError.exit_code),
        (["--corpus", "enwik9", "--gpu", "h100"], "no corpus and no file", DataError.exit_code),
    ],
)
def test_what_cannot_be_planned_is_refused(
    capsys: pytest.CaptureFixture[str], more: list[str], words: str, code: int
) -> None:
    assert cli.main(["plan", *SMALL, *more]) == code
    assert words in capsys.readouterr().err
