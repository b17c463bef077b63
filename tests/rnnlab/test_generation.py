"""Generation: what is drawn, how it is written, and that it costs the same at the end as at the beginning."""

import io
import itertools
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest
import torch

import rnnlab
from rnnlab.cli import main
from rnnlab.errors import ConfigError
from rnnlab.generation import Readable, choose, generate, write
from rnnlab.model import LanguageModel
from rnnlab.rng import generator
from tests.rnnlab import quick_runs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("generation") / "run"
    quick_runs.train(path, steps=60)
    return path


@pytest.fixture(scope="module")
def model(run: Path) -> LanguageModel:
    return rnnlab.load(run).model


def written(model: LanguageModel, prompt: bytes = b"The", count: int = 40, **how: float) -> bytes:
    return b"".join(generate(model, prompt, count=count, **how))  # type: ignore[arg-type]


def test_greedy_bytes_are_those_of_one_forward_over_all_of_them(model: LanguageModel) -> None:
    text = written(model, count=60, temperature=0.0)  # far beyond the memory of 24
    tokens = torch.tensor([list(b"The" + text)]).T
    with torch.no_grad():
        logits, _ = model(tokens, model.initial_state(1))
    assert bytes(logits[2:-1, 0].argmax(-1).tolist()) == text


def test_the_same_seed_writes_the_same_and_another_seed_something_else(model: LanguageModel) -> None:
    assert written(model, seed=1) == written(model, seed=1)
    assert written(model, seed=1) != written(model, seed=2)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    written(model, seed=1)
    assert torch.equal(torch.get_rng_state(), before), "the global generator is others'"


@pytest.mark.slow
def test_samples_side_by_side_differ_and_greedy_ones_do_not(model: LanguageModel) -> None:
    steps = list(generate(model, b"The", count=30, samples=3))
    assert len({bytes(column) for column in zip(*steps, strict=True)}) == 3
    assert all(len(set(step)) == 1 for step in generate(model, b"The", count=30, samples=3, temperature=0.0))


def test_a_long_prompt_is_read_in_pieces_to_the_same_effect(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = quick_runs.TEXT * 3
    whole = written(model, prompt, temperature=0.0)
    monkeypatch.setattr("rnnlab.generation.PROMPT_CHUNK", 7)
    assert written(model, prompt, temperature=0.0) == whole


def test_every_byte_can_be_a_prompt(model: LanguageModel) -> None:
    assert len(written(model, bytes(range(256)), count=3)) == 3


def test_without_a_count_it_goes_on(model: LanguageModel) -> None:
    assert len(list(itertools.islice(generate(model, count=None), 25))) == 25


def drawn(probabilities: list[float], temperature: float, top_p: float, draws: int = 4000) -> dict[int, float]:
    """Share of each outcome."""
    logits = torch.tensor(probabilities).log().expand(draws, -1)
    found = Counter(choose(logits, temperature, top_p, generator(0, 0, "test")).tolist())
    return {outcome: count / draws for outcome, count in found.items()}


def test_a_byte_is_drawn_by_its_probability() -> None:
    shares = drawn([0.5, 0.1, 0.4], 1.0, 1.0)
    assert [shares[i] for i in range(3)] == pytest.approx([0.5, 0.1, 0.4], abs=0.03)


def test_temperature_sharpens_and_flattens() -> None:
    cold, warm = drawn([0.5, 0.1, 0.4], 0.5, 1.0), drawn([0.5, 0.1, 0.4], 2.0, 1.0)
    assert cold[0] == pytest.approx(0.25 / 0.42, abs=0.03)
    assert warm[1] == pytest.approx(0.1**0.5 / (0.5**0.5 + 0.1**0.5 + 0.4**0.5), abs=0.03)


@pytest.mark.parametrize(
    ("top_p", "kept"), [(0.49, {0}), (0.51, {0, 2}), (0.89, {0, 2}), (0.91, {0, 1, 2}), (1e-9, {0})]
)
def test_top_p_keeps_the_likeliest_that_hold_it(top_p: float, kept: set[int]) -> None:
    shares = drawn([0.5, 0.1, 0.4], 1.0, top_p)
    assert set(shares) == kept
    if kept == {0, 2}:
        assert shares[0] == pytest.approx(5 / 9, abs=0.03)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-40, 1e-8])
