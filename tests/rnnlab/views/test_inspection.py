"""What `rnnlab.inspect` gives is what the model does, and what an evaluation scores."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rnnlab
from rnnlab.data.corpora import open_split
from rnnlab.data.task_source import TaskSource
from rnnlab.errors import ConfigError, Diverged
from rnnlab.evaluation import evaluate
from rnnlab.scoring.losses import LN2
from rnnlab.testing import rounding
from rnnlab.views import reading
from rnnlab.views.inspection import Inspection, inspect_loaded
from tests.rnnlab import quick_runs, small_tasks

TEXT = quick_runs.TEXT * 5  # longer than a chunk, and than the memory
WINDOW = 24  # of the run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inspection") / "run"
    quick_runs.train(path, steps=30, extra=["Trainer.eval_batch_size = 1"])
    return path


@pytest.fixture(scope="module")
def seen(run: Path) -> Inspection:
    return rnnlab.inspect(run, TEXT)


@pytest.fixture(scope="module")
def task_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inspection") / "run"
    small_tasks.train(path)
    return path


def bits(model: Any, text: bytes) -> torch.Tensor:
    """Surprisal of all bytes but the first, by one plain forward."""
    tokens = torch.tensor(list(text))
    with torch.no_grad():
        logits, _ = model(tokens.unsqueeze(1), model.initial_state(1))
    chosen = torch.log_softmax(logits[:-1, 0].double(), -1)[torch.arange(len(text) - 1), tokens[1:]]
    found: torch.Tensor = -chosen / LN2
    return found


def test_the_text_is_longer_than_what_is_read_at_once() -> None:
    assert len(TEXT) > 2 * reading.CHUNK > WINDOW


def test_surprisal_is_that_of_a_plain_forward(run: Path, seen: Inspection) -> None:
    plain, exact = (bits(model, TEXT) for model in (rnnlab.load(run).model, rnnlab.load(run).model.double()))
    assert np.isnan(seen["surprisal"][0])
    rounding.check_no_worse(torch.from_numpy(seen["surprisal"][1:]), than=plain, exact=exact)


def test_its_mean_is_the_bpc_that_eval_says_of_the_same_bytes(run: Path, seen: Inspection, tmp_path: Path) -> None:
    text = tmp_path / "mine.txt"
    text.write_bytes(TEXT)
    score = rnnlab.evaluate(run, "all", corpus=str(text))
    exact = evaluate(rnnlab.load(run).model.double(), open_split(str(text), "all"), batch_size=1)
    assert score.protocol.bytes_scored == len(TEXT) - 1
    assert seen.bpc == pytest.approx(exact.bpc, abs=2 * max(abs(score.bpc - exact.bpc), 1e-6))


def test_hidden_states_are_what_the_layers_give(run: Path, seen: Inspection) -> None:
    model = rnnlab.load(run).model.double()
    with torch.no_grad():
        h = model.embedding(torch.tensor(list(TEXT)).unsqueeze(1))
        for layer, (block, state) in enumerate(zip(model.blocks, model.initial_state(1), strict=True)):
            h, _ = block(h, state)
            assert seen[f"hidden.{layer}"].shape == (len(TEXT), 16)
            assert seen[f"hidden.{layer}"] == pytest.approx(h[:, 0].numpy(), abs=1e-4)


def test_attention_weights_make_what_the_attention_gives(run: Path, seen: Inspection) -> None:
    """Read once more under those weights, a text gives the output of the attention."""
    model = rnnlab.load(run).model
    kept: list[Any] = []
    attention = model.blocks[2].attention
    attention.register_forward_hook(lambda _, arguments, output: kept.append((arguments, output[0])))
    bits(model, TEXT)
    ((_, source, state), y) = kept[0][0], kept[0][1]
    weights = torch.from_numpy(seen["attention.2"])
    assert weights.shape == (1, len(TEXT), len(TEXT))
    again = attention.read(weights.unsqueeze(0), source, state.positions)
    assert again.detach().numpy() == pytest.approx(y.detach().numpy(), abs=1e-5)
    assert weights.sum(2).numpy() == pytest.approx(np.ones((1, len(TEXT))), abs=1e-5)
    assert not np.triu(weights[0], 1).any()
    assert not np.tril(weights[0], -WINDOW).any()
    assert np.diag(weights[0], -(WINDOW - 1)).all()


def test_forget_gates_are_what_the_cores_keep(run: Path, seen: Inspection) -> None:
    model = rnnlab.load(run).model
    kept: dict[Any, Any] = {}
    for block in model.blocks:
        block.core.register_forward_pre_hook(lambda core, arguments: kept.update({core: arguments}))
    bits(model, TEXT)
    for layer, (core, arguments) in enumerate(dict(kept).items()):
        want = core.retention(*arguments)[:, 0].detach().numpy()
        assert want.shape == (len(TEXT), 16)
        assert seen[f"forget_gate.{layer}"] == pytest.approx(want, abs=1e-5)


def test_what_comes_later_changes_nothing_before(run: Path, seen: Inspection) -> None:
    short = rnnlab.inspect(run, TEXT[:200])
    for name, array in short.arrays.items():
        part = seen[name][:, :200, :200] if array.ndim == 3 else seen[name][:200]
        assert part == pytest.approx(array, abs=1e-5, nan_ok=True), name


def test_arrays_have_the_names_and_kinds_that_are_promised(seen: Inspection) -> None:
    gates = [f"forget_gate.{layer}" for layer in range(4)]
    assert list(seen.arrays) == ["text", "surprisal", *(f"hidden.{n}" for n in range(4)), "attention.2", *gates]
    assert seen["text"].tobytes() == TEXT
    kinds = {name.partition(".")[0]: str(array.dtype) for name, array in seen.arrays.items()}
    assert kinds == {
        "text": "uint8", "surprisal": "float64", "hidden": "float32", "attention": "float32", "forget_gate": "float32",
    }  # fmt: skip


def test_several_attentions_have_their_layers_and_heads(tmp_path: Path) -> None:
    quick_runs.train(tmp_path / "run", steps=2, fragments=["attention/multi_head", "place/every", "block/pre_norm"])
    found = rnnlab.inspect(tmp_path / "run", TEXT[:40])
    heads = rnnlab.load(tmp_path / "run").model.blocks[0].attention.heads
    assert heads > 1
    assert [found[f"attention.{n}"].shape for n in range(4)] == [(heads, 40, 40)] * 4


def test_another_memory_is_used_and_said(run: Path, seen: Inspection) -> None:
    alone = rnnlab.inspect(run, TEXT[:50], memory=1)
    assert alone["attention.2"][0] == pytest.approx(np.eye(50))
    assert (alone.memory, seen.memory) == (1, WINDOW)
    with pytest.raises(ConfigError, match="memory 0"):
        rnnlab.inspect(run, TEXT, memory=0)


def test_a_str_is_read_as_utf8(run: Path) -> None:
    assert rnnlab.inspect(run, "naïve")["text"].tobytes() == "naïve".encode()


def test_without_attention_weights_all_else_is_there(run: Path, seen: Inspection) -> None:
    found = rnnlab.inspect(run, TEXT, attention=False)
    assert set(seen.arrays) - set(found.arrays) == {"attention.2"}
    assert found["surprisal"][1:] == pytest.approx(seen["surprisal"][1:])


def test_a_text_that_does_not_fit_is_refused_with_the_longest_that_does(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST", 500_000)
    with pytest.raises(ConfigError, match=r"^700 positions: .*attention=False") as refused:
        rnnlab.inspect(run, b"a" * 700)
    (fits,) = map(int, re.findall(r"--bytes (\d+)", str(refused.value)))
    assert 100 < fits < 700
    found = rnnlab.inspect(run, b"a" * fits)
    kept = sum(x.nbytes for name, x in found.arrays.items() if name.partition(".")[1]) + fits * 256 * 4  # and logits
    assert kept <= 500_000
    with pytest.raises(ConfigError, match=f"^{fits + 1} positions"):
        rnnlab.inspect(run, b"a" * (fits + 1))
    rnnlab.inspect(run, b"a" * (fits + 1), attention=False)


def test_what_a_run_on_text_cannot_read_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="was trained on a text: give it one"):
        rnnlab.inspect(run)
    with pytest.raises(ConfigError, match="no difficulties"):
        rnnlab.inspect(run, TEXT, at=3)
    with pytest.raises(ConfigError, match="a text of 1 bytes"):
        rnnlab.inspect(run, b"a")
    with pytest.raises(ConfigError, match="UTF-8"):
        rnnlab.inspect(run, "\ud800\ud800")


def test_arrays_are_saved_and_read_again(seen: Inspection, tmp_path: Path) -> None:
    seen.save(tmp_path / "seen.npz")
    with np.load(tmp_path / "seen.npz", allow_pickle=False) as read:
        assert sorted(read) == sorted(seen.arrays)
        assert all(np.array_equal(read[name], seen[name], equal_nan=name == "surprisal") for name in read)


def test_the_best_checkpoint_is_another(run: Path) -> None:
    best = rnnlab.load(run, best=True).snapshot.step
    assert rnnlab.inspect(run, TEXT[:20], best=True).step == best
    assert rnnlab.inspect(run, TEXT[:20]).step == 30


def test_the_model_is_left_without_hooks(run: Path) -> None:
    loaded = rnnlab.load(run)
    inspect_loaded(loaded, TEXT[:20])
    assert all(not module._forward_hooks for module in loaded.model.modules())


def test_numbers_that_are_not_finite_are_no_answer(run: Path) -> None:
    loaded = rnnlab.load(run)
    with torch.no_grad():
        loaded.model.output_bias.fill_(float("nan"))
    with pytest.raises(Diverged, match="not finite"):
        inspect_loaded(loaded, TEXT[:20])


def test_examples_of_a_task_cost_what_an_evaluation_says(task_run: Path) -> None:
    """All test examples of a difficulty, one by one, have its mean loss and its accuracy."""
    (score,) = rnnlab.evaluate(task_run, at=[10]).by
    loaded = rnnlab.load(task_run)
    found = [inspect_loaded(loaded, at=10, example=number) for number in range(score.examples)]
    asked = np.concatenate([one["surprisal"][one["asked"]] for one in found])
    assert asked.mean() * LN2 == pytest.approx(score.nats, abs=1e-5)
    right = [(one["answers"] == one["targets"])[one["asked"]] for one in found]
    assert np.mean(right) == pytest.approx(score.accuracy_asked)
    assert all(np.isnan(one["surprisal"][~one["asked"]]).all() for one in found)


def test_an_example_is_the_one_that_was_asked_for(task_run: Path) -> None:
    source = rnnlab.load(task_run).experiment.source
    assert isinstance(source, TaskSource)
    made = source.make("test", 10, np.array([3]))
    found = rnnlab.inspect(task_run, at=10, example=3)
    assert found["tokens"].tolist() == made.inputs[0].tolist()
    assert found.bpc is None
    assert found["attention.2"].shape == (1, 10, 10)
    assert len(rnnlab.inspect(task_run)["tokens"]) == 12, "the greatest difficulty that is trained on"


def test_a_text_is_no_example_of_a_task(task_run: Path) -> None:
    with pytest.raises(ConfigError, match=r"was trained on the task .*`at`, `example`"):
        rnnlab.inspect(task_run, b"0101")
    with pytest.raises(ConfigError, match="difficulty 0"):
        rnnlab.inspect(task_run, at=0)
