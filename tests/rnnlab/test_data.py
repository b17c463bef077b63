"""Corpora, splits, lanes and chunk lengths."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from rnnlab import cache, data, registry
from rnnlab.data import Lanes, chunk_length, corpus_bindings, open_corpus
from rnnlab.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RNNLAB_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def random_bytes(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, count, dtype=np.uint8).tobytes()


# Splits


def test_a_file_is_cut_90_5_5_by_byte(tmp_path: Path) -> None:
    content = random_bytes(3_000_000)
    corpus = data.File(str(written(tmp_path / "text", content)))
    assert [len(split) for split in (corpus.train, corpus.valid, corpus.test)] == [2_700_000, 150_000, 150_000]
    assert corpus.train.bytes.tobytes() + corpus.valid.bytes.tobytes() + corpus.test.bytes.tobytes() == content


def test_enwik8_would_be_cut_as_the_paper_cuts_it(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(data.PUBLISHED["enwik8"].size)
    corpus = data.cut("sparse", data.MappedFile(path))
    assert [len(split) for split in (corpus.train, corpus.valid, corpus.test)] == [90_000_000, 5_000_000, 5_000_000]


def test_no_byte_is_lost_or_read_twice_at_any_size(tmp_path: Path) -> None:
    for size in (40, 41, 59, 60, 99, 1001):
        content = random_bytes(size, seed=size)
        corpus = data.File(str(written(tmp_path / f"text{size}", content)))
        assert b"".join(corpus.split(name).bytes.tobytes() for name in ("train", "valid", "test")) == content
        assert min(len(corpus.split(name)) for name in ("train", "valid", "test")) >= 2


def test_separate_files_are_the_splits_whole(tmp_path: Path) -> None:
    paths = [str(written(tmp_path / name, random_bytes(n))) for name, n in (("a", 50), ("b", 60), ("c", 70))]
    corpus = data.File(*paths)
    assert [len(corpus.split(name)) for name in ("train", "valid", "test")] == [50, 60, 70]
    hashes = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in paths]
    assert corpus.sha256 == hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def test_validation_and_test_files_go_together(tmp_path: Path) -> None:
    path = str(written(tmp_path / "text", bytes(100)))
    with pytest.raises(ConfigError, match=r"File\.valid and File\.test go together"):
        data.File(path, valid=path)
    with pytest.raises(ConfigError, match=r"File\.path is not set"):
        data.File()


def test_a_split_is_a_view_that_cannot_be_written_to(tmp_path: Path) -> None:
    split = data.File(str(written(tmp_path / "text", random_bytes(1000)))).valid
    assert not split.bytes.flags.writeable
    assert not split.bytes.flags.owndata
    assert split[10:20].bytes.tobytes() == split.bytes[10:20].tobytes()
    assert len(split[:7]) == 7
    assert len(split[40:1000]) == len(split) - 40


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    corpus = data.File(str(written(tmp_path / "text", bytes(100))))
    with pytest.raises(ConfigError, match="no split 'validation'; the splits are train, valid and test"):
        corpus.split("validation")


# Lanes


def test_lanes_are_contiguous_and_targets_come_one_byte_later(tmp_path: Path) -> None:
    content = random_bytes(1000)
    split = data.File(str(written(tmp_path / "text", content)))
    lanes = Lanes(split.train, 7)
    assert lanes.length == 900 // 7
    inputs, targets = lanes.chunk(20, 50)
    assert inputs.shape == targets.shape == (50, 7)
    assert inputs.dtype == targets.dtype == torch.int64
    assert inputs.is_contiguous()
    assert targets.is_contiguous()
    for lane in range(7):
        start = lane * lanes.length + 20
        assert bytes(inputs[:, lane].tolist()) == content[start : start + 50]
        assert bytes(targets[:, lane].tolist()) == content[start + 1 : start + 51]


def test_chunks_read_a_lane_to_its_last_byte_and_no_further(tmp_path: Path) -> None:
    lanes = Lanes(data.File(str(written(tmp_path / "text", random_bytes(1000)))).train, 4)
    pieces = [lanes.chunk(p, min(37, lanes.length - 1 - p)) for p in range(0, lanes.length - 1, 37)]
    whole = lanes.chunk(0, lanes.length - 1)
    for pieced, one in zip(zip(*pieces, strict=True), whole, strict=True):
        assert torch.equal(torch.cat(pieced), one)
    assert whole[1][-1].tolist() == [int(lanes.split.bytes[(lane + 1) * lanes.length - 1]) for lane in range(4)]
    with pytest.raises(AssertionError):
        lanes.chunk(0, lanes.length)


def test_ranks_share_the_lanes_of_one_process(tmp_path: Path) -> None:
    split = data.File(str(written(tmp_path / "text", random_bytes(5000)))).train
    alone = Lanes(split, 8).chunk(3, 100)
    shards = [Lanes(split, 8, shard=(rank, 4)) for rank in range(4)]
    assert [(shard.first, shard.count) for shard in shards] == [(0, 2), (2, 2), (4, 2), (6, 2)]
    for side in (0, 1):
        assert torch.equal(torch.cat([shard.chunk(3, 100)[side] for shard in shards], dim=1), alone[side])


def test_lanes_that_cannot_be_shared_evenly_are_refused(tmp_path: Path) -> None:
    split = data.File(str(written(tmp_path / "text", random_bytes(5000)))).train
    with pytest.raises(ConfigError, match="6 lanes cannot be shared evenly by 4 ranks"):
        Lanes(split, 6, shard=(0, 4))
    with pytest.raises(ConfigError, match="0 lanes"):
        Lanes(split, 0)


def test_the_cpu_keeps_the_mapping(tmp_path: Path) -> None:
    lanes = Lanes(data.File(str(written(tmp_path / "text", random_bytes(5000)))).train, 2)
    assert lanes.to("cpu") is lanes


def test_lanes_on_another_device_have_its_shape_and_type(tmp_path: Path) -> None:
    lanes = Lanes(data.File(str(written(tmp_path / "text", random_bytes(5000)))).train, 2)
    inputs, targets = lanes.to("meta").chunk(5, 10)
    assert inputs.device.type == targets.device.type == "meta"
    assert inputs.shape == targets.shape == (10, 2)
    assert inputs.dtype == torch.int64


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_chunks_cut_on_the_gpu_equal_those_cut_from_the_file(tmp_path: Path) -> None:
    lanes = Lanes(data.File(str(written(tmp_path / "text", random_bytes(50_000)))).train, 4, shard=(1, 2))
    for there, here in zip(lanes.to("cuda").chunk(17, 300), lanes.chunk(17, 300), strict=True):
        assert there.is_contiguous()
        assert torch.equal(there.cpu(), here)


# Chunk lengths


def test_a_chunk_without_jitter_has_its_full_length() -> None:
    assert {chunk_length(seed, step, 1024, jitter=False) for seed in range(3) for step in range(50)} == {1024}


def test_the_jitter_follows_the_recipe() -> None:
    lengths = np.array([chunk_length(1, step, 1024, jitter=True) for step in range(20_000)])
    assert lengths.max() == 1024
    halves = lengths[lengths < 768]
    assert len(halves) / len(lengths) == pytest.approx(0.05, abs=0.006)
    assert halves.mean() == pytest.approx(512, abs=1)
    assert halves.std() == pytest.approx(5, abs=0.5)
    below = lengths[(lengths > 768) & (lengths < 1024)]
    assert len(below) / len(lengths) == pytest.approx(0.95 * 0.46, abs=0.02)  # P(round(N(0, 5)) < 0) = 0.46


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


# What is remembered, and what is noticed


def test_a_corpus_that_was_only_touched_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / "text", random_bytes(1000))
    corpus = data.File(str(path))
    assert corpus.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    os.utime(path, (1, 1))
    corpus.verify()
    path.rename(tmp_path / "old")
    written(path, (tmp_path / "old").read_bytes())
    corpus.verify()


def test_a_change_that_keeps_size_and_time_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "text", bytes(1000))
    corpus = data.File(str(path))
    before = path.stat()
    assert corpus.sha256
    with open(path, "r+b") as file:
        file.write(b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="changed while it was in use"):
        corpus.verify()


def test_a_file_changed_before_it_was_hashed_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "text", bytes(1000))
    corpus = data.File(str(path))
    time.sleep(0.02)
    written(path, bytes(999) + b"x")
    with pytest.raises(DataError, match="changed while it was in use"):
        _ = corpus.sha256
    with pytest.raises(DataError, match="changed while it was in use"):
        corpus.verify()


def test_a_write_right_after_hashing_does_not_pass_as_the_hashed_content(tmp_path: Path) -> None:
    path = tmp_path / "text"
    for trial in range(20):
        written(path, random_bytes(64, seed=trial))
        stamp, digest = cache.sha256(path)
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
        written(path, random_bytes(64, seed=1000 + trial))
        assert cache.stamp(path) != stamp


def test_a_damaged_note_costs_a_hash_and_nothing_else(tmp_path: Path, own_cache: Path) -> None:
    path = written(tmp_path / "text", random_bytes(100))
    digest = cache.sha256(path)[1]
    (note,) = (own_cache / "stamps").iterdir()
    for damage in (b"", b"{", b"[1]", b'{"stamp": 3}', b"\xff\x00"):
        note.write_bytes(damage)
        assert cache.sha256(path)[1] == digest


def test_a_cache_that_cannot_be_written_does_not_stop_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNLAB_DATA", "/proc/nowhere")
    corpus = data.File(str(written(tmp_path / "text", bytes(100))))
    assert corpus.sha256 == hashlib.sha256(bytes(100)).hexdigest()
    with pytest.raises(DataError, match=r"/proc/nowhere cannot be written.*set RNNLAB_DATA"):
        data.PythonStdlib()


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache.folder() == tmp_path / "cache"
    monkeypatch.delenv("RNNLAB_DATA")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache.folder() == Path("/x/rnnlab")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache.folder() == Path("/home/someone/.cache/rnnlab")


# The embedded corpus


def test_the_standard_library_is_built_once_and_its_hash_recorded(own_cache: Path) -> None:
    corpus = data.PythonStdlib()
    path = corpus.train.file.path
    assert path.parent == own_cache
    assert 5_000_000 < path.stat().st_size < 30_000_000
    assert data._recorded_hash(path).read_text() == f"{corpus.sha256}  {path.name}\n"
    inode = path.stat().st_ino
    assert data.PythonStdlib().sha256 == corpus.sha256
    assert path.stat().st_ino == inode
    assert [entry.name for entry in own_cache.iterdir() if entry.name.startswith(".tmp")] == []


def test_the_standard_library_comes_in_order_and_without_what_is_not_its_own() -> None:
    sources = list(data._stdlib_sources(Path(os.__file__).parent))
    names = [source.relative_to(Path(os.__file__).parent).as_posix() for source in sources]
    assert names == sorted(names)
    assert "os.py" in names
    assert "json/decoder.py" in names
    assert not [name for name in names if "site-packages" in name or "/test/" in f"/{name}" or "_sysconfigdata" in name]


def test_a_damaged_standard_library_is_built_anew(own_cache: Path) -> None:
    corpus = data.PythonStdlib()
    path, good = corpus.train.file.path, corpus.sha256
    del corpus
    with open(path, "r+b") as file:
        file.write(b"damage")
    assert data.PythonStdlib().sha256 == good
    os.truncate(path, 1000)
    assert data.PythonStdlib().sha256 == good
    data._recorded_hash(path).unlink()
    assert data.PythonStdlib().sha256 == good


def test_processes_that_build_the_standard_library_at_once_agree(own_cache: Path) -> None:
    command = "from rnnlab.data import PythonStdlib; print(PythonStdlib().sha256)"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"RNNLAB_DATA": str(own_cache), "PYTHONHASHSEED": str(seed), "OMP_NUM_THREADS": "1"},
        )
        for seed in (1, 2)
    ]
    outputs = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] != ""


# Names and paths


def test_names_are_found_whatever_their_case() -> None:
    assert corpus_bindings("Enwik8") == ["Trainer.corpus = @corpus.Enwik8"]
    assert corpus_bindings("TEXT8") == ["Trainer.corpus = @corpus.Text8"]
    assert corpus_bindings("python-stdlib") == ["Trainer.corpus = @corpus.PythonStdlib"]
    assert open_corpus("python_stdlib").name == "python_stdlib"


def test_a_path_is_bound_absolutely_and_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / 'it\'s "mine"', random_bytes(100))
    (corpus, path) = corpus_bindings('it\'s "mine"')
    assert corpus == "Trainer.corpus = @corpus.File"
    key, _, value = path.partition(" = ")
    assert key == "File.path"
    assert eval(value) == str(tmp_path / 'it\'s "mine"')
    assert open_corpus('it\'s "mine"').train.file.path == tmp_path / 'it\'s "mine"'


def test_a_file_named_like_a_corpus_needs_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "enwik8", random_bytes(100))
    assert corpus_bindings("enwik8") == ["Trainer.corpus = @corpus.Enwik8"]
    assert corpus_bindings("./enwik8")[1] == f"File.path = '{tmp_path}/enwik8'"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    for ask in (corpus_bindings, open_corpus):
        with pytest.raises(DataError, match="no corpus and no file 'enwik9'; did you mean 'enwik8'"):
            ask("enwik9")
        with pytest.raises(DataError, match="the corpora are enwik8, python_stdlib, text8"):
            ask("/no/such/text")


def test_a_named_corpus_that_is_not_here_says_how_to_get_it() -> None:
    with pytest.raises(DataError, match=r"enwik8 is not in .*cache; `rnnlab fetch enwik8` downloads it"):
        open_corpus("enwik8")


def test_every_corpus_is_registered_with_a_line_about_itself() -> None:
    parts = {part.name: part.summary for part in registry.parts("corpus")}
    assert {"Enwik8", "Text8", "PythonStdlib", "File"} <= set(parts)
    assert all(parts.values())


# Size


def test_a_long_stream_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(300_000_000)
    lanes = Lanes(data.File(str(path)).train, 4)
    lanes.chunk(0, 1 << 18)
    before = resident_bytes()
    largest = before
    for position in range(0, lanes.length - 1 - (1 << 18), 1 << 18):
        lanes.chunk(position, 1 << 18)
        largest = max(largest, resident_bytes())
    assert largest - before < 60_000_000


def test_opening_a_large_file_takes_no_time_and_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(1_000_000_000)
    before, seconds = resident_bytes(), []
    for _ in range(5):  # the best of five, since the machine may have other work
        start = time.perf_counter()
        corpus = data.File(str(path))
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.05
    assert resident_bytes() - before < 1_000_000
    assert len(corpus.train) == 900_000_000


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
