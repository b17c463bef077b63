"""What the reference shows by example is tried: wishes, files of one's own, and answers of the command line."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from rnnlab import cli, config, testing
from rnnlab.studies.ablation.plan import plan_ablation
from rnnlab.studies.search.plan import plan_search
from rnnlab.training import experiment

DOCS = Path(__file__).parents[2] / "docs"
CONFIGURATION = (DOCS / "configuration.md").read_text(encoding="utf-8")
LAWS = (DOCS / "laws.md").read_text(encoding="utf-8")
STUDIES = (DOCS / "studies.md").read_text(encoding="utf-8")


def build(*arguments: str) -> None:
    """Build a tiny SHA-RNN with fragments and `--set BINDING`s on top, or raise what a user would be told."""
    fragments, overrides = ["sha_rnn", "size/tiny"], list[str]()
    given = iter(arguments)
    for argument in given:
        if argument == "--set":
            overrides.append(next(given))
        else:
            fragments.append(argument)
    experiment.build(config.resolve(fragments, overrides), shapes_only=True, needs_source=False)


def wishes() -> list[str]:
    table = CONFIGURATION.partition("### Common wishes")[2].partition("\n## ")[0]
    answers = [row.split("|")[2] for row in table.splitlines() if row.startswith("| ")][2:]
    spans = [span for answer in answers for span in re.findall(r"`([^`]+)`", answer)]
    return [span for span in spans if span.startswith("--set") or "/" in span]


@pytest.mark.parametrize("wish", wishes())
def test_a_wish_can_be_granted(wish: str) -> None:
    build(*shlex.split(wish))


def attention_to_copy() -> Any:
    """The class that docs/laws.md shows as a whole part."""
    (source,) = re.findall(r"^```python\n(import torch\n.*?)^```$", LAWS, flags=re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(source, names)
    return names["Nearby"]


@pytest.mark.parametrize("law", testing.laws("attention"))
def test_the_attention_to_copy_obeys(law: testing.Law) -> None:
    law(attention_to_copy())


def test_the_attention_to_copy_is_bound_as_shown() -> None:
    attention_to_copy()
    build(*shlex.split(next(line for line in re.findall(r"`(--set[^`]*)`", LAWS) if "Nearby" in line)))


def gin_files(page: str) -> dict[str, str]:
    """{name: text} of the files that a page shows under a comment with their name."""
    blocks = re.findall(r"^```\n# (\w+\.gin)\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    assert blocks
    return dict(blocks)


@pytest.mark.parametrize("name", gin_files(CONFIGURATION))
def test_a_file_of_ones_own_builds(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(gin_files(CONFIGURATION)[name])
    build(str(tmp_path / name))


@pytest.mark.parametrize("name", gin_files(STUDIES))
def test_a_study_of_ones_own_is_accepted(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(gin_files(STUDIES)[name])
    plan = plan_search if "Search." in path.read_text() else plan_ablation
    plan(str(path), ["size/tiny"], run=tmp_path / "run")


def dialogues() -> list[tuple[str, str]]:
    """(command, answer) of what a page shows behind a `$`."""
    blocks = re.findall(r"^```\n(\$ .*?)^```$", CONFIGURATION, flags=re.DOTALL | re.MULTILINE)
    return [(command, answer) for block in blocks for command, answer in re.findall(r"\$ (.+)\n((?:[^$].*\n)*)", block)]


@pytest.mark.parametrize(("command", "answer"), dialogues())
def test_the_command_line_answers_as_shown(command: str, answer: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *arguments = shlex.split(command)
    assert program == "rnnlab"
    cli.main(arguments)
    said = capsys.readouterr()
    shown = answer.strip()
    whole = (said.out + said.err).strip()
    assert whole.startswith(shown.removesuffix(" ...")) if shown.endswith(" ...") else whole == shown
