"""What runs are called: by the variant and the seed that a study gave them, by their folders otherwise.

A study writes `variant (study)` into environment.json of each run. Hashes are for folders, never for readers.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rnnlab.safe_text import as_utf8, printable
from rnnlab.views.runs import Run

STUDY = "study.gin"  # in the folder of a study
NAME = "study.name"  # beside it: what the study is called, if not as its folder
HASHED = re.compile(r"(seed-\d+)-[0-9a-f]{8}(?=/|$)")


def with_names(runs: Sequence[Run]) -> list[Run]:
    """The runs with names for readers: `qrnn/seed-1`, of several studies `parity/qrnn/seed-1`, and no two alike.

    A run that no study trained is called after its folder, below the one that holds all of these.
    """
    studies = {run.path: study_of(run) for run in runs if variant_of(run)}
    plain = [run.path for run in runs if run.path not in studies]
    folders = dict(zip(plain, readable(name_runs(plain)), strict=True)) if plain else {}
    several = len(set(studies.values())) > 1
    named = []
    for run in runs:
        if run.path in folders:
            named.append(replace(run, name=folders[run.path]))
            continue
        study, variant = studies[run.path], _without_study(variant_of(run), studies[run.path])
        seed = "" if run.seed is None else f"/seed-{run.seed}"
        before = f"{_part(study)}/" if several and study else ""
        shown = f"{variant} ({study})" if several and study else variant
        named.append(replace(run, name=f"{before}{_part(variant)}{seed}", variant=shown))
    names = numbered([run.name for run in named])
    return [replace(run, name=name) for run, name in zip(named, names, strict=True)]


def variant_of(run: Run) -> str:
    """What its study calls the configuration of a run; empty of one that no study trained."""
    told = run.facts.get("variant")
    return printable(told).strip() if isinstance(told, str) else ""


def study_of(run: Run) -> str:
    """The name of the study of a run; empty if nothing tells it."""
    for folder in list(run.path.parents)[:4]:  # cells/VARIANT/SEED, and in a search trials/TRIAL/SEED
        if (folder / STUDY).is_file():
            return study_name(folder)
    variant = variant_of(run)  # of a run that was taken out of its study
    return variant[variant.rindex(" (") + 2 : -1] if variant.endswith(")") and " (" in variant else ""


def study_name(folder: Path) -> str:
    """What the study in a folder is called."""
    try:
        noted = (folder / NAME).read_text(encoding="utf-8", errors="replace").removesuffix("\n")
    except OSError:
        noted = ""
    return printable(noted).strip() or as_utf8(folder.resolve().name)


def _without_study(variant: str, study: str) -> str:
    return variant.removesuffix(f" ({study})") or variant


def _part(name: str) -> str:
    """A name as one part of a path, as TensorBoard's runs are: it cannot lead elsewhere."""
    return re.sub(r"[/\\]", "-", name).strip(". ")[:120] or "variant"


def name_runs(folders: Sequence[Path]) -> list[str]:
    """What tells the folders apart: their paths below the folder that holds them all."""
    if len(folders) == 1:
        return [as_utf8(folders[0].name)]
    common = Path(os.path.commonpath(folders))
    return [as_utf8(folder.relative_to(common).as_posix()) for folder in folders]


def readable(names: Sequence[str]) -> list[str]:
    """Paths of runs without what a study adds to those of its cells: a hash behind the seed, and `cells`."""
    return numbered([re.sub(r"(^|/)cells/", r"\1", HASHED.sub(r"\1", name)) for name in names])


def in_a_row(names: Sequence[str]) -> str:
    """Several names in a sentence, told apart by semicolons where one has a comma in it: "qrnn, none; sru, none"."""
    return ("; " if any("," in name for name in names) else ", ").join(names)


def numbered(names: Sequence[str]) -> list[str]:
    """The names, with a number behind each that several have."""
    taken: Mapping[str, int] = {name: names.count(name) for name in names}
    return [name if taken[name] == 1 else f"{name} #{1 + names[:i].count(name)}" for i, name in enumerate(names)]
