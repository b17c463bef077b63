"""What a model does with a text: how far back it looks, how fast it forgets, what it predicts well and badly.

Its attentions and cores are watched through the hooks of `views.watching`.
"""

import re
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from rnnlab.data.splits import Batches, Split
from rnnlab.matmul import products_in
from rnnlab.model import LanguageModel
from rnnlab.scoring.losses import LN2, cross_entropy
from rnnlab.state import State, detach
from rnnlab.training.gradients import norms_by_part
from rnnlab.views.findings import RETENTION_BINS, AttentionDistances, AttentionMap, Bytes, Findings, Floats, ForgetGates
from rnnlab.views.watching import PlaceInModel, watching

BATCH_SIZE = 4
CHUNK = 256  # [positions]
PASSAGE = 64  # [bytes] of the attention map
GRADIENT_CHUNKS = 8  # that gradient norms are averaged over
SMALLEST_RETENTION = 1e-6  # a gate that is all shut forgets within a position, whatever its logarithm
DOCUMENT = b"<page>"  # what a document of enwik8 begins with
MARKUP = b"[]{}<>|=&;#*/\\_^~"
KINDS: dict[str, bytes] = {
    "letters": bytes(range(65, 91)) + bytes(range(97, 123)),
    "digits": b"0123456789",
    "markup": MARKUP,
    "newline": b"\n",
}
"""Kinds of bytes; what is in none of them, spaces and all other punctuation among them, is "other"."""

FEWEST_BYTES = 50  # that a mean is drawn of
SMALLEST = BATCH_SIZE * 4 * PASSAGE  # [bytes] of a text that can be probed


def examine(model: LanguageModel, split: Split, progress: bool = False) -> Findings:
    """Read the split and watch. Afterwards the model is as it was, without gradients.

    Args:
        split: at least SMALLEST bytes of it.
        progress: show a bar when standard error is a terminal.
    """
    assert len(split) >= SMALLEST
    was_training = model.training
    model.eval()
    try:
        batches = Batches(split, BATCH_SIZE).to(next(model.parameters()).device)
        watch = _Watch(_readable_passage(batches))
        bits, targets = _read(model, batches, watch, progress)
        positions, counted_from = _by_position(bits, targets)
        return Findings(
            text=f"{split.file.path.name}, {split.name}",
            bytes_read=bits.size,
            layers=len(model.blocks),
            bpc=float(bits.mean()),
            bpc_by_kind=_by_kind(bits, targets),
            bpc_by_position=positions,
            counted_from=counted_from,
            attention_distances={layer: seen.found() for layer, seen in watch.distances.items()},
            attention_maps=watch.attention_maps(),
            forget_gates={layer: kept.found() for layer, kept in watch.gates.items()},
            gradient_norms=_gradient_norms(model, batches),
        )
    finally:
        model.zero_grad(set_to_none=True)
        model.train(was_training)


def _read(model: LanguageModel, batches: Batches, watch: "_Watch", progress: bool) -> tuple[Floats, Bytes]:
    """Bits of every byte (n, sequences), and the bytes that they were spent on."""
    bits, read = [], []
    state: State = model.initial_state(BATCH_SIZE)
    bar = tqdm(total=batches.length, unit="B", desc="probe", disable=not progress or None)
    with torch.no_grad(), products_in("fp32"), watch.on(model), bar:
        for position in range(0, batches.length - 1, CHUNK):
            length = min(CHUNK, batches.length - 1 - position)
            inputs, targets = batches.chunk(position, length)
            watch.position = position
            logits, state = model(inputs, state)
            nats = cross_entropy(logits, targets, reduction="none").view(targets.shape)
            bits.append(nats.cpu().double().numpy() / LN2)
            read.append(targets.cpu().numpy().astype(np.uint8))
            bar.update(length)
    return np.concatenate(bits), np.concatenate(read)


