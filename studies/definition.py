"""Study files: gin files that bind `Search` or `Ablation`, found, read, and written down as they were run."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from rnnlab import config
from rnnlab.config import format_value
from rnnlab.config.checks import is_place
from rnnlab.console import say
from rnnlab.errors import ConfigError
from rnnlab.registry import did_you_mean
from rnnlab.safe_text import as_utf8
from rnnlab.storage.durable import storage_errors, write_file
from rnnlab.studies.names import check_names, has_control_characters

T = TypeVar("T")

COMMANDS = {"Search": "search", "Ablation": "ablate"}  # by the class that a file for them binds
STUDY = "study.gin"  # in the folder of a study: the definition as it was run
NAME = "study.name"  # beside it: what the study was called when it was made, wherever its folder is now
HERE = Path(__file__).resolve().parent
INCLUDED = "study"  # include 'study/core_swap.gin' is the study that ships, in a study file of the user


def shipped() -> list[str]:
    """Names of the studies that ship: `memory_dropout`, `core_swap`, ..., and those of a folder, `published/...`."""
    paths = [*sorted(HERE.glob("*.gin")), *sorted(HERE.glob("*/*.gin"))]
    return [path.relative_to(HERE).with_suffix("").as_posix() for path in paths]


def find(name: str) -> Path:
    """The study file called `name`: one that ships, with or without `studies/` and `.gin`, or a path.

    One that ships wins over a file of its name, as a fragment does. Raises: ConfigError with the nearest name.
    """
    if name in shipped():
        here = [path for path in (Path(name), Path(f"{name}.gin")) if path.is_file()]
        if here:
            say(f"{name} is the study that ships; for the file of that name write {os.path.join('.', here[0])}")
        return HERE / f"{name}.gin"
    for path in (Path(name), Path(f"{name}.gin")):
        if path.is_file():
            return path
    plain = Path(name).as_posix().removeprefix("studies/").removesuffix(".gin")
    if plain in shipped():
        return HERE / f"{plain}.gin"
    nearest = did_you_mean(plain, shipped()) or did_you_mean(Path(name).stem, shipped())
    nearest = nearest or f"; those that ship: {', '.join(shipped())}"
    raise ConfigError(f"no study {name!r}{nearest}")


@contextmanager
def config_errors(place: str) -> Iterator[None]:
    """Put the place of a study before what a ConfigError of the body says."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from error


def read(path: Path, factory: type[T], overrides: Sequence[str] = ()) -> T:
    """The study as the file binds it, with further bindings on top.

    Raises: ConfigError naming the file and line of what is wrong.
    """
    import rnnlab.studies.ablation.plan  # registers both, so that a file for the other command is told
    import rnnlab.studies.search.plan  # noqa: F401

    resolved = config.resolve([str(path)], overrides, {INCLUDED: HERE})
    bound = {binding.selector for binding in resolved.bindings.values()} & set(COMMANDS)
    if factory.__name__ not in bound:
        other = next(iter(bound), None)
        hint = f"it is for `rnnlab {COMMANDS[other]}`" if other else f"it binds no {factory.__name__}.* at all"
        raise ConfigError(f"{path}: not for `rnnlab {COMMANDS[factory.__name__]}`: {hint}")
    with resolved.activate():
        study: Any = resolved.construct(factory.__name__)
        resolved.audit()
    own = [b for b in resolved.bindings.values() if b.selector == factory.__name__ and isinstance(b.value, str)]
    places: dict[str, Any] = {b.argument: b.anchored().value for b in own if is_place(b.selector, b.argument)}
    anchored_study: T = replace(study, **places)  # a file without a model is not anchored when it is resolved
    return anchored_study


def read_with(
    name: str, factory: type[T], fragments: Sequence[str], overrides: Sequence[str], run: str | Path | None, **own: Any
) -> tuple[T, Path]:
    """(the study called `name` with what the command line puts on top, its folder).

    Args:
        fragments: on top of the study's base.
        overrides: bindings of the study and of the runs.
        run: the folder; None for runs/STUDY.
        own: arguments of the study; None leaves one as it is.
    Raises: ConfigError, as `find` and `read`, and for a name that the folder should not have.
    """
    path = find(name)
    folder = _folder(path, run)
    of_study = [line for line in overrides if re.match(rf"\s*({'|'.join(COMMANDS)})\s*\.", line)]
    given = [f"{factory.__name__}.{argument} = {value}" for argument, value in own.items() if value is not None]
    study: Any = read(path, factory, [*of_study, *given])
    of_runs = [line for line in overrides if line not in of_study]
    base, bindings = (anchored(list(items), path.parent) for items in (study.base, study.overrides))
    study = replace(study, base=[*base, *fragments], overrides=[*bindings, *of_runs])
    if hasattr(study, "deltas"):
        deltas, sizes = (anchored(items, path.parent) for items in (study.deltas, study.sizes))
        study = replace(study, deltas=deltas, sizes=sizes)
    return study, folder


def anchored(items: Any, folder: Path) -> Any:
    """The fragments and bindings that a study file names, nested as they may be, as they can be named from anywhere."""
    if isinstance(items, Mapping):
        return {name: anchored(item, folder) for name, item in items.items()}
    if isinstance(items, list | tuple):
        return [anchored(item, folder) for item in items]
    return config.anchored(items, folder) if isinstance(items, str) else items


def _folder(path: Path, run: str | Path | None) -> Path:
    """Of the study in a file; one that the user names may be called as the user likes, as long as it is one line."""
    if run is not None:
        if has_control_characters(str(run)):
            raise ConfigError(f"--run {str(run)!r}: control characters in the name of a folder; choose another")
        return Path(run)
    with config_errors(f"{path}, without --run"):
        check_names([path.stem])
    whole = path.resolve()
    name = whole.relative_to(HERE).with_suffix("") if whole.is_relative_to(HERE) else Path(path.stem)
    return "runs" / name  # of one that ships in a folder with it, as others may be called the same


def name_of(folder: Path) -> str:
    """What the study in a folder is called: as it was noted there, else after the folder. Raises: StorageError."""
    with storage_errors(f"{folder / NAME}: cannot be read"):
        noted = (folder / NAME).read_text(encoding="utf-8", errors="replace") if (folder / NAME).exists() else ""
    return noted.removesuffix("\n") or as_utf8(folder.resolve().name)


def write(study: Any, name: str, folder: Path) -> None:
    """Write down a study as it is run, and what it is called. Raises: OSError."""
    write_file(folder / NAME, f"{name}\n".encode())
    write_file(folder / STUDY, text(study).encode())


def text(study: Any) -> str:
    """The gin text that binds every argument of a study, from which it can be read again."""
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(study).items()}
    return "".join(f"{type(study).__name__}.{key} = {format_value(value)}\n" for key, value in values.items())
