"""F33: the password of a database is neither printed nor stored, whatever happens."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnlab import cli
from tests.studies import postgres
from tests.studies.small_studies import Command, wait_until, write_study

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]

PASSWORD = "zebra{giraffe}"  # braces: Optuna formats what it is given
PIECES = (b"zebra", b"giraffe")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a database whose server asks for the password, which the URL does not hold."""
    with postgres.server(PASSWORD) as url:
        yield url


def with_password(url: str, password: str = PASSWORD) -> str:
    return url.replace("@", f":{password}@")


def expect_no_secret(folder: Path, *printed: str) -> None:
    """No byte of the folder, and nothing that was printed, holds a piece of the password."""
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [piece for piece in PIECES if piece in content + os.fsencode(path.name)], path
    assert not [piece for piece in PIECES if piece in "".join(printed).encode()], printed


@pytest.mark.long
def test_f33_a_search_on_a_server_leaves_no_password_behind(url: str, tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search", trials=2, confirm=1, confirm_seeds=1)
    run = tmp_path / "study"
    with Command("search", path, "--run", run, "--workers", "2", "--storage", with_password(url)) as search:
        code, out, err = search.finish()
    assert code == 0, err
    assert "2 trials" in out
    expect_no_secret(run, out, err)


@pytest.mark.long
def test_f33_the_password_may_lie_in_a_file_that_libpq_reads(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_study(tmp_path, "Search", trials=1)
    passwords = tmp_path / "passwords"
    passwords.write_text(f"*:*:*:*:{PASSWORD}\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    Command("search", path, "--run", tmp_path / "file", "--workers", "1", "--storage", url).succeed()
    expect_no_secret(tmp_path / "file")


@pytest.mark.long
def test_f33_a_server_that_goes_down_during_a_search_takes_no_password_along(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search", trials=3, bytes=25_600)
    run = tmp_path / "study"
    with postgres.server(PASSWORD) as url:
        storage = with_password(url)
        search = Command("search", path, "--run", run, "--workers", "2", "--storage", storage, "--debug")
        wait_until(lambda: any(run.glob("trials/*/checkpoints")))
    with search:
        code, out, err = search.finish()
    assert code == 5, err
    assert "the database does not serve" in err
    expect_no_secret(run, out, err)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://bob:zebra@127.0.0.1/giraffe",
        "mysql://bob:zebra@127.0.0.1/giraffe",
        "bob:zebra@127.0.0.1/giraffe",
        "postgresql+psycopg//bob:zebra@127.0.0.1/giraffe",
        "sqlite://bob:zebra@giraffe/db",
        "postgresql+psycopg://bob:zebra",
        "postgresql+psycopg://bob:zebra/giraffe",
        "postgresql+psycopg://bob:zebra@giraffe@127.0.0.1:9/db",
        "postgresql+psycopg://bob:x@zebra/giraffe@127.0.0.1:9/db",
        "postgresql+psycopg://bob:x@zebra:giraffe@127.0.0.1:9/db",
        "postgresql+psycopg://bob:zebra/giraffe@127.0.0.1:9/db",
        "postgresql+psycopg://bob:zebra?giraffe@127.0.0.1:9/db",
        "postgresql+psycopg://127.0.0.1:9/db?user=bob&password=x@zebra",
    ],
)
def test_f33_of_an_address_that_is_refused_only_the_scheme_is_shown(
    address: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "study"
    path = str(write_study(tmp_path, "Search"))
    assert cli.main(["search", path, "--debug", "--run", str(run), "--storage", address]) == 2
    said = capfd.readouterr()
    assert "error: --storage" in said.err
    assert not run.exists()
    expect_no_secret(tmp_path, said.out, said.err)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("postgresql+psycopg://bob:zebra{giraffe}@127.0.0.1:9/db", "127.0.0.1:9/db: the database does not serve"),
        ("postgresql+psycopg://bob:zebra:giraffe@127.0.0.1:9/db", "127.0.0.1:9/db: the database does not serve"),
        ("postgresql+psycopg://127.0.0.1:9/db?password=zebra", "127.0.0.1:9/db: the database does not serve"),
        ("postgresql+psycopg://127.0.0.1:9/db?passwort=zebra", 'invalid connection option "passwort"'),
    ],
)
def test_f33_a_server_that_cannot_be_reached_is_named_without_a_password(
    address: str, told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "study"
    path = str(write_study(tmp_path, "Search"))
    assert cli.main(["search", path, "--debug", "--run", str(run), "--storage", address]) == 5
    said = capfd.readouterr()
    assert told in said.err
    expect_no_secret(tmp_path, said.out, said.err)


def test_f33_a_server_that_lets_one_not_in_is_named_without_a_password(
    url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run, path = tmp_path / "study", str(write_study(tmp_path, "Search"))
    for address, told in (
        (with_password(url, "zebra"), 'password authentication failed for user "postgres"'),
        (with_password(url).replace("postgres:", "bob:"), 'password authentication failed for user "bob"'),
        (with_password(url) + "2", 'database "postgres2" does not exist'),
    ):
        assert cli.main(["search", path, "--debug", "--run", str(run), "--storage", address]) == 5
        said = capfd.readouterr()
        assert told in said.err
        expect_no_secret(tmp_path, said.out, said.err)


def test_f33_an_address_in_a_wrong_place_is_repeated_without_a_password(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address, path = "postgresql+psycopg://bob:zebra@h/giraffes", str(write_study(tmp_path, "Search"))
    for arguments in (
        ["search", address],
        ["search", path, address],
        ["search", path, "--set", address],
        ["search", path, "--corpus", address],
        ["train", address],
        ["compare", address],
    ):
        assert cli.main([*arguments, "--debug"]) in (2, 3, 5)
        said = capfd.readouterr()
        assert b"zebra" not in (said.out + said.err).encode(), arguments
        assert "***@h/giraffes" in said.err, arguments


def test_f33_a_mirror_with_a_password_is_refused_without_it(
    tmp_path: Path, own_cache: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNLAB_MIRROR", "http://bob:zebra@127.0.0.1:9/corpora")
    assert cli.main(["fetch", "enwik8", "--debug"]) == 3
    said = capfd.readouterr()
    assert "RNNLAB_MIRROR" in said.err
    expect_no_secret(tmp_path, said.out, said.err)


def test_f33_the_command_of_a_run_is_kept_without_a_password(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rnnlab.training.experiment import environment
    from tests.rnnlab.tiny_runs import build

    command = ["rnnlab", "search", "--storage=postgresql+psycopg://bob:zebra@giraffe@h/d", "https://zebra@h/x", "a@b"]
    monkeypatch.setattr("sys.argv", command)
    kept = environment(build(text))["command"]
    assert kept == ["rnnlab", "search", "--storage=postgresql+psycopg://***@h/d", "https://***@h/x", "a@b"]
