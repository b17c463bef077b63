"""Checkpoints: everything that continues, in a folder that is whole or not there.

    checkpoints/step-00001200/{state.safetensors, manifest.json}

A checkpoint is staged under another name, synced, and renamed; it is read only if it is what was written.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnnlab.errors import StorageError
from rnnlab.storage import tensorfile
from rnnlab.storage.durable import STAGED, storage_errors, sync_folder, write_synced
from rnnlab.storage.jsonfile import parse
from rnnlab.storage.tensorfile import Damaged, open_regular

SCHEMA = 3
STATE = "state.safetensors"
MANIFEST = "manifest.json"
STEP = "step-"
REPLACED = f"{STAGED}replaced-"
OURS = re.compile(rf"({re.escape(STAGED)}|{re.escape(REPLACED)}){STEP}\d+")
MAX_MANIFEST = 2**20  # [bytes]

RECORDED = ("step", "position", "facts", "config_sha", "corpus_sha")
"""What of a snapshot the manifest has; beside it stand the schema, torch's version, and size and hash of the state."""

Facts = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """Everything that continues."""

    step: int  # optimizer steps taken [steps]
    position: int  # of the next chunk within each sequence of the batch [bytes]
    tensors: Mapping[str, Tensor]  # "model/<parameter>", "optimizer/<parameter>/<slot>", "state/<path>"
    facts: Facts = field(default_factory=dict)  # what else a run needs, as JSON; "valid_loss" decides which is the best
    config_sha: str = ""  # of the experiment it belongs to, as the next; the run folder fills them in
    corpus_sha: str = ""

    @property
    def valid_loss(self) -> float:
        """Infinite if the state was never scored."""
        bpc = self.facts.get("valid_loss")
        return float(bpc) if isinstance(bpc, int | float) and math.isfinite(bpc) else math.inf

    def section(self, name: str) -> dict[str, Tensor]:
        """The tensors under one heading, without it: section("model") is a state dict."""
        heading = f"{name}/"
        return {key.removeprefix(heading): x for key, x in self.tensors.items() if key.startswith(heading)}


def save(folder: Path, snapshot: Snapshot, keep: int = 2, check_place: Callable[[], None] = lambda: None) -> Path:
    """Add a checkpoint, then remove all but the newest `keep` and the best. Returns its folder.

    Killed at any instant, or failing, it leaves the checkpoints of before, or those and the new one. A checkpoint of
    the same step is replaced; one of a later step is removed, since a run that saves here has gone back before it.

    Args:
        folder: of the checkpoints, in one that exists.
        check_place: called before anything is written, before it gets its name, and before each removal; what it
            raises leaves all as it is.
    Raises: StorageError if it cannot be written.
    """
    assert keep >= 2, "with one checkpoint, damage to it would be the end of the run"
    target = _path(folder, snapshot.step)
    stage = folder / f"{STAGED}{target.name}"
    with storage_errors(f"{target}: cannot be saved"):
        check_place()
        folder.mkdir(exist_ok=True)  # without parents: a run that was removed is not made anew
        shutil.rmtree(stage, ignore_errors=True)
        try:
            stage.mkdir()
            files = {STATE: tensorfile.write(stage / STATE, snapshot.tensors)}
            recorded = {name: getattr(snapshot, name) for name in RECORDED}
            body = {"schema": SCHEMA, "torch": torch.__version__, "files": files, **recorded}
            write_synced(stage / MANIFEST, _seal(body))
            sync_folder(stage)
            check_place()
            _publish(stage, target)
        except BaseException:
            _discard(stage, check_place)
            raise
        _prune(folder, snapshot.step, keep, check_place)
    return target


def sweep(folder: Path) -> None:
    """Remove what a process that died while saving left; only for who holds the run. Raises: StorageError."""
    with storage_errors(f"{folder}: leftovers cannot be removed"):
        for leftover in sorted(path for path in folder.glob(f"{STAGED}*") if OURS.fullmatch(path.name)):
            original = folder / leftover.name.removeprefix(REPLACED)
            if leftover.name.startswith(REPLACED) and not original.exists():
                os.rename(leftover, original)  # died between the two renames of a replacement: the old one stands
            else:
                shutil.rmtree(leftover)


