"""What a study's folder remembers of looks at p-values."""

import json
from pathlib import Path

import pytest

from rnnlab.errors import ConfigError, StorageError
from rnnlab.studies.ablation import seen
from rnnlab.studies.ablation.driver import run_ablation
from rnnlab.studies.ablation.seen import LOOKS, LookHistory, open_plan
from tests.studies.small_studies import small_ablation

ADDED = "Seeds were added after a look at p (first 3, then 5): p-values are too small."


@pytest.mark.parametrize(
    ("before", "seeds", "is_planned", "told"),
    [
        (LookHistory(), 5, False, ""),
        (LookHistory(by_hand=(5,)), 5, False, ""),
        (LookHistory(by_hand=(3,)), 5, False, ADDED),
        (LookHistory(by_hand=(3,)), 5, True, ADDED),
        (LookHistory(by_hand=(3, 4)), 5, False, "(first 3, then 4, then 5)"),
        (LookHistory(by_hand=(3, 5)), 5, False, ADDED),
        (LookHistory(by_hand=(5,)), 3, False, "The number of seeds was changed after a look at p (first 5, then 3)"),
        (LookHistory(planned=(3, 5)), 8, True, ""),
        (LookHistory(planned=(3, 5)), 8, False, "(first 3, then 5, then 8)"),
    ],
)
def test_a_number_of_seeds_that_was_changed_after_a_look_is_told(
    before: LookHistory, seeds: int, is_planned: bool, told: str
) -> None:
    warning = before.warning(seeds, is_planned)
    assert told in warning
    assert bool(told) == bool(warning)


def test_the_same_look_again_is_no_other_one() -> None:
    assert LookHistory().with_look(3, False).with_look(3, False).by_hand == (3,)
    assert LookHistory().with_look(5, True).with_look(3, True).with_look(5, True).planned == (3, 5)


def test_looks_are_written_down_before_the_first_and_cannot_be_changed_afterwards(tmp_path: Path) -> None:
    plan = small_ablation(tmp_path, seeds=3, until=0.5)
    plan.folder.mkdir()
    opened = open_plan(plan)
    (entry,) = json.loads((plan.folder / LOOKS).read_text()).values()
    assert [count for count, _ in entry["plan"]] == [3, 5, 8, 13, 20]
    assert entry["until"] == [0.5]
    assert seen.read(plan) == opened
    with pytest.raises(
        ConfigError, match=r"planned at 3, 5, 8, 13, 20 seeds, .* now make 3, 5, 8, 13, 21, 30; bind 3 and 20"
    ):
        open_plan(small_ablation(tmp_path, seeds=3, until=0.5, most_seeds=30))
    narrower = open_plan(small_ablation(tmp_path, seeds=3, until=0.1))
    assert narrower.until == (0.5, 0.1)
    assert narrower.plan == opened.plan
    other = open_plan(small_ablation(tmp_path, "LanguageModel.dim = 12", seeds=3, until=0.5, most_seeds=30))
    assert len(other.plan) == 6, "of another baseline nothing has been seen"
    assert seen.read(plan).until == (0.5, 0.1), "and what was seen of the first stays"


@pytest.mark.parametrize("content", ["{", "[]", '{"KEY": {"plan": 3}}'])
def test_a_damaged_file_is_told_with_a_remedy(content: str, tmp_path: Path) -> None:
    plan = small_ablation(tmp_path)
    plan.folder.mkdir()
    (plan.folder / LOOKS).write_text(content.replace("KEY", seen._key(plan)))
    with pytest.raises(StorageError, match=r"looks\.json: .*; move it away"):
        seen.read(plan)


@pytest.mark.long
def test_seeds_that_are_added_after_a_table_with_p_leave_a_line_in_the_next(tmp_path: Path) -> None:
    def notes(seeds: int) -> str:
        return run_ablation(small_ablation(tmp_path, seeds=seeds), workers=2)[1]

    assert "look at p" not in notes(2), "two seeds have no p-value, so that there was nothing to see"
    assert "look at p" not in notes(3)
    assert "look at p" not in notes(3), "the same table again is no other look"
    assert "Seeds were added after a look at p (first 3, then 4): p-values are too small." in notes(4)
    assert "(first 3, then 4)" in notes(4), "the line stays"
