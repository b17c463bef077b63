"""`--until`: seeds are added to all variants alike until the widest interval is as narrow as it was asked for."""

import json
from pathlib import Path
from typing import Any

import pytest

from rnnlab import cli
from rnnlab.errors import ConfigError
from rnnlab.studies.ablation.driver import run_ablation
from rnnlab.studies.ablation.looks import planned
from tests.studies.small_studies import DROPPED, small_ablation, write_study


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"until": 0.0}, "Ablation.until = 0.0: more than 0"),
        ({"until": -0.1}, "Ablation.until = -0.1: more than 0"),
        ({"until": 0.1, "seeds": 5, "most_seeds": 4}, "at least as many as at the first look, 5"),
        ({"until": 0.1, "seeds": 1, "most_seeds": 2}, "at the first look, 3"),
        ({"until": 0.1, "most_seeds": 10**6}, "make up to 2,000,000 runs, more than 100,000"),
    ],
)  # fmt: skip
def test_a_goal_that_no_study_reaches_is_refused(arguments: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        small_ablation(tmp_path, **arguments)
    assert told in str(caught.value)
    assert not (tmp_path / "study").exists()


@pytest.mark.long
def test_a_study_ends_at_the_first_look_that_is_narrow_enough_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_study(tmp_path, "Ablation", deltas=DROPPED, seeds=3, most_seeds=5)
    arguments = ["ablate", str(path), "--workers", "2", "--run", str(tmp_path / "study"), "--json"]
    assert cli.main([*arguments, "--until", "1000"]) == 0
    out, err = capsys.readouterr()
    first = json.loads(out)
    assert first["cells"] == {"trained": 6, "kept": 0}
    assert "3 seeds: the widest ± of Δ, of dropped, is" in err
    table = first["tables"]["ablation"]
    assert "Looks at 3 seeds, of those planned at 3, 5; stopped because the widest ±" in " ".join(table["notes"])
    assert (tmp_path / "study" / "study.gin").read_text().count("Ablation.until = 1000") == 1

    level = planned(3, 5)[0].level
    (row,) = (row for row in table["rows"] if row["variant"] == "dropped")
    assert row["p_holm"] == pytest.approx(min(1, row["p"] * 0.05 / level))
    assert row["p_flip_holm"] == pytest.approx(min(1, row["p_flip"] * 0.05 / level)), "no test is spared"
    text = (tmp_path / "study" / "ablation.txt").read_text()
    assert "p (flip, Holm)" in text.splitlines()[2], "a reader sees the one that may be compared with .05"
    assert "p (Holm) and p (flip, Holm) are also corrected for the looks" in " ".join(table["notes"])
    assert f"is the {100 * (1 - level):.2f}% interval" in " ".join(table["notes"])

    assert cli.main([*arguments, "--until", "1e-9"]) == 0
    more = json.loads(capsys.readouterr().out)
    assert more["cells"] == {"trained": 4, "kept": 6}
    notes = " ".join(more["tables"]["ablation"]["notes"])
    assert "Looks at 3, 5 seeds, of those planned at 3, 5; stopped because there may be no more than 5 seeds" in notes
    assert "Asked for ±1000 first, then ±1e-09." in notes
    assert "(all so far 0.0500)" in notes
    assert "look at p (" not in notes, "what was planned is no seed added by hand"

    assert cli.main([*arguments, "--until", "1000"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["cells"] == {"trained": 0, "kept": 10}, "a study never goes back to fewer seeds than were seen"
    assert [row["seeds"] for row in again["tables"]["ablation"]["rows"]] == [5, 5]

    assert cli.main([*arguments, "--set", "Ablation.seeds = 6"]) == 0
    by_hand = json.loads(capsys.readouterr().out)["tables"]["ablation"]
    assert any("Seeds were added after a look at p (first 3, then 5, then 6)" in note for note in by_hand["notes"])


@pytest.mark.long
def test_seeds_are_added_after_a_look_that_is_too_wide(tmp_path: Path) -> None:
    first, _ = run_ablation(small_ablation(tmp_path, seeds=3), workers=2)
    assert first["cells"]["trained"] == 6
    plan = small_ablation(tmp_path, seeds=3, until=1e-9, most_seeds=4)
    facts, text = run_ablation(plan, workers=2)
    assert facts["cells"] == {"trained": 2, "kept": 6}
    assert [row["seeds"] for row in facts["tables"]["ablation"]["rows"]] == [4, 4]
    assert "Seeds were added after a look at p (first 3, then 4)" in text, "the first look was not one that was planned"


@pytest.mark.long
def test_a_variant_that_diverges_does_not_keep_a_study_going(tmp_path: Path) -> None:
    deltas = {"lost": ["LanguageModel.init_std = 1e30"]}
    facts, text = run_ablation(small_ablation(tmp_path, deltas=deltas, seeds=3, until=0.01), workers=2)
    assert facts["cells"]["trained"] == 6
    assert "stopped because no variant has an interval" in text