def newest(folder: Path, at_most: int | None = None) -> tuple[Snapshot, list[str]]:
    """The checkpoint with the highest step that verifies, up to step `at_most`, and a line on each that did not.

    Raises: StorageError if none verifies, or if one was written in another format.
    """
    return _first_whole(folder, lambda: _newest_first(folder, at_most))


def best(folder: Path) -> tuple[Snapshot, list[str]]:
    """The checkpoint with the lowest facts["valid_loss"] that verifies, the newest if none was scored; see `newest`."""
    return _first_whole(folder, lambda: [path for path, _ in sorted(_readable(folder), key=lambda entry: entry[1])])


def newest_step(folder: Path) -> int | None:
    """Step of the newest checkpoint whose manifest is whole; None if there is none."""
    return next((_step(path) for path, _ in _readable(folder)), None)


def load(path: Path) -> Snapshot:
    """A checkpoint, fully checked. Raises: Damaged if it is not what was written; StorageError if of another format."""
    bare, entry = _read_manifest(path)
    return replace(bare, tensors=tensorfile.read(path / STATE, entry["bytes"], entry["sha256"]))


def _read_manifest(path: Path) -> tuple[Snapshot, Facts]:
    """A checkpoint without its tensors, and size and hash of the file that has them. Raises: as `load`."""
    where = path / MANIFEST
    try:
        with open_regular(where) as file:
            data = file.read(MAX_MANIFEST + 1)
        body = _unseal(data) if len(data) <= MAX_MANIFEST else None
    except FileNotFoundError:
        raise Damaged(f"{where}: missing") from None
    except (OSError, ValueError) as error:
        raise Damaged(f"{where}: not a manifest ({type(error).__name__}: {error})") from error
    if body is None:
        raise Damaged(f"{where}: does not match its seal")
    if body.get("schema") != SCHEMA:
        raise StorageError(
            f"{where}: of schema {body.get('schema')}, and this version of rnnlab reads {SCHEMA}; "
            f"use the version that wrote it"
        )
    if not _is_complete(body) or _path(path.parent, body["step"]) != path:
        raise Damaged(f"{where}: not the manifest of {path.name} in schema {SCHEMA}")
    return Snapshot(tensors={}, **{name: body[name] for name in RECORDED}), body["files"][STATE]


