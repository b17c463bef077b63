"""The registry: names mean one thing, registering leaves a class as it was, errors name the nearest."""

import subprocess
import sys

import gin
import pytest

from rnnlab import registry
from rnnlab.errors import ConfigError


class Ema:
    """A core for these tests.

    Source: Nobody 2020, arXiv:2001.00001,
    section 2.
        h_t = a h_{t-1} + b
    """

    def __init__(self, dim: int, decay: float = 0.5) -> None:
        self.dim, self.decay = dim, decay


def make(name: str) -> type:
    return type(name, (), {})


@pytest.mark.usefixtures("empty_registry")
class TestRegister:
    def test_the_class_itself_sees_no_configuration(self) -> None:
        assert registry.register("core")(Ema) is Ema
        gin.bind_parameter("core.Ema.decay", 0.9)
        assert Ema(8).decay == 0.5
        assert gin.get_configurable(Ema)(8).decay == 0.9

    def test_an_unknown_kind_is_refused_with_the_kinds_there_are(self) -> None:
        with pytest.raises(ConfigError, match=r"'cores'.*core, attention"):
            registry.register("cores")

    @pytest.mark.parametrize("kind", ["core", "attention"])
    def test_a_taken_name_is_refused_in_every_kind(self, kind: str) -> None:
        registry.register("core")(Ema)
        with pytest.raises(ConfigError, match=r"core\.Ema; rename one"):
            registry.register(kind)(make("Ema"))

    def test_a_part_cannot_take_the_name_of_a_noun(self) -> None:
        registry.configurable(make("Block"))
        with pytest.raises(ConfigError, match="already registered Block"):
            registry.register("block")(make("Block"))

    def test_a_noun_cannot_take_the_name_of_a_part(self) -> None:
        registry.register("core")(Ema)
        with pytest.raises(ConfigError, match=r"already registered core\.Ema"):
            registry.configurable(make("Ema"))

    def test_parts_come_by_kind_and_name(self) -> None:
        for kind, name in (("core", "B"), ("attention", "C"), ("core", "A")):
            registry.register(kind)(make(name))
        assert [part.selector for part in registry.parts()] == ["core.A", "core.B", "attention.C"]
        assert [part.name for part in registry.parts("core")] == ["A", "B"]

    def test_bindable_holds_parts_and_nouns(self) -> None:
        block = registry.configurable(make("Block"))
        registry.register("core")(Ema)
        assert registry.bindable() == {"Block": block, "core.Ema": Ema}

    def test_a_part_tells_its_summary_and_source(self) -> None:
        registry.register("core")(Ema)
        part = registry.find("Ema")
        assert part.summary == "A core for these tests."
        assert part.source == "Nobody 2020, arXiv:2001.00001, section 2."

    @pytest.mark.parametrize("selector", ["Ema", "core.Ema"])
    def test_a_part_is_found_by_its_short_and_its_full_name(self, selector: str) -> None:
        registry.register("core")(Ema)
        assert registry.find(selector).factory is Ema

    @pytest.mark.parametrize("selector", ["ema", "Emaa", "core.ema"])
    def test_a_misspelt_part_is_answered_with_the_nearest(self, selector: str) -> None:
        registry.register("core")(Ema)
        with pytest.raises(ConfigError, match=r"did you mean '(core\.)?Ema'"):
            registry.find(selector)

    def test_a_part_of_another_kind_is_not_found(self) -> None:
        registry.register("core")(Ema)
        with pytest.raises(ConfigError, match=r"no part 'attention\.Ema'"):
            registry.find("attention.Ema")


def test_the_shipped_parts_load_and_are_found() -> None:
    assert "core.LSTM" in [part.selector for part in registry.parts("core")]
    assert {"LanguageModel", "Block", "Trainer"} <= set(registry.bindable())


def test_a_package_that_does_not_import_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = registry.importlib.metadata.EntryPoint("strangers", "no_such_package_of_parts", registry.ENTRY_POINTS)
    monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: [broken])
    monkeypatch.setattr(registry, "_loaded", False)
    for _ in range(2):  # a failure is not remembered as success
        with pytest.raises(ConfigError, match=r"'strangers'.*no_such_package_of_parts"):
            registry.load_parts()


THREADS = """
import threading
from concurrent.futures import ThreadPoolExecutor
from rnnlab import registry

start = threading.Barrier(4, timeout=60)

def count(number):
    start.wait()
    return len(registry.parts())

with ThreadPoolExecutor(4) as pool:
    print(set(pool.map(count, range(4))) == {len(registry.parts())})
"""


@pytest.mark.long
def test_threads_that_ask_at_once_all_see_every_part() -> None:
    """In a process of its own, where no part has been imported yet."""
    assert subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True).stdout == "True\n"
