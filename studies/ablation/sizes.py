"""What a study file may say of sizes, and what the variants are called at each of them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rnnlab.config.sources import read_override
from rnnlab.errors import ConfigError
from rnnlab.studies import definition

FEWEST = 2  # a slope takes two; a law, and so a prediction, takes three
BUDGETS = ("Trainer.bytes", "Trainer.steps", "Trainer.epochs")
REMEDIES = {
    "tune": "the settings of the largest would be chosen by runs of the largest, before it is predicted; bind a "
    "setting in each size, ['Muon.lr = 5e-3', ...]",
    "until": "seeds are added after looks, and the largest is predicted once; say how many with Ablation.seeds",
    "match": "widths that are solved for have no ladder; bind widths of equal cost in the deltas",
}
"""Why a study of several sizes cannot have it, and what to do."""


def named(name: str, size: str) -> str:
    """What a variant is called at a size: "no attention at 64"; as it is where there are no sizes."""
    return f"{name} at {size}" if size else name


def plain(name: str, size: str) -> str:
    """The same without the size."""
    return name.removesuffix(f" at {size}") if size else name


def refuse(sizes: Mapping[str, Any], study: Mapping[str, Any]) -> None:
    """Raises: ConfigError for sizes that are none, and for what a study of several sizes cannot have.

    Args:
        study: its other arguments by name.
    """
    if len(sizes) < FEWEST:
        raise ConfigError(
            f"Ablation.sizes = {sizes}: at least {FEWEST}, and 3 if the largest is to be predicted; "
            "{'64': ['LanguageModel.dim = 64', 'Trainer.bytes = 500_000'], ...}"
        )
    for name, items in sizes.items():
        if not isinstance(items, list | tuple) or not items or not all(isinstance(item, str) for item in items):
            raise ConfigError(f"Ablation.sizes[{name!r}] = {items!r}: a list of fragments and bindings is expected")
        if not name:
            raise ConfigError("Ablation.sizes: a size has no name; '64'")
    for argument, remedy in REMEDIES.items():
        if study[argument] is not None:
            raise ConfigError(f"Ablation.sizes with Ablation.{argument}: {remedy}; or leave the sizes out")
    if study["design"] == "grid":
        raise ConfigError(
            "Ablation.sizes with Ablation.design = 'grid': the tables of factors are of one size; choose another "
            "design, or leave the sizes out"
        )
    _refuse_budgets(sizes, study)


def _refuse_budgets(sizes: Mapping[str, Sequence[str]], study: Mapping[str, Any]) -> None:
    """Raises: ConfigError unless each size says its budget, or none does and the study has one for all."""
    said = {name: _budgets(name, items) for name, items in sizes.items()}
    for unit in ("bytes", "steps"):
        own = [name for name, budgets in said.items() if budgets]
        if study[unit] is not None and own:
            raise ConfigError(
                f"Ablation.{unit} is the budget of every size, and Ablation.sizes[{own[0]!r}] binds "
                f"{said[own[0]][0]}: leave one of them out"
            )
    without = [name for name, budgets in said.items() if not budgets]
    if without and len(without) < len(said):
        raise ConfigError(
            f"Ablation.sizes[{without[0]!r}] binds no budget, and others do: bind Trainer.bytes in it as well, or of "
            "a task Trainer.steps"
        )


def _budgets(size: str, items: Sequence[str]) -> list[str]:
    with definition.config_errors(f"Ablation.sizes[{size!r}]"):
        bound = [binding.key for item in items if "=" in item for binding in read_override(item).bindings]
    return [key for key in BUDGETS if key in bound]
