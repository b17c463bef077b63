"""The command that plans: plan."""

import argparse

from rnnlab.cli.options import AddCommand, overrides, print_answer


def add_commands(add: AddCommand) -> None:
    plan = add("plan", _plan, "What a run will need: memory, speed, hours, checkpoints.", takes_config=True)
    plan.add_argument("--gpu", metavar="CARD", help="h100, a100, 4090, ..., or 12GB (default: the machine at hand)")
    plan.add_argument("--ranks", type=int, default=1, metavar="N", help="GPUs that share the batch (default: 1)")


def _plan(options: argparse.Namespace) -> None:
    from rnnlab.planning.plan import plan
    from rnnlab.planning.plan_text import plan_text

    answer = plan(options.fragments, overrides(options), options.gpu, options.ranks)
    print_answer(options, answer, plan_text(answer))
