"""F2, F4 to F8, F18, F19 at the level of the run folder: what a crash, a disk or a stranger does to checkpoints."""

import hashlib
import json
import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rnnlab.errors import ConfigError, RunHeldError, StorageError
from rnnlab.storage import checkpoint, metrics
from rnnlab.storage.checkpoint import MANIFEST, STATE, Snapshot
from rnnlab.storage.runfolder import RunFolder

pytestmark = pytest.mark.faults

SOAK = bool(os.environ.get("RNNLAB_SOAK"))
DRIVER = Path(__file__).with_name("storage_driver.py")
MB = 2**20


def drive(*arguments: object) -> Any:
    command = [sys.executable, str(DRIVER), *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def snapshot(step: int, width: int = 4) -> Snapshot:
    generator = torch.Generator().manual_seed(step)
    tensors = {"model/weight": torch.randn(width, 30, generator=generator), "state/state.0.h": torch.zeros(2, 3)}
    return Snapshot(step, 10 * step, tensors, {"valid_loss": None, "progress": {"step": step}})


def create(path: Path) -> RunFolder:
    return RunFolder.create(path, "Trainer.seed = 1\n", "", {"corpus_sha": "d" * 64})


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with checkpoints of steps 1 and 2."""
    folder = create(tmp_path / "run")
    folder.save(snapshot(1))
    folder.save(snapshot(2))
    return folder


def newest_path(run: RunFolder) -> Path:
    return run.checkpoints / "step-00000002"


def expect_the_one_before(run: RunFolder, damaged: Path) -> None:
    """The checkpoint of step 1 is found, whole, and one line names the damaged file."""
    found, damage = checkpoint.newest(run.checkpoints)
    assert found.step == 1
    assert torch.equal(found.tensors["model/weight"], snapshot(1).tensors["model/weight"])
    assert len(damage) == 1
    assert damage[0].startswith(f"{damaged}: ")


def test_f2_death_around_each_change_on_disk_leaves_the_old_or_the_new(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    names = drive("deaths", tmp_path, 170 if SOAK else 0)
    record_property("tries", len(names))
    for what in ("next", "again"):
        assert sum(name.startswith(what) for name in names) >= 12
    allowed = {"next": {(2, "old"), (3, "new")}, "again": {(2, "old"), (2, "new")}}
    for name in names:
        folder = RunFolder.open(tmp_path / name)
        with folder.hold():
            found = folder.newest()
            assert not list(folder.path.rglob(".tmp-*")), name
            assert name.startswith("random") or (found.step, found.facts["note"]) in allowed[name.partition("-")[0]]
            assert set(found.tensors["model/weight"].tolist()) == {float(found.step)}
            for path in folder.checkpoints.iterdir():
                checkpoint.load(path)
            assert metrics.read(folder.path / "metrics.jsonl")[:2] == [{"step": 1}, {"step": 2}]
            folder.save(Snapshot(found.step + 1, 0, found.tensors))
            assert folder.newest().step == found.step + 1


@pytest.mark.parametrize("seed", range(400 if SOAK else 25))
def test_f4_a_truncated_file_is_never_loaded(run: RunFolder, seed: int) -> None:
    draw = random.Random(seed)
    path = newest_path(run) / draw.choice([STATE, MANIFEST])
    os.truncate(path, draw.randrange(path.stat().st_size))
    expect_the_one_before(run, path)


@pytest.mark.parametrize("seed", range(1000 if SOAK else 50))
def test_f5_a_flipped_bit_is_never_loaded(run: RunFolder, seed: int) -> None:
    draw = random.Random(seed)
    path = newest_path(run) / draw.choice([STATE, MANIFEST])
    data = bytearray(path.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)
    expect_the_one_before(run, path)


def reseal(path: Path, **changes: object) -> None:
    """Change a manifest as someone does who knows the format."""
    body = json.loads((path / MANIFEST).read_bytes())
    del body["seal"]
    (path / MANIFEST).write_bytes(checkpoint._seal({**body, **changes}))


@pytest.mark.parametrize(
    ("field", "words"),
    [("config_sha", "another experiment: its configuration"), ("corpus_sha", "another experiment: its corpus")],
)
def test_f6_a_checkpoint_of_another_experiment_is_refused(run: RunFolder, field: str, words: str) -> None:
    reseal(newest_path(run), **{field: "e" * 64})
    with pytest.raises(StorageError, match=words):
        run.newest()


def test_f6_a_checkpoint_of_another_schema_is_refused(run: RunFolder) -> None:
    reseal(newest_path(run), schema=99)
    with pytest.raises(StorageError, match="schema 99"):
        run.newest()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"model/weight": torch.zeros(8, 30)}, r"'model/weight' is \(4, 30\), and here it is \(8, 30\)"),
        ({"model/weight": torch.zeros(4, 30), "model/bias": torch.zeros(4)}, "no tensor 'model/bias'"),
    ],
)
def test_f6_a_checkpoint_of_another_width_is_refused(
    run: RunFolder, model: dict[str, torch.Tensor], words: str
) -> None:
    with pytest.raises(StorageError, match=words):
        checkpoint.check_same_experiment(run.newest(), tensors=model)


def test_f6_a_checkpoint_without_its_manifest_is_passed_over(run: RunFolder) -> None:
    (newest_path(run) / MANIFEST).unlink()
    expect_the_one_before(run, newest_path(run) / MANIFEST)


def test_f6_the_state_of_another_checkpoint_is_passed_over(run: RunFolder) -> None:
    shutil.copy(run.checkpoints / "step-00000001" / STATE, newest_path(run) / STATE)
    expect_the_one_before(run, newest_path(run) / STATE)


def test_f6_a_checkpoint_under_the_name_of_another_is_passed_over(run: RunFolder) -> None:
    shutil.rmtree(newest_path(run))
    shutil.copytree(run.checkpoints / "step-00000001", newest_path(run))
    expect_the_one_before(run, newest_path(run) / MANIFEST)


def test_f7_on_a_full_disk_the_checkpoints_of_before_stay_whole(tmp_path: Path) -> None:
    said = drive("full", tmp_path)
    assert said.keys() == {"state", "thrice", "manifest", "journal", "result"}
    for name, message in said.items():
        assert re.match(r"StorageError 5: .*file too large; raise the limit", message), (name, message)
        folder = RunFolder.open(tmp_path / name)
        assert not list(folder.path.rglob(".tmp-*")), name
        assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["step-00000001", "step-00000002"]
        assert checkpoint.newest(folder.checkpoints)[1] == []
        assert metrics.read(folder.path / "metrics.jsonl") == [{"step": 1}, {"step": 2}], name
        assert folder.result() is None


def test_f8_a_folder_where_the_user_may_not_write_is_refused_before_anything_starts(tmp_path: Path) -> None:
    message = drive("unwritable", tmp_path / "read_only")
    assert re.match(r"StorageError 5: .*permission denied; choose a folder that you may write to", message)


@pytest.mark.parametrize(
    ("obstacle", "words"),
    [
        (lambda path: path.write_text("a file"), "a file of this name is in the way"),
        (lambda path: path.parent.write_text("a file"), "a part of this path is a file"),
        (lambda path: path.joinpath("lock").mkdir(parents=True), "lock: cannot be locked: is a directory"),
        (lambda path: path.joinpath(".tmp-environment.json").mkdir(parents=True), "the run cannot be kept there"),
    ],
    ids=["a file", "below a file", "lock", "environment"],
)
def test_f8_a_path_that_cannot_hold_a_run_is_refused(
    tmp_path: Path, obstacle: Callable[[Path], object], words: str
) -> None:
    path = tmp_path / "run" if "part of" not in words else tmp_path / "runs" / "run"
    obstacle(path)
    with pytest.raises(StorageError, match=words) as caught:
        create(path)
    assert caught.value.exit_code == 5
    with pytest.raises(ConfigError):
        RunFolder.open(path)


def test_f18_the_second_writer_is_told_at_once_and_a_killed_one_frees_the_run(run: RunFolder) -> None:
    command = [sys.executable, str(DRIVER), "hold", str(run.path)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        started = time.monotonic()
        with pytest.raises(RunHeldError, match=f"process {holder.pid} "), run.hold():
            pass
        assert time.monotonic() - started < 1.0
        second = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (second.returncode, second.stdout) == (6, "")
        assert f"process {holder.pid} " in second.stderr
        run.newest()  # who only reads is not kept out
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
    with run.hold():
        run.save(snapshot(3))


class RunsCode:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.flag),)


def crafted(header: object, data: bytes = bytes(4)) -> bytes:
    """A safetensors file around a header of one's own."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype: str = "F32", shape: tuple[int, ...] = (1,), offsets: tuple[int, int] = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "code in a pickle": lambda flag: pickle.dumps(RunsCode(flag)),
    "code in the header": lambda flag: crafted(pickle.dumps(RunsCode(flag))),
    "a header longer than the file": lambda flag: (2**60).to_bytes(8, "little") + b"{}",
    "a deep header": lambda flag: crafted(b'{"a":' * 100_000),
    "a trillion values": lambda flag: crafted({"a": entry(shape=(2**40,))}),
    "a shape that overflows": lambda flag: crafted({"a": entry(shape=(2**40, 2**40))}),
    "values outside the file": lambda flag: crafted({"a": entry(offsets=(0, 2**40))}),
    "values that overlap": lambda flag: crafted({"a": entry(), "b": entry()}),
    "values that torch does not know": lambda flag: crafted({"a": entry("F8_E8M0", (4,))}),
    "no tensors": lambda flag: crafted({"a": "b"}),
    "not a dictionary": lambda flag: crafted([entry()]),
}


def peak_memory(reset: bool = False) -> int:
    """The most memory this process has held, since the start or the last reset [bytes]."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a process's memory can only be reset on Linux")
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024


@pytest.mark.parametrize("name", HOSTILE)
def test_f19_a_hostile_checkpoint_runs_nothing_and_takes_no_memory(run: RunFolder, tmp_path: Path, name: str) -> None:
    state, flag = newest_path(run) / STATE, tmp_path / "flag"
    data = HOSTILE[name](flag)
    state.write_bytes(data)
    reseal(newest_path(run), files={STATE: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}})
    before = peak_memory(reset=True)
    expect_the_one_before(run, state)
    assert peak_memory() - before < 16 * MB
    assert not flag.exists()


def test_f19_a_huge_manifest_takes_no_memory(run: RunFolder) -> None:
    path = newest_path(run) / MANIFEST
    path.write_bytes(b"[" * 64 * MB)
    before = peak_memory(reset=True)
    expect_the_one_before(run, path)
    assert peak_memory() - before < 16 * MB
