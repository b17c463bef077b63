"""What TensorBoard will read of a run and of a study."""

import http.client
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from signal import SIGTERM
from typing import Any
from urllib.parse import urlsplit

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.summary.writer.record_writer import RecordWriter

import rnnlab
from rnnlab.errors import Diverged, Stopped, StorageError
from rnnlab.storage.metrics import read
from rnnlab.storage.runfolder import RunFolder
from rnnlab.views.board import BoardObserver, mark_killed, own_files, write_study_root
from rnnlab.views.events import PATTERN, EventFile
from rnnlab.views.hparams import METRICS
from tests.rnnlab import quick_runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    path = tmp_path_factory.mktemp("board") / "run"
    quick_runs.train(path)
    return RunFolder.open(path)


@pytest.fixture
def begun(tmp_path: Path) -> RunFolder:
    """A run whose observer has yet to come."""
    return RunFolder.create(tmp_path / "run", "Trainer.seed = 1\nBlock.dropout = 0.1\n", "", {"parameters": 12})


Values = dict[str, list[Any]]


def values(folder: Path) -> Values:
    """Every summary value below tags, with its step, in the order that they were written."""
    found: Values = defaultdict(list)
    for path in sorted(folder.glob(PATTERN)):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found[value.tag].append((event.step, value))
    return found


def points(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(step, value.tensor.float_val[0]) for step, value in values(folder)[tag]]


def statuses(folder: Path) -> list[int]:
    ends = [value.metadata.plugin_data.content for _, value in values(folder)[metadata.SESSION_END_INFO_TAG]]
    return [metadata.parse_session_end_info_plugin_data(content).status for content in ends]


def start(folder: Path) -> Any:
    ((_, value),) = values(folder)[metadata.SESSION_START_INFO_TAG]
    return metadata.parse_session_start_info_plugin_data(value.metadata.plugin_data.content)


def assert_shows_the_journal(folder: RunFolder) -> None:
    records = read(folder.journal.path)
    for kind, name, tag in (
        ("train", "loss", "train/loss"),
        ("train", "bpc", "bpc/train"),
        ("train", "lr", "train/lr"),
        ("train", "grad_norm", "train/grad_norm"),
        ("train", "bytes_per_second", "machine/bytes_per_second"),
        ("train", "memory_mb", "machine/memory_mb"),
        ("valid", "valid_bpc", "bpc/valid"),
        ("valid", "best_valid_bpc", "best/valid_bpc"),
    ):
        told = [(record["bytes"], record[name]) for record in records if record["kind"] == kind]
        shown = points(folder.tensorboard, tag)
        assert told
        assert [position for position, _ in shown] == [position for position, _ in told], tag
        assert [y for _, y in shown] == pytest.approx([y for _, y in told], rel=1e-6), tag


def test_every_figure_of_the_journal_is_a_point(trained: RunFolder) -> None:
    assert_shows_the_journal(trained)
    norms = [record["grad_norms"] for record in read(trained.journal.path) if record["kind"] == "train"]
    shown = points(trained.tensorboard, "grad_norm/blocks.2.attention")
    assert [y for _, y in shown] == pytest.approx([norm["blocks.2.attention"] for norm in norms], rel=1e-6)


@pytest.mark.slow
def test_the_norms_of_the_parts_add_up_to_the_whole(trained: RunFolder) -> None:
    for record in read(trained.journal.path):
        if record["kind"] == "train":
            parts = sum(norm**2 for norm in record["grad_norms"].values()) ** 0.5
            assert parts == pytest.approx(record["grad_norm"], rel=1e-4)


def test_the_configuration_costs_and_test_score_are_shown(trained: RunFolder) -> None:
    shown = values(trained.tensorboard)
    ((_, text),) = shown["configuration"]
    assert trained.config_text in text.tensor.string_val[0].decode()
    result = trained.result()
    assert result is not None
    assert points(trained.tensorboard, "cost/parameters") == [(0, result["parameters"])]
    assert points(trained.tensorboard, "cost/state_floats") == [(0, result["state_floats"])]
    assert points(trained.tensorboard, "bpc/test") == [
        (result["bytes_trained"], pytest.approx(result["test_bpc"], rel=1e-6))
    ]
    assert points(trained.tensorboard, "cost/bytes_per_second") == [
        (result["bytes_trained"], pytest.approx(result["bytes_per_second"], rel=1e-6))
    ], "of the whole run, and not of its last steps"
    assert statuses(trained.tensorboard) == [api_pb2.STATUS_SUCCESS]
    assert {tag for tag in METRICS if tag not in shown} == set()


