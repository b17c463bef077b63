"""The whole model under torch.compile, as its parts are under the law `compiled_is_eager`."""

from pathlib import Path

import pytest

from rnnlab.training.learner import Learner
from tests.rnnlab.tiny_runs import build, write_text


@pytest.mark.long
@pytest.mark.faults
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # the compiler's own, about itself
def test_a_compiled_model_learns_as_the_eager_one_while_its_memory_fills_and_chunks_vary(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    eager, compiled = (Learner(build(text, "dropout = 0.0", f"Trainer.compile = {on}")) for on in (False, True))
    want = [eager.step()["loss"] for _ in range(12)]
    assert [compiled.step()["loss"] for _ in range(12)] == pytest.approx(want, abs=5e-4)
