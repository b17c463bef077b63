"""How long a run goes on: the bounds that its recipe sets."""

from rnnlab.errors import ConfigError
from rnnlab.training.recipe import Trainer


def check_ends(trainer: Trainer, epoch: int | None, source: str) -> None:
    """Raises: ConfigError if the budget is in epochs of what has no end."""
    if epoch is None and trainer.epochs is not None and budgets(trainer).keys() == {"epoch"}:
        raise ConfigError(
            f"Trainer.epochs = {trainer.epochs:g}: {source} makes new examples without end; bind Trainer.steps or "
            f"Trainer.bytes in its place, or a number of examples to TaskSplits.train"
        )


def budgets(trainer: Trainer) -> dict[str, float]:
    """The bounds that a recipe sets, by what they count."""
    bounds = {"bytes": trainer.bytes, "step": trainer.steps, "epoch": trainer.epochs}
    return {name: bound for name, bound in bounds.items() if bound is not None}
