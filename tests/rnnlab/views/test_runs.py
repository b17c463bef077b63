"""Reading run folders that are finished, going on, interrupted or damaged."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rnnlab.errors import StorageError
from rnnlab.views.runs import differing, find_runs, is_seed, parse_bindings, protocol_note, read_run
from tests.rnnlab.run_folders import write_run


def test_a_finished_run_is_read_whole(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", seed=3, bpc=2.6), "a")
    assert (run.name, run.status, run.seed) == ("a", "done", 3)
    assert len(run.valid) == 20
    assert len(run.train) == 100
    assert run.valid[-1].bytes == 1_000_000
    assert run.number("parameters") == 3_412_736
    assert run.number("valid_bpc") == run.valid[-1].value
    assert "Trainer.seed" not in run.bindings


def test_an_unfinished_run_has_the_figures_of_its_journal(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "a", status="unfinished", share=0.5), "a")
    assert run.status == "unfinished"
    assert run.number("bytes_trained") == 500_000
    assert run.number("valid_bpc") == run.valid[-1].value
    assert run.number("test_bpc") is None
    assert run.number("bytes_per_second") == pytest.approx(9000)
    assert run.number("peak_memory_mb") == pytest.approx(725)
    assert run.number("macs_per_byte") == 3_900_000


def test_a_run_that_has_only_begun_is_read_without_figures(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", status="unfinished")
    (folder / "metrics.jsonl").unlink()
    (folder / "environment.json").unlink()
    run = read_run(folder, "a")
    assert (run.status, list(run.valid), run.number("valid_bpc")) == ("unfinished", [], None)


def test_a_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    with (folder / "metrics.jsonl").open("a") as journal:
        journal.write('{"kind": "valid", "bytes": 99')
    assert len(read_run(folder, "a").valid) == 20


def test_points_that_are_not_finite_are_left_out_of_a_curve(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    with (folder / "metrics.jsonl").open("a") as journal:
        journal.write('{"kind": "valid", "bytes": 2000000, "seconds": 9.0, "valid_bpc": null}\n')
        journal.write('{"kind": "valid", "bytes": 2000000, "seconds": 9.0, "valid_bpc": NaN}\n')
    assert len(read_run(folder, "a").valid) == 20


def test_damage_is_named_with_its_place(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    journal = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text("".join([*journal[:3], "garbage\n", *journal[3:]]))
    with pytest.raises(StorageError, match=r"metrics\.jsonl:4: not a JSON object"):
        read_run(folder, "a")
    (folder / "result.json").write_text("{")
    with pytest.raises(StorageError, match=r"result\.json: not JSON"):
        read_run(folder, "a")
    (folder / "result.json").write_text("[]")
    with pytest.raises(StorageError, match=r"result\.json: a JSON object is expected"):
        read_run(folder, "a")
    (folder / "config.gin").write_bytes(b"\xff\xfe")
    with pytest.raises(StorageError, match=r"config\.gin: cannot be read"):
        read_run(folder, "a")


def test_runs_below_a_folder_are_found_in_natural_order(tmp_path: Path) -> None:
    for seed in (10, 2, 1):
        write_run(tmp_path / "study" / f"seed-{seed}", seed)
    assert [path.name for path in find_runs(tmp_path / "study")] == ["seed-1", "seed-2", "seed-10"]
    assert find_runs(tmp_path / "study" / "seed-2") == [tmp_path / "study" / "seed-2"]


def test_runs_by_which_a_study_was_tuned_do_not_count_beside_those_that_it_compares(tmp_path: Path) -> None:
    compared = write_run(tmp_path / "study" / "cells" / "lstm" / "seed-1")
    chose = write_run(tmp_path / "study" / "tuning" / "lstm" / "seed-1000001")
    assert find_runs(tmp_path) == [compared, chose], "a folder of the user may be called so"
    (tmp_path / "study" / "study.name").write_text("study\n")
    assert find_runs(tmp_path) == find_runs(tmp_path / "study") == [compared]
    assert find_runs(tmp_path / "study" / "tuning") == [chose]


def test_runs_behind_links_are_found_and_each_once(tmp_path: Path) -> None:
    elsewhere = write_run(tmp_path / "elsewhere" / "deep" / "a")
    here = write_run(tmp_path / "here" / "b")
    write_run(here / "inside")
    picked = tmp_path / "here" / "picked"
    picked.mkdir()
    for name, target in {
        "a": elsewhere,
        "a again": elsewhere,
        "all of them": elsewhere.parent,
        "b": here,
        "circle": picked,
        "up": tmp_path / "here",
    }.items():
        (picked / name).symlink_to(target)
    found = find_runs(tmp_path / "here")
    assert sorted(path.resolve() for path in found) == sorted([elsewhere, here, here / "inside"])
    (tmp_path / "link").symlink_to(tmp_path / "here")
    assert len(find_runs(tmp_path / "link")) == 3
    assert find_runs(picked / "a") == [picked / "a"]


def test_what_a_run_saves_is_not_searched(tmp_path: Path) -> None:
    run = write_run(tmp_path / "study" / "run")
    for name in ("checkpoints", "tb"):
        write_run(run / name / "not a run")
        write_run(tmp_path / "study" / name)  # what is called so elsewhere is
    assert {path.name for path in find_runs(tmp_path / "study")} == {"run", "checkpoints", "tb"}


def test_links_that_lead_nowhere_cost_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run")
    targets = {"dangling": tmp_path / "none", "itself": tmp_path / "itself", "long": "n" * 300}
    for name, target in targets.items():
        (tmp_path / name).symlink_to(target)
    for _ in range(2):  # the second time nothing is repeated
        assert find_runs(tmp_path) == [run]
    said = capsys.readouterr().err.splitlines()
    assert sorted(said) == [
        f"rnnlab: {tmp_path / name}: not searched for runs: the link leads nowhere" for name in sorted(targets)
    ]


def test_a_folder_that_may_not_be_read_costs_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, as_nobody(Path(folder)):  # pytest's folders are for their user alone
        run = write_run(Path(folder) / "run")
        closed = Path(folder) / "closed"
        write_run(closed / "run")
        closed.chmod(0)
        try:
            assert find_runs(Path(folder)) == [run]
            with pytest.raises(StorageError, match="no run in or below it"):
                find_runs(closed)
        finally:
            closed.chmod(0o700)
    assert capsys.readouterr().err == f"rnnlab: {closed}: not searched for runs: permission denied\n"


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Let the block run as a user whom permissions hold back, and who owns the folder."""
    if os.geteuid() != 0:
        yield
        return
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_without_runs_and_a_missing_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no run in or below it"):
        find_runs(tmp_path)
    with pytest.raises(StorageError, match="missing: there is no such folder"):
        find_runs(tmp_path / "missing")


