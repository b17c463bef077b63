"""Files, splits, sequences and chunk lengths."""

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from rnnlab.data import corpora, splits
from rnnlab.data.splits import Batches, chunk_length
from rnnlab.errors import ConfigError, DataError
from tests.rnnlab.small_texts import random_bytes, written

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_split_is_a_stretch_of_the_file(tmp_path: Path) -> None:
    content = random_bytes(1000)
    split = corpora.File(str(written(tmp_path / "text", content))).valid
    assert split.bytes.tobytes() == content[900:950]
    assert split[10:20].bytes.tobytes() == split.bytes[10:20].tobytes()
    assert len(split[:7]) == 7
    assert len(split[40:1000]) == len(split) - 40


def test_the_entropy_of_single_bytes_is_that_of_their_frequencies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "COUNTED_AT_ONCE", 7)  # read in pieces, as a text of many gigabytes is
    content = np.random.default_rng(1).choice(np.arange(5, dtype=np.uint8), 1000, p=[0.4, 0.3, 0.2, 0.06, 0.04])
    split = corpora.File(str(written(tmp_path / "text", content.tobytes()))).train
    assert split.counts().tolist() == np.bincount(content[:900], minlength=256).tolist()
    assert split.unigram_bpc() == pytest.approx(stats.entropy(split.counts(), base=2))
    assert split[:1].unigram_bpc() == 0.0


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    corpus = corpora.File(str(written(tmp_path / "text", bytes(100))))
    with pytest.raises(ConfigError, match="no split 'validation'; the splits are train, valid, test, all"):
        corpus.split("validation")


def test_a_corpus_that_was_only_touched_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / "text", random_bytes(1000))
    corpus = corpora.File(str(path))
    assert corpus.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    os.utime(path, (1, 1))
    corpus.verify()
    path.rename(tmp_path / "old")
    written(path, (tmp_path / "old").read_bytes())
    corpus.verify()


def test_a_change_that_keeps_size_and_time_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "text", bytes(1000))
    corpus = corpora.File(str(path))
    before = path.stat()
    assert corpus.sha256
    with open(path, "r+b") as file:
        file.write(b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="changed while it was in use"):
        corpus.verify()


def test_a_file_changed_before_it_was_hashed_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "text", bytes(1000))
    corpus = corpora.File(str(path))
    time.sleep(0.02)
    written(path, bytes(999) + b"x")
    with pytest.raises(DataError, match="changed while it was in use"):
        _ = corpus.sha256
    with pytest.raises(DataError, match="changed while it was in use"):
        corpus.verify()


def test_opening_a_large_file_takes_no_time_and_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(1_000_000_000)
    before, seconds = resident_bytes(), []
    for _ in range(5):  # the best of five, since the machine may have other work
        start = time.perf_counter()
        corpus = corpora.File(str(path))
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05
    assert resident_bytes() - before < 1_000_000
    assert len(corpus.train) == 900_000_000


def test_sequences_are_contiguous_and_targets_come_one_byte_later(tmp_path: Path) -> None:
    content = random_bytes(1000)
    split = corpora.File(str(written(tmp_path / "text", content)))
    batches = Batches(split.train, 7)
    assert batches.length == 900 // 7
    inputs, targets = batches.chunk(20, 50)
    assert inputs.shape == targets.shape == (50, 7)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.is_contiguous()
    assert targets.is_contiguous()
    for sequence in range(7):
        start = sequence * batches.length + 20
        assert bytes(inputs[:, sequence].tolist()) == content[start : start + 50]
        assert bytes(targets[:, sequence].tolist()) == content[start + 1 : start + 51]