def check_same_experiment(
    snapshot: Snapshot,
    *,
    config_sha: str | None = None,
    corpus_sha: str | None = None,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Refuse a checkpoint of another experiment; what is None is not compared.

    Args:
        tensors: names and shapes that the checkpoint must have, e.g. {"model/<parameter>": parameter}.
    Raises: StorageError naming the first difference.
    """
    here = f"the checkpoint of step {snapshot.step} is of another experiment"
    if config_sha is not None and snapshot.config_sha != config_sha:
        raise StorageError(
            f"{here}: its configuration has sha256 {snapshot.config_sha[:12]}, this one {config_sha[:12]}; "
            f"`rnnlab diff` shows what differs; resume under the configuration it had, or start a new run"
        )
    if corpus_sha is not None and snapshot.corpus_sha != corpus_sha:
        raise StorageError(
            f"{here}: its corpus has sha256 {snapshot.corpus_sha[:12]}, this one {corpus_sha[:12]}; "
            f"bring back the corpus it had, or start a new run"
        )
    for name, tensor in (tensors or {}).items():
        saved = snapshot.tensors.get(name)
        if saved is None:
            raise StorageError(f"{here}: it has no tensor {name!r}")
        if saved.shape != tensor.shape:
            raise StorageError(f"{here}: its {name!r} is {tuple(saved.shape)}, and here it is {tuple(tensor.shape)}")


def _path(folder: Path, step: int) -> Path:
    return folder / f"{STEP}{step:08d}"


def _step(path: Path) -> int:
    return int(path.name.removeprefix(STEP))


def _newest_first(folder: Path, at_most: int | None = None) -> list[Path]:
    with storage_errors(f"{folder}: cannot be read"):
        names = os.listdir(folder) if folder.exists() else []
    found = [folder / name for name in names if name.startswith(STEP) and name.removeprefix(STEP).isdecimal()]
    return sorted((path for path in found if at_most is None or _step(path) <= at_most), key=_step, reverse=True)


def _readable(folder: Path, at_most: int | None = None) -> Iterator[tuple[Path, float]]:
    """Checkpoints whose manifest is whole and whose state has the right size, newest first, each with its valid BPC."""
    for path in _newest_first(folder, at_most):
        try:
            bare, entry = _read_manifest(path)
            if (path / STATE).stat().st_size == entry["bytes"]:
                yield path, bare.valid_loss
        except (Damaged, OSError):
            continue


def _first_whole(folder: Path, candidates: Callable[[], list[Path]]) -> tuple[Snapshot, list[str]]:
    vanished, damage = True, list[str]()
    while vanished:  # a run that is going on may prune what we are about to read
        vanished, damage = False, []
        for path in candidates():
            try:
                return load(path), damage
            except Damaged as error:
                vanished = vanished or not path.exists()
                damage.append(str(error))
    if damage:
        raise StorageError(f"{folder}: no checkpoint is whole; the first tried: {damage[0]}")
    raise StorageError(f"{folder}: there is no checkpoint; the run has yet to save one")


def _seal(body: Mapping[str, Any]) -> bytes:
    """The bytes of manifest.json. A flipped bit in a number is still JSON: only the seal can tell."""
    seal = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return (json.dumps({**body, "seal": seal}, sort_keys=True, indent=1) + "\n").encode()


def _unseal(data: bytes) -> dict[str, Any] | None:
    """Inverse of `_seal`; None if these are not the bytes that it made. Raises: ValueError."""
    body = parse(data)
    if not isinstance(body, dict) or "seal" not in body:
        return None
    del body["seal"]
    return body if _seal(body) == data else None


def _is_complete(body: Mapping[str, Any]) -> bool:
    """Whether the fields are those of the schema, of the types that reading relies on."""
    if body.keys() != {"schema", "torch", "files", *RECORDED}:
        return False
    entry = body["files"].get(STATE) if isinstance(body["files"], dict) else None
    if not isinstance(entry, dict):
        return False
    typed = [(body["step"], int), (body["position"], int), (body["facts"], dict)]
    typed += [(entry.get("bytes"), int), (entry.get("sha256"), str)]
    return all(isinstance(value, kind) for value, kind in typed)


def _discard(stage: Path, check_place: Callable[[], None]) -> None:
    """Remove what was staged, unless another folder has come to lie in the place of ours."""
    with suppress(StorageError):
        check_place()
        shutil.rmtree(stage, ignore_errors=True)


def _publish(stage: Path, target: Path) -> None:
    """Give the staged checkpoint its name."""
    replaced = target.with_name(f"{REPLACED}{target.name}")
    if target.exists():
        os.rename(target, replaced)  # no portable call swaps two folders; `sweep` undoes half a swap
    os.rename(stage, target)
    sync_folder(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _prune(folder: Path, step: int, keep: int, check_place: Callable[[], None]) -> None:
    past = list(_readable(folder, at_most=step))
    if not past:
        raise StorageError(f"{_path(folder, step)}: was removed as soon as it was saved")
    lowest, _ = min(past, key=lambda entry: entry[1])
    wanted = {lowest, *(path for path, _ in past[:keep])}
    for path in _newest_first(folder):
        if path not in wanted:
            check_place()  # another run may have been put here, with checkpoints of its own
            condemned = path.with_name(f"{STAGED}{path.name}")
            os.rename(path, condemned)  # a death while its files are removed must not leave half of a checkpoint
            shutil.rmtree(condemned)
