"""state.safetensors: the same bytes for the same tensors, and nothing believed that was not written."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from rnnlab.errors import StorageError
from rnnlab.storage import tensorfile
from rnnlab.storage.tensorfile import Damaged

DTYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.safetensors"


def test_tensors_of_every_dtype_and_shape_come_back(path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randint(0, 2, (3, 4), generator=generator)
    tensors = {f"dtype/{dtype}": numbers.to(dtype) for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(0.5), "empty": torch.zeros(0, 2, 8), "nan": torch.tensor([float("nan")])}
    entry = tensorfile.write(path, tensors)
    back = tensorfile.read(path, entry["bytes"], entry["sha256"])
    assert list(back) == sorted(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor) or name == "nan"


def test_the_entry_is_the_size_and_hash_of_the_file(path: Path) -> None:
    entry = tensorfile.write(path, {"a": torch.ones(1000)})
    assert entry == {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_equal_tensors_give_equal_bytes_whatever_they_are_views_of(tmp_path: Path) -> None:
    base = torch.arange(12.0).view(3, 4)
    one = {"b": base.clone(), "a": base[:, 1].clone(), "c": base.clone()}
    other = {"c": base, "a": base[:, 1], "b": torch.nn.Parameter(base.t().contiguous().t())}
    tensorfile.write(tmp_path / "one", one)
    tensorfile.write(tmp_path / "other", other)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_slice_is_saved_without_the_rest(path: Path) -> None:
    entry = tensorfile.write(path, {"a": torch.zeros(1_000_000)[:10]})
    assert entry["bytes"] < 5_000


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda p: os.symlink("/dev/zero", p)])
def test_what_is_not_a_regular_file_is_not_read(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with pytest.raises(Damaged, match="not a regular file"):
        tensorfile.read(path, 10, "0" * 64)


def test_a_missing_file_is_damage(path: Path) -> None:
    with pytest.raises(Damaged, match=r"state\.safetensors"):
        tensorfile.read(path, 10, "0" * 64)


def test_a_complex_tensor_is_refused_by_its_name(path: Path) -> None:
    with pytest.raises(StorageError, match=r"'state/h' is complex.*view_as_real"):
        tensorfile.write(path, {"state/h": torch.zeros(2, dtype=torch.complex64)})


def test_other_tools_read_the_file(path: Path) -> None:
    tensorfile.write(path, {"a": torch.ones(3)})
    assert torch.equal(load_file(path)["a"], torch.ones(3))
