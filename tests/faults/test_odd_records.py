"""F35: a record that is odd but can be read. One line names the file, and nothing is lost."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes import Processes

pytestmark = pytest.mark.faults

DEEP = "[" * 100_000 + "]" * 100_000
HUGE = '{"status": "done", "valid_bpc": ' + "9" * 400 + "}"


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A finished run that may be spoiled."""
    return Path(shutil.copytree(whole, tmp_path / "run"))


def result_is(content: str) -> Callable[[Path], Path]:
    def spoil(run: Path) -> Path:
        (run / "result.json").write_text(content)
        return run / "result.json"

    return spoil


def environment_is(content: str) -> Callable[[Path], Path]:
    def spoil(run: Path) -> Path:
        (run / "environment.json").write_text(content)
        return run / "environment.json"

    return spoil


def resumed_is_a_folder(run: Path) -> Path:
    (run / "resumed.gin").mkdir()
    return run / "resumed.gin"


def resumed_is_no_text(run: Path) -> Path:
    (run / "resumed.gin").write_bytes(b"Trainer.keep = \xff\xfe\n")
    return run / "resumed.gin"


def configuration_is_no_text(run: Path) -> Path:
    (run / "config.gin").write_bytes(b"\xff\xfe\n")
    return run / "config.gin"


def the_journal_has_a_huge_number(run: Path) -> Path:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "valid", "bytes": ' + "9" * 400 + "}\n")
    return run / "metrics.jsonl"


SPOILED = {
    "result nested 100,000 deep": (result_is(DEEP), ["compare"]),
    "result with an integer of 400 digits": (result_is(HUGE), ["compare"]),
    "result that is a list": (result_is("[]"), ["compare"]),
    "environment nested 100,000 deep": (environment_is(DEEP), ["eval", "resume", "board"]),
    "environment that is a string": (environment_is('"x"'), ["eval", "resume", "compare"]),
    "resumed.gin that is a folder": (resumed_is_a_folder, ["resume", "eval"]),
    "resumed.gin that is not UTF-8": (resumed_is_no_text, ["resume", "eval"]),
    "config.gin that is not UTF-8": (configuration_is_no_text, ["resume", "eval", "compare"]),
    "a journal with an integer of 400 digits": (the_journal_has_a_huge_number, ["compare"]),
}


@pytest.mark.parametrize(("spoil", "commands"), SPOILED.values(), ids=SPOILED)
def test_f35_an_odd_file_is_named_in_one_line(
    spoil: Callable[[Path], Path], commands: list[str], processes: Processes, run: Path
) -> None:
    file = spoil(run)
    for command in commands:
        child = processes.start(command, str(run))
        assert child.wait() == 5, f"{command}: {child.err}"
        assert str(file) in child.err
        assert len(child.err.strip().splitlines()) == 1
        assert len(child.err) < 500


def test_f35_lines_of_a_journal_that_say_less_are_passed_over(processes: Processes, run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"valid_bpc": 1.0}\n{"kind": "valid", "valid_bpc": "low"}\n{"kind": ["valid"]}\n')
    for arguments in (["compare", str(run)], ["replay", str(run), "--step", "3"], ["resume", str(run)]):
        child = processes.start(*arguments)
        assert child.wait() == 0, child.err


def without_facts(body: dict[str, Any]) -> None:
    body["facts"] = {}


def without_its_step(body: dict[str, Any]) -> None:
    del body["facts"]["progress"]["step"]
    body["facts"]["progress"]["stairs"] = 7


def with_words_for_numbers(body: dict[str, Any]) -> None:
    body["facts"]["progress"]["bytes"] = "many"


@pytest.mark.parametrize("change", [without_facts, without_its_step, with_words_for_numbers])
def test_f35_a_checkpoint_that_someone_resealed_is_refused_in_one_line(
    change: Callable[[dict[str, Any]], None], processes: Processes, run: Path
) -> None:
    manifest = run / "checkpoints" / "step-00000030" / "manifest.json"
    body = json.loads(manifest.read_text())
    del body["seal"]
    change(body)
    seal = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    manifest.write_text(json.dumps({**body, "seal": seal}, sort_keys=True, indent=1) + "\n")
    child = processes.resume(run)
    assert child.wait() == 5, child.err
    assert "the checkpoint of step 30 has its hash, but is not as rnnlab writes one" in child.err
    assert "Traceback" not in child.err
