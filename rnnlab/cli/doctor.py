"""The command that looks at the machine: doctor."""

import argparse

from rnnlab.cli.options import AddCommand, add_device, print_answer


def add_commands(add: AddCommand) -> None:
    doctor = add("doctor", _doctor, "What works on this machine, line by line, and what to do about the rest.")
    add_device(doctor)


def _doctor(options: argparse.Namespace) -> int:
    import time

    from rnnlab import doctor

    started = time.perf_counter()
    found = doctor.examine(options.device)
    answer = doctor.as_json(found)
    answer["seconds"] = time.perf_counter() - started
    print_answer(options, answer, doctor.as_text(found))
    return int(answer["bad"] > 0)
