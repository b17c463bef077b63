"""Study files: how they are found, read, written down, and refused."""

from pathlib import Path

import pytest

from rnnlab.errors import ConfigError
from rnnlab.studies import definition
from rnnlab.studies.ablation.plan import Ablation
from rnnlab.studies.search.plan import Search, plan_search
from tests.studies.small_studies import (
    small_search,
    write_study,
)


def test_a_study_is_found_by_path_and_those_that_ship_by_name(tmp_path: Path) -> None:
    shipped = definition.find("memory_dropout")
    assert definition.find("studies/memory_dropout.gin") in (shipped, Path("studies/memory_dropout.gin"))
    assert definition.find(str(write_study(tmp_path, "Search"))) == tmp_path / "study.gin"
    with pytest.raises(ConfigError, match="did you mean 'memory_dropout'"):
        definition.find("memory_dropuot")
    with pytest.raises(ConfigError, match="no study"):
        definition.find("elsewhere/memory_dropout.gin")


def test_a_study_in_a_folder_ships_under_the_name_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "studies"
    (here / "published").mkdir(parents=True)
    for name in ("one", "published/one", "published/other"):
        (here / f"{name}.gin").write_text("")
    monkeypatch.setattr(definition, "HERE", here)
    monkeypatch.chdir(tmp_path / "studies" / "published")  # where none of the names below is a path
    assert definition.shipped() == ["one", "published/one", "published/other"]
    for name in ("published/one", "published/one.gin", "studies/published/one.gin", "./published/one"):
        assert definition.find(name) == here / "published" / "one.gin"
    assert definition.find("studies/one") == here / "one.gin"
    assert definition._folder(definition.find("published/one"), None) == Path("runs/published/one")
    assert definition._folder(definition.find("one"), None) == Path("runs/one")
    assert definition._folder(write_study(tmp_path, "Search"), None) == Path("runs/study")
    with pytest.raises(ConfigError, match="did you mean 'published/other'"):
        definition.find("published/othre")


def test_a_study_is_written_down_so_that_it_reads_back_the_same(tmp_path: Path) -> None:
    made = small_search(tmp_path, "Search.confirm = 2")
    (tmp_path / "again.gin").write_text(definition.text(made.search))
    assert definition.read(tmp_path / "again.gin", Search) == made.search


def test_a_study_is_called_after_its_folder_until_that_is_noted_in_it(tmp_path: Path) -> None:
    assert definition.name_of(tmp_path / "not there") == "not there"
    folder = tmp_path / "study"
    folder.mkdir()
    assert definition.name_of(folder) == "study"
    definition.write(small_search(tmp_path).search, "noted", folder)
    assert definition.name_of(folder) == "noted"


def test_a_study_whose_folder_would_have_a_bad_name_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Search").rename(tmp_path / f"{'n' * 200}.gin")
    with pytest.raises(ConfigError, match=r"\.gin, without --run: the name 'nnn.* has 200 bytes"):
        plan_search(str(path))
    assert plan_search(str(path), run=tmp_path / "study").address.name == "study"
    with pytest.raises(ConfigError, match=r"--run '.*a\\nb': control characters"):
        plan_search(str(path), run=tmp_path / "a\nb")


def test_a_file_for_the_other_command_says_which(tmp_path: Path) -> None:
    path = write_study(tmp_path, "Ablation", deltas={"dropped": ["dropout = 0.1"]})
    with pytest.raises(ConfigError, match="it is for `rnnlab ablate`"):
        plan_search(str(path), run=tmp_path / "study")
    (tmp_path / "empty.gin").write_text("")
    with pytest.raises(ConfigError, match="binds no Search"):
        plan_search(str(tmp_path / "empty.gin"), run=tmp_path / "study")


def test_what_a_study_names_is_relative_to_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/wide.gin").write_text("LanguageModel.dim = 24\n")
    study = tmp_path / "there/mine.gin"
    study.write_text(
        "Ablation.base = ['sha_rnn', 'size/tiny', 'wide.gin']\n"
        "Ablation.deltas = {'a': ['../other.gin', 'dropout = 0.3']}\n"
        "Ablation.overrides = [\"Trainer.source = @corpus.File\", \"File.path = 'a.txt'\", 'dropout = 0.2']\n"
    )
    (tmp_path / "other.gin").write_text("memory = 16\n")
    monkeypatch.chdir(tmp_path)
    read, _ = definition.read_with("there/mine.gin", Ablation, ["size/small"], ["File.valid = 'b.txt'"], None)
    assert read.base == ["sha_rnn", "size/tiny", str(tmp_path / "there/wide.gin"), "size/small"]
    assert read.deltas == {"a": [str(tmp_path / "other.gin"), "dropout = 0.3"]}
    where = f"corpus.File.path = {str(tmp_path / 'there/a.txt')!r}"
    assert read.overrides == ["Trainer.source = @corpus.File", where, "dropout = 0.2", "File.valid = 'b.txt'"]


def test_a_study_that_ships_wins_over_a_file_of_its_name_which_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "core_swap.gin").write_text("")
    assert definition.find("core_swap") == definition.HERE / "core_swap.gin"
    assert "for the file of that name write ./core_swap.gin" in capsys.readouterr().err
    assert definition.find("./core_swap.gin") == Path("core_swap.gin")
