"""Parts by kind and name. One decorator puts a class in the registry and within reach of gin:

    @register("core")
    class LSTM(nn.Module): ...        # bound as `Block.core = @core.LSTM`, `LSTM.dropconnect = 0.2`

The class itself is left untouched: `LSTM(8)` in a unit test sees no configuration.
"""

import difflib
import importlib
import importlib.metadata
import importlib.util  # gin-config needs it loaded before itself, or any missing file ends in an AttributeError
import inspect
import itertools
import pkgutil
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import gin

from rnnlab.errors import ConfigError
from rnnlab.interfaces import KINDS

if not hasattr(gin, "register"):
    raise ImportError("`import gin` found a folder and not gin-config; install it: pip install gin-config==0.5.0")

ENTRY_POINTS = "rnnlab.components"
ENGINE = ("model", "training.recipe", "training.optim", "training.schedules", "data.corpora", "data.task_source",
          "scoring.dynamic", "training.online")  # fmt: skip
"""Modules of what configurations bind; named rather than imported, since they stand above this one."""

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Part:
    """One entry of the registry."""

    kind: str
    name: str
    factory: Callable[..., Any]

    @property
    def selector(self) -> str:
        """What stands behind the @ in gin: `core.LSTM`."""
        return f"{self.kind}.{self.name}"

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def source(self) -> str:
        """The `Source:` heading of the docstring, on one line; empty if there is none."""
        _, _, after = f"\n{inspect.getdoc(self.factory)}".partition("\nSource:")
        end = re.compile(r"    |[A-Z][a-z]+:|$")  # equations, the next heading, an empty line
        return " ".join(map(str.strip, itertools.takewhile(lambda line: not end.match(line), after.split("\n"))))

    @property
    def distribution(self) -> str:
        """The package that ships the part."""
        return self.factory.__module__.partition(".")[0]


_table: dict[str, Callable[..., Any]] = {}
"""{selector: factory}: parts as `core.LSTM`, classes of the engine as `Block`."""
_loaded = False
_loading = False
_load_once = threading.RLock()  # the other threads wait, rather than see half of the parts


def register(kind: str) -> Callable[[T], T]:
    """Register a class or factory under its own name.

    Raises: ConfigError if the kind is unknown, or the name taken in any kind: gin's `LSTM.dropconnect` names one part.
    """
    if kind not in KINDS:
        raise ConfigError(f"register({kind!r}): no such kind; the kinds are {', '.join(KINDS)}")
    return lambda factory: _enter(factory, kind, f"{kind}.{factory.__name__}")


def configurable(factory: T) -> T:
    """Put a class of the engine within reach of gin under its own name, without making it a part: `Trainer.bptt = 64`.

    Raises: ConfigError if a part or another class has the name.
    """
    return _enter(factory, "rnnlab", factory.__name__)


def _enter(factory: T, module: str, selector: str) -> T:
    for taken, holder in _table.items():
        if taken.rpartition(".")[2] == factory.__name__:
            raise ConfigError(
                f"{factory.__module__} registers {selector}, but {holder.__module__} has already registered {taken}; "
                f"rename one of them"
            )
    _table[selector] = factory
    locked = gin.config_is_locked()  # where a program around us has finalized its own configuration
    gin.config._set_config_is_locked(False)
    try:
        gin.register(factory, module=module)
    finally:
        gin.config._set_config_is_locked(locked)
    return factory


def load_parts() -> None:
    """Import every package named in the entry-point group, and every module in it that does not begin with "_".

    Raises: ConfigError naming the distribution whose part does not import.
    """
    global _loaded, _loading
    if _loaded:
        return
    with _load_once:
        if _loaded or _loading:  # another thread was faster, or a part that is being imported lists parts
            return
        _loading = True
        try:
            for module in ENGINE:
                importlib.import_module(f"rnnlab.{module}")
            ours_first = sorted(
                importlib.metadata.entry_points(group=ENTRY_POINTS), key=lambda e: (e.name != "rnnlab", e.name)
            )
            for entry in ours_first:
                _import_package(entry)
            _loaded = True
        finally:
            _loading = False


def _import_package(entry: importlib.metadata.EntryPoint) -> None:
    try:
        package = importlib.import_module(entry.value)
        for module in pkgutil.walk_packages(getattr(package, "__path__", []), entry.value + "."):
            if not module.name.rpartition(".")[2].startswith("_"):
                importlib.import_module(module.name)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"the parts of {entry.name!r} (entry point {entry.value}) do not import: {type(error).__name__}: {error}; "
            f"repair or uninstall that package"
        ) from error


def parts(kind: str | None = None) -> list[Part]:
    """Every part, or those of one kind, by kind and name. Raises: ConfigError if there is no such kind."""
    load_parts()
    if kind is not None and kind not in KINDS:
        raise ConfigError(f"no kind {kind!r}; the kinds are {', '.join(KINDS)}")
    chosen = KINDS if kind is None else (kind,)
    found = [(selector.partition("."), factory) for selector, factory in sorted(_table.items())]
    return [Part(k, name, factory) for k in chosen for (owner, _, name), factory in found if owner == k]


def find(selector: str) -> Part:
    """The part behind `core.LSTM` or `LSTM`. Raises: ConfigError with the nearest name."""
    kind, _, name = selector.rpartition(".")
    for part in parts():
        if part.name == name and kind in ("", part.kind):
            return part
    known = [part.selector for part in parts()] + [part.name for part in parts()]
    raise ConfigError(f"no part {selector!r}{did_you_mean(selector, known) or '; `rnnlab parts` lists what there is'}")


def bindable() -> dict[str, Callable[..., Any]]:
    """{selector: factory} of all that a configuration can bind: parts as `core.LSTM`, our classes as `Block`."""
    load_parts()
    return _table


def gin_selector(selector: str) -> str:
    """The name under which gin knows a selector of `bindable`."""
    return selector if "." in selector else f"rnnlab.{selector}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'X'?` for the nearest of the known words, case aside; empty if none is near."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.5)
    return f"; did you mean {by_folded[near[0]]!r}?" if near else ""
