"""The checks in their groups."""

import os
from importlib import import_module

from rnnlab.doctor.finding import Check, Finding, failed, look

GROUPS = {
    "Software": "software",
    "Processor": "processor",
    "GPU": "gpu",
    "Folders": "folders",
    "Environment": "variables",
    "A training step": "step",
}
"""Heading: the module whose `checks(device)` makes the checks of the group."""


def examine(device: str = "auto") -> dict[str, list[Finding]]:
    """What every check finds, by the heading of its group. Raises nothing: what fails is a finding.

    Args:
        device: where runs are to train: auto, cpu, cuda or cuda:1.
    """
    if gone := _working_folder_is_gone():
        return {"Folders": [gone]}
    return {heading: _examine_group(module, device) for heading, module in GROUPS.items()}


def _working_folder_is_gone() -> Finding | None:
    """MKL ends the process at its first product where the working folder was removed: nothing else can be looked at."""
    try:
        os.getcwd()
    except OSError as error:
        said = f"it cannot be found ({(error.strerror or str(error)).lower()}); nothing else was looked at"
        return Finding("working folder", "bad", said, "cd to a folder that exists")
    return None


def _examine_group(module: str, device: str) -> list[Finding]:
    """Imported here: where torch does not import, the groups that need it say so and the others go on."""
    try:
        checks: list[Check] = import_module(f"rnnlab.doctor.{module}").checks(device)
    except Exception as error:
        return [failed(module, error)]
    return [finding for check in checks for finding in look(check)]
