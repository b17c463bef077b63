"""Schedules as functions of where a run stands."""

from collections.abc import Callable

import pytest

from rnnlab.errors import ConfigError
from rnnlab.training import schedules


def test_warm_up_rises_in_steps_and_starts_again_with_a_pass() -> None:
    schedule = schedules.Constant(warmup=4)
    assert [schedule(step, 0.0) for step in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert [schedule(step, 0.0, pass_start=10) for step in (10, 13)] == [0.25, 1.0]


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (schedules.Constant(), [1.0, 1.0, 1.0]),
        (schedules.Linear(final=0.2), [1.0, 0.6, 0.2]),
        (schedules.Cosine(), [1.0, 0.5, 0.0]),
        (schedules.Cosine(final=0.1), [1.0, 0.55, 0.1]),
        (schedules.TwoPass(warmup=0), [1.0, 1.0, 0.5]),
    ],
)
def test_a_schedule_at_the_start_the_middle_and_the_end(schedule: schedules.Schedule, factors: list[float]) -> None:
    assert [schedule(100, progress) for progress in (0.0, 0.5, 1.0)] == pytest.approx(factors)


@pytest.mark.parametrize("schedule", [schedules.Linear(final=0.25), schedules.Cosine(final=0.25)])
def test_a_schedule_stays_at_its_final_factor_beyond_its_budget(schedule: schedules.Schedule) -> None:
    assert {schedule(100, progress) for progress in (1.0, 1.1, 1.5, 2.0, 30.0)} == {0.25}


def test_only_the_two_pass_schedule_has_a_second_pass_and_a_switch_at_one_means_never() -> None:
    at = [0.0, 0.84, 0.85, 1.0]
    assert [schedules.TwoPass().pass_of(progress) for progress in at] == [0, 0, 1, 1]
    assert [schedules.TwoPass(switch=1.0).pass_of(progress) for progress in at] == [0, 0, 0, 0]
    assert [schedules.Cosine().pass_of(progress) for progress in at] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: schedules.Constant(warmup=-1), "Constant.warmup = -1"),
        (lambda: schedules.Cosine(final=1.5), "Cosine.final = 1.5"),
        (lambda: schedules.TwoPass(switch=0.0), "TwoPass.switch"),
        (lambda: schedules.TwoPass(factor=0.0), "TwoPass.factor"),
    ],
)
def test_an_argument_out_of_range_is_a_configuration_error(build: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build()
