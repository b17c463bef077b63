"""Corpora of a gigabyte: opened at once, streamed without growth, shared by the workers of a machine."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rnnlab.data.corpora import open_corpus
from rnnlab.data.splits import Batches

GIGABYTE = 1_000_000_000
MB = 1 << 20

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="what a process holds is not seen here")


@pytest.fixture
def gigabyte(tmp_path: Path) -> Path:
    """A file that is that long and holds zeros, of which the disk keeps none."""
    path = tmp_path / "corpus"
    with path.open("wb") as file:
        file.truncate(GIGABYTE)
    return path


def held(kind: str = "VmRSS") -> int:
    """[bytes] of this process: VmRSS in memory, RssAnon what no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) * 1024


def test_a_gigabyte_opens_at_once_and_adds_nothing(gigabyte: Path) -> None:
    Path(gigabyte.parent / "other").write_bytes(b"x" * 1000)
    open_corpus(str(gigabyte.parent / "other"))  # what the first opening imports is not counted
    before, started = held(), time.process_time()
    corpus = open_corpus(str(gigabyte))
    assert time.process_time() - started < 0.5
    assert len(corpus.train) == 9 * GIGABYTE // 10
    assert held() - before < 4 * MB


@pytest.mark.long
def test_a_gigabyte_streams_without_growth(gigabyte: Path) -> None:
    batches = Batches(open_corpus(str(gigabyte)).train, 16)
    batches.chunk(0, 1024)
    before, most, own = held(), 0, held("RssAnon")
    for position in range(0, batches.length - 4096, 4096):
        batches.chunk(position, 4096)
        most = max(most, held())
    assert most - before < 64 * MB  # 2 MB a sequence, and what was read since the last release
    assert held("RssAnon") - own < 8 * MB


WORKERS = """
import os, sys
from pathlib import Path
from rnnlab.data.corpora import open_corpus
from rnnlab.data.splits import Batches

def own():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))

children = []
for _ in range(16):
    child = os.fork()
    if child == 0:
        before = own()
        batches = Batches(open_corpus(sys.argv[1]).train, 16)
        for position in range(0, 40 * 4096, 4096):
            batches.chunk(position, 4096)
        grown = own() - before
        os._exit(0 if grown < 32 * 1024 else 1)  # [kB]; a copy of the text has 900,000
    children.append(child)
sys.exit(sum(os.waitpid(child, 0)[1] != 0 for child in children))
"""


@pytest.mark.long
def test_sixteen_workers_hold_no_copy_of_it(gigabyte: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", WORKERS, str(gigabyte)], env=environment, timeout=280)
    assert done.returncode == 0, f"{done.returncode} of 16 workers hold more than 32 MB of their own"
