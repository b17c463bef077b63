"""State as a structure: walked, mapped, cut by sequences, written flat and read back."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from rnnlab.errors import StorageError
from rnnlab.state import State, concat_batch, detach, flatten, leaves, map_state, select_batch, to, unflatten


class Inner(NamedTuple):
    h: Tensor  # (B, D)
    memory: Tensor  # (M, B, D)


class Outer(NamedTuple):
    core: Inner
    attention: State


BATCH_SIZE = 6


def example() -> State:
    torch.manual_seed(0)
    inner = Inner(torch.randn(BATCH_SIZE, 3), torch.randn(4, BATCH_SIZE, 3))
    return (Outer(inner, None), Outer(inner, (torch.randn(0, BATCH_SIZE, 3), torch.randn(BATCH_SIZE, 1))), None)


PATHS = [
    "state.0.core.h",
    "state.0.core.memory",
    "state.1.core.h",
    "state.1.core.memory",
    "state.1.attention.0",
    "state.1.attention.1",
]


def assert_same(left: State, right: State) -> None:
    assert type(left) is type(right)
    if isinstance(left, Tensor):
        assert torch.equal(left, right)
    elif left is not None:
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_same(a, b)


def test_leaves_are_named_by_field_and_place() -> None:
    assert [path for path, _ in leaves(example())] == PATHS
    assert [path for path, _ in leaves(torch.zeros(1, 1))] == ["state"]
    assert list(leaves(None)) == []


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ((torch.zeros(2, 2), 3), "state.1 is a int"),
        ((Outer(Inner(torch.zeros(2, 2), [3]), None),), "state.0.core.memory is a list"),  # type: ignore[arg-type]
        ({"h": torch.zeros(2, 2)}, "state is a dict"),
    ],
    ids=["a number", "a list in a NamedTuple", "a dict"],
)
def test_what_is_no_state_is_named_by_its_path(state: State, told: str) -> None:
    with pytest.raises(TypeError, match=told):
        list(leaves(state))
    with pytest.raises(TypeError, match="a state holds tensors only"):
        map_state(torch.clone, state)


def test_mapping_keeps_the_structure_and_leaves_the_original() -> None:
    state = example()
    doubled = map_state(lambda leaf: leaf * 2, state)
    assert_same(map_state(lambda leaf: leaf / 2, doubled), state)
    assert_same(state, example())
    assert isinstance(doubled[0], Outer)
    assert isinstance(doubled[1].core, Inner)


def test_a_flat_state_is_rebuilt_in_the_structure_of_its_template() -> None:
    state = example()
    flat = flatten(state)
    assert list(flat) == PATHS
    template = map_state(torch.zeros_like, state)
    assert_same(unflatten(template, flat), state)


def test_shapes_come_from_the_flat_state_since_memories_grow() -> None:
    template = Inner(torch.zeros(2, 3), torch.zeros(0, 2, 3))
    full = Inner(torch.ones(2, 3), torch.ones(9, 2, 3))
    assert_same(unflatten(template, flatten(full)), full)


def test_a_flat_state_of_another_model_is_refused_by_the_name_it_lacks() -> None:
    flat = flatten(example())
    del flat["state.1.core.memory"]
    with pytest.raises(StorageError, match=r"lacks 'state\.1\.core\.memory'"):
        unflatten(example(), flat)


@pytest.mark.parametrize("cuts", [[6], [1, 5], [2, 2, 2], [1, 1, 1, 1, 1, 1]], ids=str)
def test_sequences_that_are_cut_apart_join_to_what_they_were(cuts: list[int]) -> None:
    state, parts, first = example(), [], 0
    for count in cuts:
        parts.append(select_batch(state, slice(first, first + count)))
        first += count
    assert all(leaf.shape[-2] == count for part, count in zip(parts, cuts, strict=True) for _, leaf in leaves(part))
    assert_same(concat_batch(parts), state)


def test_detaching_cuts_the_graph_of_every_leaf() -> None:
    state = map_state(lambda leaf: leaf.clone().requires_grad_() * 2, example())
    assert all(leaf.requires_grad for _, leaf in leaves(state))
    assert not any(leaf.requires_grad for _, leaf in leaves(detach(state)))
    assert all(leaf.requires_grad for _, leaf in leaves(state))


def test_a_state_moves_as_a_whole() -> None:
    assert {leaf.device.type for _, leaf in leaves(to(example(), "meta"))} == {"meta"}