def test_so_small_a_temperature_is_greedy_in_every_precision(temperature: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([[3.0, -100.0, 3.5, 0.0], [0.0, 0.0, -1.0, 0.25]], dtype=dtype)
    for top_p in (1.0, 0.5, 1e-300):
        assert choose(logits, temperature, top_p, generator(0, 0, "test")).tolist() == [2, 3]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("temperature", [1e40, 1e300, 1.7976931348623157e308])
def test_so_large_a_temperature_makes_all_alike(temperature: float, dtype: torch.dtype) -> None:
    logits = torch.tensor([-100.0, 3.0], dtype=dtype).expand(4000, -1)
    assert choose(logits, temperature, 1.0, generator(0, 0, "test")).float().mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("top_p", [5e-324, 1e-300, 1e-40])
def test_so_small_a_top_p_keeps_the_likeliest(top_p: float) -> None:
    assert set(drawn([0.3, 0.3, 0.4], 1.0, top_p, draws=50)) == {2}


@pytest.mark.parametrize("seed", [-1, -(10**30), 10**30])
def test_any_whole_number_is_a_seed(model: LanguageModel, seed: int) -> None:
    assert written(model, seed=seed, count=9) == written(model, seed=seed, count=9)


def test_a_count_beyond_all_bytes_goes_on(model: LanguageModel) -> None:
    assert len(list(itertools.islice(generate(model, count=10**30), 5))) == 5


@pytest.mark.parametrize(
    "how",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": float("-inf")},
        {"top_p": 0.0},
        {"top_p": -0.1},
        {"top_p": 1.5},
        {"top_p": float("nan")},
        {"samples": 0},
        {"samples": -1},
        {"samples": 10**12},
        {"count": -1},
        {"count": -(10**30)},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_the_first_byte(model: LanguageModel, how: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(how)).replace("_", "-").replace("count", "bytes")):
        generate(model, **how)  # type: ignore[arg-type]


def test_an_empty_prompt_is_refused(model: LanguageModel) -> None:
    with pytest.raises(ConfigError, match="prompt is empty"):
        generate(model, b"")


def test_a_pipe_gets_the_very_bytes() -> None:
    out = io.BytesIO()
    write(iter([b"a", b"\xff", b"\x1b", b"\xc3", b"\xa9"]), out)
    assert out.getvalue() == b"a\xff\x1b\xc3\xa9"


def test_a_terminal_gets_what_it_can_show() -> None:
    out = io.BytesIO()
    write(iter([b"a", b"\xff", b"\x1b", b"\xc3", b"\xa9", b"\n", b"\xe2", b"("]), out, readable=True)
    assert out.getvalue().decode() == "a\\xff\\x1bé\n\\xe2("


def test_a_character_of_several_bytes_waits_for_its_last() -> None:
    show = Readable()
    assert [show(bytes([byte])) for byte in "€".encode()] == [b"", b"", "€".encode()]


def test_several_samples_are_written_one_after_the_other() -> None:
    out = io.BytesIO()
    write(iter([b"ad", b"be", b"cf"]), out, samples=2)
    assert out.getvalue() == b"--- sample 1 of 2\nabc\n--- sample 2 of 2\ndef\n"


def test_bytes_come_one_by_one() -> None:
    out = io.BytesIO()
    stream = iter([b"a", b"b"])

    def watched() -> "itertools.chain[bytes]":
        for expected, step in zip((b"", b"a"), stream, strict=True):
            assert out.getvalue() == expected
            yield step

    write(watched(), out)
    assert out.getvalue() == b"ab"


def command(run: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "rnnlab", "generate", str(run), *options]


@pytest.mark.long
def test_standard_input_goes_through_to_standard_output(run: Path) -> None:
    prompt = b"The \xff\x00 quick"
    process = subprocess.run(
        command(run, "--prompt", "-", "--bytes", "20", "--temperature", "0"), input=prompt, capture_output=True
    )
    assert process.stderr == b""
    assert process.stdout == written(rnnlab.load(run).model, prompt, count=20, temperature=0.0)


def test_a_prompt_can_be_a_file(run: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tmp_path / "prompt").write_bytes(b"\xffThe")
    assert main(["generate", str(run), "--prompt-file", str(tmp_path / "prompt"), "--bytes", "9"]) == 0
    assert capfdbinary.readouterr().out == written(rnnlab.load(run).model, b"\xffThe", count=9)


def test_a_prompt_file_that_is_not_there_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", str(run), "--prompt-file", "none.txt"]) == 2
    assert "none.txt" in capsys.readouterr().err


@contextmanager
def writing(run: Path) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes], IO[bytes]]]:
    """A process that generates a million bytes, its output and its messages."""
    line = command(run, "--bytes", "1000000")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        yield process, process.stdout, process.stderr


@pytest.mark.long
@pytest.mark.faults
def test_a_reader_that_leaves_is_no_error(run: Path) -> None:
    with writing(run) as (process, out, err):
        out.read(5)
        out.close()
        assert process.wait(timeout=120) == 0
        assert err.read() == b""


@pytest.mark.faults
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)],
    ids=["SIGINT", "SIGTERM"],
)
def test_an_interrupt_ends_it_without_a_traceback(run: Path, number: signal.Signals, code: int) -> None:
    with writing(run) as (process, out, err):
        out.read(20)
        process.send_signal(number)
        out.read()
        assert process.wait(timeout=120) == code
        assert b"Traceback" not in err.read()


@pytest.mark.long
@pytest.mark.soak
def test_memory_is_the_same_from_byte_10_000_to_the_end(run: Path) -> None:
    """To byte 30,000 here; over 100,000 it was 0.1 MB as well."""
    with subprocess.Popen(command(run, "--bytes", "30000"), stdout=subprocess.PIPE, env=None) as process:
        assert process.stdout is not None
        held = []
        for size in (10_000, 19_900):
            assert len(process.stdout.read(size)) == size
            status = Path(f"/proc/{process.pid}/status").read_text()
            held.append(int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024)
        process.stdout.read()
    assert abs(held[1] - held[0]) < 5.0
