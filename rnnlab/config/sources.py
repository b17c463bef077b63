"""Where bindings come from: fragments that ship, files of the user, and what they include."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType

from rnnlab.config.bindings import Binding, Precedence
from rnnlab.config.checks import check, is_place
from rnnlab.config.parser import LARGEST_FILE, Include, parse, parse_assignment
from rnnlab.console import say
from rnnlab.errors import ConfigError
from rnnlab.registry import did_you_mean

MOST_INCLUDES = 64  # files that one fragment may pull in, so that files which include each other twice come to an end
CONFIG_OF_RUN = "config.gin"  # as the folder of a run has it
MODEL = "LanguageModel.blocks"  # what makes a user's file a root
BY_FOLDER = {"": Precedence.ROOT, "size": Precedence.SIZE, "train": Precedence.TRAIN, "task": Precedence.TRAIN}


@dataclass(frozen=True)
class GinSource:
    """The bindings that one name on the command line stands for."""

    precedence: Precedence
    folder: str  # of the shipped fragments it belongs to, such as "core"; empty for roots and for what is the user's
    bindings: tuple[Binding, ...]  # from low to high: what is included, then the file's own
    name: str = ""  # of the user's file; empty for what ships


@cache
def config_folder() -> Path:
    """The folder of the fragments that ship: `configs` in an installed package, `gin` in a working tree."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "gin"


def fragments() -> list[str]:
    """Names of what ships, as they are written on the command line: `sha_rnn`, `core/qrnn`, ..."""
    folder = config_folder()
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.gin"))


def read_fragment(
    name: str, precedence: Precedence | None = None, included: Mapping[str, Path] = MappingProxyType({})
) -> GinSource:
    """The fragment or file called `name`, with what it includes.

    Args:
        precedence: the weight of its bindings; by default what its place and content say.
        included: further folders that it may include files of, by what such a name begins with.
    Raises: ConfigError if it is not there, or for the first thing wrong in it.
    """
    path = _find(name)
    inside = _place(path)
    folder = inside.parts[0] if inside and len(inside.parts) > 1 else ""
    folders = [config_folder().resolve()] + ([] if inside else [path.resolve().parent])
    own_precedence = precedence
    if own_precedence is None:
        own_precedence = BY_FOLDER.get(folder, Precedence.PART) if inside else Precedence.OVERLAY
    bindings = list(_Reader(folders, own_precedence, included).read(path, ()))
    if precedence is None and not inside and any(binding.key == MODEL for binding in bindings):
        own_precedence = Precedence.ROOT
        bindings = [replace(binding, precedence=own_precedence) for binding in bindings]
    return GinSource(own_precedence, folder, tuple(bindings), "" if inside else _shown(path))


def read_override(text: str) -> GinSource:
    """One binding from the command line. Raises: ConfigError if the text is not exactly one sound binding."""
    name = "--set"
    binding = check(parse_assignment(text, name), name, Precedence.OVERRIDE, os.getcwd())
    return GinSource(Precedence.OVERRIDE, "", (binding,))


def anchored(item: str, folder: Path) -> str:
    """A fragment or a single binding that a file in `folder` names, as it can be named from anywhere.

    Raises: ConfigError if it is a binding that is not sound.
    """
    if "=" in item:
        (binding,) = read_override(item).bindings
        if not is_place(binding.selector, binding.argument):
            return item
        placed = replace(binding, folder=str(folder.resolve())).anchored()
        return f"{placed.key} = {placed.text}"
    if _is_fragment(item) or os.path.isabs(item):
        return item
    beside = (path for path in _candidates(item, folder) if os.path.isfile(path))
    return next((str(path.resolve()) for path in beside), item)


