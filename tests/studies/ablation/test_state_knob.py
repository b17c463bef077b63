"""Equal state: each part's own knob is turned, an attention's before a core's, and what has none is refused."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from rnnlab import registry
from rnnlab.config import Config, diff, resolve
from rnnlab.errors import ConfigError
from rnnlab.studies.ablation.matching import costs, solve_width
from rnnlab.studies.ablation.state_knob import state_key
from rnnlab.testing.small import Leaky, Window
from tests.studies.small_studies import small_ablation

D, LAYERS, MEMORY = 48, 4, 101
TARGET = LAYERS * 2 * D + (MEMORY - 1) * D  # LSTMs and one attention


def base() -> Config:
    return resolve(["sha_rnn", "size/tiny"], [f"LanguageModel.dim = {D}", f"memory = {MEMORY}"])


def matched(fragments: Sequence[str], overrides: Sequence[str] = ()) -> tuple[dict[str, int], int]:
    """(what had to change, the floats of state that came out)."""
    variant = base().vary(fragments, overrides)
    found, error = solve_width("v", variant, "state", TARGET)
    reached = costs(found)["state_floats"]
    assert abs(error) <= 0.01
    assert reached / TARGET - 1 == pytest.approx(error)
    return {difference.key: int(difference.right or "0") for difference in diff(variant, found)}, reached


def test_the_baseline_has_what_its_equations_say() -> None:
    assert costs(base())["state_floats"] == TARGET


@pytest.mark.parametrize(
    ("fragments", "key", "solved"),
    [
        (["core/gla", "place/none"], "core.GLA.key_width", TARGET / (LAYERS * D)),
        # the convolution carries 3 (2 H K + D), the memory K D
        (["core/gated_delta_net", "place/none"], "core.GatedDeltaNet.key_width", (TARGET / LAYERS - 3 * D) / (24 + D)),
        (["core/mamba2", "place/none"], "core.Mamba2.states", (TARGET / LAYERS - 6 * D) / (6 + 2 * D)),
        (["core/convolution", "place/none"], "core.Convolution.width", TARGET / (LAYERS * D) + 1),
        (["core/lstm", "place/none"], "LanguageModel.dim", TARGET / (LAYERS * 2)),
        (["core/sru_pp", "place/none"], "core.SRUPP.memory", TARGET / (LAYERS * D)),
        (["place/every"], "attention.SingleHead.memory", (TARGET / D - 2 * LAYERS) / LAYERS + 1),
        (["core/gla"], "attention.SingleHead.memory", 109 - LAYERS * 6),  # both have one: the attention's
    ],
)
def test_a_variant_is_matched_by_the_knob_that_its_part_names(fragments: list[str], key: str, solved: float) -> None:
    changed, _ = matched(fragments)
    assert changed == {key: pytest.approx(solved, abs=0.5001)}


def test_what_has_as_much_as_it_is_stays_as_it_is() -> None:
    assert matched(["attention/multi_head"]) == ({}, TARGET)


def test_what_a_core_holds_less_its_attention_makes_good() -> None:
    changed, reached = matched(["core/gru"])  # one D a layer in place of two
    assert changed == {"attention.SingleHead.memory": MEMORY + LAYERS}
    assert reached == TARGET


def test_every_scope_with_an_attention_is_turned_and_none_gets_one_that_had_none() -> None:
    only_last = ["SRUPP.memory = None", "last/SRUPP.memory = 7"]
    changed, reached = matched(["core/sru_pp", "place/none"], only_last)
    memory = TARGET // D - LAYERS + 1
    assert changed == {"last/core.SRUPP.memory": memory}
    assert reached == LAYERS * D + (memory - 1) * D


@pytest.mark.long
def test_a_core_that_attends_nowhere_is_matched_by_the_width() -> None:
    assert matched(["core/sru_pp", "place/none"], ["SRUPP.memory = None"])[0] == {"LanguageModel.dim": TARGET // LAYERS}


def test_attentions_that_share_a_macro_are_turned_together() -> None:
    variant = base().vary([], ["last/Block.attention = @attention.MultiHead", "MultiHead.heads = 2"])
    assert state_key("v", variant) == ("memory", "attention.SingleHead and attention.MultiHead")


def test_several_values_to_turn_are_refused_by_name() -> None:
    variant = base().vary(["place/every"], ["sha/SingleHead.memory = 50"])
    told = r"any of memory, sha/attention\.SingleHead\.memory; name a gin key in Ablation\.widths"
    with pytest.raises(ConfigError, match=told):
        state_key("v", variant)


def test_a_part_that_names_no_knob_is_refused_with_what_to_write() -> None:
    @registry.register("core")
    class Unnamed(Leaky):
        pass

    variant = base().vary(["place/none"], ["Block.core = @core.Unnamed"])
    with pytest.raises(
        ConfigError, match=r"'v': core\.Unnamed names nothing .*`state_knob = 'ARGUMENT'`, or name a gin key"
    ):
        solve_width("v", variant, "state", TARGET)


def test_the_knob_of_a_part_of_ones_own_is_turned() -> None:
    @registry.register("attention")
    class Looks(Window):
        state_knob = "memory"

    assert matched([], ["sha/Block.attention = @attention.Looks"])[0] == {"attention.Looks.memory": MEMORY}


def test_a_knob_that_is_no_argument_is_refused() -> None:
    @registry.register("attention")
    class Misnamed(Window):
        state_knob = "window"

    variant = base().vary([], ["sha/Block.attention = @attention.Misnamed"])
    with pytest.raises(ConfigError, match=r"attention\.Misnamed has no argument 'window'"):
        state_key("v", variant)


class Fixed(Leaky):
    """A state of one size, whatever is asked for."""

    state_knob = "slots"

    def __init__(self, dim: int, slots: int = 4) -> None:
        super().__init__(dim)


def test_a_knob_that_does_not_reach_is_refused_with_its_part_and_the_nearest() -> None:
    registry.register("core")(Fixed)
    variant = base().vary(["place/none"], ["Block.core = @core.Fixed"])
    told = (
        rf"'v' cannot match the baseline's {TARGET:,} floats of state by core\.Fixed\.slots \(the knob of core\.Fixed\)"
    )
    with pytest.raises(ConfigError, match=rf"{told}: the nearest is \d+, -\d+\.\d%; name another width"):
        solve_width("v", variant, "state", TARGET)


def test_a_baseline_without_a_state_matches_its_like_alone() -> None:
    none = base().vary(["core/convolution", "place/none"], [])
    assert costs(none)["state_floats"] == 0
    assert solve_width("v", none, "state", 0) == (none, 0.0)
    with pytest.raises(ConfigError, match=r"'v' has 5,184 floats of state and the baseline none"):
        solve_width("v", base(), "state", 0)


@pytest.mark.long
def test_a_study_makes_both_tables_and_a_width_that_is_named_goes_first(tmp_path: Path) -> None:
    deltas = {"gla": ["core/gla", "place/none"], "every": ["place/every"]}
    made = small_ablation(tmp_path, "LanguageModel.dim = 32", "memory = 249", deltas=deltas, match="state",
                          widths={"gla": "LanguageModel.dim"})  # fmt: skip
    target = costs(made.variants[0].config)["state_floats"]
    assert target == LAYERS * 2 * 32 + 248 * 32 == LAYERS * 128**2 // 8
    gla, every = made.matched[1:]
    assert (gla.name, every.name) == ("gla (matched)", "every (matched)")
    assert [d.key for d in diff(made.variants[1].config, gla.config)] == ["LanguageModel.dim"]
    assert [d.key for d in diff(made.variants[2].config, every.config)] == ["attention.SingleHead.memory"]
    for variant in (gla, every):
        reached = costs(variant.config)["state_floats"]
        assert abs(reached / target - 1) <= 0.01
        assert variant.match_error == pytest.approx(reached / target - 1)


def test_a_variant_that_differs_in_its_memory_alone_is_refused(tmp_path: Path) -> None:
    told = r"'short' at the baseline's floats of state is the baseline: .* what its delta changes"
    with pytest.raises(ConfigError, match=told):
        small_ablation(tmp_path, "memory = 201", deltas={"short": ["memory = 100"]}, match="state")
