"""rnnlab: what does each part of a recurrent-attention model buy?

rnnlab.train(["sha_rnn", "size/tiny"], ["Trainer.bytes = 400_000"], run="runs/a")
rnnlab.load("runs/a").model
rnnlab.evaluate("runs/a", "test").bpc
rnnlab.results("runs")                   # rows for pandas.DataFrame
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from rnnlab.api import evaluate, load, resume, train
    from rnnlab.generation import generate
    from rnnlab.views.results import results

_PUBLIC = {"train": "api", "resume": "api", "load": "api", "evaluate": "api", "generate": "generation",
           "results": "views.results"}  # fmt: skip
__all__ = ["evaluate", "generate", "load", "results", "resume", "train"]


def __getattr__(name: str) -> Any:
    """The public functions, imported when first asked for: `rnnlab --help` needs none of them."""
    if name in _PUBLIC:
        from importlib import import_module

        return getattr(import_module(f"rnnlab.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'rnnlab' has no attribute {name!r}")
