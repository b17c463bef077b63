"""The same study at each of its sizes.

A size stands at the parameters of its baseline, all of them, so that the variants of one size share one N.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rnnlab import config
from rnnlab.errors import ConfigError
from rnnlab.studies import definition
from rnnlab.studies.ablation.cells import PlannedVariant
from rnnlab.studies.ablation.matching import costs
from rnnlab.studies.ablation.proof import Delta
from rnnlab.studies.ablation.sizes import named
from rnnlab.studies.ablation.study import Ablation
from rnnlab.studies.ablation.variants import make_variants, refuse_twins
from rnnlab.studies.budget import counts_in_steps
from rnnlab.studies.source import trains_on_task
from rnnlab.views.metrics import Metric


def each(ablation: Ablation) -> Iterator[tuple[str, Ablation]]:
    """(name, the study of this size alone) of every size; ("", the study) of one that has none.

    A size is part of the base. Overrides are above it, and so a budget on the command line is that of all sizes.
    """
    if ablation.sizes is None:
        yield "", ablation
    for name, items in (ablation.sizes or {}).items():
        own = Delta(name, tuple(items))
        base, overrides = [*ablation.base, *own.fragments], config.with_later(own.bindings, ablation.overrides)
        yield name, replace(ablation, base=base, overrides=overrides, sizes=None)


def make_all(ablation: Ablation) -> tuple[list[PlannedVariant], dict[str, int]]:
    """(the variants at every size, the smallest first; the sizes with the parameters of their baselines).

    Each is built and proven against the baseline of its size. Of a study without sizes there are none of these.
    Raises: ConfigError naming the size and the variant, for a size without a budget, and for two of one size.
    """
    if ablation.sizes is None:
        return make_variants(ablation), {}
    found: dict[str, list[PlannedVariant]] = {}
    for size, of_size in each(ablation):
        with definition.config_errors(f"Ablation.sizes[{size!r}]"):
            _refuse_no_budget(of_size)
            variants = make_variants(of_size)
        found[size] = [replace(variant, name=named(variant.name, size), size=size) for variant in variants]
    sizes = _ascending({size: int(costs(variants[0].config)["parameters"]) for size, variants in found.items()})
    variants = [variant for size in sizes for variant in found[size]]
    refuse_twins(variants)
    return variants, sizes


def _refuse_no_budget(of_size: Ablation) -> None:
    if of_size.bytes is not None or of_size.steps is not None:
        return
    base = config.resolve(of_size.base, of_size.overrides)
    if base.value("Trainer.bytes") is None and not (trains_on_task(base) and counts_in_steps(base)):
        raise ConfigError("no budget: bind Trainer.bytes in it, as in every size")


def _ascending(parameters: Mapping[str, int]) -> dict[str, int]:
    """The sizes by the parameters of their baselines. Raises: ConfigError for two that have equally many."""
    found = dict(sorted(parameters.items(), key=lambda one: one[1]))
    for one, other in itertools.pairwise(found):
        if found[one] == found[other]:
            raise ConfigError(
                f"Ablation.sizes: the baseline has {found[one]:,} parameters both at {one!r} and at {other!r}; bind "
                "what makes a size, such as LanguageModel.dim, and no override above it"
            )
    return found


def refuse_no_ladder(baselines: Sequence[PlannedVariant], metric: Metric) -> None:
    """Raises: ConfigError for a metric of which more is better, and for sizes that are trained on other texts.

    Args:
        baselines: one for each size, with the hashes of their texts.
    """
    if metric.higher_is_better:
        less = metric.key.replace("accuracy", "nats")
        raise ConfigError(
            f"Ablation.sizes with {metric.key}: a power law falls with size; bind Ablation.metric = '{less}'"
        )
    first, *others = baselines
    for other in others:
        if other.corpus_sha != first.corpus_sha:
            raise ConfigError(
                f"Ablation.sizes: {first.size!r} and {other.size!r} are trained on different texts or tasks; a law of "
                "sizes is that of one"
            )
