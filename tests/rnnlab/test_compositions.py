"""Fragments compose: every two parts learn together, every root does, and the order of folders does not matter."""

import itertools
import math
import os
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
from tests.sampled import one_in, sampled

BASE = "train/base"  # included by every root, and not meant to be named beside one
FRAGMENTS = [name for name in config.fragments() if name != BASE]
ROOTS = [name for name in FRAGMENTS if "/" not in name]
FOLDERS = {
    folder: [name for name in FRAGMENTS if name.startswith(f"{folder}/")]
    for folder in sorted({name.partition("/")[0] for name in FRAGMENTS if "/" in name})
}
SLOTS = ("core", "attention", "feedforward", "memory", "block")
NO_ATTENTION = "attention/none"
NOWHERE = {"place/none", "sha_lstm_no_attention"}  # no layer attends, whatever the kind
IN_THE_CORE = "sru_pp"  # layers attend, and no kind is chosen for them
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


def cases(combinations: Sequence[tuple[str, ...]]) -> list[ParameterSet]:
    """As few as it takes for every two parts to meet, a third in `make test`; all, half an hour, in `make soak`."""
    chosen = combinations if os.environ.get("RNNLAB_SOAK") else covering(combinations)
    return one_in(3, chosen)


@pytest.mark.slow
@pytest.mark.parametrize("fragments", cases(COMBINATIONS))
def test_parts_that_meet_learn_and_are_evaluated(fragments: tuple[str, ...], text: list[str]) -> None:
    unmoved = learn_and_evaluate(["sha_rnn", "size/tiny", *fragments], [*SMALL, *text])
    assert not {name for name in unmoved if not (ALONE in fragments and ".attention." in name)}


SHORT = min((name for name in FOLDERS["memory"] if name != ALONE), key=lambda name: (len(name), name))
REMEMBERING = [c for c in COMBINATIONS if NO_ATTENTION in c or SHORT in c]


@pytest.mark.slow
@pytest.mark.parametrize("fragments", cases(REMEMBERING))
def test_parts_that_meet_stream_and_go_on_from_a_snapshot(fragments: tuple[str, ...], text: list[str]) -> None:
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "fragments",
    one_in(3, covering(list(itertools.product(FOLDERS["core"], FOLDERS["place"], FOLDERS["attention"])))),
)
def test_the_root_for_tasks_learns_by_its_own_recipe(fragments: tuple[str, ...], text: list[str]) -> None:
    if "place/none" in fragments:
        fragments = fragments[:2]
    assert not learn_and_evaluate(["sha_task", *fragments], [*SMALL, *text])


def test_the_root_for_tasks_is_small_and_counts_steps_alone() -> None:
    found = build(config.resolve("sha_task"), shapes_only=True, needs_source=False)
    trainer, model = found.trainer, found.model
    assert (trainer.steps, trainer.bytes, trainer.epochs) == (1500, None, None)
    assert (trainer.batch_size, trainer.bptt, trainer.jitter, trainer.unseen_logit) == (64, 1024, False, None)
    assert (model.dim, len(model.blocks)) == (64, 2)
    assert not [module for module in model.modules() if getattr(module, "dropout", 0.0)]


def test_the_combinations_are_all_there_are() -> None:
    sizes = {slot: len(FOLDERS[slot]) for slot in SLOTS}
    with_attention = (sizes["attention"] - 1) * sizes["memory"] + 1
    assert len(COMBINATIONS) == sizes["core"] * sizes["feedforward"] * sizes["block"] * with_attention
    assert min(sizes.values()) >= 2


@pytest.mark.parametrize("memory", FOLDERS["memory"])
@pytest.mark.parametrize(
    "without", [["sha_rnn", NO_ATTENTION], ["sha_rnn", "place/none"], ["sha_lstm_no_attention"]], ids=" ".join
)
def test_a_memory_for_no_attention_is_refused(memory: str, without: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"memory/.*`: no binding in use refers to %memory") as refusal:
        build(config.resolve([*without, memory]), shapes_only=True, needs_source=False)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("kind", FOLDERS["attention"])
@pytest.mark.parametrize("nowhere", [["sha_task", "place/none"], ["sha_lstm_no_attention"], ["sru_pp"]], ids=" ".join)
def test_a_kind_of_attention_for_no_layer_is_refused(kind: str, nowhere: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"attention/.*`: no binding in use refers to %attention; place/last or "):
        build(config.resolve([*nowhere, kind]), shapes_only=True, needs_source=False)


DEPTH = {"sha_task": 2, "sha_online": 2, "sru_pp": 10}
"""Layers of a root, if not four."""

OWN_PLACES = {"sha_rnn": [2], "sha_rnn_every_layer": [0, 1, 2, 3], "sha_lstm_no_attention": [], "sru_pp": [],
              "sha_task": [1], "sha_online": [1]}  # fmt: skip
"""Layers that attend without a fragment of place/."""


def kinds(*fragments: str) -> list[str | None]:
    """What attends, a layer after the other."""
    built = build(config.resolve(fragments), shapes_only=True, needs_source=False)
    built.config.audit()
    return [None if block.attention is None else type(block.attention).__name__ for block in built.model.blocks]


