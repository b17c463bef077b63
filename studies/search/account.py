"""How a search stands: its trials, its candidates, and the table of what there is. Nothing is written."""

from collections import Counter

from optuna.trial import FrozenTrial, TrialState

from rnnlab.studies.account import StudyAccount
from rnnlab.studies.jobs import StudyJobs
from rnnlab.studies.search.confirm import candidate_folders
from rnnlab.studies.search.database import FINISHED, failure, may_be_alive
from rnnlab.studies.search.look import SearchState
from rnnlab.studies.search.plan import CONFIRM, TRIALS
from rnnlab.studies.search.report import trials_table
from rnnlab.studies.standing import Standing, standing


def account_of_search(found: SearchState) -> StudyAccount:
    """Raises: StorageError if the folder of a run is damaged."""
    plan, search = found.plan, found.plan.search
    begun = [trial for trial in found.trials if trial.state is TrialState.RUNNING]
    alive = sum(map(may_be_alive, begun))
    counts = Counter[str](done=len(found.finished), running=alive, interrupted=len(begun) - alive)
    counts["waiting"] = max(0, search.trials - counts.total())
    runs: dict[str, Standing] = {}
    for trial in begun:
        runs[f"trial {trial.number}"] = standing(plan.folder / TRIALS / f"trial-{trial.number:04d}")
    for candidate in found.candidates:
        if candidate.state is TrialState.RUNNING:
            last = candidate_folders(plan.folder / CONFIRM, candidate)[0]
            runs |= {f"{last.name}, {path.name}": standing(path) for path in sorted(last.glob("seed-*"))}
    taken = [duration.total_seconds() for trial in found.finished if (duration := trial.duration)]
    running = [one.seconds_left or 0.0 for one in runs.values()]
    head = f"{plan.folder}: a search of {search.trials} trials"
    if found.candidates:
        ended = sum(candidate.state in FINISHED for candidate in found.candidates)
        head += f"; of its {len(found.candidates)} candidates with fresh seeds, {ended} are done"
    jobs = StudyJobs.of(plan.folder).asked()
    failed = [trial for trial in [*found.trials, *found.candidates] if trial.state is TrialState.FAIL]
    return StudyAccount(
        folder=plan.folder,
        head=head,
        noun="trials",
        counts=counts,
        runs=runs,
        seconds_left=sum(running) + counts["waiting"] * sum(taken) / len(taken) if taken else None,
        tables={"trials": trials_table(plan, found.finished)} if found.finished else {},
        stage=[*([_failed_line(failed)] if failed else []), *jobs.lines()],
        facts={"failed": [{"trial": trial.number, "said": failure(trial)} for trial in failed], **jobs.facts()},
    )


def _failed_line(failed: list[FrozenTrial]) -> str:
    """On tries that ended early; each is queued again under another number, and counts there."""
    many = "1 try" if len(failed) == 1 else f"{len(failed):,} tries"
    words = failure(failed[-1]) or "its worker was gone"
    return f"{many} of a trial ended early, to be tried again; the last, trial {failed[-1].number}: {words}"
