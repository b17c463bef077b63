"""Bindings that say where a file lies: relative to what names them, and no part of what a configuration is."""

import os
from pathlib import Path

import pytest

from rnnlab.config import identity, load, resolve
from tests.rnnlab.config.resolving import write

ROOT = ["sha_rnn", "size/tiny"]
SOURCE = "Trainer.source = @corpus.File"


def path_of(*arguments: object) -> object:
    return resolve(*arguments).value("File.path")  # type: ignore[arg-type]


def test_a_relative_place_is_relative_to_the_file_that_binds_it(tmp_path: Path) -> None:
    mine = write(tmp_path / "there/mine.gin", f"{SOURCE}\nFile.path = '../a.txt'\n")
    assert path_of([*ROOT, str(mine)]) == str(tmp_path / "a.txt")


def test_behind_an_include_it_is_relative_to_the_included_file(tmp_path: Path) -> None:
    write(tmp_path / "there/text.gin", f"{SOURCE}\nFile.path = 'a.txt'\n")
    mine = write(tmp_path / "mine.gin", "include 'there/text.gin'\n")
    assert path_of([*ROOT, str(mine)]) == str(tmp_path / "there/a.txt")


def test_on_the_command_line_it_is_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert path_of(ROOT, [SOURCE, "File.path = 'b/../a.txt'"]) == str(tmp_path / "a.txt")


def test_a_macro_is_relative_to_the_file_that_binds_the_macro(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine = write(tmp_path / "there/mine.gin", f"{SOURCE}\nFile.path = %text\ntext = 'a.txt'\n")
    assert path_of([*ROOT, str(mine)]) == str(tmp_path / "there/a.txt")
    assert path_of([*ROOT, str(mine)], ["text = 'c.txt'"]) == str(tmp_path / "c.txt")


def test_a_home_is_found_and_an_absolute_place_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    assert path_of(ROOT, [SOURCE, "File.path = '~/a.txt'"]) == "/somewhere/a.txt"
    assert path_of(ROOT, [SOURCE, "File.path = '/b/a.txt'"]) == "/b/a.txt"


@pytest.mark.parametrize("binding", ["File.path = '/b/a.txt'", "File.path = %text"])
def test_two_configurations_that_differ_in_places_alone_are_one(binding: str) -> None:
    here = resolve(ROOT, [SOURCE, binding, *(["text = '/c/a.txt'"] if "%" in binding else [])])
    there = resolve(ROOT, [SOURCE, "File.path = '/elsewhere/x.txt'"])
    assert here.text != there.text
    assert here.sha == there.sha
    assert here.sha != resolve(ROOT, [SOURCE, binding.replace("%text", "'/c'"), "dropout = 0.3"]).sha
    assert identity(here.text) == identity(there.text)


def test_a_place_survives_the_text_of_a_configuration_whatever_bytes_its_name_has(tmp_path: Path) -> None:
    odd = os.fsdecode(b"/a/caf\xe9 'x' \n\\.txt")
    text = resolve(ROOT, [SOURCE, f"File.path = {odd!r}"]).text
    assert text.isascii()
    assert load(write(tmp_path / "config.gin", text)).value("File.path") == odd