@pytest.mark.slow
def test_a_resumed_run_has_no_point_twice_and_lacks_none(tmp_path: Path) -> None:
    quick_runs.train(tmp_path / "run", steps=10, extra=["Cosine.final = 0.1"])
    folder = RunFolder.open(tmp_path / "run")
    before = own_files(folder)
    rnnlab.resume(folder.path, ["Trainer.steps = 20"])
    assert_shows_the_journal(folder)
    assert len(own_files(folder)) == 1
    assert own_files(folder) != before
    assert statuses(folder.tensorboard) == [api_pb2.STATUS_SUCCESS]


def test_pictures_outlast_a_resumption(begun: RunFolder) -> None:
    with EventFile(begun.tensorboard, "pictures") as file:
        file.picture("probe/map", b"png", (1, 1), step=3)
    with BoardObserver(begun):
        pass
    assert "probe/map" in values(begun.tensorboard)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Diverged("step 3"), api_pb2.STATUS_FAILURE),
        (StorageError("full"), api_pb2.STATUS_FAILURE),
        (ZeroDivisionError(), api_pb2.STATUS_FAILURE),
        (Stopped(SIGTERM), api_pb2.STATUS_UNKNOWN),
        (KeyboardInterrupt(), api_pb2.STATUS_UNKNOWN),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_run_that_ends_otherwise_says_how(begun: RunFolder, error: BaseException, status: int) -> None:
    with pytest.raises(type(error)), BoardObserver(begun):
        raise error
    assert statuses(begun.tensorboard) == [status]
    with BoardObserver(begun):
        pass
    assert statuses(begun.tensorboard) == [api_pb2.STATUS_SUCCESS], "the session of before is gone"


def test_only_a_run_that_was_killed_is_marked_as_failed(begun: RunFolder) -> None:
    mark_killed(begun)
    assert statuses(begun.tensorboard) == [], "it has not begun"
    observer = BoardObserver(begun)
    with begun.hold():
        observer.__enter__()
        mark_killed(RunFolder.open(begun.path))
        assert statuses(begun.tensorboard) == [], "it is alive: its process holds the folder"
        observer._file.close()  # as the kernel does when a process is killed
    for _ in range(2):
        mark_killed(RunFolder.open(begun.path))
        assert statuses(begun.tensorboard) == [api_pb2.STATUS_FAILURE]
    with BoardObserver(begun):
        pass
    mark_killed(begun)
    assert statuses(begun.tensorboard) == [api_pb2.STATUS_SUCCESS]


def test_what_is_not_finite_has_no_point(begun: RunFolder) -> None:
    first = {"kind": "train", "step": 1, "bytes": 64, "loss": float("nan"), "bpc": 2.0, "grad_norms": {"a": None}}
    begun.journal.append(first)
    begun.journal.append({"kind": "lost"})
    begun.journal.append({"kind": "spike", "step": 2, "loss": 9.0, "average": 3.0})
    with BoardObserver(begun):
        pass
    shown = values(begun.tensorboard)
    assert {"train/loss", "grad_norm/a"} & shown.keys() == set()
    assert points(begun.tensorboard, "bpc/train") == [(64, 2.0)]
    assert points(begun.tensorboard, "spike/loss") == [(64, 9.0)], "where the record before it stands"


def test_the_relative_axis_counts_training_only(begun: RunFolder) -> None:
    for step, seconds in ((1, 10.0), (2, 25.0)):
        begun.journal.append({"kind": "train", "step": step, "bpc": 2.0, "seconds": seconds})
    with BoardObserver(begun) as board:
        board({"kind": "train", "step": 3, "bpc": 2.0, "seconds": 26.0})
    (path,) = own_files(begun)
    times = [
        event.wall_time
        for event in EventFileLoader(str(path)).Load()
        if any(value.tag == "bpc/train" for value in event.summary.value)
    ]
    assert [time - times[0] for time in times] == pytest.approx([0.0, 15.0, 16.0], abs=1e-3)


