"""Importing the first implementation's tensors, against a forward written straight from its description."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import rnnlab
from rnnlab.cli import main
from rnnlab.errors import DataError, RnnlabError, StorageError
from rnnlab.generation import generate
from rnnlab.importing import import_state_dict, spans
from tests.rnnlab import quick_runs

Tensors = dict[str, Tensor]
DIM, INNER, TOKENS = 12, 36, 40


def original(
    attending: tuple[bool, ...] = (False, True, False), dim: int = DIM, inner: int = INNER, tokens: int = TOKENS
) -> Tensors:
    """A state dict of the first implementation with every tensor it allocates, at a scale where each matters."""
    draw = torch.Generator().manual_seed(5)

    def normal(*shape: int, mean: float = 0.0, std: float = 0.3) -> Tensor:
        return mean + std * torch.randn(shape, generator=draw)

    found = {"encoder.weight": normal(tokens, dim), "decoder.bias": normal(tokens)}
    found["decoder.weight"] = found["encoder.weight"]

    def linear(name: str, outputs: int, inputs: int) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = normal(outputs, inputs), normal(outputs)

    for i, attends in enumerate(attending):
        block = f"blocks.{i}"
        for norm in ("lnstart", "lnmid", "lnmem", "lnout", "lnff", "lnxff"):
            found[f"{block}.{norm}.weight"], found[f"{block}.{norm}.bias"] = normal(dim, mean=1.0), normal(dim)
        for side in ("ih", "hh"):
            found[f"{block}.rnn.weight_{side}_l0"] = normal(4 * dim, dim)
            found[f"{block}.rnn.bias_{side}_l0"] = normal(4 * dim)
        linear(f"{block}.ff.linear1", inner, dim)
        if attends:
            for gate in ("qs", "ks", "vs", "r_gate"):
                found[f"{block}.attn.{gate}"] = normal(1, 1, dim, std=1.0)
            found[f"{block}.attn.qkvs"] = normal(1, 3, dim)
            linear(f"{block}.attn.q", dim, dim)
            linear(f"{block}.attn.vq.l1", 2 * dim, dim)
            found[f"{block}.attn.qln.weight"], found[f"{block}.attn.qln.bias"] = normal(dim, mean=1.0), normal(dim)
    return found


class FirstImplementation:
    """The first implementation's forward in inference, one sequence, one position after the other."""

    def __init__(self, p: Tensors) -> None:
        self.p = {name: x.double() for name, x in p.items()}
        self.layers = 1 + max(int(name.split(".")[1]) for name in p if name.startswith("blocks."))
        dim = p["encoder.weight"].shape[1]
        self.h = [torch.zeros(dim, dtype=torch.float64) for _ in range(self.layers)]
        self.c = [torch.zeros(dim, dtype=torch.float64) for _ in range(self.layers)]
        self.memory: list[list[Tensor]] = [[] for _ in range(self.layers)]

    def norm(self, name: str, x: Tensor) -> Tensor:
        centered = x - x.mean()
        scaled = centered / torch.sqrt((centered**2).mean() + 1e-12)
        return scaled * self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def linear(self, name: str, x: Tensor) -> Tensor:
        return self.p[f"{name}.weight"] @ x + self.p[f"{name}.bias"]

    def lstm(self, i: int, x: Tensor) -> Tensor:
        rnn = f"blocks.{i}.rnn"
        gates = self.p[f"{rnn}.weight_ih_l0"] @ x + self.p[f"{rnn}.bias_ih_l0"]
        gates = gates + self.p[f"{rnn}.weight_hh_l0"] @ self.h[i] + self.p[f"{rnn}.bias_hh_l0"]
        entry, forget, candidate, output = torch.split(gates, len(x))
        self.c[i] = torch.sigmoid(forget) * self.c[i] + torch.sigmoid(entry) * torch.tanh(candidate)
        self.h[i] = torch.sigmoid(output) * torch.tanh(self.c[i])
        return self.h[i]

    def attention(self, i: int, query: Tensor) -> Tensor:
        attn = f"blocks.{i}.attn"
        keys = torch.stack(self.memory[i])
        q = torch.sigmoid(self.p[f"{attn}.qs"].flatten()) * self.norm(f"{attn}.qln", self.linear(f"{attn}.q", query))
        k = torch.sigmoid(self.p[f"{attn}.ks"].flatten()) * keys
        candidate, forget = self.linear(f"{attn}.vq.l1", torch.sigmoid(self.p[f"{attn}.vs"].flatten())).split(
            len(query)
        )
        v = torch.sigmoid(forget) * torch.tanh(candidate) * keys
        return torch.softmax(k @ q / len(query) ** 0.5, dim=0) @ v

    def boom(self, i: int, x: Tensor) -> Tensor:
        u = self.linear(f"blocks.{i}.ff.linear1", x)
        u = u * torch.sigmoid(1.702 * u)
        return sum(torch.split(u, len(x)), torch.zeros_like(x))

    def cut_memory(self, before: int, memory: int) -> None:
        """What it does before it reads a chunk of so many positions."""
        self.memory = [kept[max(0, len(kept) - (memory - before)) :] for kept in self.memory]

    def __call__(self, token: int) -> Tensor:
        """Logits of the next token."""
        h = self.p["encoder.weight"][token]
        for i in range(self.layers):
            block = f"blocks.{i}"
            h = self.lstm(i, self.norm(f"{block}.lnstart", h))
            if f"{block}.attn.qs" in self.p:
                query = self.norm(f"{block}.lnmid", h)
                self.memory[i].append(self.norm(f"{block}.lnmem", h))
                h = self.attention(i, query) + query
            h = self.boom(i, self.norm(f"{block}.lnxff", h)) + self.norm(f"{block}.lnff", h)
        return self.p["encoder.weight"] @ h + self.p["decoder.bias"]


