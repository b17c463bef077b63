"""What `import rnnlab` offers, and that offering it costs nothing."""

import subprocess
import sys

import pytest

import rnnlab


def test_every_public_name_is_shown_found_and_documented() -> None:
    assert set(rnnlab.__all__) == set(rnnlab._PUBLIC)
    for name in rnnlab.__all__:
        assert name in dir(rnnlab)
        assert (getattr(rnnlab, name).__doc__ or "").strip()
        assert f"\n{name} " in (rnnlab.__doc__ or ""), "help(rnnlab) lists it"
    shown = {name for name in dir(rnnlab) if not name.startswith("_")}
    modules = {name.split(".")[1] for name in sys.modules if name.startswith("rnnlab.")}
    assert shown <= set(rnnlab.__all__) | modules


HEAVY = ("torch", "numpy", "gin", "optuna", "matplotlib", "tensorboard")


def imported_by(code: str, names: tuple[str, ...]) -> list[str]:
    """Which of these modules a process has imported after that code."""
    code = f"import sys, rnnlab; {code}; print(*[name for name in {names} if name in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_to_import_and_to_look_imports_nothing_heavy() -> None:
    assert not imported_by("dir(rnnlab)", HEAVY)


@pytest.mark.long
def test_arrays_need_no_picture() -> None:
    assert imported_by("rnnlab.inspect", HEAVY) == ["torch", "numpy", "gin"]