def test_macros_are_replaced_by_their_values() -> None:
    bindings = {"Block.dropout": "%dropout", "Block.name": "'100%sure'", "a.b": "[%dropout, %memory]"}
    macros = {"dropout": "0.1", "memory": "%long", "long": "5000"}
    text = "# a comment\n\n" + "".join(f"{key} = {value}\n" for key, value in {**bindings, **macros}.items())
    assert parse_bindings(text) == {"Block.dropout": "0.1", "Block.name": "'100%sure'", "a.b": "[0.1, 5000]"}


def test_a_macro_that_names_itself_does_not_grow_without_end() -> None:
    assert parse_bindings("a.b = %x\nx = %x\n") == {"a.b": "%x"}
    assert len(parse_bindings(f"a.b = %x\nx = [{'%x, ' * 200}]\n")["a.b"]) <= 10_000


def test_a_value_may_go_on_over_several_lines() -> None:
    assert parse_bindings("a.b = [1,\n    2]\nc.d = 3\n") == {"a.b": "[1, 2]", "c.d": "3"}


def test_only_keys_that_differ_are_listed() -> None:
    assert differing([{"a": "1", "b": "2"}, {"a": "1", "b": "3"}, {"a": "1"}]) == {"b": ["2", "3", None]}


def test_the_protocol_is_told_once_where_it_is_shared() -> None:
    facts = {"protocol": {"batch_size": 8, "bptt": 256, "memory": None, "bytes_scored": 1000}}
    assert (
        protocol_note([facts, facts, {}])
        == "BPC measured with batch size 8, bptt 256, memory none, 1,000 bytes scored."
    )
    assert protocol_note([{}]) == ""


def test_what_was_scored_of_valid_is_told_where_it_is_not_what_test_was_scored_on(tmp_path: Path) -> None:
    """Seen: valid on 19,992 bytes beside test on 149,992, and a note that knows one number."""
    valid = {"batch_size": 8, "bptt": 256, "memory": 1024, "bytes_scored": 19_992}
    same = read_run(
        write_run(tmp_path / "same", figures={"valid_protocol": {**valid, "bytes_scored": 149_992}}), "same"
    )
    less = read_run(write_run(tmp_path / "less", figures={"valid_protocol": valid}), "less")
    assert protocol_note([same.facts]).endswith("149,992 bytes scored.")
    assert protocol_note([less.facts]).endswith("149,992 bytes scored; of valid 19,992 bytes scored.")
    both = protocol_note([same.facts, less.facts])
    assert "of valid 19,992 or 149,992 bytes scored" in both
    assert "Not the same everywhere: bytes scored of valid; compare with care." in both


@pytest.mark.parametrize("key", ["Trainer.seed", "a/Trainer.seed", "rnnlab.training.Trainer.seed"])
def test_the_seed_is_known_in_whatever_scope(key: str) -> None:
    assert is_seed(key)
    assert not is_seed(key.replace("Trainer", "MyTrainer"))
    assert not is_seed(f"{key}s")
