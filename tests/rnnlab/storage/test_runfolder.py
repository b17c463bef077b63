"""The folder of a run: never two runs in one, never two writers."""

import json
import math
import os
import pickle
from pathlib import Path

import pytest
import torch

from rnnlab.errors import ConfigError, RunHeldError, StorageError
from rnnlab.storage import metrics
from rnnlab.storage.checkpoint import Snapshot
from rnnlab.storage.runfolder import FORMAT, RunFolder

CONFIG = "Trainer.seed = 1\n"
ENVIRONMENT = {"torch": "2", "corpus_sha": "d" * 64}


def create(path: Path) -> RunFolder:
    return RunFolder.create(path, CONFIG, "# to read\n", ENVIRONMENT)


def snapshot(step: int, bpc: float | None = None) -> Snapshot:
    return Snapshot(step, step, {"model/weight": torch.full((2,), float(step))}, {"valid_loss": bpc})


def test_a_new_run_says_what_it_was_told(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "a"
    create(path)
    opened = RunFolder.open(path)
    assert opened.config_text == (path / "config.gin").read_text() == CONFIG
    assert (path / "operative.gin").read_text() == "# to read\n"
    assert opened.environment == {**ENVIRONMENT, "format": FORMAT}
    assert opened.corpus_sha == "d" * 64


def test_a_run_of_another_version_is_met_by_one_line(tmp_path: Path) -> None:
    create(tmp_path)
    old = {**ENVIRONMENT, "rnnlab": "0.1.0"}
    (tmp_path / "environment.json").write_text(json.dumps(old))
    with pytest.raises(StorageError, match=r"a run of rnnlab 0\.1\.0, which this version cannot read; open it with"):
        RunFolder.open(tmp_path)


def test_a_folder_that_holds_a_run_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    create(tmp_path)
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ConfigError, match=r"holds a run already.*rnnlab resume"):
        RunFolder.create(tmp_path, "other = 1\n", "", {})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["metrics.jsonl", "result.json"])
def test_the_remains_of_a_run_are_not_written_over(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}\n")
    with pytest.raises(ConfigError, match=name):
        create(tmp_path)


def test_a_run_whose_start_was_cut_short_can_be_started_again(tmp_path: Path) -> None:
    create(tmp_path)
    (tmp_path / "config.gin").unlink()  # which is written last
    create(tmp_path)
    assert RunFolder.open(tmp_path).config_text == CONFIG


@pytest.mark.parametrize("name", ["operative.gin", "environment.json", ".tmp-config.gin"])
def test_a_start_that_was_cut_short_at_any_file_can_be_started_again(tmp_path: Path, name: str) -> None:
    create(tmp_path)
    (tmp_path / "config.gin").rename(tmp_path / ".tmp-config.gin")
    for later in [".tmp-config.gin", "operative.gin", "environment.json"]:
        if later == name:
            break
        (tmp_path / later).unlink()
    create(tmp_path)
    assert RunFolder.open(tmp_path).config_text == CONFIG


FOREIGN = {
    "operative.gin": "Trainer.seed = 7\n",
    "environment.json": '{"python": "3.12"}\n',
    "resumed.gin": "Trainer.steps = 7\n",
    "tb/events.out.tfevents.1.1.0.run": "mine",
    "lock": "mine\n",
}


@pytest.mark.parametrize("beside", [[], ["lock of a process"], ["a start cut short"]])
@pytest.mark.parametrize("name", FOREIGN)
def test_what_has_the_name_of_a_runs_file_but_is_anothers_is_refused_and_left_alone(
    tmp_path: Path, name: str, beside: list[str]
) -> None:
    if beside == ["a start cut short"]:
        create(tmp_path)
        (tmp_path / "config.gin").unlink()
        if name == "operative.gin":
            (tmp_path / "environment.json").unlink()
    elif beside:
        (tmp_path / "lock").write_text("process 1 on here\n")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(FOREIGN[name])

    def files() -> dict[Path, bytes]:
        """All but what our own lock says of its holder."""
        found = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
        return found if name == "lock" else {path: found[path] for path in found if path.name != "lock"}

    before, had_lock = files(), (tmp_path / "lock").exists()
    with pytest.raises((ConfigError, StorageError), match=rf"{name.partition('/')[0]}.*folder"):
        create(tmp_path)
    assert files() == before
    assert (tmp_path / "lock").exists() == had_lock


def test_a_start_in_a_folder_that_is_held_says_who_holds_it(tmp_path: Path) -> None:
    with create(tmp_path).hold(), pytest.raises(RunHeldError, match=rf"held by process {os.getpid()} "):
        create(tmp_path)


