"""Names that become folders: those that are refused, with the reason."""

import pytest

from rnnlab.errors import ConfigError
from rnnlab.studies.names import LONGEST, check_names


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("n" * 300, "'nnn"),
        ("n" * (LONGEST + 1), f"has {LONGEST + 1} bytes, more than {LONGEST}"),
        ("ö" * (LONGEST // 2 + 1), f"has {LONGEST + 2} bytes"),
        ("a/b", "holds a slash or a control character"),
        ("a\0b", "holds a slash or a control character"),
        ("a\nb", "holds a slash or a control character"),
        ("a\x1b[31mb", "holds a slash or a control character"),
        ("a\u2028b", "holds a slash or a control character"),
        (".", "begins with a dot or a dash"),
        ("..", "begins with a dot or a dash"),
        (".hidden", "begins with a dot or a dash"),
        ("-rf", "begins with a dot or a dash"),
        ("a ", "begins or ends with a space"),
        ("", "is empty"),
        ("\udcff", "is not UTF-8"),
    ],
)
def test_a_name_that_no_folder_should_have_is_refused_in_one_line(name: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_names(["fine", name])
    assert told in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200
    assert "choose another" in str(caught.value)


def test_names_that_a_file_system_may_take_for_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="'Größe' and 'GRÖSSE' differ in case only; rename"):
        check_names(["Größe", "another", "GRÖSSE"])


def test_names_that_any_folder_may_have_are_not() -> None:
    check_names(["lstm", "std 0.006 (paper)", "a + b", "größer", "n" * LONGEST, "lstm"])
