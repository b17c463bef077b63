"""gin's state belongs to the process: a program around us finds its own again, and threads wait for each other."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gin
import pytest

import rnnlab
from rnnlab import config, registry
from rnnlab.training import experiment
from tests.rnnlab.tiny_runs import FRAGMENTS, bindings, write_text


def theirs(rate: float = 1.0, name: str = "") -> tuple[float, str]:
    return rate, name


@pytest.fixture
def around() -> Iterator[None]:
    """A program that has bound, finalized and used a configuration of its own."""
    gin.external_configurable(theirs, "theirs", module="around")
    gin.bind_parameter("around.theirs.rate", 0.25)
    gin.bind_parameter("deep/around.theirs.rate", 0.5)
    gin.finalize()
    yield
    gin.clear_config()
    gin.config._REGISTRY.pop("around.theirs")


def call() -> tuple[float, str]:
    answer: tuple[float, str] = gin.get_configurable("around.theirs")()
    return answer


@pytest.mark.usefixtures("around")
@pytest.mark.parametrize("does", ["resolve", "build", "train", "load", "fail"])
def test_what_a_program_around_us_has_bound_is_there_again(does: str, tmp_path: Path) -> None:
    call()
    used, text = gin.operative_config_str(), write_text(tmp_path, 2000)
    told = bindings(text, "Trainer.steps = 2")
    if does == "resolve":
        config.resolve(FRAGMENTS, told)
    elif does == "build":
        with gin.config_scope("deep"):  # which parts of ours are not in
            built = experiment.build(config.resolve(FRAGMENTS, told))
            assert built.trainer.steps == 2
            assert call() == (0.5, "")
    elif does == "fail":
        with pytest.raises(rnnlab.errors.ConfigError):
            experiment.build(config.resolve(FRAGMENTS, [*told, "Boom.inner = 5"]))
    else:
        rnnlab.train(FRAGMENTS, told, run=tmp_path / "run")
        if does == "load":
            rnnlab.load(tmp_path / "run")
    assert gin.config_is_locked()
    assert call() == (0.25, "")
    with gin.config_scope("deep"):
        assert call() == (0.5, "")
    assert used.splitlines()[-1] in gin.operative_config_str()


@pytest.mark.usefixtures("around")
def test_a_part_is_registered_though_another_configuration_is_final() -> None:
    @registry.register("core")
    class MadeLater:
        """A part that a notebook defines."""

    assert gin.config_is_locked()
    registry._table.pop("core.MadeLater")
    gin.config._REGISTRY.pop("core.MadeLater")


def test_threads_wait_for_each_other(tmp_path: Path) -> None:
    text, start = write_text(tmp_path, 2000), threading.Barrier(4, timeout=60)

    def seed(number: int) -> int:
        resolved = config.resolve(FRAGMENTS, bindings(text, f"Trainer.seed = {number}"))
        start.wait()
        return experiment.build(resolved).trainer.seed

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(seed, range(8))) == list(range(8))


def test_a_thread_does_not_wait_for_itself() -> None:
    resolved = config.resolve(FRAGMENTS)
    with resolved.activate(), pytest.raises(RuntimeError, match="active in this thread already"), resolved.activate():
        raise AssertionError("never here")
