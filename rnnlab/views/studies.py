"""What a study wrote into its folder about itself, to stand first on the page of a comparison.

The folder is the contract: `study.gin` marks it, the tables lie there as JSON and the pictures as SVG. Views know no
study, and studies need not know who shows them.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rnnlab.safe_text import printable
from rnnlab.views.naming import STUDY, study_name
from rnnlab.views.runs import natural
from rnnlab.views.stored_tables import read_table
from rnnlab.views.tables import Table

OPENING = ("ablation", "matched", "ladder", "confirm")  # stand before the pictures
TABLES = (*OPENING, "factors", "interactions", "trials")  # then all others
PICTURES = {
    "forest": "Difference to the baseline",
    "ladder": "Size ladder",
    "difference": "Difference over training",
    "factors": "Factors",
    "interactions": "Interactions",
    "ablation": "Score against cost",
    "state": "Score against the size of the state",
    "confirm": "Score of the candidates against cost",
}
"""By the stem of the file, in the order of the page; then all others."""

OF_COMPARE = {"runs", "variants", "curves", "curves_of_tasks", "matrix"}  # also where --out is the study's folder
BY_DIFFICULTY = re.compile(r"(^|_)by_")  # `compare` makes this table itself
PLOTS = "plots"  # where a search keeps pictures
LARGEST = 4_000_000  # [bytes] of a picture that goes into a page
LATER = 2.0  # [s] a run ends after the table before that is said: the study writes the table last


@dataclass(frozen=True)
class Picture:
    """A picture of a study."""

    title: str
    svg: bytes

    @property
    def base64(self) -> str:
        """As the source of an image: there no script of the picture runs, and nothing is loaded."""
        return base64.b64encode(self.svg).decode("ascii")


@dataclass(frozen=True)
class StudyReport:
    """What a study says of itself."""

    name: str
    path: Path
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    opening: int  # so many of the tables stand before the pictures: what the study found; the others add detail
    notes: Sequence[str]  # what a reader must know before it


def study_folders(path: Path, runs: Sequence[Path]) -> list[Path]:
    """The folders of studies that these runs below `path` belong to, each once."""
    found = []
    for run in runs:
        above = [folder for folder in run.parents if folder == path or path in folder.parents]
        found += [folder for folder in above if (folder / STUDY).is_file()][:1]
    return list(dict.fromkeys(found))


def read_study(folder: Path, runs: Sequence[Path]) -> StudyReport:
    """The report that lies in the folder of a study. What cannot be read is left out.

    Args:
        runs: folders of its runs, to tell whether some ended after the tables were written.
    """
    stems = sorted((path.stem for path in folder.glob("*.json")), key=lambda stem: _order(stem, TABLES))
    wanted = [stem for stem in stems if stem not in OF_COMPARE and not BY_DIFFICULTY.search(stem)]
    found = {stem: table for stem in wanted if (table := read_table(folder / f"{stem}.json")) is not None}
    notes = _notes(folder, [folder / f"{stem}.json" for stem in found], runs)
    opening = max(1, sum(stem in OPENING for stem in found))
    return StudyReport(study_name(folder), folder, list(found.values()), list(_pictures(folder)), opening, notes)


def _order(stem: str, known: Sequence[str]) -> tuple[int, int, object]:
    """Those that are known in their order; of one at equal costs (`matched_forest`) the same, after all of these."""
    plain = re.sub(r"^matched_|_matched$", "", stem)
    place = known.index(plain) if plain in known else len(known)
    return int(plain != stem), place, natural(stem)


def _notes(folder: Path, written: Sequence[Path], runs: Sequence[Path]) -> list[str]:
    remedy = f"`rnnlab {_command(folder)} {folder / STUDY} --run {folder}` writes it"
    if not written:
        return [f"The study has no table yet: {remedy} when its runs have ended."]
    at = min(path.stat().st_mtime for path in written)
    later = [run for run in runs if _ended(run) > at + LATER]
    if not later:
        return []
    return [
        f"{len(later)} {'run has' if len(later) == 1 else 'runs have'} ended since this was written: {remedy} anew."
    ]


def _command(folder: Path) -> str:
    try:
        text = (folder / STUDY).read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    return "search" if re.search(r"^\s*Search\.", text, re.MULTILINE) else "ablate"


def _ended(run: Path) -> float:
    """When the result was written [s since 1970]; 0 if there is none."""
    try:
        return (run / "result.json").stat().st_mtime
    except OSError:
        return 0.0


def _pictures(folder: Path) -> Iterator[Picture]:
    inside = [path for path in (*folder.glob("*.svg"), *(folder / PLOTS).glob("*.svg")) if path.stem not in OF_COMPARE]
    for path in sorted(inside, key=lambda path: _order(path.stem, tuple(PICTURES))):
        try:
            svg = path.read_bytes() if path.stat().st_size <= LARGEST else b""
        except OSError:
            continue
        if b"<svg" in svg:
            yield Picture(_title(path.stem), svg)


def _title(stem: str) -> str:
    plain = re.sub(r"^matched_|_matched$", "", stem)
    words = "ablation" if stem == "matched" else plain
    title = PICTURES.get(words, printable(words).replace("_", " ").capitalize())
    return f"{title}, at equal cost" if stem.startswith("matched") or plain != stem else title
