"""Checkpoints: which are kept, which is newest, which is best, and which are refused."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rnnlab.errors import StorageError
from rnnlab.storage import checkpoint
from rnnlab.storage.checkpoint import MANIFEST, STATE, Snapshot
from rnnlab.storage.tensorfile import Damaged


def snapshot(step: int, bpc: float | None = None, **facts: object) -> Snapshot:
    tensors = {"model/weight": torch.full((3, 2), float(step)), "state/state.0.h": torch.zeros(2, 3)}
    return Snapshot(step, 10 * step, tensors, {"valid_loss": bpc, **facts}, config_sha="c" * 64, corpus_sha="d" * 64)


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.iterdir())


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def rewrite_manifest(path: Path, **changes: object) -> None:
    """As someone would who knows the format: the seal fits."""
    body = json.loads((path / MANIFEST).read_bytes())
    del body["seal"]
    (path / MANIFEST).write_bytes(checkpoint._seal({**body, **changes}))


def test_a_snapshot_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    saved = snapshot(7, 1.25, scaler={"scale": 65536.0}, average=math.nan, none=None)
    checkpoint.save(tmp_path, saved)
    back, damage = checkpoint.newest(tmp_path)
    assert damage == []
    assert (back.step, back.position, back.config_sha, back.corpus_sha) == (7, 70, "c" * 64, "d" * 64)
    assert back.tensors.keys() == saved.tensors.keys()
    assert all(torch.equal(back.tensors[name], saved.tensors[name]) for name in saved.tensors)
    assert math.isnan(back.facts.pop("average"))
    assert back.facts == {"valid_loss": 1.25, "scaler": {"scale": 65536.0}, "none": None}


def test_the_manifest_says_what_a_reader_needs(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, snapshot(1200))
    manifest = json.loads((path / MANIFEST).read_text())
    assert path.name == "step-00001200"
    assert {"schema", "step", "position", "config_sha", "corpus_sha", "torch", "files", "facts"} <= manifest.keys()
    assert manifest["files"][STATE]["bytes"] == (path / STATE).stat().st_size


def test_saving_the_same_state_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = (checkpoint.save(tmp_path / name, snapshot(3, 1.5)) for name in ("one", "other"))
    assert (one / STATE).read_bytes() == (other / STATE).read_bytes()
    assert (one / MANIFEST).read_bytes() == (other / MANIFEST).read_bytes()


def test_a_section_is_a_state_dict(tmp_path: Path) -> None:
    assert snapshot(1).section("model").keys() == {"weight"}


@pytest.mark.parametrize(
    ("scores", "keep", "kept"),
    [
        ([None, None, None, None], 2, [3, 4]),
        ([None, None, None, None], 3, [2, 3, 4]),
        ([3.0, 1.0, 2.0, 2.5], 2, [2, 3, 4]),
        ([3.0, 2.0, 2.5, 1.0], 2, [3, 4]),
        ([math.nan, 2.0, None, None], 2, [2, 3, 4]),
    ],
)
def test_the_newest_and_the_best_are_kept(
    tmp_path: Path, scores: list[float | None], keep: int, kept: list[int]
) -> None:
    for step, bpc in enumerate(scores, start=1):
        checkpoint.save(tmp_path, snapshot(step, bpc), keep)
    assert steps(tmp_path) == kept


def test_best_is_the_lowest_score_and_without_scores_the_newest(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, snapshot(1))
    checkpoint.save(tmp_path, snapshot(2))
    assert checkpoint.best(tmp_path)[0].step == 2
    checkpoint.save(tmp_path, snapshot(3, 1.5))
    checkpoint.save(tmp_path, snapshot(4, 1.7))
    assert checkpoint.best(tmp_path)[0].step == 3


def test_newest_can_look_back_to_a_step(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        checkpoint.save(tmp_path, snapshot(step), keep=3)
    assert [checkpoint.newest(tmp_path, at_most=k)[0].step for k in (10, 19, 20, 99)] == [10, 10, 20, 30]
    with pytest.raises(StorageError, match="no checkpoint"):
        checkpoint.newest(tmp_path, at_most=9)


def test_saving_a_step_again_replaces_it(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, snapshot(1))
    checkpoint.save(tmp_path, snapshot(2))
    checkpoint.save(tmp_path, snapshot(2, 1.5))
    assert checkpoint.newest(tmp_path)[0].facts["valid_loss"] == 1.5
    assert names(tmp_path) == {"step-00000001", "step-00000002"}


def test_a_run_that_went_back_before_damage_does_not_keep_it_in_place_of_what_is_whole(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        checkpoint.save(tmp_path, snapshot(step), keep=3)
    for step in (20, 30):
        (tmp_path / f"step-{step:08d}" / STATE).write_bytes(b"damaged")
    assert checkpoint.newest(tmp_path)[0].step == 10
    checkpoint.save(tmp_path, snapshot(15), keep=2)
    assert steps(tmp_path) == [10, 15]


def test_damage_is_named_and_the_checkpoint_before_is_used(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, snapshot(step), keep=3)
    (tmp_path / "step-00000003" / STATE).write_bytes(b"short")
    (tmp_path / "step-00000002" / MANIFEST).unlink()
    back, damage = checkpoint.newest(tmp_path)
    assert back.step == 1
    assert len(damage) == 2
    assert damage[0].startswith(str(tmp_path / "step-00000003" / STATE))
    assert damage[1] == f"{tmp_path / 'step-00000002' / MANIFEST}: missing"


def test_without_a_whole_checkpoint_there_is_an_error_that_says_why(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no checkpoint"):
        checkpoint.newest(tmp_path / "nowhere")
    path = checkpoint.save(tmp_path, snapshot(1))
    (path / STATE).unlink()
    with pytest.raises(StorageError, match=r"no checkpoint is whole.*state\.safetensors"):
        checkpoint.newest(tmp_path)


def test_sweep_removes_leftovers_and_nothing_else(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, snapshot(1))
    (tmp_path / ".tmp-step-00000002").mkdir()
    (tmp_path / ".tmp-step-00000002" / STATE).write_bytes(b"half")
    (tmp_path / ".tmp-replaced-step-00000001").mkdir()
    checkpoint.sweep(tmp_path)
    assert names(tmp_path) == {"step-00000001"}


def test_sweep_brings_back_a_checkpoint_whose_replacement_never_arrived(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, snapshot(1))
    path.rename(tmp_path / ".tmp-replaced-step-00000001")
    checkpoint.sweep(tmp_path)
    assert checkpoint.newest(tmp_path)[0].step == 1


def test_a_checkpoint_pruned_while_it_is_read_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint.save(tmp_path, snapshot(1))
    real_load = checkpoint.load

    def load_late(path: Path) -> Snapshot:
        if path.name == "step-00000001":
            checkpoint.save(tmp_path, snapshot(2))
            checkpoint.save(tmp_path, snapshot(3))
        return real_load(path)

    monkeypatch.setattr(checkpoint, "load", load_late)
    back, damage = checkpoint.newest(tmp_path)
    assert (back.step, damage) == (3, [])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: (path / MANIFEST).write_bytes(b"{" * 100_000), "not a manifest"),
        (lambda path: (path / MANIFEST).write_bytes(b"[" * 100_000), "not a manifest"),
        (lambda path: (path / MANIFEST).write_bytes(b"[]"), "seal"),
        (lambda path: (path / MANIFEST).write_bytes(b" " * 2**21), "seal"),
        (lambda path: (path / MANIFEST).write_bytes((path / MANIFEST).read_bytes() + b" "), "seal"),
        (lambda path: rewrite_manifest(path, extra=1), f"schema {checkpoint.SCHEMA}"),
        (lambda path: rewrite_manifest(path, files={}), f"schema {checkpoint.SCHEMA}"),
        (
            lambda path: rewrite_manifest(path, files={"../../state.safetensors": {"bytes": 1, "sha256": ""}}),
            f"schema {checkpoint.SCHEMA}",
        ),
        (lambda path: rewrite_manifest(path, step="one"), f"schema {checkpoint.SCHEMA}"),
        (lambda path: rewrite_manifest(path, step=2), f"schema {checkpoint.SCHEMA}"),
    ],
)
def test_a_manifest_that_is_not_ours_is_damage(tmp_path: Path, damage: Callable[[Path], object], words: str) -> None:
    path = checkpoint.save(tmp_path, snapshot(1))
    damage(path)
    with pytest.raises(Damaged, match=words):
        checkpoint.load(path)


def test_a_checkpoint_of_another_schema_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, snapshot(1))
    rewrite_manifest(checkpoint.save(tmp_path, snapshot(2)), schema=1)
    with pytest.raises(StorageError, match=rf"of schema 1.*reads {checkpoint.SCHEMA}"):
        checkpoint.newest(tmp_path)


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"config_sha": "e" * 64}, "configuration"),
        ({"config_sha": "c" * 64, "corpus_sha": "e" * 64}, "corpus"),
        ({"config_sha": "e" * 64, "corpus_sha": "e" * 64}, "configuration"),
        ({"tensors": {"model/weight": torch.zeros(4, 2)}}, r"'model/weight' is \(3, 2\).*\(4, 2\)"),
        ({"tensors": {"model/bias": torch.zeros(4)}}, "no tensor 'model/bias'"),
    ],
)
def test_the_first_difference_to_another_experiment_is_named(expected: dict[str, object], words: str) -> None:
    with pytest.raises(StorageError, match=words):
        checkpoint.check_same_experiment(snapshot(1), **expected)  # type: ignore[arg-type]


def test_the_same_experiment_is_accepted() -> None:
    same = snapshot(1)
    checkpoint.check_same_experiment(same, config_sha="c" * 64, corpus_sha="d" * 64, tensors=same.tensors)
