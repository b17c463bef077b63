"""The reference says what the code says, and what it points to is there."""

import re
from pathlib import Path

import pytest

from docs.generate import BLOCKS, MARKED, pages, refreshed

ROOT = Path(__file__).parents[2]
WRITTEN = sorted([*pages(), *ROOT.glob("*.md"), *ROOT.glob("examples/*/README.md")])
"""Every page, those of the root included."""


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_is_what_the_code_makes_of_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert refreshed(text) == text, "out of date; `python -m docs.generate` writes it anew"


def test_every_generated_part_stands_in_exactly_one_page() -> None:
    found = [match[2] for page in pages() for match in MARKED.finditer(page.read_text(encoding="utf-8"))]
    assert sorted(found) == sorted(BLOCKS)


def test_a_part_that_is_missing_from_its_page_is_noticed() -> None:
    text = (ROOT / "docs" / "parts.md").read_text(encoding="utf-8")
    assert refreshed(text.replace("### core.LSTM\n", "")) == text


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for link in links:
        if re.match(r"https?:", link):
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link}: there is no such file"
        if heading:
            assert heading in _headings(target), f"{link}: there is no such heading"


def _headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_the_index() -> None:
    every = [page for page in pages() if page.name != "README.md"]
    indices = {page.parent: (page.parent / "README.md").read_text(encoding="utf-8") for page in every}
    assert not [page.name for page in every if f"({page.name})" not in indices[page.parent]]


def test_the_citation_names_the_version_that_is_shipped() -> None:
    import rnnlab

    assert f"\nversion: {rnnlab.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
