"""Text of others, before it is printed or stored."""

import time

import pytest

from rnnlab.safe_text import as_utf8, hide_secrets, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://bob:zebra@h/db, x@y", "at postgresql://***@h/db, x@y"),
        ("'p+q://bob:z@e/b:r@h/db'", "'p+q://***@h/db'"),
        ("--storage=p://:zebra@h", "--storage=p://***@h"),
        ("/here/p:/bob:zebra@h/db", "/here/p:/***@h/db"),
        ("https://token@h/x", "https://***@h/x"),
        ("p://h/db?user=bob&sslpassword=zebra&x=1", "p://h/db?user=bob&sslpassword=***&x=1"),
        ("https://h:80/x", "https://h:80/x"),
        ("postgresql+psycopg://USER@HOST/DATABASE", "postgresql+psycopg://USER@HOST/DATABASE"),
        ("Block.core = @core.LSTM: a@b", "Block.core = @core.LSTM: a@b"),
    ],
)
def test_user_and_password_of_an_address_are_hidden_and_nothing_else(text: str, shown: str) -> None:
    assert hide_secrets(text) == shown


@pytest.mark.slow
def test_a_long_text_is_searched_for_secrets_in_no_time() -> None:
    started = time.process_time()
    for text in ("x" * 1_000_000, "x://" * 10_000, "x://a:" + "b" * 1_000_000):
        assert hide_secrets(text) == text
    assert time.process_time() - started < 5.0


def test_bytes_that_are_not_utf8_are_escaped() -> None:
    assert as_utf8("naïve \udcff") == "naïve \\udcff"


def test_what_a_terminal_would_obey_is_left_out_or_marked() -> None:
    assert printable("\x1b[1;31mred\x1b[0m\n\x07 \u202eback") == "red \ufffd \ufffdback"
