"""Every test has gin and the registry to itself."""

import gc
import os
import signal
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import gin
import pytest
from gin.selector_map import SelectorMap

from tests.faults.matrix import row_of

# A shell starts what it puts in the background deaf to Ctrl-C, nohup to the end of the terminal, and every process of a
# test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


NUMBERS = (
    "bench/test_plain.py",
    "components/",
    "rnnlab/test_export.py",
    "rnnlab/test_fast_paths.py",
    "rnnlab/ops/",
    "rnnlab/test_model.py",
    "rnnlab/testing/test_rounding.py",
    "rnnlab/training/test_gradients.py",
    "rnnlab/training/test_optim.py",
)
"""Where tests compare numbers that a processor has a say in: `make test-isa` runs them as several processors would."""


LAWS = ("bfloat16 stays near", "gradients are true")
"""Of the laws of parts, those that compare precisions; the others hold in float64."""

PLACES = [*NUMBERS, "laws/test_laws_over_the_registry.py"]
"""All that has such tests: to collect every other file would take longer than some of them."""


def pytest_configure() -> None:
    """Until the tests are collected nothing becomes garbage: to look for it would take a third of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """What was collected stays to the end: the collector need not go through it again."""
    gc.freeze()
    gc.enable()


def pytest_sessionfinish() -> None:
    """The process that hands out the tests has started none, and does not import what would."""
    if (processes := sys.modules.get("tests.processes")) is not None:
        processes.end()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if row_of(item.nodeid) and (item.get_closest_marker("faults") or "packaging/" in item.nodeid):
            item.add_marker("matrix")
        is_law = item.name.startswith("test_a_registered_part_obeys[") and any(law in item.name for law in LAWS)
        exports = item.path.name == "test_export.py" and item.get_closest_marker("slow")  # half a minute each
        if is_law or (item.path.relative_to(here).as_posix().startswith(NUMBERS) and not exports):
            item.add_marker("numbers")


@pytest.fixture(autouse=True)
def own_gin_and_registry() -> Iterator[None]:
    """Nothing is bound before the test or after it, and what it registers is forgotten.

    What rnnlab's own modules register while a test imports them stays: they are imported once a process.
    """
    # not at the top: torch takes seconds, and the process that hands out the tests has no use for it
    from rnnlab import registry

    gin.clear_config()
    before = set(registry._table)
    yield
    gin.clear_config()
    for selector, factory in list(registry._table.items()):
        if selector not in before and factory.__module__.partition(".")[0] != "rnnlab":
            del registry._table[selector]
            gin.config._REGISTRY.pop(registry.gin_selector(selector))


@pytest.fixture(autouse=True)
def own_random_numbers(request: pytest.FixtureRequest) -> None:
    """Each test draws numbers of its own, the same in any order and on any machine; TEST_SEED draws others."""
    import torch

    torch.manual_seed(zlib.crc32(f"{os.environ.get('TEST_SEED', '')}{request.node.nodeid}".encode()))


@pytest.fixture
def empty_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry without a part or class, for tests that fill it with their own."""
    from rnnlab import registry

    monkeypatch.setattr(registry, "_table", {})
    monkeypatch.setattr(registry, "_loaded", True)
    builtins = SelectorMap()
    for selector, entry in gin.config._REGISTRY.items():
        if selector.startswith("gin."):
            builtins[selector] = entry
    monkeypatch.setattr(gin.config, "_REGISTRY", builtins)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the test's cache of corpora lies; it does not exist yet."""
    monkeypatch.setenv("RNNLAB_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12,000 bytes of words that a tiny model learns something from; not to be changed."""
    from tests.rnnlab.tiny_runs import write_text

    return write_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="session")
def whole(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run that was left alone, with checkpoints of steps 28 and 30 and of the best; not to be changed."""
    from tests.rnnlab.tiny_runs import train

    run = tmp_path_factory.mktemp("whole") / "run"
    train(run, text)
    return run
