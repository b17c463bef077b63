"""A probe measures what it says, draws it, and leaves training alone."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

import rnnlab
from rnnlab.cli import main
from rnnlab.data.corpora import open_corpus
from rnnlab.errors import ConfigError, DataError
from rnnlab.evaluation import evaluate
from rnnlab.ops.window import hidden_from
from rnnlab.testing import rounding
from rnnlab.views.examination import (
    BATCH_SIZE,
    PASSAGE,
    _age,
    _AttentionWatch,
    _by_kind,
    _by_position,
    _ForgetGateWatch,
    distance_bin,
    examine,
)
from rnnlab.views.findings import Findings
from rnnlab.views.probe import probe
from rnnlab.views.probe_pictures import draw, to_png
from tests.rnnlab import quick_runs

SIZE = 4000  # [bytes]
EPS = float(np.finfo(np.float32).eps)  # shares are float32; n of them add up to 1 but for n roundings


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("probe") / "run"
    quick_runs.train(path, steps=30)
    return path


@pytest.fixture(scope="module")
def findings(run: Path) -> Findings:
    split = open_corpus(str(quick_runs.corpus(run.parent))).train
    return examine(rnnlab.load(run).model, split[:SIZE])


def files(folder: Path) -> dict[str, bytes]:
    """What is in a run, but for what a probe adds."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"probe", "lock"} & {*path.parts, path.name} and path.suffix != ".pictures"
    }


@pytest.mark.long
def test_a_probe_adds_pictures_and_changes_nothing_else(run: Path) -> None:
    before, pages = files(run), {*(run / "tb").glob("*.pictures")}
    told = probe(run, split="train", size=SIZE)
    assert files(run) == before
    names = {Path(file).name for file in told["files"]}
    assert names == {
        "attention_by_distance.png",
        "attention_map_3.png",
        "bpc_by_kind.png",
        "bpc_by_position.png",
        "forgetting.png",
        "gradient_norms.png",
        "probe.json",
    }
    for file in told["files"]:
        content = Path(file).read_bytes()
        assert len(content) > 2000
        assert content.startswith(b"\x89PNG") or json.loads(content)
    (page,) = {*(run / "tb").glob("*.pictures")} - pages
    tags = [value.tag for event in EventFileLoader(str(page)).Load() for value in event.summary.value]
    assert {f"probe/{Path(name).stem}" for name in names} == {*tags, "probe/probe"}


def test_the_model_is_left_as_it_was(run: Path) -> None:
    model = rnnlab.load(run).model.train()
    split = open_corpus(str(quick_runs.corpus(run.parent))).train[:SIZE]
    before = {name: x.clone() for name, x in model.state_dict().items()}
    examine(model, split)
    assert model.training
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert all(not module._forward_hooks for module in model.modules())


@pytest.mark.slow
def test_its_bpc_is_that_of_an_evaluation(run: Path, findings: Findings) -> None:
    split = open_corpus(str(quick_runs.corpus(run.parent))).train[:SIZE]
    score, exact = (
        evaluate(model, split, batch_size=BATCH_SIZE)
        for model in (rnnlab.load(run).model, rnnlab.load(run).model.double())
    )
    got, than = torch.tensor(findings.bpc), torch.tensor(score.bpc)
    rounding.check_no_worse(got, than=than, exact=torch.tensor(exact.bpc, dtype=torch.float64))
    assert findings.bytes_read == score.protocol.bytes_scored


def test_kinds_and_positions_share_out_all_the_bits(findings: Findings) -> None:
    assert set(findings.bpc_by_kind) == {"letters", "digits", "markup", "newline", "other"}
    assert sum(share for _, share in findings.bpc_by_kind.values()) == pytest.approx(1.0)
    assert sum(bpc * share for bpc, share in findings.bpc_by_kind.values()) == pytest.approx(findings.bpc)
    assert findings.counted_from == "the start of the document"


def test_attention_adds_up_to_one_and_the_memory_is_seen(findings: Findings) -> None:
    assert set(findings.attention_distances) == {2}
    seen = findings.attention_distances[2]
    assert seen.full
    assert seen.window == 24
    assert seen.mass.sum() == pytest.approx(1.0, rel=24 * EPS)
    assert seen.uniform == pytest.approx(np.array([1, 1, 2, 4, 8, 8]) / 24)
    assert 0.0 < seen.mean_distance < 23.0


def test_a_row_of_the_map_adds_up_with_what_came_before(run: Path, findings: Findings) -> None:
    passage = findings.attention_maps[2]
    assert passage.text in quick_runs.corpus(run.parent).read_bytes()
    assert len(passage.text) == PASSAGE
    assert passage.weights.sum(axis=1) + passage.before == pytest.approx(np.ones(PASSAGE), rel=PASSAGE * EPS)
    assert np.all(np.triu(passage.weights, 1) == 0.0)


