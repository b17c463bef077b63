"""Addresses of databases: those that are accepted, the file of an sqlite one, and how they are shown."""

import os
from pathlib import Path

import pytest

from rnnlab.errors import ConfigError
from rnnlab.studies.launch.urls import check_url, database_file, file_url, shown


@pytest.mark.parametrize(
    "url",
    [
        "study.db",
        "sqlite://",
        "mysql://h/d",
        "postgresql://h/d",
        "postgresql+psycopg2://h/d",
        "",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
    ],
)
def test_a_storage_that_cannot_carry_a_study_is_refused_with_those_that_can(url: str) -> None:
    with pytest.raises(ConfigError, match=r"sqlite:///FILE .* postgresql\+psycopg://"):
        check_url(url)


@pytest.mark.parametrize("name", ["study.db", "a?b#c%d%41 {x}", os.fsdecode(b"\xff\n"), "'", "a@b@c"])
def test_the_address_of_a_file_leads_back_to_it_whatever_its_name(name: str) -> None:
    url = file_url(Path("/st") / name)
    assert url.isascii()
    assert "{" not in url
    assert database_file(check_url(url)) == Path("/st") / name
    assert shown(url) == f"/st/{name}"


@pytest.mark.parametrize(
    ("url", "file"), [("sqlite:///a/b.db", "a/b.db"), ("sqlite:////a/b.db", "/a/b.db"),
                      ("sqlite:///file:a%2520b?uri=true", "a b"), ("sqlite:///file:///a/b?uri=true", "/a/b")]
)  # fmt: skip
def test_an_address_of_a_file_may_be_written_as_sqlalchemy_takes_it(url: str, file: str) -> None:
    assert database_file(check_url(url)) == Path(file)


def test_an_address_of_a_server_is_shown_without_password_and_options() -> None:
    url = "postgresql+psycopg://bob:a%40b@[::1]:5432/d?sslpassword=secret"
    assert check_url(url).password == "a@b"
    assert shown(url) == "postgresql+psycopg://bob@[::1]:5432/d"
    assert shown("postgresql+psycopg:///d") == "postgresql+psycopg:///d"
