"""The plan of a search: an Optuna study whose trials are runs, one process each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from rnnlab import config, rng
from rnnlab.config import Config, identity
from rnnlab.console import say
from rnnlab.errors import ConfigError
from rnnlab.interfaces import Place
from rnnlab.registry import configurable
from rnnlab.storage.durable import storage_errors, write_file
from rnnlab.studies import definition
from rnnlab.studies.budget import positions, refuse_to_vary_a_step, refuse_two_budgets, resolve_base
from rnnlab.studies.launch.urls import check_url, file_url
from rnnlab.studies.metric import OF_SEARCHES, choose
from rnnlab.studies.search.database import Address, Direction, SharedStudy
from rnnlab.studies.search.points import DATABASE, Point, best_of_study, check_points, read_points
from rnnlab.studies.search.space import Space, differences
from rnnlab.studies.source import noun_of_source
from rnnlab.training import experiment
from rnnlab.views.metrics import Metric
from rnnlab.views.runs import parse_bindings

BASE = "base.gin"
TRIALS = "trials"
CONFIRM = "confirm"


@configurable
@dataclass(frozen=True)
class Search:
    """A search over the space of a few gin keys for the lowest valid BPC, or the highest valid accuracy of a task.

    Args:
        base: fragments that every trial starts from.
        space: {gin key or macro: distribution}; see `rnnlab.studies.search.space`.
        overrides: bindings on top of the base.
        bytes: budget of a trial, on a task of positions.
        steps: budget of a trial on a task in place of bytes; without either the task's fragment gives one.
        metric: what is looked for; None for valid_bpc of text, valid_accuracy of a task. valid_dynamic_bpc is measured
            once a run is trained, so that no trial is pruned.
        trials: how many are to finish, pruned ones among them.
        sampler: of parameters: tree-structured Parzen estimator, or uniform.
        startup: trials drawn at random before tpe begins.
        pruner: what ends a trial early: being worse than the median at as many bytes, Hyperband, or nothing.
        pruner_startup: trials that have to finish before the median prunes.
        warmup: part of its budget that every trial gets before a pruner looks at it [fraction].
        evaluations: of valid during a trial, at equal distances; the pruner decides at each.
        seed: of the sampler.
        baseline: begin with the base's own values.
        enqueue: points that are tried first, [{key: value}, ...]; a key that a point leaves out is drawn.
        from_study: folder of another search; its five best trials are tried first, where they lie in this space.
        confirm: candidates that are trained again with fresh seeds once the search is over; 0 for none.
        confirm_seeds: how many seeds that takes each, if nothing prunes the candidate.
        heartbeat: interval between a worker's signs of life [s]; without them its trial is given to another.
    Raises: ConfigError for a number that is too small or too large, or two budgets.
    """

    base: Sequence[str]
    space: Mapping[str, Any]
    overrides: Sequence[str] = ()
    bytes: int | None = None
    steps: int | None = None
    metric: Literal["valid_bpc", "valid_accuracy", "valid_nats", "valid_dynamic_bpc"] | None = None
    trials: int = 40
    sampler: Literal["tpe", "random"] = "tpe"
    startup: int = 10
    pruner: Literal["median", "hyperband", "none"] = "median"
    pruner_startup: int = 5
    warmup: float = 0.2
    evaluations: int = 10
    seed: int = 1
    baseline: bool = True
    enqueue: Sequence[Mapping[str, Any]] | None = None
    from_study: Place | None = None
    confirm: int = 3
    confirm_seeds: int = 5
    heartbeat: int = 10

    def __post_init__(self) -> None:
        refuse_two_budgets(self)
        least = {"trials": 1, "startup": 1, "pruner_startup": 1, "evaluations": 1, "confirm": 0, "confirm_seeds": 1}
        for name, bound in {**least, "heartbeat": 1}.items():
            if getattr(self, name) < bound:
                raise ConfigError(f"Search.{name} = {getattr(self, name)}: at least {bound}")
        for name, bound in {"trials": 1_000_000, "confirm": 1_000, "confirm_seeds": 1_000, "heartbeat": 86_400}.items():
            if getattr(self, name) > bound:
                raise ConfigError(f"Search.{name} = {getattr(self, name)}: at most {bound:,}")
        if not 0.0 <= self.warmup < 1.0:
            raise ConfigError(f"Search.warmup = {self.warmup}: a fraction in [0, 1) is needed")


@dataclass(frozen=True)
class SearchPlan:
    """A search that is ready to run."""

    search: Search
    folder: Path
    base: Config
    address: Address
    corpus_sha: str = ""  # of the text; empty in a worker, whose runs look at it themselves

    @property
    def space(self) -> Space:
        return Space.read(self.search.space)

    @property
    def confirmation(self) -> Address:
        """Of the second stage, a study of its own in the same database."""
        return replace(self.address, name=f"{self.address.name} {CONFIRM}")

    @cached_property
    def metric(self) -> Metric:
        """What is looked for. Raises: ConfigError if the runs do not have it."""
        return choose("Search", self.search.metric, self.base, OF_SEARCHES)

    @property
    def direction(self) -> Direction:
        return "maximize" if self.metric.higher_is_better else "minimize"

    @cached_property
    def budget(self) -> int:
        """Of a trial [bytes]; about, see `rnnlab.studies.budget.positions`."""
        return positions(self.base)

    @property
    def evaluate_every(self) -> int:
        """[bytes] between two evaluations, and between two reports to the pruner."""
        return int(self.base.value("Trainer.eval_every"))

    @property
    def seed(self) -> int:
        """Of training in the first stage."""
        return int(self.base.value("Trainer.seed", 1))

    def fresh_seeds(self) -> list[int]:
        """Of training in the second stage: none that chose the candidates."""
        return [self.seed + 1 + i for i in range(self.search.confirm_seeds)]

    def pruner(self) -> BasePruner:
        least = max(self.evaluate_every, int(self.search.warmup * self.budget))
        if self.search.pruner == "none":
            return NopPruner()
        if self.search.pruner == "median":
            return MedianPruner(n_startup_trials=self.search.pruner_startup, n_warmup_steps=least)
        return HyperbandPruner(min_resource=least, max_resource=max(least, self.budget))

    def sampler(self, draw: int) -> BaseSampler:
        """For the draw of this number: its seed depends on the study's and on the number alone, so that neither a
        resumption nor the number of workers changes what is drawn at random."""
        seed = rng.derive(self.search.seed, draw, "sampler") % 2**32
        if self.search.sampler == "random":
            return RandomSampler(seed=seed)
        grouped = self.space.conditional  # else what applies in some trials only is drawn on its own
        return TPESampler(seed=seed, n_startup_trials=self.search.startup, group=grouped)

    def facts(self) -> dict[str, Any]:
        """What may not change while the study goes on."""
        names = ("sampler", "startup", "pruner", "pruner_startup", "warmup", "seed")
        settings = {"metric": self.metric.key, **{name: getattr(self.search, name) for name in names}}
        base, text = identity(self.base.text), self.corpus_sha
        return {"space": self.space.description, "base": base, "text": text, "settings": settings}


def plan_search(
    study: str,
    fragments: Sequence[str] = (),
    overrides: Sequence[str] = (),
    *,
    trials: int | None = None,
    storage: str | None = None,
    run: str | Path | None = None,
) -> SearchPlan:
    """Read a study file and check all that can be checked before a trial.

    Raises: ConfigError, DataError; StorageError if the folder's note of the study's name cannot be read.
    """
    search, folder = definition.read_with(study, Search, fragments, overrides, run, trials=trials)
    base = _base(search)
    choose("Search", search.metric, base, OF_SEARCHES)
    refuse_to_vary_a_step(base, search.space)
    space = Space.read(search.space)
    space.check(base)
    check_points(read_points(search.enqueue or (), space), space, base)
    corpus = experiment.build(base, shapes_only=True).source
    assert corpus is not None
    if storage is not None:
        check_url(storage)
    url = storage or file_url(folder.resolve() / DATABASE)
    address = Address(url, definition.name_of(folder), search.heartbeat)
    return SearchPlan(search, folder, base, address, corpus.sha256)


def reopen(folder: Path, url: str, name: str) -> SearchPlan:
    """The plan that another process has written into the folder."""
    search = definition.read(folder / definition.STUDY, Search)
    return SearchPlan(search, folder, config.load(folder / BASE), Address(url, name, search.heartbeat))


def _base(search: Search) -> Config:
    base = resolve_base(search)
    if base.value("Trainer.eval_every") is not None:
        return base
    every = max(1, positions(base) // search.evaluations)
    return base.override([f"Trainer.eval_every = {every}"])


def create_or_resume(plan: SearchPlan) -> None:
    """Create the study, or find it as it was left; only once, however many processes do so at this moment. Points to
    try first that it does not know come next.

    Raises: ConfigError if the study that is there has another space or base, the folder holds trials of a study that
        the storage does not know, or what `Search.from_study` names is no search; StorageError.
    """
    warm = _read_warm(plan)
    with plan.address.locked():
        if not plan.address.exists():
            if any((plan.folder / TRIALS).glob("*")):
                raise ConfigError(
                    f"{plan.folder / TRIALS}: trials of a study that the storage does not know; choose another --run, "
                    f"or the --storage that they belong to"
                )
            plan.address.create(plan.direction)
        study = SharedStudy(plan.address).optuna
        _complete(plan, study)
        _refuse_changes(plan, study.user_attrs)
        _queue_points(plan, study, warm)
        with storage_errors(f"{plan.folder}: the study cannot be kept there"):
            plan.folder.mkdir(parents=True, exist_ok=True)
            write_file(plan.folder / BASE, plan.base.text.encode())
            definition.write(plan.search, plan.address.name, plan.folder)


def _read_warm(plan: SearchPlan) -> list[tuple[int, Point]]:
    """The points of the search before this one, with the numbers of their trials; none if this one has them already."""
    if (before := plan.search.from_study) is None:
        return []
    if Path(before).resolve() == plan.folder.resolve():
        raise ConfigError(f"Search.from_study = {before!r}: the folder of this search itself; leave it out to go on")
    if (plan.folder / definition.STUDY).exists():
        with plan.address.locked():
            if plan.address.exists() and SharedStudy(plan.address).optuna.user_attrs.get("from_study") == str(before):
                return []
    points, lines = best_of_study(Path(before), plan.space)
    for line in lines:
        say(line)
    return points


def _queue_points(plan: SearchPlan, study: optuna.Study, warm: Sequence[tuple[int, Point]]) -> None:
    """Queue the points to try first, those that are known already left out."""
    for point in read_points(plan.search.enqueue or (), plan.space):
        study.enqueue_trial(point, user_attrs={"queued": "Search.enqueue"}, skip_if_exists=True)
    for number, point in warm:
        origin = f"trial {number} of {plan.search.from_study}"
        study.enqueue_trial(point, user_attrs={"queued": origin}, skip_if_exists=True)
    if warm:
        study.set_user_attr("from_study", str(plan.search.from_study))


def _complete(plan: SearchPlan, study: optuna.Study) -> None:
    """What a new study needs, or one whose maker died; "ready" comes last."""
    if "ready" in study.user_attrs:
        return
    for name, value in plan.facts().items():
        study.set_user_attr(name, value)
    params, outside = plan.space.baseline(plan.base)
    if plan.search.baseline and not outside and not study.get_trials(deepcopy=False):
        study.enqueue_trial(params, user_attrs={"baseline": True})
    study.set_user_attr("baseline_outside", outside)
    study.set_user_attr("ready", True)


def _refuse_changes(plan: SearchPlan, recorded: Mapping[str, Any]) -> None:
    remedy = "choose another --run for another search, or go on with what it was"
    now = plan.facts()
    changes = {
        "space": differences(recorded["space"], now["space"]),
        "base": differences(parse_bindings(recorded["base"]), parse_bindings(now["base"])),
    }
    for name, lines in changes.items():
        if lines:
            raise ConfigError("\n".join([f"{plan.folder}: the {name} changed since its first trial; {remedy}", *lines]))
    if recorded.get("text", now["text"]) != now["text"]:  # a study begun before texts were recorded has none
        raise ConfigError(
            f"{plan.folder}: the {noun_of_source(plan.base)} changed since its first trial: its SHA-256 is "
            f"{now['text'][:12]}, and was {recorded['text'][:12]}; {remedy}"
        )
    before = {"metric": "valid_bpc", **recorded["settings"]}  # a study begun before there were others has none
    for name, value in now["settings"].items():
        if before.get(name) != value:
            raise ConfigError(f"{plan.folder}: Search.{name} was {before.get(name)!r} when the study began and is "
                              f"{value!r} now; {remedy}")  # fmt: skip
