import functools
import io
import json
import re

import pytest
import torch
from torch import Tensor, nn

from rnnlab import testing
from rnnlab.errors import ConfigError, LawError
from rnnlab.registry import register
from rnnlab.testing.small import Leaky, LeakyState, TwoLayers, Window
from tests.laws.broken_cores import PeeksOneAhead
from tests.laws.honest_parts import Residual
from tests.laws.honest_tasks import LastIsFirst, Lookup


class Nowhere(Leaky):
    def __init__(self, dim: int) -> None:
        raise ValueError("a width of 17 is needed")


def broken(outcomes: list[testing.Outcome]) -> list[str]:
    return [outcome.law for outcome in outcomes if not outcome.passed]


@pytest.mark.slow
def test_check_finds_the_kind_and_takes_classes_partials_and_selectors() -> None:
    for part in (Leaky, Window, TwoLayers, Residual, functools.partial(TwoLayers, dropout=0.1), "feedforward.Boom"):
        outcomes = testing.check(part)
        assert outcomes
        assert broken(outcomes) == []
    assert {outcome.part for outcome in testing.check("Boom")} == {"feedforward.Boom"}


def test_check_knows_a_task_by_its_class() -> None:
    for task in (LastIsFirst, functools.partial(Lookup, pairs=(2,)), "task.Parity"):
        outcomes = testing.check(task)
        assert "causal answers" in {outcome.law for outcome in outcomes}
        assert broken(outcomes) == []
    of_a_function = testing.check(lambda: Lookup(pairs=(2,)), "task")
    assert broken(of_a_function) == []


def test_what_is_no_task_or_cannot_be_built_breaks_every_law_of_tasks_and_says_why() -> None:
    for part, reason in ((Leaky, "TypeError: Leaky.__init__"), (dict, "it is a dict; a task is a subclass of")):
        outcomes = testing.check(part, "task")
        assert not any(outcome.passed for outcome in outcomes)
        assert all(reason in outcome.message for outcome in outcomes)


def test_check_tries_the_laws_it_is_given_and_no_other() -> None:
    (causality,) = [law for law in testing.laws("core") if law.name == "causality"]
    (outcome,) = testing.check(PeeksOneAhead, laws=[causality])
    assert not outcome.passed
    assert outcome.message.startswith("PeeksOneAhead breaks 'causality': y up to position 0 changed")


@pytest.mark.slow
def test_a_law_that_has_nothing_to_say_is_left_out() -> None:
    assert "window" not in {outcome.law for outcome in testing.check(Leaky)}
    assert "window" in {outcome.law for outcome in testing.check(Window)}
    assert "folding" not in {outcome.law for outcome in testing.check(TwoLayers)}


def test_a_part_that_cannot_be_built_breaks_every_law_and_says_why() -> None:
    outcomes = testing.check(Nowhere, "core")
    assert not any(outcome.passed for outcome in outcomes)
    assert "it cannot be built: ValueError: a width of 17 is needed" in outcomes[0].message


def test_what_looks_like_no_part_is_refused_with_what_a_part_takes() -> None:
    with pytest.raises(LawError, match=r"FourArguments.forward takes 4 arguments; a part takes"):
        testing.check(FourArguments)
    with pytest.raises(LawError, match="Nowhere cannot be built: ValueError: a width of 17 is needed"):
        testing.check(Nowhere)


class FourArguments(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
        return a + b + c + d


def test_a_report_has_a_line_a_law_and_a_summary() -> None:
    out = io.StringIO()
    assert testing.report(["core.LSTM", "Boom"], out=out) == 0
    *lines, summary = out.getvalue().splitlines()
    assert "ok     core.LSTM: streaming" in lines
    assert "ok     feedforward.Boom: position wise" in lines
    assert summary.startswith("2 parts x ")
    assert f"{len(lines)} checks, all ok" in summary


def test_a_report_of_a_broken_part_says_what_broke_and_exits_with_1() -> None:
    @register("core")
    class Peeks(PeeksOneAhead):
        """A core that sees the next position."""

    out = io.StringIO()
    assert testing.report(["core.Peeks"], out=out) == 1
    assert "FAILED core.Peeks: causality\n       Peeks breaks 'causality': " in out.getvalue()
    assert "FAILED" in out.getvalue().splitlines()[-1]


def test_what_a_law_has_to_say_of_a_part_that_obeys_stands_beside_the_ok() -> None:
    @register("task")
    class Twice(LastIsFirst):
        """The first token once more."""

    out = io.StringIO()
    assert testing.report(["task.Twice"], out=out) == 0
    (line,) = [line for line in out.getvalue().splitlines() if "splits draw apart" in line]
    assert re.fullmatch(r"ok     task\.Twice: splits draw apart \(\d+\.\d% of valid and .*\)", line)
    assert "ok     task.Twice: oracle\n" in out.getvalue()

    out = io.StringIO()
    assert testing.report(["task.Twice"], as_json=True, out=out) == 0
    notes = {outcome["law"]: outcome["note"] for outcome in json.loads(out.getvalue())["outcomes"]}
    assert notes.pop("splits draw apart") in line
    assert set(notes.values()) == {""}


def test_a_report_as_json_is_one_object() -> None:
    out = io.StringIO()
    assert testing.report(["core.GRU"], as_json=True, out=out) == 0
    answer = json.loads(out.getvalue())
    assert answer["failed"] == 0
    assert answer["checks"] == len(answer["outcomes"])
    (purity,) = [outcome for outcome in answer["outcomes"] if outcome["law"] == "purity"]
    assert (purity["part"], purity["passed"], purity["message"]) == ("core.GRU", True, "")


def test_what_cannot_be_reported_on_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no part 'core\.LSTN'.*did you mean"):
        testing.report(["core.LSTN"])
    with pytest.raises(ConfigError, match="no laws for kind 'optimizer'"):
        testing.report(["optimizer.AdamW"])


def test_laws_leave_the_callers_random_numbers_threads_and_gradients_alone() -> None:
    torch.manual_seed(3)
    threads, before = torch.get_num_threads(), torch.get_rng_state()
    testing.check(Leaky)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert torch.is_grad_enabled()


def test_a_law_can_be_tried_at_another_width_and_seed() -> None:
    class NeedsWidthSix(Leaky):
        def forward(self, x: Tensor, state: LeakyState) -> tuple[Tensor, LeakyState]:
            assert x.shape[-1] == 6
            return super().forward(x, state)

    (streaming,) = [law for law in testing.laws("core") if law.name == "streaming"]
    streaming(NeedsWidthSix, dim=6, seed=4)
    with pytest.raises(LawError, match=r"it raised AssertionError.*\(dim=16, seed=4\)"):
        streaming(NeedsWidthSix, seed=4)
