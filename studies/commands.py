"""`rnnlab search` and `rnnlab ablate`, for the entry-point group `rnnlab.commands`; imports nothing heavy by itself."""

import argparse

from rnnlab.cli.options import AddCommand, add_overrides, overrides, print_answer


def add_commands(add: AddCommand) -> None:
    """Put both commands on the command line."""
    search = add("search", _search, "Search the space of a study for the lowest valid BPC, or the highest accuracy.")
    _add_study(search)
    search.add_argument("--trials", type=int, metavar="N", help="how many are to finish, those of before among them")
    search.add_argument("--storage", metavar="URL", help="database of the study (default: study.db in its folder); "
                        "postgresql+psycopg://... for workers on several machines")  # fmt: skip

    ablate = add("ablate", _ablate, "Train a baseline and its variants with the same seeds, and compare them.")
    _add_study(ablate)
    ablate.add_argument("--seeds", type=int, metavar="K", help="how many seeds each variant is trained with")
    ablate.add_argument(
        "--until",
        type=float,
        metavar="H",
        help="add seeds until the widest interval of a difference is ±H, in the metric's unit",
    )


def _add_study(command: argparse.ArgumentParser) -> None:
    command.add_argument("study", metavar="STUDY.gin", help="a study file, or the name of one that ships")
    command.add_argument("fragments", nargs="*", metavar="FRAGMENT", help="on top of the study's base: size/tiny, ...")
    add_overrides(command)
    command.add_argument("--workers", type=int, metavar="K", help="runs at a time (default: one a GPU or a core)")
    command.add_argument("--run", metavar="DIR", help="folder of the study, new or to go on with (default: runs/STUDY)")


def _search(options: argparse.Namespace) -> None:
    from rnnlab.errors import Stopped
    from rnnlab.studies.search.driver import run_search
    from rnnlab.studies.search.plan import plan_search
    from rnnlab.studies.search.report import write_report

    plan = plan_search(
        options.study, options.fragments, overrides(options), trials=options.trials, storage=options.storage,
        run=options.run,
    )  # fmt: skip
    try:
        run_search(plan, options.workers)
    except Stopped:
        print_answer(options, *write_report(plan))  # of what there is
        raise
    print_answer(options, *write_report(plan))


def _ablate(options: argparse.Namespace) -> None:
    from rnnlab.studies.ablation.driver import run_ablation
    from rnnlab.studies.ablation.plan import plan_ablation

    plan = plan_ablation(
        options.study, options.fragments, overrides(options), seeds=options.seeds, until=options.until, run=options.run
    )
    print_answer(options, *run_ablation(plan, options.workers))
