"""Importing the first implementation's tensors, against a forward written straight from its description."""

import json
import math
import time
import zipfile
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
from tests.sampled import sampled

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


def test_an_import_that_was_cut_short_does_not_go_on_from_other_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    text, run = quick_runs.corpus(tmp_path), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("rnnlab.importing.Loop.save", killed)
        assert main(["import", str(saved(tmp_path, original())), "--out", str(run), "--corpus", str(text)]) == 130
    assert not (run / "checkpoints").exists()
    assert main(["resume", str(run)]) == 5
    said = capsys.readouterr().err
    assert f"{run}: has no checkpoint of the weights that were to be imported" in said
    assert "delete the folder and import " in said


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


ONE = torch.ones(1)
LSTM = "blocks.0.rnn.weight_hh_l0"
REPEATED = "has its numbers several times"


def nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


def wide(dim: int, inner: int) -> Tensors:
    """Few numbers that ask for a model of that width, whose LSTMs alone would have 8 D^2 each."""
    outer = {"encoder.weight": torch.ones(1, dim), "decoder.weight": torch.ones(1, dim), "decoder.bias": ONE}
    return outer | {f"blocks.{layer}.ff.linear1.weight": torch.ones(inner, 1) for layer in range(3)}


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"encoder.weight": ONE.expand(10**9, DIM), "decoder.weight": ONE}, f"encoder.weight {REPEATED}"),
        ({"decoder.weight": ONE.expand(10**9, DIM)}, f"decoder.weight {REPEATED}"),
        ({"blocks.2.ff.linear1.weight": ONE.expand(10**9, DIM)}, f"blocks.2.ff.linear1.weight {REPEATED}"),
        ({"blocks.2.lnout.weight": ONE.expand(10**9)}, f"blocks.2.lnout.weight {REPEATED}"),
        ({"blocks.7.x": ONE.expand(10**9)}, f"blocks.7.x {REPEATED}"),
        ({LSTM: torch.ones(5000).as_strided((4 * DIM, DIM), (1, 1)), "more": ONE}, "holds more"),
        ({name: ONE.as_strided((1,), (1,)) for name in ("a", "b")}, f"b {REPEATED}"),
        ({7: ONE}, "7 is no name"),
        ({("a", "b"): ONE}, "('a', 'b') is no name"),
        ({"blocks.0.\nx": ONE}, r"'blocks.0.\nx' is no name"),
        ({"x" * 10**6: ONE}, "xxx' is no name"),
        ({LSTM: None}, f"{LSTM} is a NoneType"),
        ({LSTM: 3}, f"{LSTM} is a int"),
        ({LSTM: nested(200)}, f"{LSTM} is a list"),
        ({LSTM: original()}, f"{LSTM} is a dict"),
        ({LSTM: torch.eye(3).to_sparse()}, f"{LSTM} is a tensor without numbers"),
        ({LSTM: torch.ones(3, device="meta")}, f"{LSTM} is a tensor without numbers"),
        ({LSTM: torch.ones(48, 12, dtype=torch.int64)}, f"{LSTM} holds torch.int64"),
        ({LSTM: torch.ones(48, 12, dtype=torch.complex64)}, f"{LSTM} holds torch.complex64"),
        ({LSTM: torch.ones([1] * 60)}, f"{LSTM} has 60 dimensions"),
        ({LSTM: torch.full((48, 12), math.nan)}, f"{LSTM} holds numbers that are not finite"),
        ({LSTM: torch.full((48, 12), 1e300, dtype=torch.float64)}, f"{LSTM} holds numbers that are not finite"),
        ({"encoder.weight": torch.full((TOKENS, DIM), math.nan)}, "encoder.weight holds numbers that are not"),
        ({"decoder.bias": torch.full((TOKENS,), -math.inf)}, "decoder.bias holds numbers that are not finite"),
        ({"blocks.1.lnmem.bias": torch.full((DIM,), math.nan)}, "blocks.1.lnmem.bias holds numbers that are not"),
        ({"encoder.weight": torch.ones(0, DIM), "decoder.weight": torch.ones(0, DIM)}, "encoder.weight"),
        ({"encoder.weight": torch.ones(TOKENS, 0), "decoder.weight": torch.ones(TOKENS, 0)}, "encoder.weight"),
        (wide(10**6, inner=36), "36 rows, no multiple of the width 1000000"),
        (wide(10**6, inner=10**6), "blocks.0.ff.linear1.bias: (36,) does not fit"),
        ({"encoder.weight": ONE, "decoder.weight": ONE}, "encoder.weight has the shape (1,)"),
        ({f"blocks.{i}.ff.linear1.weight": torch.ones(13, DIM) for i in range(3)}, "13 rows, no multiple of the width"),
        (
            {f"blocks.{i}.ff.linear1.weight": torch.ones(10**5 * DIM, DIM) for i in range(3)},
            "blocks.0.ff.linear1.bias: (36,) does not fit",
        ),
        ({"blocks.1000000000.rnn.x": ONE}, "there is no blocks.3"),
        ({f"blocks.{'9' * 150}.rnn.x": ONE}, "there is no blocks.3"),
    ],
    ids=lambda value: value[:60] if isinstance(value, str) else "",
)
def test_a_hostile_entry_is_refused_in_a_line_that_names_it(
    tmp_path: Path, entries: dict[Any, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, original() | entries)
    assert told in refusal_of(path, tmp_path, capsys)


def refusal_of(path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command gives back, quickly and without a trace."""
    text = str(quick_runs.corpus(folder))
    before = sorted(folder.rglob("*"))
    start = time.monotonic()
    assert main(["import", str(path), "--out", str(folder / "run"), "--corpus", text]) == DataError.exit_code
    assert time.monotonic() - start < 20.0, "a tensor that was taken at its word takes minutes"
    assert sorted(folder.rglob("*")) == before
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert str(path) in told
    assert len(told) < 600
    return told


def test_what_the_original_never_reads_may_be_anything_finite_or_not(tmp_path: Path) -> None:
    never = {"blocks.0.lnmem.bias", "blocks.1.attn.r_gate", "blocks.1.attn.qkvs", "blocks.2.lnout.weight"}
    tensors = {name: torch.full_like(x, math.nan) if name in never else x for name, x in original().items()}
    assert imported(tmp_path, tensors).exists()


@pytest.mark.parametrize("decoder_first", sampled([False, True], ("True",)))
@pytest.mark.parametrize("legacy", sampled([False, True], ("True",)))
@pytest.mark.slow
def test_what_torch_saves_in_whatever_order_and_format_is_taken(
    tmp_path: Path, decoder_first: bool, legacy: bool
) -> None:
    tensors = original()
    if decoder_first:
        tensors = {"decoder.weight": tensors["decoder.weight"], **without(tensors, "decoder.weight")}
    flat = torch.cat([tensors[f"blocks.0.rnn.bias_{side}_l0"] for side in ("ih", "hh")])
    tensors |= {
        "blocks.0.rnn.bias_ih_l0": flat[: 4 * DIM],
        "blocks.0.rnn.bias_hh_l0": flat[4 * DIM :],
    }  # as cuDNN has it
    run = imported(tmp_path, tensors)
    torch.save(tensors, tmp_path / "first.pt", _use_new_zipfile_serialization=not legacy)
    again = ["--out", str(tmp_path / "again"), "--corpus", str(tmp_path / "text.txt")]
    assert main(["import", str(tmp_path / "first.pt"), *again, "--set", "Trainer.batch_size = 2"]) == 0
    for name, x in rnnlab.load(run).model.state_dict().items():
        assert torch.equal(x, rnnlab.load(tmp_path / "again").model.state_dict()[name])


def rezipped(path: Path, change: dict[bytes, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """The file once more, with other bytes in its pickle."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            for old, new in change.items() if name.endswith("data.pkl") else ():
                assert old in content
                content = content.replace(old, new)
            archive.writestr(name, content)


def test_a_file_that_unpacks_to_more_than_it_holds_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, original() | {"blocks.9.x": torch.zeros(3_000_000)})
    rezipped(path, {}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1_000_000
    assert "not a file of tensors" in refusal_of(path, tmp_path, capsys)


@pytest.mark.parametrize("size", [-5, -(2**63), 2**40, 2**62])
def test_a_size_that_cannot_be_is_refused(tmp_path: Path, size: int, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, {"blocks.0.x": torch.zeros(23)})
    rezipped(path, {b"K\x17\x85": b"\x8a\x08" + size.to_bytes(8, "little", signed=True) + b"\x85"})  # (23,)
    assert "not a file of tensors" in refusal_of(path, tmp_path, capsys)
    path = saved(tmp_path, {"blocks.0.x": torch.zeros(23)})
    rezipped(path, {b"K\x17": b"\x8a\x08" + size.to_bytes(8, "little", signed=True)})  # and of its storage
    assert "not a file of tensors" in refusal_of(path, tmp_path, capsys)


def test_a_pickle_that_nests_100_000_deep_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(tmp_path, {"a": ONE})
    with zipfile.ZipFile(path, "a") as archive:
        name = archive.namelist()[0].partition("/")[0]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/data.pkl", b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".")
        archive.writestr(f"{name}/version", b"3\n")
    assert "holds a list" in refusal_of(path, tmp_path, capsys)


@pytest.mark.parametrize("where", ["state_dict", "vocabulary"])
def test_a_folder_is_no_file(tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    files = {"state_dict": saved(tmp_path, original()), "vocabulary": tmp_path / "v"} | {where: tmp_path / "folder"}
    command = ["import", str(files["state_dict"]), "--vocabulary", str(files["vocabulary"])]
    assert main([*command, "--out", str(tmp_path / "run")]) in (DataError.exit_code, StorageError.exit_code)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert str(tmp_path / "folder") in told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\xfd\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
        (b"[1, 2", "not JSON"),
        (b"[" + b"9" * 5000 + b"]", "not JSON"),
        (b" " * 2_000_000 + b"[]", "not JSON: more than"),
        (b"3", "a int"),
        (json.dumps([0.0, *range(1, TOKENS)]).encode(), "entry 0 is 0.0"),
        (json.dumps([math.nan, *range(1, TOKENS)]).encode(), "entry 0 is nan"),
        (json.dumps([-1, *range(1, TOKENS)]).encode(), "entry 0 is -1"),
        (json.dumps([None, *range(1, TOKENS)]).encode(), "entry 0 is None"),
        (json.dumps(["x" * 10**5, *range(1, TOKENS)]).encode(), "entry 0 is 'xxx"),
        (json.dumps([nested(500), *range(1, TOKENS)]).encode(), "entry 0 is [[["),
        (json.dumps([10**4000, *range(1, TOKENS)]).encode(), "entry 0 is 1000"),
        (json.dumps([7] * TOKENS).encode(), "entries 0 and 1 are both byte 7"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_hostile_vocabulary_is_refused_in_a_line(
    tmp_path: Path, content: bytes, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path, original())
    (tmp_path / "vocabulary").write_bytes(content)
    command = ["import", str(path), "--out", str(tmp_path / "run"), "--vocabulary", str(tmp_path / "vocabulary")]
    assert main(command) == DataError.exit_code
    said = capsys.readouterr().err
    assert told in said
    assert str(tmp_path / "vocabulary") in said
    assert said.count("\n") == 1
    assert len(said) < 600
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such file") as refusal:
        import_state_dict(tmp_path / "none.pt", tmp_path / "run")
    assert isinstance(refusal.value, RnnlabError)
