"""What tuning has found so far, for those who look at a study before its settings are chosen."""

import math

from rnnlab.studies.ablation.plan import AblationPlan
from rnnlab.studies.ablation.tuning import BY
from rnnlab.studies.metric import score
from rnnlab.views import numerals
from rnnlab.views.intervals import mean_interval
from rnnlab.views.metrics import METRICS
from rnnlab.views.tables import Cell, Column, Table


def tuning_table(plan: AblationPlan) -> Table:
    """A row for each variant at each setting of which a seed is finished, with what the setting is chosen by."""
    known = plan.known_tuning()
    keys = [METRICS[key] for key in BY[plan.metric.word]]
    columns = [
        Column("variant", "Variant"),
        Column("setting", "Setting"),
        Column("seeds", "Seeds", "number"),
        *(Column(key.key, key.heading, "interval", numerals.plus_minus(key.digits)) for key in keys),
        Column("outcome", "Outcome"),
    ]
    rows: list[dict[str, Cell]] = []
    for name, tuned in plan.candidates.items():
        for candidate in tuned:
            results = [*known.results(plan.tuning_cells_of(candidate)).values()]
            if not results:
                continue
            values = {key.key: [score(result, key.key) for result in results] for key in keys}
            is_finite = all(math.isfinite(value) for of_key in values.values() for value in of_key)
            rows.append({
                "variant": name,
                "setting": "; ".join(candidate.shown_setting),
                "seeds": len(results),
                **{key: mean_interval(of_key) if is_finite else None for key, of_key in values.items()},
                "outcome": None if is_finite else "diverged",
            })  # fmt: skip
    notes = ["Each variant gets the setting that is best once all of them are finished. These seeds are not compared."]
    return Table("Tuning so far", columns, rows, notes)