def saved(folder: Path, tensors: Tensors) -> Path:
    path = folder / "first.pt"
    torch.save(tensors, path)
    return path


def imported(folder: Path, tensors: Tensors, vocabulary: list[int] | None = None, *more: str) -> Path:
    """The run that the tensors make, with a text of a few kilobytes to go on with."""
    listed = None if vocabulary is None else folder / "vocabulary.json"
    if listed is not None:
        listed.write_text(json.dumps(vocabulary))
    text = quick_runs.corpus(folder)
    overrides = ["Trainer.source = @corpus.File", f"File.path = {str(text)!r}", "Trainer.batch_size = 2", *more]
    import_state_dict(saved(folder, tensors), folder / "run", listed, overrides)
    return folder / "run"


def logits(run: Path, tokens: list[int], cuts: list[int]) -> Tensor:
    """(T, V), read in chunks of those lengths with state and memory carried."""
    model = rnnlab.load(run).model.double()
    state, found = model.initial_state(1), []
    with torch.no_grad():
        for chunk in torch.split(torch.tensor(tokens), cuts):
            y, state = model(chunk.unsqueeze(1), state)
            found.append(y[:, 0])
    return torch.cat(found)


def random_tokens(count: int, below: int = TOKENS) -> list[int]:
    return torch.randint(below, (count,), generator=torch.Generator().manual_seed(1)).tolist()


@pytest.mark.parametrize("attending", [(False, True, False), (True, True), (False,)], ids=str)
def test_logits_are_those_of_the_original(tmp_path: Path, attending: tuple[bool, ...]) -> None:
    tensors, tokens = original(attending), random_tokens(60)
    reference = FirstImplementation(tensors)
    expected = torch.stack([reference(token) for token in tokens])
    found = logits(imported(tmp_path, tensors), tokens, [25, 1, 34])
    assert expected.std() > 0.3, "or the comparison would say little"
    torch.testing.assert_close(found[:, :TOKENS], expected)