def test_every_core_has_forget_times_and_gates(findings: Findings) -> None:
    assert set(findings.forget_gates) == {0, 1, 2, 3}
    for kept in findings.forget_gates.values():
        assert kept.forget_times.shape == (16,)
        assert np.all(np.diff(kept.forget_times) >= 0.0)
        assert kept.histogram.sum() == pytest.approx(1.0)


def test_gradient_norms_are_by_part(findings: Findings) -> None:
    assert {"embedding", "blocks.0.core", "blocks.2.attention", "blocks.3.feedforward"} <= set(findings.gradient_norms)
    assert all(norm > 0.0 for norm in findings.gradient_norms.values())


def test_distances_fall_in_powers_of_two() -> None:
    assert distance_bin(torch.tensor([0, 1, 2, 3, 4, 7, 8, 1023, 1024])).tolist() == [0, 1, 2, 2, 3, 3, 4, 10, 11]


def test_what_is_hidden_is_the_future_and_what_the_window_leaves_behind() -> None:
    seen = [[key for key in range(5) if not row[key]] for row in hidden_from(3, 2, 3, torch.device("cpu")).tolist()]
    assert seen == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]


def test_an_attention_to_one_distance_is_found_there() -> None:
    look = _AttentionWatch(window=9, heads=2)
    weights = torch.zeros(3, 2, 4, 12)  # 8 remembered
    for query in range(4):
        weights[:, 0, query, 8 + query - 5] = 1.0
        weights[:, 1, query, 8 + query] = 1.0
    look.add(weights, remembered=8)
    found = look.found()
    assert found.mass == pytest.approx(np.array([[0, 0, 0, 1, 0], [1, 0, 0, 0, 0]]))
    assert found.mean_distance == pytest.approx(2.5)


def test_only_full_windows_count_once_there_is_one() -> None:
    look = _AttentionWatch(window=4, heads=1)
    first = torch.eye(2).expand(1, 1, 2, 2)
    look.add(first, remembered=0)
    assert not look.found().full
    look.add(torch.tensor([[[[1.0, 0.0, 0.0, 0.0]]]]), remembered=3)
    assert look.found().full
    assert look.found().mass.tolist() == [[0, 0, 1]]


def test_a_steady_gate_forgets_in_the_time_that_belongs_to_it() -> None:
    keep = _ForgetGateWatch()
    keep.add(torch.tensor([0.5, 0.99]).expand(6, 2, 2))
    found = keep.found()
    assert found.forget_times == pytest.approx([1 / math.log(2), -1 / math.log(0.99)])
    assert found.histogram[[25, 49]] == pytest.approx([0.5, 0.5])


def test_bytes_are_of_one_kind_each() -> None:
    targets = np.frombuffer(b"aZ9[\n \xc3'", dtype=np.uint8).reshape(-1, 1)
    bits = np.arange(1.0, 9.0).reshape(-1, 1)
    assert _by_kind(bits, targets) == {
        "letters": (1.5, 0.25),
        "digits": (3.0, 0.125),
        "markup": (4.0, 0.125),
        "newline": (5.0, 0.125),
        "other": (7.0, 0.375),
    }


def test_age_counts_from_the_document_and_is_unknown_before_the_first() -> None:
    sequence = np.frombuffer(b"ab<page>cd<page>e", dtype=np.uint8)
    assert _age(sequence).tolist() == [-1, -1, *range(8), *range(7)]


def test_without_documents_positions_count_from_the_start_of_the_probe() -> None:
    bits = np.repeat(np.arange(64.0), 2).reshape(64, 2)
    found, counted_from = _by_position(bits, np.full((64, 2), 97, dtype=np.uint8))
    assert counted_from == "the start of the probe"
    assert found == [(32, pytest.approx(47.5), 64)], "fewer bytes than FEWEST_BYTES have no mean"


@pytest.mark.long
def test_a_model_without_attention_is_drawn_without_it(tmp_path: Path) -> None:
    quick_runs.train(tmp_path / "run", steps=2, extra=["attention = None"])
    probe(tmp_path / "run", tmp_path / "out", split="train", size=SIZE)
    drawn = {path.name for path in (tmp_path / "out").iterdir()}
    assert "forgetting.png" in drawn
    assert not any(name.startswith("attention") for name in drawn)


@pytest.mark.long
def test_the_same_findings_are_the_same_pictures(findings: Findings) -> None:
    one, two = ({name: to_png(figure)[0] for name, figure in draw(findings).items()} for _ in range(2))
    assert one == two


@pytest.mark.slow
def test_the_command_takes_another_text_and_prints_what_it_found(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.txt"
    other.write_bytes(b"Plain words without any markup, said again. " * 200)
    command = ["probe", str(run), "--corpus", str(other), "--split", "train", "--bytes", "3000", "--json"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["text"] == "other.txt, train"
    assert told["counted_from"] == "the start of the probe"


def test_too_little_text_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="--bytes 10"):
        probe(run, size=10)
    with pytest.raises(DataError, match=r"the valid split has \d+ bytes, and a probe needs"):
        probe(run, corpus=str(quick_runs.corpus(run.parent)), split="valid", size=SIZE)