@pytest.mark.parametrize("root", ROOTS)
def test_kind_and_place_of_attention_are_two_choices_on_every_root(root: str) -> None:
    layers = range(DEPTH.get(root, 4))
    places = {"place/none": [], "place/last": [layers[-1]], "place/every": layers}
    assert kinds(root) == ["SingleHead" if layer in OWN_PLACES[root] else None for layer in layers]
    for place, attending in places.items():
        assert kinds(root, place) == ["SingleHead" if layer in attending else None for layer in layers]
        if attending:
            for kind, name in (
                ("multi_head", "MultiHead"),
                ("projected", "Projected"),
                ("alibi", "ALiBi"),
                ("none", None),
            ):
                found = kinds(root, place, f"attention/{kind}")
                assert found == [name if layer in attending else None for layer in layers]


PAPERS_ROWS = ["sha_rnn", "sha_rnn_every_layer", "sha_lstm_no_attention"]


@pytest.mark.parametrize("second", PAPERS_ROWS)
@pytest.mark.parametrize("first", PAPERS_ROWS)
def test_a_row_of_the_papers_table_on_top_of_another_attends_in_its_own_places(first: str, second: str) -> None:
    assert [layer for layer, kind in enumerate(kinds(first, second)) if kind] == OWN_PLACES[second]


@pytest.mark.parametrize("earlier", FOLDERS["place"])
@pytest.mark.parametrize("later", FOLDERS["place"])
def test_the_later_of_two_places_counts(earlier: str, later: str) -> None:
    for root in ("sha_rnn", "sha_task"):
        assert kinds(root, earlier, later) == kinds(root, later)


@pytest.mark.parametrize("blocks", ["[@Block, @last/Block]", "[@Block, @Block, @sha/Block, @sha/Block, @last/Block]"])
@pytest.mark.parametrize("place", FOLDERS["place"])
def test_a_place_holds_at_any_depth(place: str, blocks: str) -> None:
    resolved = config.resolve(["sha_rnn", place], [f"LanguageModel.blocks = {blocks}"])
    model = build(resolved, shapes_only=True, needs_source=False).model
    attending = [block.attention is not None for block in model.blocks]
    last = len(attending) - 1
    expected = {"none": [False] * (last + 1), "last": [False] * last + [True], "every": [True] * (last + 1)}
    assert attending == expected[place.removeprefix("place/")]


def test_the_last_layer_of_a_list_that_names_none_cannot_be_addressed() -> None:
    bindings = ["LanguageModel.blocks = [@Block, @sha/Block]"]
    with pytest.raises(ConfigError, match=r"place/last.*nothing is built in the scope 'last'"):
        config.resolve(["sha_rnn", "place/last"], bindings)


def test_diff_says_in_which_layers_a_place_puts_attention() -> None:
    def told(root: str, place: str) -> dict[str, tuple[str | None, str | None]]:
        found = config.diff(config.resolve(root), config.resolve([root, place]))
        return {d.key: (d.left, d.right) for d in found if d.key.endswith(".attention")}

    off, on = ("@attention.SingleHead", "None"), ("None", "@attention.SingleHead")
    assert told("sha_rnn", "place/every") == {"Block.attention": on}
    assert told("sha_rnn", "place/last") == {"sha/Block.attention": off, "last/Block.attention": on}
    assert told("sha_rnn", "place/none") == {"sha/Block.attention": off}
    assert told("sha_rnn_every_layer", "place/last") == {"Block.attention": off}
    assert told("sha_rnn_every_layer", "place/none") == {"Block.attention": off, "last/Block.attention": off}
    assert told("sha_task", "place/every") == {"Block.attention": on}
    assert told("sha_task", "place/last") == {}


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
@pytest.mark.parametrize("fragment", one_in(2, [name for names in FOLDERS.values() for name in names], str))
@pytest.mark.parametrize("root", ROOTS)
def test_every_fragment_has_an_effect_on_every_root(root: str, fragment: str) -> None:
    nowhere = ("memory/", "attention/") if root in NOWHERE else ("attention/",) if root == IN_THE_CORE else ()
    if fragment.startswith(nowhere):
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
    """A memory without an attention, a kind of attention without a layer that attends, a text and a task."""
    folders = {name.partition("/")[0] for name in pair}
    return (
        folders == {"data", "task"}
        or bool(NOWHERE.intersection(pair) and folders & {"memory", "attention"})
        or (IN_THE_CORE in pair and "attention" in folders)
        or (NO_ATTENTION in pair and "memory" in folders)
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder",
    sampled([*FOLDERS, ""], ("place", "size", "roots"), lambda folder: folder or "roots"),
)
def test_fragments_of_different_folders_commute(folder: str) -> None:
    for pair in PAIRS:
        first, second = pair
        if first.rpartition("/")[0] == folder:
            root = [] if {first, second}.intersection(ROOTS) else ["sha_rnn"]
            one, other = resolved([*root, first, second]), resolved([second, first, *root])
            assert one == other, pair
            assert one.startswith("refused") == may_be_refused(pair), (pair, one)
