"""Budgets that are equal for all runs of a study: bytes of text, positions or steps of a task."""

from typing import Any

import pytest

from rnnlab import config
from rnnlab.errors import ConfigError
from rnnlab.studies.ablation.plan import Ablation
from rnnlab.studies.budget import positions, refuse_to_vary_a_step, refuse_unequal_steps, resolve_base
from rnnlab.studies.search.plan import Search
from tests.rnnlab import small_tasks

BASE = ["sha_rnn", "size/tiny"]
PARITY = "Trainer.source = @task.Parity"
DELTAS = {"qrnn": ["core/qrnn"]}


def ablation(*overrides: str, **arguments: Any) -> Ablation:
    return Ablation(base=BASE, deltas=DELTAS, overrides=overrides, **arguments)


def budget_of(study: Ablation) -> dict[str, Any]:
    base = resolve_base(study)
    return {unit: base.value(f"Trainer.{unit}") for unit in ("bytes", "steps")}


def test_a_task_is_trained_for_steps_of_the_study_or_of_its_own_fragment_or_for_positions() -> None:
    assert budget_of(ablation(PARITY, steps=50)) == {"bytes": None, "steps": 50}
    assert budget_of(ablation(PARITY, "Trainer.steps = 70")) == {"bytes": None, "steps": 70}
    assert budget_of(ablation(PARITY, bytes=5000)) == {"bytes": 5000, "steps": None}


def test_a_budget_on_the_command_line_takes_the_place_of_the_studys_steps() -> None:
    assert budget_of(ablation(PARITY, "Trainer.steps = 70", steps=50)) == {"bytes": None, "steps": 70}
    assert budget_of(ablation(PARITY, "Trainer.bytes = 900", steps=50)) == {"bytes": 900, "steps": None}


@pytest.mark.parametrize(
    ("overrides", "arguments", "told"),
    [
        ([PARITY], {}, r"equal budgets: name it with Ablation.steps or --bytes N"),
        ([PARITY, "Trainer.epochs = 2"], {}, r"equal budgets: name it with Ablation.steps or --bytes N"),
        ([], {"steps": 50}, r"Ablation.steps = 50: runs on corpus.PythonStdlib are compared at equal bytes"),
        (["Trainer.steps = 50"], {}, "equal budgets: name it with --bytes N"),
    ],
)
def test_a_budget_that_would_not_be_equal_is_refused(
    overrides: list[str], arguments: dict[str, Any], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        resolve_base(ablation(*overrides, **arguments))


def test_two_budgets_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"Ablation.bytes = 5, Ablation.steps = 5: one budget"):
        ablation(bytes=5, steps=5)
    with pytest.raises(ConfigError, match=r"Search.bytes = 5, Search.steps = 5: one budget"):
        Search(base=BASE, space={}, bytes=5, steps=5)


def test_a_variant_whose_step_reads_more_is_refused_where_steps_are_the_budget() -> None:
    for budget, batch in (("Trainer.steps = 50", "Trainer.batch_size = 3"), ("Trainer.steps = 50", "Trainer.bptt = 9")):
        base = config.resolve(BASE, [PARITY, budget])
        with pytest.raises(ConfigError, match=r"equal steps read unequal positions; .* Ablation.bytes"):
            refuse_unequal_steps("wide", base, base.vary([], [batch]))
        refuse_unequal_steps("qrnn", base, base.vary(["core/qrnn"], []))
    in_positions = config.resolve(BASE, [PARITY, "Trainer.bytes = 5000"])
    refuse_unequal_steps("wide", in_positions, in_positions.vary([], ["Trainer.batch_size = 3"]))


def test_a_space_that_varies_what_a_step_reads_is_refused_by_key_and_by_macro() -> None:
    base = config.resolve(BASE, [PARITY, "Trainer.steps = 50", "batch = 4", "Trainer.batch_size = %batch"])
    for key in ("Trainer.batch_size", "batch"):
        with pytest.raises(ConfigError, match=f"Search.space varies '{key}'"):
            refuse_to_vary_a_step(base, ["dropout", key])
    refuse_to_vary_a_step(base, ["dropout"])
    refuse_to_vary_a_step(base.override(["Trainer.bytes = 900", "Trainer.steps = None"]), ["batch"])


def test_steps_of_a_task_are_about_so_many_positions() -> None:
    """Lengths 3 to 5 come equally often, and with a bptt of 4 the longest takes two chunks."""
    short = ["Parity.shortest = 3", "Parity.longest = 5", "Parity.test = [5]", "Trainer.batch_size = 10"]
    whole = config.resolve(BASE, [PARITY, "Trainer.steps = 50", "Trainer.bptt = 64", *short])
    assert positions(whole) == 50 * 10 * 4
    cut = config.resolve(BASE, [PARITY, "Trainer.steps = 60", "Trainer.bptt = 4", *short])
    assert positions(cut) == round(60 * 10 * (3 + 4 + 2.5) / 3)
    assert positions(config.resolve(BASE, ["Trainer.bytes = 4321"])) == 4321


@pytest.mark.parametrize("chunk", [32, 5])
def test_the_engine_counts_as_many(chunk: int) -> None:
    told = ("Trainer.steps = 20", f"Trainer.bptt = {chunk}")
    counted = positions(config.resolve(small_tasks.FRAGMENTS, small_tasks.bindings(*told)))
    assert counted == pytest.approx(small_tasks.learner(*told).budget_bytes(), abs=1)