def test_a_link_that_leads_nowhere_is_in_the_way_too(tmp_path: Path) -> None:
    (tmp_path / "environment.json").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"environment\.json"):
        create(tmp_path)
    assert (tmp_path / "environment.json").is_symlink()


def test_files_of_others_do_not_hinder_a_run_and_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    create(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["nowhere", "."])
def test_a_folder_without_a_run_cannot_be_opened(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"no config\.gin"):
        RunFolder.open(tmp_path / name)


@pytest.mark.parametrize("text", ["{", "[]", "\udcff"])
def test_a_damaged_environment_is_named(tmp_path: Path, text: str) -> None:
    create(tmp_path)
    (tmp_path / "environment.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(StorageError, match=r"environment\.json"):
        RunFolder.open(tmp_path)


def test_a_run_has_one_holder_at_a_time_and_the_holder_is_named(tmp_path: Path) -> None:
    first, second = create(tmp_path), RunFolder.open(tmp_path)
    with first.hold(), pytest.raises(RunHeldError, match=r"held by process \d+"), second.hold():
        pass
    with second.hold():
        pass


def test_an_exception_frees_the_run(tmp_path: Path) -> None:
    folder = create(tmp_path)
    with pytest.raises(ZeroDivisionError), folder.hold():
        raise ZeroDivisionError
    with folder.hold():
        pass


def test_a_run_that_starts_is_not_started_twice(tmp_path: Path) -> None:
    with create(tmp_path).hold():
        (tmp_path / "config.gin").unlink()
        with pytest.raises(RunHeldError):
            create(tmp_path)


def test_holding_a_run_sweeps_up_after_one_that_died(tmp_path: Path) -> None:
    folder = create(tmp_path)
    (tmp_path / ".tmp-result.json").write_text("{")
    (folder.checkpoints / ".tmp-step-00000001").mkdir(parents=True)
    with folder.hold():
        assert not list(tmp_path.rglob(".tmp-*"))


def test_checkpoints_carry_the_experiment_they_belong_to(tmp_path: Path) -> None:
    folder = create(tmp_path)
    with folder.hold():
        folder.save(snapshot(1, 1.5))
        folder.save(snapshot(2, 1.7))
        assert (folder.newest().step, folder.best().step, folder.newest(at_most=1).step) == (2, 1, 1)
        assert (folder.newest().config_sha, folder.newest().corpus_sha) == (folder.config_sha, "d" * 64)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    folder = create(tmp_path)
    folder.save(snapshot(1))
    (tmp_path / "config.gin").write_text("Trainer.seed = 2\n")
    with pytest.raises(StorageError, match="another experiment: its configuration"):
        RunFolder.open(tmp_path).newest()


def test_damage_is_told_to_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = create(tmp_path)
    folder.save(snapshot(1))
    folder.save(snapshot(2))
    damaged = folder.checkpoints / "step-00000002" / "state.safetensors"
    damaged.write_bytes(b"")
    assert folder.newest().step == 1
    told = capsys.readouterr().err
    assert str(damaged) in told
    assert "step 1 is whole" in told


def test_the_journal_is_safe_before_a_checkpoint_knows_of_it(tmp_path: Path) -> None:
    folder = create(tmp_path)
    (tmp_path / "metrics.jsonl").mkdir()
    folder.journal.append({"step": 1})
    with pytest.raises(StorageError, match=r"metrics\.jsonl"):
        folder.save(snapshot(1))
    assert not folder.checkpoints.exists()


def test_a_result_is_strict_json_and_replaces_the_one_before(tmp_path: Path) -> None:
    folder = create(tmp_path)
    assert folder.result() is None
    folder.write_result({"status": "stopped", "valid_bpc": math.nan})
    folder.write_result({"status": "done", "valid_bpc": math.nan})
    assert json.loads((tmp_path / "result.json").read_text()) == {"status": "done", "valid_bpc": None}
    assert folder.result() == {"status": "done", "valid_bpc": None}


def test_the_journal_is_the_run_folders(tmp_path: Path) -> None:
    folder = create(tmp_path)
    with folder.hold():
        folder.journal.append({"kind": "train", "step": 1})
    assert metrics.read(tmp_path / "metrics.jsonl") == [{"kind": "train", "step": 1}]


def test_a_folder_travels_to_other_ranks_without_what_this_process_holds(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", "Trainer.seed = 1\n", "", {"corpus_sha": "d" * 64})
    with folder.hold():
        folder.journal.append({"step": 1})
        other = pickle.loads(pickle.dumps(folder))
        assert (other.path, other.config_sha, other.corpus_sha) == (folder.path, folder.config_sha, folder.corpus_sha)
        assert other.environment == folder.environment
        other.check_place()