def test_chunks_read_a_sequence_to_its_last_byte_and_no_further(tmp_path: Path) -> None:
    batches = Batches(corpora.File(str(written(tmp_path / "text", random_bytes(1000)))).train, 4)
    pieces = [batches.chunk(p, min(37, batches.length - 1 - p)) for p in range(0, batches.length - 1, 37)]
    whole = batches.chunk(0, batches.length - 1)
    for pieced, one in zip(zip(*pieces, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(pieced), one)
    assert whole[1][-1].tolist() == [
        int(batches.split.bytes[(sequence + 1) * batches.length - 1]) for sequence in range(4)
    ]
    with pytest.raises(AssertionError):
        batches.chunk(0, batches.length)


def test_ranks_share_the_sequences_of_one_process(tmp_path: Path) -> None:
    split = corpora.File(str(written(tmp_path / "text", random_bytes(5000)))).train
    alone = Batches(split, 8).chunk(3, 100)
    shards = [Batches(split, 8, shard=(rank, 4)) for rank in range(4)]
    assert [(shard.first, shard.count) for shard in shards] == [(0, 2), (2, 2), (4, 2), (6, 2)]
    for side in (0, 1):
        assert torch.equal(torch.cat([shard.chunk(3, 100)[side] for shard in shards], dim=1), alone[side])


def test_sequences_that_cannot_be_shared_evenly_are_refused(tmp_path: Path) -> None:
    split = corpora.File(str(written(tmp_path / "text", random_bytes(5000)))).train
    with pytest.raises(ConfigError, match="6 sequences cannot be shared evenly by 4 ranks"):
        Batches(split, 6, shard=(0, 4))
    with pytest.raises(ConfigError, match="0 sequences"):
        Batches(split, 0)


def test_on_the_cpu_the_text_stays_on_disk(tmp_path: Path) -> None:
    batches = Batches(corpora.File(str(written(tmp_path / "text", random_bytes(5000)))).train, 2)
    assert batches.to("cpu") is batches


def test_sequences_on_another_device_have_its_shape_and_type(tmp_path: Path) -> None:
    batches = Batches(corpora.File(str(written(tmp_path / "text", random_bytes(5000)))).train, 2)
    inputs, targets = batches.to("meta").chunk(5, 10)
    assert inputs.device.type == targets.device.type == "meta"
    assert inputs.shape == targets.shape == (10, 2)
    assert inputs.dtype == torch.int64


def test_a_text_too_long_for_an_accelerator_stays_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Batches(corpora.File(str(written(tmp_path / "text", random_bytes(5000)))).train, 2)
    monkeypatch.setattr(splits, "MOST_RESIDENT", 2 * batches.length - 1)
    assert batches.to("meta") is batches
    monkeypatch.setattr(splits, "MOST_RESIDENT", 2 * batches.length)
    assert batches.to("meta") is not batches


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_chunks_cut_on_the_gpu_equal_those_cut_from_the_file(tmp_path: Path) -> None:
    batches = Batches(corpora.File(str(written(tmp_path / "text", random_bytes(50_000)))).train, 4, shard=(1, 2))
    for there, here in zip(batches.to("cuda").chunk(17, 300), batches.chunk(17, 300), strict=True):
        assert there.is_contiguous()
        assert torch.equal(there.cpu(), here)


@pytest.mark.slow
def test_a_long_stream_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(300_000_000)
    batches = Batches(corpora.File(str(path)).train, 4)
    batches.chunk(0, 1 << 18)
    before = resident_bytes()
    largest = before
    for position in range(0, batches.length - 1 - (1 << 18), 1 << 18):
        batches.chunk(position, 1 << 18)
        largest = max(largest, resident_bytes())
    assert largest - before < 60_000_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_chunk_without_jitter_has_its_full_length() -> None:
    assert {chunk_length(seed, step, 1024, jitter=False) for seed in range(3) for step in range(50)} == {1024}


def test_the_jitter_follows_the_recipe() -> None:
    lengths = np.array([chunk_length(1, step, 1023, jitter=True) for step in range(40_000)])
    assert lengths.max() == 1023
    halves = lengths[lengths < 768]
    assert len(halves) / len(lengths) == pytest.approx(0.05, abs=0.005)
    # of a standard error of 0.11; rounded it would be 511.5, and around 1,023 // 2 it would be 510.5
    assert halves.mean() == pytest.approx(511, abs=0.25)
    assert halves.std() == pytest.approx(5, abs=0.4)
    below = lengths[(lengths > 768) & (lengths < 1023)]
    assert len(below) / len(lengths) == pytest.approx(0.95 / 2, abs=0.01)  # rounded it would be 0.95 * 0.46


def test_a_small_chunk_stays_between_five_and_itself() -> None:
    lengths = {chunk_length(2, step, 8, jitter=True) for step in range(2000)}
    assert lengths == {5, 6, 7, 8}
    assert {chunk_length(2, step, 3, jitter=True) for step in range(200)} == {3}


def test_a_chunk_length_depends_on_seed_and_step_alone() -> None:
    first = [chunk_length(7, step, 512, jitter=True) for step in range(200)]
    np.random.default_rng(0)
    torch.manual_seed(5)
    assert [chunk_length(7, step, 512, jitter=True) for step in reversed(range(200))] == first[::-1]
    assert [chunk_length(8, step, 512, jitter=True) for step in range(200)] != first
