"""rnnlab: what does each part of a recurrent-attention model buy?

    rnnlab.train(["sha_rnn", "size/tiny"], ["Trainer.bytes = 400_000"], run="runs/a")
    rnnlab.evaluate("runs/a", "test").bpc
    rnnlab.inspect("runs/a", b"def main():").arrays["surprisal"]

train       Train a configuration to the end of its budget.
resume      Go on with a run from its newest whole checkpoint.
load        The model of a run, from its newest checkpoint or its best.
evaluate    How good a run is on a split, or on another text.
inspect     Surprisal, hidden states, attention weights and gates at every position of a text, as arrays.
generate    Continue a prompt, byte by byte.
results     What the runs of a study or a folder reached, as rows for pandas.DataFrame.

`help(rnnlab.train)` says what each takes and raises. Errors for users are those of `rnnlab.errors`.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rnnlab.api import evaluate, load, resume, train
    from rnnlab.generation import generate
    from rnnlab.views.inspection import inspect
    from rnnlab.views.results import results

_PUBLIC = {
    "train": "api",
    "resume": "api",
    "load": "api",
    "evaluate": "api",
    "inspect": "views.inspection",
    "generate": "generation",
    "results": "views.results",
}
__all__ = ["evaluate", "generate", "inspect", "load", "results", "resume", "train"]


def __getattr__(name: str) -> Any:
    """The public functions, imported when first asked for: `rnnlab --help` needs none of them."""
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(f"rnnlab.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'rnnlab' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What there is, for tab completion, before anything of it was imported."""
    return sorted({*globals(), *__all__} - {"Any", "TYPE_CHECKING", "_PUBLIC"})
