"""Who may import whom, over the syntax trees; and that the packages which are shipped are those that exist."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from rnnlab import registry

ROOT = Path(__file__).parents[2]
PACKAGES = {"rnnlab": "rnnlab", "components": "rnnlab.components", "studies": "rnnlab.studies"}
"""Folder: the name it is imported by."""
SOURCES = {folder: sorted((ROOT / folder).rglob("*.py")) for folder in PACKAGES}


def module_name(path: Path) -> str:
    """components/cores/lstm.py -> rnnlab.components.cores.lstm"""
    folder, *below = path.relative_to(ROOT).with_suffix("").parts
    names = [PACKAGES[folder], *below]
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


MODULES = {module_name(path): path for paths in SOURCES.values() for path in paths}


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Every module that is imported anywhere below, in functions too; a name that is a module counts as one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"a relative import in {package}"
            assert node.module is not None
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in names)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def imported_by(name: str) -> set[str]:
    return set(imports(parse(MODULES[name]), name))


def imported_from(folder: str) -> Iterator[tuple[str, str]]:
    """(module, what it imports) for every module of a folder."""
    for path in SOURCES[folder]:
        name = module_name(path)
        yield from ((name, target) for target in sorted(imported_by(name)))


def is_within(target: str, package: str) -> bool:
    return target == package or target.startswith(package + ".")


def test_the_sources_are_found() -> None:
    assert {"rnnlab.model", "rnnlab.config.parser", "rnnlab.components.cores.lstm", "rnnlab.studies"} <= set(MODULES)
    assert {"rnnlab.registry", "torch"} <= imported_by("rnnlab.components.cores.lstm")


FOR_PARTS = {f"rnnlab.{name}" for name in ("interfaces", "registry", "state", "errors", "task")}
FOR_OPERATORS = {f"rnnlab.{name}" for name in ("state", "rng", "errors", "cache", "locks", "console")}


def test_parts_know_the_contracts_their_own_kind_and_nothing_else_of_rnnlab() -> None:
    for name, target in imported_from("components"):
        if is_within(target, "rnnlab"):
            kind = ".".join(name.split(".")[:3])
            known = target in FOR_PARTS or is_within(target, kind) or is_within(target, "rnnlab.ops")
            assert known, f"{name} imports {target}"
            assert target != "rnnlab.ops.native", f"{name} names a backend"


def test_operators_know_no_part_and_nothing_that_trains() -> None:
    for name, target in imported_from("rnnlab"):
        if is_within(name, "rnnlab.ops") and is_within(target, "rnnlab"):
            assert is_within(target, "rnnlab.ops") or target in FOR_OPERATORS, f"{name} imports {target}"


def test_parts_lean_on_torch_numpy_einops_and_pythons_library_alone() -> None:
    allowed = {"rnnlab", "torch", "einops", "numpy", *sys.stdlib_module_names}
    for name, target in imported_from("components"):
        assert target.partition(".")[0] in allowed, f"{name} imports {target}"


def test_the_engine_imports_no_part_no_study_and_no_search() -> None:
    for name, target in imported_from("rnnlab"):
        for forbidden in ("rnnlab.components", "rnnlab.studies", "optuna", "components", "studies"):
            assert not is_within(target, forbidden), f"{name} imports {target}"


def test_the_engine_names_the_parts_once_in_the_entry_point_group() -> None:
    """In code, comments and prose alike; what it cannot name it cannot depend on."""
    lines = [
        f"{module_name(path)}: {line}"
        for path in SOURCES["rnnlab"]
        for line in path.read_text(encoding="utf-8").splitlines()
        if "components" in line
    ]
    assert lines == ['rnnlab.registry: ENTRY_POINTS = "rnnlab.components"']


def test_studies_never_import_a_part() -> None:
    for name, target in imported_from("studies"):
        assert not is_within(target, "rnnlab.components"), f"{name} imports {target}"
        assert not is_within(target, "components"), f"{name} imports {target}"


def test_what_launches_runs_knows_no_study_and_an_ablation_no_search() -> None:
    for name, target in imported_from("studies"):
        if is_within(name, "rnnlab.studies.launch") and is_within(target, "rnnlab.studies"):
            assert is_within(target, "rnnlab.studies.launch"), f"{name} imports {target}"
        if is_within(name, "rnnlab.studies.ablation"):
            assert not is_within(target, "rnnlab.studies.search"), f"{name} imports {target}"


def test_gin_is_imported_by_the_registry_and_the_configuration_alone() -> None:
    for folder in PACKAGES:
        for name, target in imported_from(folder):
            if is_within(target, "gin"):
                assert name == "rnnlab.registry" or is_within(name, "rnnlab.config"), f"{name} imports {target}"


LEVELS = {
    **dict.fromkeys(("errors", "rng", "progress", "locks"), 0),
    **dict.fromkeys(("state", "storage.durable"), 1),
    **dict.fromkeys(("interfaces", "ops", "task"), 2),
    "registry": 3,
    "config": 4,
    "model": 5,
    **dict.fromkeys(("data", "storage"), 6),
    **dict.fromkeys(
        (
            "training.schedules",
            "training.optim",
            "training.eager",
            "training.orthogonal",
            "training.gradients",
            "training.optimizer_state",
            "training.cudagraph",
        ),
        6,
    ),
    **dict.fromkeys(("training", "evaluation", "generation", "scoring"), 7),
    **dict.fromkeys(("api", "speed", "planning"), 8),
    "codec": 9,
    **dict.fromkeys(("views", "doctor"), 9),
    "cli": 10,
}
"""The order within the engine: a module imports, by whatever detour, none of a higher level."""


@cache
def at_import(name: str) -> set[str]:
    """The modules of the engine that importing this one imports: at the top of its file, not in functions."""
    tree = parse(MODULES[name])
    tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return {target for target in imports(tree, name) if target in MODULES and target != name}


def reached_from(name: str) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for target in at_import(waiting.pop()) - found:
            found.add(target)
            waiting.append(target)
    return found


def level(name: str) -> int | None:
    found = [noun for noun in LEVELS if is_within(name, f"rnnlab.{noun}")]
    return LEVELS[max(found, key=len)] if found else None


def test_the_levels_are_of_modules_that_exist() -> None:
    assert {f"rnnlab.{name}" for name in LEVELS} <= set(MODULES)


@pytest.mark.parametrize("noun", LEVELS)
def test_a_module_imports_none_that_stands_above_it(noun: str) -> None:
    for name in MODULES:
        if is_within(name, f"rnnlab.{noun}"):
            above = [target for target in reached_from(name) if (level(target) or 0) > LEVELS[noun]]
            assert not above, f"{name} reaches {above}"


def test_no_module_imports_itself_by_a_detour() -> None:
    assert not [name for name in MODULES if name in reached_from(name)]


@pytest.mark.long
def test_a_name_of_a_class_means_one_thing() -> None:
    found: dict[str, list[str]] = {}
    for name, path in MODULES.items():
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(name)
    assert {name: modules for name, modules in found.items() if len(modules) > 1} == {}


@pytest.mark.parametrize("path", SOURCES["components"], ids=module_name)
def test_a_module_of_parts_holds_one_part_and_a_helper_none(path: Path) -> None:
    held = [part.name for part in registry.parts() if part.factory.__module__ == module_name(path)]
    if path.name == "__init__.py":
        assert not path.read_text()
    elif path.name.startswith("_"):
        assert not held
    else:
        assert len(held) == 1
        assert held[0].lower() == path.stem.replace("_", "")


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def test_the_packages_that_are_listed_are_those_that_exist() -> None:
    existing = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    assert set(SETUPTOOLS["packages"]) == existing | {"rnnlab.configs"}
    assert SETUPTOOLS["package-dir"] == {name: folder for folder, name in PACKAGES.items()} | {"rnnlab.configs": "gin"}


def test_every_module_lies_in_a_package() -> None:
    for path in MODULES.values():
        assert (path.parent / "__init__.py").exists(), path


def test_the_folder_of_configurations_is_never_importable() -> None:
    """With an __init__.py it would shadow gin-config; any Python file in it would be the first step there."""
    assert list((ROOT / "gin").rglob("*.gin"))
    assert not list((ROOT / "gin").rglob("*.py"))


def test_every_file_beside_the_modules_is_shipped() -> None:
    data = SETUPTOOLS["package-data"]
    for folder in (*PACKAGES, "gin"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_dir() or path.suffix in (".py", ".pyc"):
                continue
            packages = [ROOT / folder, *(parent for parent in path.parents if (parent / "__init__.py").exists())]
            package = max(packages, key=lambda parent: len(parent.parts))
            place = path.relative_to(package).as_posix()
            patterns = [*data["*"], *data.get(".".join(package.relative_to(ROOT).parts), [])]
            shipped = any(fnmatch(place, pattern) and place.count("/") == pattern.count("/") for pattern in patterns)
            assert shipped, f"{path.relative_to(ROOT)} matches none of package-data"
