"""Findings, what becomes of a check that raises, and how an examination reads."""

import errno
import os
from collections.abc import Callable
from functools import partial

import pytest

from rnnlab.doctor import as_json, as_text
from rnnlab.doctor.finding import Finding, look
from rnnlab.doctor.text import summary
from rnnlab.errors import ConfigError

GOOD = Finding("Python", "good", "3.12")
WARNING = Finding("Triton", "warning", "there is no C compiler", "install one")
BAD = Finding("disk", "bad", "0 MB free", "free some space")


def raising(error: BaseException) -> Callable[[], Finding]:
    def free_memory() -> Finding:
        raise error

    return free_memory


def test_a_check_that_raises_becomes_a_bad_line_with_the_first_line_of_its_error() -> None:
    assert look(raising(ValueError("one\ntwo"))) == [
        Finding("free memory", "bad", "ValueError: one", "repair what this line names; if nothing is broken, report it")
    ]


def test_a_check_that_raises_without_a_word_is_told_by_the_kind_of_its_error() -> None:
    (found,) = look(raising(AssertionError()))
    assert found.detail == "AssertionError"


def test_an_error_for_users_brings_its_remedy() -> None:
    (found,) = look(raising(ConfigError("Trainer.device = 'cuda': no device; use --device cpu")))
    assert (found.detail, found.remedy) == ("Trainer.device = 'cuda': no device", "use --device cpu")


def test_an_error_of_the_disk_brings_the_remedy_that_storage_knows() -> None:
    (found,) = look(raising(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))
    assert found.remedy == "free some space"


def test_an_error_never_shows_a_password_or_moves_the_cursor() -> None:
    (found,) = look(raising(RuntimeError("https://me:secret@host \x1b[2J down")))
    assert found.detail == "RuntimeError: https://***@host  down"


def test_a_check_with_arguments_is_named_by_the_first() -> None:
    def divide(name: str, by: int) -> Finding:
        return Finding(name, "good", str(1 / by))

    assert [found.name for found in look(partial(divide, "halves", 2))] == ["halves"]
    assert [found.name for found in look(partial(divide, "nothing", 0))] == ["nothing"]


def test_an_interruption_is_no_finding() -> None:
    with pytest.raises(KeyboardInterrupt):
        look(raising(KeyboardInterrupt()))


def test_lines_are_aligned_and_a_remedy_stands_below() -> None:
    assert as_text({"Software": [GOOD, WARNING], "Folders": [BAD]}) == (
        "Software\n"
        "  good     Python  3.12\n"
        "  warning  Triton  there is no C compiler\n"
        "                   -> install one\n"
        "\n"
        "Folders\n"
        "  bad      disk    0 MB free\n"
        "                   -> free some space\n"
        "\n"
        "2 things to do: 1 bad, 1 warning."
    )


def test_the_text_is_ascii_whatever_a_path_or_an_error_says() -> None:
    text = as_text({"Folders": [Finding("folder", "good", "/home/zoë/…/±\U0001f600")]})
    assert "/home/zo\\xeb/.../+/-\\U0001f600" in text
    assert text.isascii()


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ([], "Nothing to do."),
        ([GOOD, Finding("NCCL", "absent", "none")], "Nothing to do."),
        ([GOOD, BAD], "1 thing to do: 1 bad."),
        ([WARNING, WARNING], "2 things to do: 2 warnings."),
    ],
)
def test_the_summary_counts_what_is_to_do(findings: list[Finding], said: str) -> None:
    assert summary(findings) == said


def test_the_json_has_the_same_facts() -> None:
    answer = as_json({"Software": [GOOD, WARNING], "Folders": [BAD]})
    assert [row["name"] for row in answer["findings"]] == ["Python", "Triton", "disk"]
    assert answer["findings"][2] == {
        "group": "Folders", "name": "disk", "verdict": "bad", "detail": "0 MB free", "remedy": "free some space"
    }  # fmt: skip
    assert (answer["bad"], answer["warnings"]) == (1, 1)
