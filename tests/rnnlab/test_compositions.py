"""Fragments compose: every combination of parts learns, every root does, and the order of folders does not matter."""

import itertools
import math
from collections.abc import Sequence

import pytest
import torch
from _pytest.mark import ParameterSet

from rnnlab import config
from rnnlab.errors import ConfigError
from rnnlab.evaluation import evaluate
from rnnlab.testing import covering, rounding
from rnnlab.training.experiment import build
from rnnlab.training.learner import Learner

BASE = "train/base"  # included by every root, and not meant to be named beside one
FRAGMENTS = [name for name in config.fragments() if name != BASE]
ROOTS = [name for name in FRAGMENTS if "/" not in name]
FOLDERS = {
    folder: [name for name in FRAGMENTS if name.startswith(f"{folder}/")]
    for folder in sorted({name.partition("/")[0] for name in FRAGMENTS if "/" in name})
}
SLOTS = ("core", "attention", "feedforward", "memory", "block")
NO_ATTENTION = "attention/none"
ALONE = "memory/none"  # a query that sees itself alone has nothing to choose, so what asks and compares learns nothing
SMALL = ["LanguageModel.dim = 16", "Trainer.batch_size = 2", "Trainer.bptt = 8", "Trainer.steps = 2"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Bindings of a corpus of 1,200 bytes."""
    path = tmp_path_factory.mktemp("corpus") / "text"
    path.write_bytes(b"a few words, over and over again. 0123456789\n<tag>[[x]]</tag>" * 20)
    return ["Trainer.source = @corpus.File", f"File.path = {str(path)!r}"]


def learn_and_evaluate(fragments: Sequence[str], overrides: Sequence[str]) -> set[str]:
    """Two steps and an evaluation; the second step reads a state and a memory that the first left.

    Returns: the parameters that stayed as they were.
    """
    learner = Learner(build(config.resolve(fragments, overrides)))
    before = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    learner.step()
    record = learner.step()
    assert math.isfinite(record["loss"])
    assert record["grad_norm"] > 0.0
    score = evaluate(learner.model, learner.source.valid, batch_size=2, bptt=16)
    assert 0.0 < score.bpc < 12.0  # 8 is what knows nothing
    return {name for name, tensor in learner.model.state_dict().items() if torch.equal(tensor, before[name])}


COMBINATIONS = [
    tuple(name for name in names if name)
    for names in itertools.product(*(FOLDERS[slot] if slot != "memory" else [*FOLDERS[slot], ""] for slot in SLOTS))
    if (NO_ATTENTION in names) == ("" in names)  # a memory without an attention is refused
]


def with_pairs(combinations: Sequence[tuple[str, ...]], pairs: Sequence[tuple[str, ...]]) -> list[ParameterSet]:
    """The combinations as cases, of which those that are not needed for every pair of parts to meet are `long`."""
    return [pytest.param(c, marks=() if c in pairs else pytest.mark.long, id=" ".join(c)) for c in combinations]


@pytest.mark.slow
@pytest.mark.parametrize("fragments", with_pairs(COMBINATIONS, covering(COMBINATIONS)))
def test_every_combination_of_parts_learns_and_is_evaluated(fragments: tuple[str, ...], text: list[str]) -> None:
    unmoved = learn_and_evaluate(["sha_rnn", "size/tiny", *fragments], [*SMALL, *text])
    assert not {name for name in unmoved if not (ALONE in fragments and ".attention." in name)}


SHORT = min((name for name in FOLDERS["memory"] if name != ALONE), key=lambda name: (len(name), name))
REMEMBERING = [c for c in COMBINATIONS if NO_ATTENTION in c or SHORT in c]


@pytest.mark.slow
@pytest.mark.parametrize("fragments", with_pairs(REMEMBERING, covering(REMEMBERING)))
def test_every_combination_of_parts_streams_and_goes_on_from_a_snapshot(
    fragments: tuple[str, ...], text: list[str]
) -> None:
    def new() -> Learner:
        return Learner(build(config.resolve(["sha_rnn", "size/tiny", *fragments], [*SMALL, "dropout = 0.1", *text])))

    left_alone, resumed = new(), new()
    for _ in range(2):
        left_alone.step()
    resumed.restore(left_alone.snapshot())
    assert resumed.step()["loss"] == left_alone.step()["loss"]
    model, tokens = left_alone.model.eval(), left_alone.batches.chunk(0, 12)[0]
    with torch.no_grad():
        whole, _ = model(tokens, model.initial_state(2))
        first, state = model(tokens[:5], model.initial_state(2))
        second, _ = model(tokens[5:], state)
        twin = model.double()
        exact, _ = twin(tokens, twin.initial_state(2))
    rounding.check_no_worse(torch.cat([first, second]), than=whole, exact=exact)


def test_the_combinations_are_all_there_are() -> None:
    sizes = {slot: len(FOLDERS[slot]) for slot in SLOTS}
    with_attention = (sizes["attention"] - 1) * sizes["memory"] + 1
    assert len(COMBINATIONS) == sizes["core"] * sizes["feedforward"] * sizes["block"] * with_attention
    assert min(sizes.values()) >= 2


@pytest.mark.parametrize("memory", FOLDERS["memory"])
@pytest.mark.parametrize("without", [["sha_rnn", NO_ATTENTION], ["sha_lstm_no_attention"]], ids=" ".join)
def test_a_memory_for_no_attention_is_refused(memory: str, without: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"memory/.*`: no binding in use refers to %memory") as refusal:
        build(config.resolve([*without, memory]), shapes_only=True, needs_source=False)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("size", FOLDERS["size"])
@pytest.mark.parametrize("root", ROOTS)
def test_every_root_learns_with_the_recipe_of_every_size(root: str, size: str, text: list[str]) -> None:
    learn_and_evaluate([root, size], [*SMALL, *text])


@pytest.mark.slow
@pytest.mark.parametrize("recipe", FOLDERS["train"] + FOLDERS["optim"])
@pytest.mark.parametrize("size", FOLDERS["size"])
def test_every_recipe_and_optimizer_learns_at_every_size(recipe: str, size: str, text: list[str]) -> None:
    learn_and_evaluate(["sha_rnn", size, recipe], [*SMALL, *text])


@pytest.mark.slow
@pytest.mark.parametrize("fragment", [name for names in FOLDERS.values() for name in names])
@pytest.mark.parametrize("root", ROOTS)
def test_every_fragment_has_an_effect_on_every_root(root: str, fragment: str) -> None:
    if root == "sha_lstm_no_attention" and fragment.startswith("memory/"):
        pytest.skip("refused, and tested above")
    overrides = ["File.path = 'a text'"] if fragment == "data/file" else []
    build(config.resolve([root, fragment], overrides), shapes_only=True, needs_source=False)


def resolved(fragments: Sequence[str]) -> str:
    """The configuration, or what is told of it."""
    try:
        return config.resolve(fragments).text
    except ConfigError as refusal:
        return f"refused: {refusal}"


PAIRS = [
    (first, second)
    for first, second in itertools.combinations(FRAGMENTS, 2)
    if first.rpartition("/")[0] != second.rpartition("/")[0]
]


def may_be_refused(pair: tuple[str, str]) -> bool:
    """A memory without an attention."""
    no_attention = {NO_ATTENTION, "sha_lstm_no_attention"}.intersection(pair)
    memory = any(name.startswith("memory/") for name in pair)
    return bool(no_attention and memory)


@pytest.mark.slow
@pytest.mark.parametrize("folder", [*FOLDERS, ""], ids=lambda folder: folder or "roots")
def test_fragments_of_different_folders_commute(folder: str) -> None:
    for pair in PAIRS:
        first, second = pair
        if first.rpartition("/")[0] == folder:
            root = [] if {first, second}.intersection(ROOTS) else ["sha_rnn"]
            one, other = resolved([*root, first, second]), resolved([second, first, *root])
            assert one == other, pair
            assert one.startswith("refused") == may_be_refused(pair), (pair, one)
