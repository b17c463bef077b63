"""The studies that ship: each runs at its smallest."""

import json
import re
from pathlib import Path

import pytest

from rnnlab import cli
from rnnlab.studies import definition
from rnnlab.studies.ablation.study import Ablation
from rnnlab.studies.ablation.variants import design
from tests.rnnlab.tiny_runs import write_text
from tests.sampled import sampled
from tests.studies.small_studies import OVERRIDES

ON_TASK = ["LanguageModel.dim = 8", "Trainer.batch_size = 2", "Trainer.steps = 2", "TaskSplits.valid = 2",
           "TaskSplits.test = 2"]  # fmt: skip


CORNERS = {"core": {"gru": ["core/gru"]}, "attention": {"every layer": ["place/every"]}}
"""Of the matrix, whose thirty variants are trained on its first task alone."""


def arguments_of(study: str, folder: Path) -> list[str]:
    """The command line that runs a shipped study at its smallest."""
    if "'sha_task'" in definition.find(study).read_text():
        sets = [part for line in ON_TASK for part in ("--set", line)]
        if study.startswith("matrix/"):
            sets += ["--set", "Ablation.tune = None"]  # 90 more cells each
        if has_corners_only(study):
            sets += ["--set", f"Ablation.deltas = {CORNERS}"]
        return [study, "--workers", "2", "--run", str(folder / "study"), *sets]
    text = write_text(folder, size=4000)
    sets = [part for line in OVERRIDES for part in ("--set", line) if not _is_varied(study, line)]
    common = ["size/tiny", "--corpus", str(text), "--bytes", "320", "--workers", "2", "--run", str(folder / "study")]
    return [study, *common, *sets, "--set", "Trainer.eval_every = 160"]


def has_corners_only(study: str) -> bool:
    return study.startswith("matrix/") and study != "matrix/parity"


def _is_varied(study: str, line: str) -> bool:
    varied = {"memory_length": "memory ", "size_ladder": "LanguageModel.dim "}
    return study in varied and line.startswith(varied[study])


def test_the_studies_that_are_promised_ship() -> None:
    assert set(definition.shipped()) >= {
        "attention_kind", "boom_vs_standard", "core_swap", "initialization", "memory_dropout", "memory_length",
        "memory_by_core", "paper_table", "residual", "parity", "recall", "memory_staircase", "published/xlstm_parity",
        "published/min_gru_selective_copy_32", "published/min_gru_selective_copy_64", "published/mad_memorize",
        "published/mqar_64_4", "size_ladder", "state_tracking", "recall_by_core", "matrix/parity", "matrix/s4",
        "matrix/recall", "matrix/distance", "matrix/induction", "matrix/selective_copy",
    }  # fmt: skip


LONG = ("first_look", "size_ladder", "text_parts")  # of the others `make soak` takes care
ABLATIONS = [name for name in definition.shipped() if name != "memory_dropout"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "study",
    sampled(ABLATIONS, ("parity",), soaked=set(ABLATIONS) - {"parity", *LONG}),
)
def test_every_ablation_that_ships_runs_at_its_smallest(
    study: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["ablate", *arguments_of(study, tmp_path), "--seeds", "1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    declared = definition.read(definition.find(study), Ablation)
    rows = facts["tables"]["ablation"]["rows"]
    names = [declared.baseline, *(name for name, _, _ in design(declared))]
    if has_corners_only(study):
        corners = {*declared.levels.values(), *CORNERS["core"], *CORNERS["attention"]}
        names = [name for name in names if set(re.split(r", | \+ ", name)) <= corners]
        assert len(names) == 4
    assert [(row.get("size"), row["variant"]) for row in rows] == [
        (size, name) for size in declared.sizes or [None] for name in names
    ]
    assert ("ladder" in facts["tables"]) == (declared.sizes is not None)
    assert ("matched" in facts["tables"]) == (declared.match is not None)


@pytest.mark.long
def test_the_search_that_ships_runs_at_its_smallest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*arguments_of("memory_dropout", tmp_path), "--trials", "2", "--set", "Search.confirm = 1",
                 "--set", "Search.confirm_seeds = 1", "--set", "memory = 64", "--json"]  # fmt: skip
    assert cli.main(["search", *arguments]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert sum(facts["trials"].values()) == 2
    assert set(facts["best"]["params"]) == {"SingleHead.memory", "dropout"}
