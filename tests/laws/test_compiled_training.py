"""The whole model under torch.compile, as its parts are under the law `compiled_is_eager`."""

from pathlib import Path

import pytest

from rnnlab.testing import rounding
from rnnlab.training.learner import Learner
from tests.rnnlab.tiny_runs import build, losses_of, write_text


@pytest.mark.long
@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore")  # the compiler's own, about itself
def test_a_compiled_model_learns_as_the_eager_one_while_its_memory_fills_and_chunks_vary(tmp_path: Path) -> None:
    text = write_text(tmp_path)
    exact, eager, compiled = (
        Learner(build(text, "dropout = 0.1", f"Trainer.compile = {on}")) for on in (False, False, True)
    )
    exact.model.double()
    want, got, wanted = (losses_of(learner, 12) for learner in (eager, compiled, exact))
    rounding.check_no_worse(got, than=want, exact=wanted)
