"""The example of a task of one's own obeys, and what its README says of it and of a corpus is so."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from rnnlab import testing
from rnnlab.data.corpora import open_corpus
from rnnlab.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_task"
README = (EXAMPLE / "README.md").read_text(encoding="utf-8")


def majority() -> Any:
    """The class, registered anew for each test."""
    spec = importlib.util.spec_from_file_location("my_task", EXAMPLE / "my_task.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Majority


@pytest.mark.parametrize("law", testing.laws("task"))
def test_the_task_of_the_example_obeys(law: testing.Law[Any]) -> None:
    law(majority())


def test_without_its_declaration_the_last_token_is_found_to_tell_as_the_readme_shows() -> None:
    class Majority(majority()):  # type: ignore[misc]
        def chance_by_token(self, difficulty: int) -> float:
            return self.chance(difficulty)

    broken = [outcome for outcome in testing.check(Majority) if not outcome.passed]
    assert [outcome.law for outcome in broken] == ["own token"]
    assert broken[0].message in README.replace("\n", " ")


def test_a_length_without_a_majority_is_refused() -> None:
    with pytest.raises(ConfigError, match="Majority of length 64: name odd lengths"):
        majority()(test=(64,))


def test_the_corpus_of_the_readme_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "diary.txt").write_text("nothing happened today. " * 100)
    (source,) = re.findall(r"^```python\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    exec(source, {"__name__": "my_task"})
    corpus = open_corpus("diary")
    assert corpus.name == "diary"
    assert (len(corpus.train), len(corpus.valid), len(corpus.test)) == (2160, 120, 120)