class _Watch:
    """What the parts of a model gave while it read."""

    def __init__(self, passage: tuple[int, bytes]) -> None:
        """Args: passage: where in sequence 0 the passage of the attention map begins, and its text."""
        self.start, self.text = passage
        self.position = 0  # of the chunk that is being read
        self.distances: dict[int, _AttentionWatch] = {}
        self.gates: dict[int, _ForgetGateWatch] = {}
        self._maps: dict[int, Tensor] = {}  # weights from the passage, of the chunk that holds it (n, keys)

    def on(self, model: LanguageModel) -> AbstractContextManager[None]:
        return watching(model, self._see_attention, self._see_core)

    def _see_attention(self, place: PlaceInModel, attention: Any, weights: Tensor) -> None:
        """weights (B, H, T, M' + T)."""
        weights = weights.cpu()
        heads, queries, keys = weights.shape[1:]
        seen = self.distances.setdefault(place.layer, _AttentionWatch(attention.memory, heads))
        seen.add(weights, keys - queries)
        first = self.start - self.position
        if first >= 0 and first + len(self.text) <= queries:
            self._maps[place.layer] = weights[0, :, first : first + len(self.text)].mean(dim=0)
            self._first_key = keys - queries + first

    def _see_core(self, place: PlaceInModel, core: Any, retention: Tensor) -> None:
        self.gates.setdefault(place.layer, _ForgetGateWatch()).add(retention)

    def attention_maps(self) -> dict[int, AttentionMap]:
        found = {}
        for layer, weights in self._maps.items():
            own = weights[:, self._first_key : self._first_key + len(self.text)]
            found[layer] = AttentionMap(self.text, own.numpy(), weights[:, : self._first_key].sum(dim=1).numpy())
        return found


def _distances(queries: int, remembered: int) -> Tensor:
    """(T, M' + T): how far before each query each key stands [positions]."""
    return torch.arange(remembered, remembered + queries).unsqueeze(1) - torch.arange(remembered + queries)


def distance_bin(distance: Tensor) -> Tensor:
    """0, 1, 2-3, 4-7, ... -> 0, 1, 2, 3, ..."""
    return torch.where(distance > 0, torch.log2(distance.clamp(min=1).double()).floor().long() + 1, 0)


class _AttentionWatch:
    """Sums of attention by distance, over the queries whose window was full; over all, until there is one."""

    def __init__(self, window: int, heads: int) -> None:
        self._window = window
        bins = int(distance_bin(torch.tensor([window - 1]))[0]) + 1
        self._mass = {full: torch.zeros(heads, bins, dtype=torch.float64) for full in (False, True)}
        self._uniform = {full: torch.zeros(bins, dtype=torch.float64) for full in (False, True)}
        self._distance = {False: 0.0, True: 0.0}

    def add(self, weights: Tensor, remembered: int) -> None:
        """weights (B, H, T, M' + T)."""
        distance = _distances(weights.shape[2], remembered)
        seen = (distance >= 0) & (distance < self._window)
        bins = distance_bin(distance.clamp(0, self._window - 1))
        width = seen.sum(dim=1)  # positions that each query sees
        by_head = weights.sum(dim=0).double()  # (H, T, M' + T)
        uniform = len(weights) * seen / width.unsqueeze(1).double()
        for full in (False, True):
            rows = width == self._window if full else torch.ones_like(width, dtype=torch.bool)
            picked = bins[rows].flatten()
            self._mass[full].index_add_(1, picked, by_head[:, rows].flatten(1))
            self._uniform[full].index_add_(0, picked, uniform[rows].flatten())
            self._distance[full] += float((by_head[:, rows] * distance[rows]).sum())

    def found(self) -> AttentionDistances:
        full = bool(self._uniform[True].sum() > 0)
        mass, queries = self._mass[full], float(self._uniform[full].sum())
        return AttentionDistances(
            mass=(mass / queries).numpy(),
            uniform=(self._uniform[full] / queries).numpy(),
            mean_distance=self._distance[full] / queries / len(mass),
            window=self._window,
            full=full,
        )