@pytest.mark.parametrize(("chunk", "parts_at"), [(50, 50), (32, 64), (16, 64), (13, 52), (64, 64), (2, 64), (1, None)])
def test_logits_part_in_the_first_chunk_that_ends_beyond_the_memory(
    tmp_path: Path, chunk: int, parts_at: int | None
) -> None:
    tensors, tokens, memory = original((True, True)), random_tokens(130), 64
    reference, expected = FirstImplementation(tensors), []
    for start in range(0, len(tokens), chunk):
        read = tokens[start : start + chunk]
        reference.cut_memory(len(read), memory)
        expected += [reference(token) for token in read]
    found = logits(imported(tmp_path, tensors, None, f"memory = {memory}"), tokens, [len(tokens)])
    torch.testing.assert_close(found[:parts_at, :TOKENS], torch.stack(expected[:parts_at]))
    if parts_at is not None:
        assert (found[parts_at, :TOKENS] - expected[parts_at]).abs().max() > 1e-4


def test_a_vocabulary_maps_rows_to_bytes(tmp_path: Path) -> None:
    tensors = original()
    vocabulary = torch.randperm(256, generator=torch.Generator().manual_seed(2))[: TOKENS - 1].tolist()
    vocabulary = [10, *(byte for byte in vocabulary if byte != 10)]
    vocabulary += [byte for byte in range(256) if byte not in vocabulary][: TOKENS - len(vocabulary)]
    tokens = random_tokens(30)
    reference = FirstImplementation(tensors)
    expected = torch.stack([reference(token) for token in tokens])
    found = logits(imported(tmp_path, tensors, vocabulary), [vocabulary[token] for token in tokens], [30])
    torch.testing.assert_close(found[:, vocabulary], expected)
    rarest = expected[:, tensors["decoder.bias"].argmin()]
    unknown = [byte for byte in range(256) if byte not in vocabulary]
    torch.testing.assert_close(found[:, unknown], rarest.unsqueeze(1).expand(-1, len(unknown)) - 10.0)


