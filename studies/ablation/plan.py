"""`rnnlab ablate`: a baseline and its variants, planned, built and proven before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rnnlab.config import Config, diff, identity
from rnnlab.errors import ConfigError
from rnnlab.storage.cells import CELLS_FILE, TUNING_FILE
from rnnlab.studies import definition
from rnnlab.studies.ablation.cells import CELLS, TUNING, Cell, PlannedVariant
from rnnlab.studies.ablation.known import CellsFile, KnownCells, known_cells
from rnnlab.studies.ablation.matching import FACTS, UNITS, Cost, costs, solve_width
from rnnlab.studies.ablation.proof import shown
from rnnlab.studies.ablation.size_plan import make_all, refuse_no_ladder
from rnnlab.studies.ablation.sizes import named
from rnnlab.studies.ablation.study import Ablation
from rnnlab.studies.ablation.tuning import at, best, candidates, tuning_seeds
from rnnlab.studies.ablation.variants import build, wanted
from rnnlab.studies.budget import SOURCE
from rnnlab.studies.metric import choose
from rnnlab.studies.names import check_names
from rnnlab.training import experiment
from rnnlab.views.metrics import Metric

__all__ = ["CELLS", "Ablation", "AblationPlan", "Cell", "PlannedVariant", "plan_ablation"]


@dataclass(frozen=True)
class AblationPlan:
    """An ablation whose every variant was built and proven.

    Attributes:
        variants: the baseline first; of several sizes those of the smallest first, and of each its baseline first.
        matched: the same at equal costs, the baseline first; empty if the study does not ask for it.
        metric: what is compared.
        candidates: by the name of a variant, the variant at every setting that it may get, as it is tuned; empty if
            nothing is tuned.
        sizes: by name the parameters of the baseline at that size, ascending; empty of a study of one size.
    """

    ablation: Ablation
    folder: Path
    variants: Sequence[PlannedVariant]
    matched: Sequence[PlannedVariant]
    metric: Metric
    candidates: Mapping[str, Sequence[PlannedVariant]] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)

    @property
    def baselines(self) -> list[PlannedVariant]:
        """What variants are compared with: one, or one for each size."""
        names = {named(self.ablation.baseline, size) for size in self.sizes or [""]}
        return [variant for variant in self.variants if variant.name in names]

    @property
    def largest(self) -> str:
        """The size that is held out; empty of a study of one size."""
        return max(self.sizes, key=self.sizes.__getitem__, default="")

    def shape(self) -> str:
        """As in: 2 variants x 3 sizes x 5 seeds; those at equal costs count as well."""
        variants, sizes = len({cell.variant.config.text for cell in self.cells()}), max(1, len(self.sizes))
        counts = [f"{variants // sizes} variants", *([f"{sizes} sizes"] if self.sizes else [])]
        return " x ".join([*counts, f"{len(self.seeds)} seeds"])

    def smaller(self) -> "AblationPlan":
        """The same without the largest size."""
        variants = [variant for variant in self.variants if variant.size != self.largest]
        return replace(self, variants=variants, sizes={size: self.sizes[size] for size in list(self.sizes)[:-1]})

    @property
    def seeds(self) -> list[int]:
        return [self._first_seed + i for i in range(self.ablation.seeds)]

    @property
    def _first_seed(self) -> int:
        return int(self.variants[0].config.value("Trainer.seed", 1))

    def with_seeds(self, count: int) -> "AblationPlan":
        """The same with so many seeds."""
        return replace(self, ablation=replace(self.ablation, seeds=count))

    def at_most(self, others: Sequence[Path] = ()) -> "AblationPlan":
        """The same with what tuning has chosen, if it has, and with as many seeds as there may be."""
        plan, ablation = self.tuned(others) or self, self.ablation
        return plan if ablation.until is None else plan.with_seeds(max(ablation.first_look, ablation.most_seeds))

    def cells(self) -> list[Cell]:
        """Each once, all variants with the first seed before any with the second: a table needs pairs.

        A size comes before any that is larger.
        """
        every = {variant.config.text: variant for variant in [*self.matched, *self.variants]}
        return [
            Cell(self.folder, variant, seed)
            for size in self.sizes or [""]
            for seed in self.seeds
            for variant in every.values()
            if variant.size == size
        ]

    def tuning_cells(self) -> list[Cell]:
        """Those that decide the settings, each once; they are trained before any other."""
        every = {one.config.text: one for tuned in self.candidates.values() for one in tuned}
        return [cell for variant in every.values() for cell in self.tuning_cells_of(variant)]

    def tuning_cells_of(self, candidate: PlannedVariant) -> list[Cell]:
        """Those of a variant at one setting."""
        seeds = tuning_seeds(self._first_seed, self.ablation.tune_seeds)
        return [Cell(self.folder, candidate, seed, TUNING) for seed in seeds]

    def cells_of(self, variant: PlannedVariant) -> list[Cell]:
        """Those of a variant that are compared, whose settings are chosen."""
        return [Cell(self.folder, variant, seed) for seed in self.seeds]

    def known(self, others: Sequence[Path] = ()) -> KnownCells:
        """Which of `cells` are done. Args and raises: as `known_cells`."""
        return known_cells(self.folder / CELLS_FILE, self.cells(), others)

    def known_tuning(self, others: Sequence[Path] = ()) -> KnownCells:
        """Which of `tuning_cells` are done. Args and raises: as `known_cells`."""
        return known_cells(self.folder / TUNING_FILE, self.tuning_cells(), others)

    def cells_file(self, known: KnownCells) -> CellsFile:
        """That of `cells`, brought up to what is known. Raises: StorageError."""
        return CellsFile(self.folder / CELLS_FILE, self.cells(), known)

    def tuning_file(self, known: KnownCells) -> CellsFile:
        """That of `tuning_cells`, brought up to what is known. Raises: StorageError."""
        return CellsFile(self.folder / TUNING_FILE, self.tuning_cells(), known)

    def tuned(self, others: Sequence[Path] = ()) -> "AblationPlan | None":
        """The same with every variant at its best setting; None as long as a cell that decides it is not finished."""
        known = self.known_tuning(others)
        if not all(map(known.is_done, self.tuning_cells())):
            return None
        chosen = {
            name: best(
                [(one, [*known.results(self.tuning_cells_of(one)).values()]) for one in tuned], self.metric
            ).setting
            for name, tuned in self.candidates.items()
        }
        variants, matched = (
            [at(v, chosen[v.name]) if v.name in chosen else v for v in each] for each in (self.variants, self.matched)
        )
        return replace(self, variants=variants, matched=matched)


def plan_ablation(
    study: str,
    fragments: Sequence[str] = (),
    overrides: Sequence[str] = (),
    *,
    seeds: int | None = None,
    until: float | None = None,
    only: Sequence[str] | None = None,
    run: str | Path | None = None,
) -> AblationPlan:
    """Read a study file, build every variant, and prove that each differs in what it says.

    Raises: ConfigError naming the variant, DataError.
    """
    ablation, folder = definition.read_with(
        study, Ablation, fragments, overrides, run, seeds=seeds, until=until, only=only
    )
    with definition.config_errors(str(definition.find(study))):
        names = [ablation.baseline, *(name for name, _, _ in wanted(ablation))]
        check_names([named(name, size) for size in ablation.sizes or [""] for name in names])
    variants, sizes = make_all(ablation)
    metric = _metric(ablation, variants)
    variants = _with_texts(variants)
    matched = _matched(ablation, ablation.match, variants) if ablation.match else []
    every = {variant.name: variant for variant in [*variants, *matched]}
    tuned = candidates(ablation, list(every.values()))
    plan = AblationPlan(ablation, folder, variants, matched, metric, tuned, sizes)
    if sizes:
        refuse_no_ladder(plan.baselines, metric)
    return plan


def _metric(ablation: Ablation, variants: Sequence[PlannedVariant]) -> Metric:
    """What all variants are compared by. Raises: ConfigError naming the variant that does not have it."""
    chosen = choose("Ablation", ablation.metric, variants[0].config)
    for variant in variants[1:]:
        with definition.config_errors(f"variant {variant.name!r}"):
            choose("Ablation", chosen.key, variant.config)
    return chosen


def _with_texts(variants: Sequence[PlannedVariant]) -> list[PlannedVariant]:
    """The same with the hashes of their texts. Raises: DataError if one is not there."""
    known: dict[tuple[str, ...], str] = {}
    for variant in variants:
        if (text := _text_of(variant.config)) not in known:
            corpus = experiment.build(variant.config, shapes_only=True).source
            assert corpus is not None
            known[text] = corpus.sha256
    return [replace(variant, corpus_sha=known[_text_of(variant.config)]) for variant in variants]


def _text_of(config: Config) -> tuple[str, ...]:
    """The bindings that say which text or task it is."""
    of_places = set(config.text.splitlines()) - set(identity(config.text).splitlines())
    return tuple(line for line in config.text.splitlines() if line.startswith(SOURCE) or line in of_places)


def _matched(ablation: Ablation, cost: Cost, variants: Sequence[PlannedVariant]) -> list[PlannedVariant]:
    """The baseline, and every variant at the width or the memory that gives it the baseline's cost."""
    baseline, *others = variants
    target = costs(baseline.config)[FACTS[cost]]
    matched = [baseline]
    for variant in others:
        width = (ablation.widths or {}).get(variant.name)
        resolved, error = solve_width(variant.name, variant.config, cost, target, width)
        if resolved is variant.config:
            matched.append(replace(variant, match_error=error))
        else:
            build(variant.name, resolved)
            if not diff(baseline.config, resolved):
                raise ConfigError(
                    f"variant {variant.name!r} at the baseline's {UNITS[cost]} is the baseline: what is solved for is "
                    f"what its delta changes; name another width in Ablation.widths, or leave it out"
                )
            name, told = f"{variant.name} (matched)", shown(diff(baseline.config, resolved))
            matched.append(PlannedVariant(name, resolved, told, error, variant.corpus_sha, levels=variant.levels))
    return matched
