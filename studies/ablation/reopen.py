"""The plan of an ablation as its folder keeps it, for those who look at a study without its text or its builds."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnnlab import config
from rnnlab.errors import StorageError
from rnnlab.storage.durable import write_file
from rnnlab.storage.jsonfile import read_object
from rnnlab.studies import definition
from rnnlab.studies.ablation.cells import Cell, PlannedVariant
from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.study import Ablation
from rnnlab.views.metrics import metric

PLAN = "plan.json"


def write_plan(plan: AblationPlan) -> None:
    """Write down what was planned, wherever the folder will be. Raises: OSError."""
    told = {
        "metric": plan.metric.key,
        "variants": [_told(plan, variant) for variant in plan.variants],
        "matched": [_told(plan, variant) for variant in plan.matched],
        "sizes": dict(plan.sizes),
    }
    write_file(plan.folder / PLAN, (json.dumps(told, indent=1) + "\n").encode())


def _told(plan: AblationPlan, variant: PlannedVariant) -> dict[str, Any]:
    config_file = Cell(plan.folder, variant, 0).config_file
    return {
        "name": variant.name,
        "config": config_file.relative_to(plan.folder).as_posix(),
        "bindings": list(variant.bindings),
        "match_error": variant.match_error,
        "corpus_sha": variant.corpus_sha,
        "size": variant.size,
    }


def reopen_ablation(folder: Path) -> AblationPlan:
    """The plan that `rnnlab ablate` last wrote into the folder; nothing is built, and the text need not be there.

    Raises: StorageError, ConfigError naming the file that is missing or damaged.
    """
    path = folder / PLAN
    remedy = "`rnnlab ablate` of the same study writes it anew"
    if not path.is_file():
        raise StorageError(f"{path}: not there, so that nobody knows which cells there are to be; {remedy}")
    told = read_object(path, remedy)
    try:
        variants, matched = (_variants(folder, told[name]) for name in ("variants", "matched"))
        compared = metric(told["metric"])
        sizes = {str(size): int(parameters) for size, parameters in told.get("sizes", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(f"{path}: not the plan of an ablation ({error!r}); {remedy}") from None
    ablation = definition.read(folder / definition.STUDY, Ablation)
    return AblationPlan(ablation, folder, variants, matched, compared, sizes=sizes)


def _variants(folder: Path, told: Sequence[dict[str, Any]]) -> list[PlannedVariant]:
    return [
        PlannedVariant(
            str(one["name"]), config.load(folder / one["config"]), tuple(map(str, one["bindings"])),
            float(one["match_error"]), str(one["corpus_sha"]), size=str(one.get("size", "")),
        )
        for one in told
    ]  # fmt: skip
