"""The studies that ship, to be listed, read, copied, and included."""

import json
from pathlib import Path

import pytest

from rnnlab import cli
from rnnlab.errors import ConfigError
from rnnlab.studies import definition, shelf
from rnnlab.studies.ablation.plan import Ablation


def test_every_study_is_listed_with_its_first_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["studies", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["studies"]
    assert [one["name"] for one in listed] == definition.shipped()
    assert all(one["question"] and one["command"] in ("ablate", "search") for one in listed)
    assert cli.main(["studies"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "residual" in lines[[one["name"] for one in listed].index("residual")]
    assert len(lines) == len(listed)
    questions = {one["name"]: one["question"] for one in listed}
    assert questions["core_swap"] == "Does the core matter, with one attention head beside it?"
    assert questions["published/mqar_64_4"].endswith(
        " at its smallest width and its whole budget: 400 million positions a run."
    )
    assert all(question[-1] in ".?" for question in questions.values())


def test_a_study_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["studies", "show", "residual"]) == 0
    assert capsys.readouterr().out == (definition.HERE / "residual.gin").read_text()
    assert cli.main(["studies", "show", "residul"]) == 2
    assert "did you mean 'residual'" in capsys.readouterr().err
    assert cli.main(["studies", "show"]) == 2
    assert "which one?" in capsys.readouterr().err


def test_a_study_is_copied_once_and_the_copy_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = shelf.copied("residual")
    assert made == {"name": "residual", "path": "residual.gin", "run": "rnnlab ablate ./residual.gin"}
    assert (tmp_path / "residual.gin").read_bytes() == (definition.HERE / "residual.gin").read_bytes()
    assert definition.find("./residual.gin") == Path("residual.gin")
    with pytest.raises(ConfigError, match="there is no folder sub; make it first"):
        shelf.copied("residual", "sub/mine.gin")
    (tmp_path / "residual.gin").write_text("mine")
    with pytest.raises(ConfigError, match="is there already, and is not overwritten"):
        shelf.copied("residual", "residual.gin")
    assert (tmp_path / "residual.gin").read_text() == "mine"
    (tmp_path / "to").mkdir()
    assert shelf.copied("published/mqar_64_4", tmp_path / "to")["path"] == str(tmp_path / "to" / "mqar_64_4.gin")


@pytest.mark.parametrize("name", ["study/residual.gin", "study/residual"])
def test_a_study_file_may_include_one_that_ships(name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.gin").write_text(f"include '{name}'\nAblation.seeds = 2\n")
    study = definition.read(tmp_path / "mine.gin", Ablation)
    shipped = definition.read(definition.HERE / "residual.gin", Ablation)
    assert (study.seeds, study.deltas, study.base) == (2, shipped.deltas, shipped.base)


def test_no_other_file_is_reached_by_including(tmp_path: Path) -> None:
    (tmp_path / "mine.gin").write_text("include 'study/../README.md'\n")
    with pytest.raises(ConfigError, match="leaves the folder of configurations"):
        definition.read(tmp_path / "mine.gin", Ablation)
    (tmp_path / "mine.gin").write_text("include 'study/nowhere'\n")
    with pytest.raises(ConfigError, match="there is no such file"):
        definition.read(tmp_path / "mine.gin", Ablation)
