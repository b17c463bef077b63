"""`rnnlab search`, `ablate`, `status` and `studies`, for the entry-point group `rnnlab.commands`.

It imports nothing heavy by itself.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rnnlab.cli.options import AddCommand, add_overrides, overrides, print_answer
from rnnlab.console import say
from rnnlab.errors import ConfigError, Stopped

if TYPE_CHECKING:
    from rnnlab.studies.launch.slurm.request import SlurmRequest

NEXT = (
    "nobody waits for the jobs now; the same command, without --detach or with it, goes on: with what failed, with the "
    "next stage if there is one, and with the report"
)


def add_commands(add: AddCommand) -> None:
    """Put the commands on the command line."""
    search = add("search", _search, "Search the space of a study for the lowest valid BPC, or the highest accuracy.")
    _add_study(search)
    search.add_argument("--trials", type=int, metavar="N", help="how many are to finish, those of before among them")
    search.add_argument("--storage", metavar="URL", help="database of the study (default: study.db in its folder); "
                        "postgresql+psycopg://... for workers on several machines")  # fmt: skip

    ablate = add("ablate", _ablate, "Train a baseline and its variants with the same seeds, and compare them.")
    _add_study(ablate)
    ablate.add_argument("--seeds", type=int, metavar="K", help="how many seeds each variant is trained with")
    ablate.add_argument("--until", type=float, metavar="H",
                        help="add seeds until no interval of a difference is wider than ±H")  # fmt: skip
    ablate.add_argument("--only", nargs="+", metavar="VARIANT", help="train these and the baseline, and no others")
    ablate.add_argument("--with", dest="others", nargs="+", default=[], metavar="FILE",
                        help="cells.jsonl of other machines: their cells are not trained again")  # fmt: skip

    status = add("status", _status, "How a study or a run stands; nothing is locked, trained or written.")
    status.add_argument("folder", metavar="FOLDER", help="folder of an ablation, a search or a run")
    status.add_argument("--storage", metavar="URL", help="database of the search, if it was begun with one")

    studies = add("studies", _studies, "List the studies that ship; show one, or copy one to change it.")
    studies.add_argument("action", nargs="?", choices=("show", "copy"), help="what to do with NAME (default: list all)")
    studies.add_argument("name", nargs="?", metavar="NAME", help="a study, as the list has it")
    studies.add_argument("path", nargs="?", metavar="PATH", help="where to copy it (default: the current folder)")


def _add_study(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", metavar="STUDY.gin", help="a study file, or the name of one that ships")
    command.add_argument("fragments", nargs="*", metavar="FRAGMENT", help="on top of the study's base: size/tiny, ...")
    add_overrides(command)
    command.add_argument("--workers", type=int, metavar="K", help="runs at a time (default: one a GPU or a core)")
    command.add_argument("--slurm", metavar="'OPTIONS'", help="one job of SLURM a run, with options of sbatch: "
                         "'partition=gpu gpus-per-node=1 time=240 array-parallelism=16'")  # fmt: skip
    command.add_argument(
        "--detach", action="store_true", help="with --slurm: submit the jobs, and do not wait for them"
    )
    command.add_argument("--run", metavar="DIR", help="folder of the study, new or to go on with (default: runs/STUDY)")
    command.add_argument("--dry-run", action="store_true", help="print what it will take, and train nothing")


def _slurm(options: argparse.Namespace) -> "SlurmRequest | None":
    from rnnlab.studies.launch.slurm.request import parse_request

    if options.slurm is None:
        if options.detach:
            raise ConfigError("--detach: local workers end with their command; with --slurm 'OPTIONS' the jobs go on")
        return None
    return parse_request(options.slurm, options.detach)


def _search(options: argparse.Namespace) -> None:
    from rnnlab.studies.launch.launcher import Detached
    from rnnlab.studies.launch.urls import shown
    from rnnlab.studies.search.ahead import forecast_search
    from rnnlab.studies.search.driver import run_search
    from rnnlab.studies.search.plan import plan_search
    from rnnlab.studies.search.report import write_report

    slurm = _slurm(options)
    plan = plan_search(
        options.study, options.fragments, overrides(options), trials=options.trials, storage=options.storage,
        run=options.run,
    )  # fmt: skip
    ahead = forecast_search(plan, options.workers, slurm)
    if options.dry_run:
        print_answer(options, ahead.facts(), ahead.text())
        return
    say(ahead.text())
    try:
        run_search(plan, options.workers, slurm)
    except Detached:
        _print_what_there_is(options, plan.folder, options.storage)
        say(NEXT)
        return
    except Stopped:
        print_answer(options, *write_report(plan))  # of what there is
        where = f" --storage {shown(options.storage)}" if options.storage else ""
        say(f"`rnnlab status {plan.folder}{where}` shows this again")
        raise
    print_answer(options, *write_report(plan))


def _ablate(options: argparse.Namespace) -> None:
    from rnnlab.studies.ablation.ahead import forecast_ablation
    from rnnlab.studies.ablation.driver import run_ablation
    from rnnlab.studies.ablation.known import say_what_is_known
    from rnnlab.studies.ablation.plan import plan_ablation
    from rnnlab.studies.launch.launcher import Detached

    slurm = _slurm(options)
    plan = plan_ablation(
        options.study, options.fragments, overrides(options), seeds=options.seeds, until=options.until,
        only=options.only, run=options.run,
    )  # fmt: skip
    others = list(map(Path, options.others))
    say_what_is_known(plan.known_tuning(others), plan.at_most(others).known(others))
    ahead = forecast_ablation(plan, others, options.workers, slurm)
    if options.dry_run:
        print_answer(options, ahead.facts(), ahead.text())
        return
    say(ahead.text())
    try:
        answer = run_ablation(plan, options.workers, others, slurm)
    except Detached:
        _print_what_there_is(options, plan.folder)
        say(NEXT)
        return
    except Stopped:
        _print_what_there_is(options, plan.folder)
        raise
    print_answer(options, *answer)


def _print_what_there_is(options: argparse.Namespace, folder: Path, storage: str | None = None) -> None:
    """Of a study that goes on later: what is done is done, and shown."""
    from rnnlab.errors import RnnlabError
    from rnnlab.studies.launch.urls import shown
    from rnnlab.studies.status import status

    try:
        print_answer(options, *status(folder, storage))
    except RnnlabError as error:  # of a study that had hardly begun
        say(f"what there is cannot be shown: {error}")
    where = f" --storage {shown(storage)}" if storage else ""
    say(f"`rnnlab status {folder}{where}` shows this again")


def _status(options: argparse.Namespace) -> None:
    from rnnlab.studies.status import status

    print_answer(options, *status(Path(options.folder), options.storage))


def _studies(options: argparse.Namespace) -> None:
    from rnnlab.studies import shelf

    if options.action is None:
        every = shelf.listed()
        print_answer(options, {"studies": every}, shelf.listing(every))
    elif options.name is None:
        raise ConfigError(f"studies {options.action}: which one? `rnnlab studies` lists those that ship")
    elif options.action == "show":
        if options.path is not None:
            raise ConfigError(f"studies show {options.name} {options.path}: one study at a time")
        study = shelf.shown(options.name)
        print_answer(options, study, study["text"].rstrip("\n"))
    else:
        made = shelf.copied(options.name, options.path)
        print_answer(options, made, f"{made['path']}; {made['run']} runs it")
