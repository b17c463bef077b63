"""Notices, and what streams cannot show."""

import io
import sys

import pytest

from rnnlab.console import IN_ASCII, say
from rnnlab.safe_text import escaped


def test_what_a_terminal_would_obey_is_shown_and_what_people_write_is_not_changed() -> None:
    assert escaped("\x1b[31mred\x07\u202e") == "\\x1b[31mred\\x07\\u202e"
    plain = "Δ 1.0 ± 0.1\n\tnaïve 文字\xa0–"
    assert escaped(plain) == plain


def test_a_stream_in_ascii_gets_words_for_glyphs() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", errors=IN_ASCII)
    stream.write("1.0 ± 0.1 ── 文")
    stream.flush()
    assert raw.getvalue() == b"1.0 +/- 0.1 -- \\u6587"


def test_a_notice_that_nobody_can_read_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (None, closed):
        monkeypatch.setattr(sys, "stderr", stream)
        say("all is well")


def test_a_notice_is_one_line_that_says_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    say("all is\x1b[0m well")
    assert capsys.readouterr() == ("", "rnnlab: all is\\x1b[0m well\n")


def test_a_notice_shows_no_password(capsys: pytest.CaptureFixture[str]) -> None:
    say("argument --trials: invalid value 'postgresql://bob:zebra@h/db'")
    assert "zebra" not in capsys.readouterr().err