@pytest.mark.parametrize("vocabulary", [None, list(range(100, 100 + TOKENS))], ids=["row i", "a list"])
def test_bytes_without_a_row_take_no_probability_and_are_told(
    vocabulary: list[int] | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, tokens = original(), random_tokens(30)
    reference = FirstImplementation(tensors)
    exact = torch.stack([reference(token) for token in tokens]).log_softmax(dim=-1)
    known = vocabulary or list(range(TOKENS))
    run = imported(tmp_path, tensors, vocabulary)
    found = logits(run, [known[token] for token in tokens], [30]).log_softmax(dim=-1)[:, known]
    assert (found - exact).abs().max() < (256 - TOKENS) * math.exp(-10.0)  # the rarest has less than all
    listed = ["--vocabulary", str(tmp_path / "vocabulary.json")] if vocabulary else []
    again = ["--out", str(tmp_path / "again"), "--corpus", str(tmp_path / "text.txt")]
    assert main(["import", str(tmp_path / "first.pt"), *listed, *again, "--set", "Trainer.batch_size = 2"]) == 0
    told = "216 bytes have no row, and start 10 nats below the rarest: "
    assert told + ("0-99, 140-255\n" if vocabulary else "40-255\n") in capsys.readouterr().out


def test_a_model_that_knows_every_byte_is_imported_without_a_word_of_others(tmp_path: Path) -> None:
    path = saved(tmp_path, original(tokens=256))
    text = f"File.path = {str(quick_runs.corpus(tmp_path))!r}"
    made = import_state_dict(path, tmp_path / "run", None, ["Trainer.source = @corpus.File", text])
    assert made["bytes_without_a_row"] == []


def test_spans_of_numbers() -> None:
    assert [spans([]), spans([7]), spans([0, 1, 2, 9, 11, 12])] == ["", "7", "0-2, 9, 11-12"]


@pytest.mark.slow
def test_it_says_what_it_found_and_generates_evaluates_and_trains_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = quick_runs.corpus(tmp_path)
    command = ["import", str(saved(tmp_path, original())), "--out", str(tmp_path / "run"), "--corpus", str(text)]
    assert main([*command, "--set", "Trainer.batch_size = 2", "--set", "Trainer.eval_batch_size = 2", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["layers"], made["dim"], made["attention_in_layers"]) == (3, DIM, [1])
    run = tmp_path / "run"
    assert len(list(generate(rnnlab.load(run).model, b"The", count=5))) == 5
    before = rnnlab.evaluate(run, "valid").bpc
    result = rnnlab.resume(run, ["Trainer.steps = 3", "Trainer.log_every = 1"])
    assert result["steps"] == 3
    assert result["valid_bpc"] < before


def test_half_precision_is_read_as_single(tmp_path: Path) -> None:
    run = imported(tmp_path, {name: x.half() for name, x in original().items()})
    assert {parameter.dtype for parameter in rnnlab.load(run).model.parameters()} == {torch.float32}


def without(tensors: Tensors, *names: str) -> Tensors:
    return {name: x for name, x in tensors.items() if name not in names}


def replaced(tensors: Tensors, **parts: Tensor) -> Tensors:
    return tensors | {name.replace("__", "."): x for name, x in parts.items()}


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        (without(original(), "blocks.1.attn.vq.l1.bias"), "blocks.1.attention.value_gate.linear.bias"),
        (without(original(), "blocks.0.lnstart.weight", "blocks.0.lnstart.bias"), "lacks blocks.0.lnstart"),
        (without(original(), "encoder.weight"), "lacks encoder.weight"),
        (replaced(original(), blocks__0__rnn__weight_hh_l0_raw=torch.ones(2)), "weight_hh_l0_raw"),
        (replaced(original(), blocks__0__gru__weight=torch.ones(2)), "holds blocks.0.gru.weight"),
        (replaced(original(), blocks__2__lnff__weight=torch.ones(7)), "(7,) does not fit blocks.2.skip_norm.weight"),
        (replaced(original(), decoder__weight=torch.ones(TOKENS, DIM)), "tied"),
        (replaced(original(), blocks__2__ff__linear1__weight=torch.ones(24, DIM)), "[24, 36]"),
        ({"encoder.weight": torch.ones(3, 2), "decoder.bias": torch.ones(3)}, "found none"),
        (original(tokens=300), "300 tokens"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_such_model_is_refused_by_name(tmp_path: Path, tensors: Tensors, told: str) -> None:
    with pytest.raises(DataError) as refusal:
        imported(tmp_path, tensors)
    assert told in str(refusal.value)
    assert "first.pt" in str(refusal.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("vocabulary", "told"),
    [
        ([0, 1], "a list of 2"),
        ([*range(TOKENS - 1), 256], "entry 39 is 256"),
        ([*range(TOKENS - 1), "a"], "entry 39 is 'a'"),
        ([*range(TOKENS - 1), True], "entry 39 is True"),
        ([*range(TOKENS - 1), 3], "entries 3 and 39 are both byte 3"),
        ({"a": 1}, "a dict"),
    ],
    ids=str,
)
def test_a_vocabulary_that_does_not_fit_is_refused(tmp_path: Path, vocabulary: list[int], told: str) -> None:
    with pytest.raises(DataError, match=told):
        imported(tmp_path, original(), vocabulary)


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (Path("hacked"), "code ran")


@pytest.mark.parametrize(
    "content", [b"", b"hello world", [1, 2], {"a": "b"}, Hostile()], ids=lambda c: type(c).__name__
)
def test_a_file_of_something_else_is_refused_and_runs_no_code(
    tmp_path: Path, content: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "first.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(DataError, match=r"first\.pt"):
        import_state_dict(path, tmp_path / "run")
    assert not (tmp_path / "hacked").exists()


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file") as refusal:
        import_state_dict(tmp_path / "none.pt", tmp_path / "run")
    assert isinstance(refusal.value, RnnlabError)
