"""What the weight decay takes and at which rate a part learns, under every optimizer."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rnnlab import cli, registry
from rnnlab.errors import ConfigError
from rnnlab.training.groups import Group, grouped, split_groups
from rnnlab.training.learner import Learner
from rnnlab.training.optim import scale_lr
from tests.rnnlab import tiny_runs
from tests.rnnlab.small_models import give_gradients, small_model

OPTIMIZERS = ("AdamW", "Lamb", "Muon", "SGD")
SHAPES = {
    "embedding.weight": (9, 4),
    "blocks.0.core.kernel": (3, 4),
    "blocks.0.core.by_head": (2, 2, 2),
    "blocks.0.core.bias": (4,),
    "blocks.0.core.norm.gain": (4,),
    "blocks.1.core.bias": (4,),
    "blocks.1.attention.query.weight": (4, 4),
    "blocks.1.attention.share": (),
    "blocks.1.norm.gain": (4,),
    "score": (4,),
}


def named(shapes: dict[str, tuple[int, ...]] = SHAPES) -> list[tuple[str, nn.Parameter]]:
    return [(name, nn.Parameter(torch.ones(shape))) for name, shape in shapes.items()]


def factors(lr_factors: dict[str, float]) -> dict[str, float]:
    """Name -> factor, where it is not 1."""
    groups = grouped(named(), "all", lr_factors)
    assert sorted(name for group in groups for name in group.names) == sorted(SHAPES)
    return {name: group.lr_factor for group in groups for name in group.names if group.lr_factor != 1.0}


def test_without_options_there_is_one_group_of_everything() -> None:
    numbers = sum(math.prod(shape) for shape in SHAPES.values())
    assert grouped(named(), "all", {}) == [Group(tuple(SHAPES), numbers, True, 1.0, None)]


def test_matrices_are_parameters_of_two_dimensions_or_more() -> None:
    groups = grouped(named(), "matrices", {})
    spared = {name for group in groups if not group.is_decayed for name in group.names}
    assert spared == {name for name, shape in SHAPES.items() if len(shape) < 2}


WEIGHTS = {"weight", "weight_ih_l0", "weight_hh_l0", "candidate_weight", "query", "key_value", "output", "recurrent"}
"""Last segments of the names of what is multiplied with: a part that calls a matrix otherwise is to be looked at."""


@pytest.mark.parametrize(
    "part", [part for kind in ("core", "attention", "feedforward") for part in registry.parts(kind)],
    ids=lambda part: part.name,
)  # fmt: skip
def test_the_matrices_of_every_part_are_its_weights_and_no_bias_gain_or_decay(part: registry.Part) -> None:
    model = part.factory(64)
    of_norms = {p for module in model.modules() if isinstance(module, nn.LayerNorm) for p in module.parameters()}
    groups = grouped(model.named_parameters(), "matrices", {})
    decayed = {name for group in groups if group.is_decayed for name in group.names}
    assert decayed == {
        name for name, p in model.named_parameters() if name.split(".")[-1] in WEIGHTS and p not in of_norms
    }


def test_an_entry_names_whole_segments_and_the_longest_holds_then_the_last() -> None:
    core = [name for name in SHAPES if ".core." in name]
    assert factors({"core": 0.5}) == dict.fromkeys(core, 0.5)  # and not `score`
    assert factors({"core": 0.5, "blocks.1.core": 3.0}) == {**dict.fromkeys(core, 0.5), "blocks.1.core.bias": 3.0}
    assert factors({"bias": 2.0, "core": 0.5}) == {
        **dict.fromkeys(core, 0.5), "blocks.0.core.bias": 2.0, "blocks.1.core.bias": 2.0
    }  # fmt: skip
    assert factors({"blocks": 4.0, "core.norm": 0.1, "gain": 7.0})["blocks.0.core.norm.gain"] == 0.1
    assert factors({"embedding": 2.0, "blocks.1.attention": 0.5}) == {
        "embedding.weight": 2.0, "blocks.1.attention.query.weight": 0.5, "blocks.1.attention.share": 0.5
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lr_factors", "words"),
    [
        (
            {"cores": 0.5},
            r"'cores' is in the name of no parameter; there are attention, .*query.*; did you mean 'core'\?",
        ),
        ({"blocks.3.attention": 0.5}, "did you mean 'blocks.1.attention'"),
        ({"core.weight": 0.5}, "'core.weight' is in the name of no parameter"),
        ({"attention": 0.5, "blocks.1.attention": 2.0}, "'attention' has no effect"),
    ],
)
def test_an_entry_that_holds_for_no_parameter_is_refused(lr_factors: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        grouped(named(), "all", lr_factors)


@pytest.mark.parametrize("factor", ["0.0", "-1.0", "1e999"])
def test_a_factor_is_a_positive_number(factor: str, text: Path) -> None:
    with pytest.raises(ConfigError, match=r"Trainer\.lr_factors: 'core': .*: more than 0"):
        tiny_runs.build(text, f"Trainer.lr_factors = {{'core': {factor}}}")


def test_an_optimizer_without_weight_decay_cannot_spare_anything_from_it() -> None:
    model = small_model()
    groups = grouped(model.named_parameters(), "matrices", {})
    with pytest.raises(ConfigError, match="Rprop has no weight decay"):
        split_groups(torch.optim.Rprop(model.parameters()), model.named_parameters(), groups)


def test_an_optimizer_of_named_parameters_keeps_its_names_beside_them() -> None:
    model = small_model()
    optimizer = torch.optim.Adam(model.named_parameters())
    split_groups(optimizer, model.named_parameters(), grouped(model.named_parameters(), "matrices", {"1": 2.0}))
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert len(optimizer.param_groups) == 4
    for group in optimizer.param_groups:
        assert group["param_names"] == [names[parameter] for parameter in group["params"]]


def built_learner(text: Path, optimizer: str, *more: str) -> Learner:
    return Learner(tiny_runs.build(text, f"Trainer.optimizer = @optimizer.{optimizer}", "dropout = 0.1", *more))


def copied(learner: Learner) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in learner.model.named_parameters()}


@pytest.mark.parametrize("on", ["all", "matrices"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weight_decay_on_matrices_leaves_norms_and_biases_exactly_as_they_are(
    optimizer: str, on: str, text: Path
) -> None:
    lr, decay = 0.01, 0.2
    learner = built_learner(
        text, optimizer, f"{optimizer}.lr = {lr}", f"{optimizer}.weight_decay = {decay}",
        f"Trainer.weight_decay_on = '{on}'", "Block.core = @core.MLSTM", "MLSTM.heads = 2",
    )  # fmt: skip
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.normal_()
            parameter.grad = torch.zeros_like(parameter)
    before = copied(learner)
    learner.optimizer.step()
    for name, p in learner.model.named_parameters():
        if p.dim() < 2 and on == "matrices":
            assert torch.equal(p.detach(), before[name]), name
        elif (
            optimizer == "Lamb"
        ):  # trust |p| / |step|, and no gradient: the step has the length of p whatever the decay
            length = before[name].norm().item()
            trust = max(min(length, 10.0) / (decay * length), 0.25)
            torch.testing.assert_close(p.detach(), before[name] * (1.0 - lr * trust * decay))
        else:
            torch.testing.assert_close(p.detach(), before[name] * (1.0 - lr * decay))
    assert {p.dim() for p in learner.model.parameters()} >= {1, 2, 3}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_factor_scales_the_steps_of_its_part_alone_and_the_rate_that_is_told_is_the_common_one(
    optimizer: str, text: Path
) -> None:
    moved: list[dict[str, Tensor]] = []
    for more in ([], ["Trainer.lr_factors = {'core': 0.25, 'embedding': 3.0}"]):
        learner = built_learner(text, optimizer, f"{optimizer}.weight_decay = 0.0", f"{optimizer}.lr = 0.1", *more)
        before = copied(learner)
        give_gradients(learner.model, seed=1)
        for factor in (1.0, 0.5):
            assert scale_lr(learner.optimizer, factor) == 0.1 * factor
        learner.optimizer.step()
        moved.append({name: x - before[name] for name, x in copied(learner).items()})
    for name, alone in moved[0].items():
        expected = 0.25 if ".core." in name else 3.0 if name.startswith("embedding") else None
        if expected is None:
            assert torch.equal(moved[1][name], alone), name
        else:
            torch.testing.assert_close(moved[1][name], expected * alone, rtol=1e-5, atol=1e-6)


BOTH = ("Trainer.weight_decay_on = 'matrices'", "Trainer.lr_factors = {'core': 0.5, 'embedding': 2.0}")


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_restored_learner_goes_on_bit_for_bit_with_both_options(optimizer: str, text: Path) -> None:
    chosen = (f"{optimizer}.weight_decay = 0.1", *BOTH, *(["SGD.momentum = 0.9"] if optimizer == "SGD" else []))
    whole, cut = (built_learner(text, optimizer, *chosen) for _ in range(2))
    for learner, steps in ((whole, 6), (cut, 3)):
        for _ in range(steps):
            learner.step()
    resumed = built_learner(text, optimizer, *chosen)
    resumed.restore(cut.snapshot())
    told = [resumed.step()["lr"] for _ in range(3)]
    wanted, found = whole.snapshot().tensors, resumed.snapshot().tensors
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    plain = built_learner(text, optimizer, *chosen[:1])
    assert told == [plain.step()["lr"] for _ in range(6)][3:], "one curve"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_checkpoint_from_before_the_options_is_taken_by_groups_that_are_split(optimizer: str, text: Path) -> None:
    old, new = built_learner(text, optimizer), built_learner(text, optimizer, *BOTH)
    for _ in range(2):
        old.step()
    saved = {name: x.clone() for name, x in old.snapshot().tensors.items()}
    new.restore(old.snapshot())
    assert all(torch.equal(x, saved[name]) for name, x in new.snapshot().tensors.items())
    assert new.snapshot().tensors.keys() == saved.keys()
    new.step()


def test_show_tells_what_is_not_as_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    def shown(*more: str) -> tuple[list[str], dict[str, object]]:
        command = ["show", "sha_task", *(word for line in more for word in ("--set", line))]
        assert cli.main(command) == 0
        lines = capsys.readouterr().out.splitlines()
        assert cli.main([*command, "--json"]) == 0
        return lines[1 : lines.index("")], json.loads(capsys.readouterr().out)

    lines, facts = shown()
    assert (lines, facts["parameters_by_lr_factor"]) == ([], {})
    assert facts["parameters_decayed"] == facts["parameters"]

    lines, facts = shown("AdamW.weight_decay = 0.1", *BOTH)
    core = 2 * 8 * (64 * 64 + 64)  # two LSTMs of width 64
    assert facts["parameters_by_lr_factor"] == {"embedding": 2 * 64, "core": core}
    vectors = int(facts["parameters"]) - int(facts["parameters_decayed"])  # type: ignore[call-overload]
    assert vectors > 2 * 8 * 64
    assert lines == [
        f"weight decay 0.1 on {facts['parameters_decayed']:,} of {facts['parameters']:,} parameters, the matrices",
        f"learning rate: {2 * 64:,} of embedding times 2, {core:,} of core times 0.5",
    ]
