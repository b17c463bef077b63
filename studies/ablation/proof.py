"""Proof that a variant differs from the baseline in what its delta says: in something, and in nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from rnnlab.config import Config, Difference, Precedence, diff
from rnnlab.config.bindings import macro_chain
from rnnlab.config.sources import read_fragment, read_override
from rnnlab.errors import ConfigError

CONCERNS = {
    "optim": {"optimizer"},
    "data": {"corpus"},
    "block": {"block", "output_norm"},
    "place": {"attention", "blocks"},
}
"""What a folder of fragments is about, where that is not a kind of its name: to the wiring belongs whether what
leaves the last block is normalized, and a place says which blocks attend."""


@dataclass(frozen=True)
class Delta:
    """What a variant changes: fragments and single bindings."""

    name: str
    items: tuple[str, ...]

    @property
    def fragments(self) -> list[str]:
        return [item for item in self.items if "=" not in item]

    @property
    def bindings(self) -> list[str]:
        return [item for item in self.items if "=" in item]

    def __str__(self) -> str:
        return f"{self.name!r} ({'; '.join(self.items)})"


def prove(delta: Delta, baseline: Config, variant: Config) -> list[Difference]:
    """The differences of the resolved configurations, all of which the delta explains.

    A fragment of a folder such as core/ says that it is about that kind: the slots and the arguments of its parts.
    Roots, sizes and files of the user say every key that they bind; a binding says its own. A macro stands for all that
    is bound to it, and a part that only one side uses brings its own arguments.

    Raises: ConfigError if there are none, or one that the delta does not say.
    """
    differences = diff(baseline, variant)
    if not differences:
        raise ConfigError(f"delta {delta} changes nothing: the baseline is that already, or an override is above it")
    spoken, concerns = _said(delta)
    for difference in differences:
        if not (
            _is_spoken_of(difference, spoken, baseline, variant)
            or _concerns(difference.key) & concerns
            or _comes_with_a_part(difference, baseline, variant)
        ):
            raise ConfigError(
                f"delta {delta} changes more than it says: {difference.key}: {difference.left or '-'} -> "
                f"{difference.right or '-'}; take that out, or say it with a binding in the delta"
            )
    return differences


def _said(delta: Delta) -> tuple[set[str], set[str]]:
    """(keys that the delta binds by name, kinds that its fragments are about)."""
    spoken = {binding.key for item in delta.bindings for binding in read_override(item).bindings}
    concerns = set[str]()
    for name in delta.fragments:
        source = read_fragment(name)
        if source.precedence is Precedence.PART:
            concerns |= CONCERNS.get(source.folder, {source.folder})
        else:
            spoken |= {binding.key for binding in source.bindings}
    return spoken, concerns


def _is_spoken_of(difference: Difference, spoken: set[str], *configs: Config) -> bool:
    for config in configs:
        binding = config.get(difference.key)
        if binding is not None and not spoken.isdisjoint(macro_chain(binding.macros, config.bindings)):
            return True
    return difference.key in spoken


def _concerns(key: str) -> set[str]:
    """What a key is about: the kind of its part, and the argument, which is a kind where it is a slot."""
    selector, _, argument = key.rpartition("/")[2].rpartition(".")
    kind = selector.rpartition(".")[0]
    return {kind, "block" if argument == "wiring" else argument} - {""}


def _comes_with_a_part(difference: Difference, baseline: Config, variant: Config) -> bool:
    selector = difference.key.rpartition("/")[2].rpartition(".")[0]
    return (selector in baseline.reach.selectors) != (selector in variant.reach.selectors)


def shown(differences: Sequence[Difference]) -> tuple[str, ...]:
    """The bindings of the variant, for a table."""
    bound = [difference for difference in differences if not difference.is_default]
    return tuple(f"{d.key} = {d.right}" if d.right is not None else f"{d.key} is not used" for d in bound)