def _find(name: str) -> Path:
    """A fragment that ships wins over a file of its name: what a command means does not depend on where it is run."""
    found = [path for path in _candidates(name, Path()) if os.path.isfile(path)]
    if _is_fragment(name):
        if found and _place(found[0]) is None:
            say(f"{name} is the fragment that ships; for the file of that name write {os.path.join('.', found[0])}")
        return config_folder() / f"{name}.gin"
    for candidate in (*found, *_candidates(name, config_folder())):
        if os.path.isfile(candidate):
            return candidate
    if "=" in name:
        raise ConfigError(f"no fragment or file {name!r}; a binding goes behind --set")
    known = fragments()
    if os.path.isfile(os.path.join(name, CONFIG_OF_RUN)):
        configuration = os.path.join(name, CONFIG_OF_RUN)
        raise ConfigError(f"{name!r} is the folder of a run; name its configuration, {configuration!r}")
    if os.path.isdir(name):
        example = next((fragment for fragment in known if "/" not in fragment), "sha_rnn")
        raise ConfigError(f"{name!r} is a folder; name a .gin file or a fragment such as {example!r}")
    nearest = did_you_mean(name.removesuffix(".gin"), known) or f"; those that ship: {', '.join(known) or 'none'}"
    raise ConfigError(f"no fragment or file {name!r}{nearest}")


def _is_fragment(name: str) -> bool:
    """Whether the name is that of what ships, as `fragments` gives them."""
    as_given = name == os.path.normpath(name) and not os.path.isabs(name) and not name.startswith("..")
    return as_given and os.path.isfile(config_folder() / f"{name}.gin")


def _candidates(name: str, *folders: Path) -> Iterator[Path]:
    for folder in folders:
        if name:
            yield folder / name
            yield folder / f"{name}.gin"


def _place(path: Path) -> Path | None:
    """The path below the config folder; None if it lies elsewhere."""
    real, folder = path.resolve(), config_folder().resolve()
    return real.relative_to(folder) if real.is_relative_to(folder) else None


class _Reader:
    """Reads a file and, below its own bindings, what it includes: an include after a binding does not undo it."""

    def __init__(self, folders: list[Path], precedence: Precedence, included: Mapping[str, Path]) -> None:
        self._folders = [*folders, *(folder.resolve() for folder in included.values())]
        self._included_from = included
        self._precedence = precedence
        self._files = 0

    def read(self, path: Path, chain: tuple[Path, ...]) -> Iterator[Binding]:
        """Bindings from low to high. `chain` holds the files that are being read, the including one last."""
        shown = _shown(path)
        self._files += 1
        if self._files > MOST_INCLUDES:
            raise ConfigError(f"{_shown((*chain, path)[0])}: it includes more than {MOST_INCLUDES} files")
        own: dict[str, Binding] = {}
        reading, folder = (*chain, path.resolve()), str(path.parent.resolve())
        for statement in parse(_read_text(path, shown), shown):
            location = f"{shown}:{statement.line}"
            if isinstance(statement, Include):
                yield from self.read(self._included(statement, path, reading, location), reading)
                continue
            binding = check(statement, location, self._precedence, folder)
            if binding.key in own:
                raise ConfigError(f"{binding}: the same key stands at {own[binding.key].location}; keep one of the two")
            own[binding.key] = binding
        yield from own.values()

    def _included(self, include: Include, including: Path, chain: tuple[Path, ...], location: str) -> Path:
        candidates = list(_candidates(include.path, including.parent, config_folder()))
        prefix, _, rest = include.path.partition("/")
        if prefix in self._included_from:
            candidates += _candidates(rest, self._included_from[prefix])
        allowed = [path for path in candidates if any(map(path.resolve().is_relative_to, self._folders))]
        found = next((path for path in allowed if os.path.isfile(path)), None)
        if found is None and (not allowed or any(os.path.isfile(path) for path in candidates)):
            folders = " and ".join(str(folder) for folder in self._folders)
            raise ConfigError(
                f"{location}: include {include.path!r} leaves the folder of configurations; allowed: {folders}"
            )
        if found is None:
            raise ConfigError(
                f"{location}: include {include.path!r}: there is no such file, beside this one or among the fragments"
                f"{did_you_mean(include.path.removesuffix('.gin'), fragments())}"
            )
        if found.resolve() in chain:
            circle = " -> ".join(_shown(path) for path in (*chain[chain.index(found.resolve()) :], found))
            raise ConfigError(f"{location}: files that include each other: {circle}")
        return found


def _read_text(path: Path, shown: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ConfigError(f"{shown}: more than {LARGEST_FILE // 1024} KiB; that is no configuration")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigError(f"{shown}:{line}: not UTF-8 text ({error.reason})") from error
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read: {error.strerror}") from error


def _shown(path: Path) -> str:
    """How errors name a file: a fragment by its name, a file of the user from where they stand."""
    inside = _place(path)
    if inside is not None:
        return inside.as_posix()
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)
