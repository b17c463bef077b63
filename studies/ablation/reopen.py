"""The plan of an ablation as its folder keeps it, for those who look at a study without its text or its builds."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnlab import config
from rnnlab.errors import StorageError
from rnnlab.storage.durable import write_file
from rnnlab.storage.jsonfile import read_object
from rnnlab.studies import definition
from rnnlab.studies.ablation.cells import CELLS, TUNING, Cell, PlannedVariant
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.study import Ablation
from rnnlab.studies.ablation.tuning import settings
from rnnlab.views.metrics import metric

PLAN = "plan.json"


def write_plan(plan: AblationPlan) -> None:
    """Write down what was planned, wherever the folder will be. Raises: OSError."""
    told = {
        "metric": plan.metric.key,
        "variants": [_told(plan, variant) for variant in plan.variants],
        "matched": [_told(plan, variant) for variant in plan.matched],
        "candidates": {
            name: [_config_file(plan, one, TUNING) for one in tuned] for name, tuned in plan.candidates.items()
        },
        "sizes": dict(plan.sizes),
    }
    write_file(plan.folder / PLAN, (json.dumps(told, indent=1) + "\n").encode())


def _told(plan: AblationPlan, variant: PlannedVariant) -> dict[str, Any]:
    return {
        "name": variant.name,
        "config": _config_file(plan, variant, CELLS),
        "bindings": list(variant.bindings),
        "match_error": variant.match_error,
        "corpus_sha": variant.corpus_sha,
        "size": variant.size,
    }


def _config_file(plan: AblationPlan, variant: PlannedVariant, stage: str) -> str:
    return Cell(plan.folder, variant, 0, stage).config_file.relative_to(plan.folder).as_posix()


def reopen_ablation(folder: Path) -> AblationPlan:
    """The plan that `rnnlab ablate` last wrote into the folder; nothing is built, and the text need not be there.

    Of a study that tunes its variants may have no settings yet: `AblationPlan.tuned` gives them what they have chosen.

    Raises: StorageError, ConfigError naming the file that is missing or damaged.
    """
    path = folder / PLAN
    remedy = "`rnnlab ablate` of the same study writes it anew"
    if not path.is_file():
        raise StorageError(f"{path}: not there, so that nobody knows which cells there are to be; {remedy}")
    told = read_object(path, remedy)
    ablation = definition.read(folder / definition.STUDY, Ablation)
    try:
        variants, matched = (_variants(folder, told[name]) for name in ("variants", "matched"))
        named = {variant.name: variant for variant in [*variants, *matched]}
        candidates = {
            name: _candidates(folder, named[name], ablation, files) for name, files in told["candidates"].items()
        }
        compared = metric(told["metric"])
        sizes = {str(size): int(parameters) for size, parameters in told.get("sizes", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(f"{path}: not the plan of an ablation ({error!r}); {remedy}") from None
    return AblationPlan(ablation, folder, variants, matched, compared, candidates, sizes)


def _candidates(
    folder: Path, variant: PlannedVariant, ablation: Ablation, files: Sequence[str]
) -> list[PlannedVariant]:
    """A variant at every setting of the grid. Raises: ValueError if the grid has another number of them."""
    return [
        replace(variant, config=config.load(folder / file), setting=setting)
        for setting, file in zip(settings(ablation.tune or {}), files, strict=True)
    ]


def _variants(folder: Path, told: Sequence[dict[str, Any]]) -> list[PlannedVariant]:
    return [
        PlannedVariant(
            str(one["name"]), config.load(folder / one["config"]), tuple(map(str, one["bindings"])),
            float(one["match_error"]), str(one["corpus_sha"]), size=str(one.get("size", "")),
        )
        for one in told
    ]  # fmt: skip