def test_a_folder_that_takes_nothing_costs_one_warning(begun: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    begun.tensorboard.write_text("a file in the way")
    with BoardObserver(begun) as board:
        for step in range(3):
            board({"kind": "train", "step": step, "bpc": 2.0})
    warned = capsys.readouterr().err.splitlines()
    assert len(warned) == 1
    assert str(begun.tensorboard) in warned[0]


def test_a_disk_that_is_full_costs_one_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with EventFile(tmp_path, "run") as file:
        file.scalars({"loss": 1.0}, step=1)
        file.close()
        file._records = RecordWriter(open("/dev/full", "wb", buffering=0))  # noqa: SIM115 -- closed when it fails
        for step in (2, 3):
            file.scalars({"loss": 1.0}, step)
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [step for step, _ in points(tmp_path, "loss")] == [1]


def test_a_session_names_its_variant_and_its_bindings(begun: RunFolder) -> None:
    with BoardObserver(begun):
        pass
    assert start(begun.tensorboard).group_name == "run"
    assert {name: value.number_value for name, value in start(begun.tensorboard).hparams.items()} == {
        "Block.dropout": 0.1
    }


def test_a_study_root_is_replaced_by_the_next(tmp_path: Path) -> None:
    for width in (1, 2):
        write_study_root(tmp_path, [{"width": width}])
    ((_, value),) = values(tmp_path)[metadata.EXPERIMENT_TAG]
    told = metadata.parse_experiment_plugin_data(value.metadata.plugin_data.content)
    assert told.hparam_infos[0].domain_interval.max_value == 2
    assert len(values(tmp_path)["custom_scalars__config__"]) == 1


def write_cell(study: Path, name: str, seed: int = 1) -> RunFolder:
    path = study / "cells" / name / f"seed-{seed}"
    variant = {"variant": f"{name} ({study.name})"}
    folder = RunFolder.create(path, f"A.{name} = 1\nTrainer.seed = {seed}\n", "", variant)
    with BoardObserver(folder):
        pass
    return folder


def test_a_cell_stays_a_session_of_its_variant_when_it_is_resumed(tmp_path: Path) -> None:
    folder = RunFolder.open(write_cell(tmp_path / "core_swap", "lstm").path)
    assert start(folder.tensorboard).group_name == "lstm (core_swap)"
    with BoardObserver(folder):
        pass
    assert start(folder.tensorboard).group_name == "lstm (core_swap)"


@pytest.fixture(scope="module")
def port(trained: RunFolder) -> Iterator[int]:
    """Of a running `rnnlab board`."""
    command = [sys.executable, "-m", "rnnlab", "board", str(trained.path), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield urlsplit(process.stdout.readline().split()[0]).port or 0
        process.terminate()


def ask(port: int, *hosts: str, path: str = "/data/environment") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("GET", path, skip_host=True)
    for host in hosts:
        connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    told = answer.status, answer.read().decode()
    connection.close()
    return told


@pytest.mark.slow
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:6006", "LocalHost:80", "[::1]:6006"])
def test_the_board_answers_those_who_ask_for_this_machine_whatever_the_port(port: int, host: str) -> None:
    status, text = ask(port, host)
    assert status == 200
    assert "data_location" in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "hosts",
    [
        ["evil.example"],
        ["evil.example:6006"],
        ["localhost.evil.example"],
        ["evil.example", "localhost"],
        ["localhost", "evil.example"],
        ["127.0.0.1@evil.example"],
        ["192.168.0.1"],
        [""],
        [],
    ],
    ids=repr,
)
def test_the_board_refuses_a_host_that_is_not_this_machine(port: int, hosts: list[str]) -> None:
    status, text = ask(port, *hosts)
    assert status == 403
    assert text.count("\n") == 1
    assert "open localhost, 127.0.0.1 or [::1]" in text


@pytest.mark.slow
def test_the_board_refuses_a_host_in_the_address_as_well(port: int) -> None:
    assert ask(port, "localhost", path="http://evil.example/data/environment")[0] == 403