class _ForgetGateWatch:
    """Sums over the gates of a core."""

    def __init__(self) -> None:
        self._logarithms: Tensor | float = 0.0  # per channel
        self._histogram = torch.zeros(RETENTION_BINS, dtype=torch.float64)
        self._positions = 0

    def add(self, retention: Tensor) -> None:
        """retention (T, B, channels)."""
        self._logarithms = self._logarithms + retention.double().clamp(min=SMALLEST_RETENTION).log().sum(dim=(0, 1))
        self._histogram += torch.histc(retention.cpu(), RETENTION_BINS, 0.0, 1.0)
        self._positions += retention.shape[0] * retention.shape[1]

    def found(self) -> ForgetGates:
        assert isinstance(self._logarithms, Tensor)
        rate = (-self._logarithms / self._positions).clamp(min=1e-9)
        return ForgetGates(
            forget_times=(1.0 / rate).sort().values.cpu().numpy(),
            histogram=(self._histogram / self._histogram.sum()).numpy(),
        )


def _by_kind(bits: Floats, targets: Bytes) -> dict[str, tuple[float, float]]:
    """{kind: (BPC, share of the bytes)} of the kinds that occur."""
    kind_of = np.full(256, len(KINDS))
    for number, members in enumerate(KINDS.values()):
        kind_of[list(members)] = number
    kinds = kind_of[targets]
    return {
        name: (float(bits[kinds == number].mean()), float((kinds == number).mean()))
        for number, name in enumerate([*KINDS, "other"])
        if (kinds == number).any()
    }


def _by_position(bits: Floats, targets: Bytes) -> tuple[list[tuple[int, float, int]], str]:
    """[(from byte, BPC, bytes)] in ranges that double, and what they are counted from."""
    age = np.concatenate([_age(sequence) for sequence in targets.T])
    counted_from = "the start of the document"
    if (age < 0).all():
        age, counted_from = np.tile(np.arange(len(bits)), bits.shape[1]), "the start of the probe"
    flat = bits.T.reshape(-1)
    found = []
    for start, stop in [(0, 16), *((2**k, 2 ** (k + 1)) for k in range(4, 40))]:
        inside = (age >= start) & (age < stop)
        if inside.sum() >= FEWEST_BYTES:
            found.append((start, float(flat[inside].mean()), int(inside.sum())))
    return found, counted_from


def _age(sequence: Bytes) -> npt.NDArray[np.int64]:
    """(n,): how far each byte is from the first of its document [bytes]; -1 where its beginning was not read."""
    starts = np.array([match.start() for match in re.finditer(re.escape(DOCUMENT), sequence.tobytes())], dtype=np.int64)
    place = np.arange(len(sequence))
    latest = np.searchsorted(starts, place, side="right") - 1
    return np.where(latest >= 0, place - starts[latest.clip(0)] if len(starts) else 0, -1)


def _readable_passage(batches: Batches) -> tuple[int, bytes]:
    """What reads most like prose in the second half of sequence 0, within a chunk: (its place, its bytes)."""
    inputs, _ = batches.chunk(0, batches.length - 1)
    sequence = inputs[:, 0].cpu().numpy().astype(np.uint8)
    prose = np.isin(sequence, np.frombuffer(KINDS["letters"] + b" ,.", dtype=np.uint8)) - 3.0 * (sequence == 10)
    sums = np.concatenate([[0.0], np.cumsum(prose)])
    places = np.arange(len(sequence) // 2, len(sequence) - PASSAGE + 1)
    places = places[(places % CHUNK) + PASSAGE <= CHUNK]
    best = int(places[np.argmax(sums[places + PASSAGE] - sums[places])])
    return best, sequence[best : best + PASSAGE].tobytes()


def _gradient_norms(model: LanguageModel, batches: Batches) -> dict[str, float]:
    """Norm of the gradient of each part, without dropout or clipping: the mean over the first few chunks."""
    state: State = model.initial_state(BATCH_SIZE)
    sums: dict[str, float] = {}
    places = range(0, batches.length - 1, CHUNK)[:GRADIENT_CHUNKS]
    for position in places:
        inputs, targets = batches.chunk(position, min(CHUNK, batches.length - 1 - position))
        model.zero_grad(set_to_none=True)
        logits, state = model(inputs, state)
        cross_entropy(logits, targets).backward()  # type: ignore[no-untyped-call]
        state = detach(state)
        for part, norm in norms_by_part(model.named_parameters()).items():
            sums[part] = sums.get(part, 0.0) + norm
    return {part: total / len(places) for part, total in sums.items()}
