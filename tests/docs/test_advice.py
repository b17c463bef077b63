"""What users are told to install has that name on the public index, where nobody of us owns the name rnnlab."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")


def test_nobody_is_told_to_take_rnnlab_from_an_index_that_does_not_have_it() -> None:
    wrong = re.compile(r"(?:pipx?|uv)3? (?:\S+ )?(?:install|add|run|download)\b[^\n;`]*[ '\"]rnnlab\b")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            found = wrong.search((ROOT / name).read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{name}: {found[0]}: name the packages, or '.[EXTRA]' of the checkout"


@pytest.mark.parametrize(("extra", "place"), [("export", "rnnlab/export.py"), ("postgres", "docs/gpu.md")])
def test_the_packages_that_are_named_are_those_of_the_extra(extra: str, place: str) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.search(r"pip install ([^\n\"#]+)", (ROOT / place).read_text())
    assert named
    assert {word.strip("'") for word in named[1].split()} == {re.split("[<>=~]", each)[0] for each in extras[extra]}
