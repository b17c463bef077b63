"""Write the parts of docs/ that the code knows best: `python -m docs.generate`.

A page marks such a part by `<!-- generated: NAME -->` and `<!-- end: NAME -->`; what is between them is replaced. A
page of findings marks a table by `<!-- table: FILE COLUMN... -->` and `<!-- end of table -->`: these columns of a table
that a study wrote, which lies under findings/data/.
"""

import argparse
import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnlab import cli, registry, testing
from rnnlab.catalog import catalog
from rnnlab.interfaces import KINDS
from rnnlab.scoring.dynamic import Dynamic
from rnnlab.studies.ablation.plan import Ablation
from rnnlab.studies.definition import find, shipped
from rnnlab.studies.search.plan import Search
from rnnlab.testing.modules import MODULES
from rnnlab.training.online import Online
from rnnlab.views import numerals, tables
from rnnlab.views.stored_tables import read_table

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "docs"
DATA = HERE / "findings" / "data"


def parts() -> str:
    """Every registered part: a table a kind, then the docstrings."""
    sections = []
    for kind in KINDS:
        ours = [part for part in registry.parts(kind) if part.distribution == "rnnlab"]
        names = [part.selector for part in ours]
        table = _parts_table([entry for entry in catalog(kind) if entry["selector"] in names])
        sections.append(f"## {kind}\n\n{table}")
        for part in ours:
            docstring = inspect.cleandoc(part.factory.__doc__ or "")
            sections.append(f"### {part.selector}\n\n```text\n{docstring}\n```\n\n{_bindable(part)}")
    return "\n\n".join(sections)


def _parts_table(entries: list[dict[str, Any]]) -> str:
    if "macs" not in entries[0]:
        rows = [f"| {_link(entry)} | {entry['summary']} |" for entry in entries]
        return "\n".join(["| part | what it is |", "| --- | --- |", *rows])
    rows = []
    for entry in entries:
        cost = " | ".join(numerals.engineering(entry[key]) for key in ("parameters", "macs", "state"))
        rows.append(f"| {_link(entry)} | {entry['summary']} | {cost} |")
    heading = "| part | what it is | parameters | MACs/position | state [floats] |"
    return "\n".join([heading, "| --- | --- | --: | --: | --: |", *rows])


def _link(entry: dict[str, Any]) -> str:
    return f"[`{entry['name']}`](#{entry['selector'].replace('.', '').lower()})"


def _bindable(part: registry.Part) -> str:
    """What a configuration may bind on the part, with types and defaults, and the fragments that name it."""
    arguments = [
        re.sub(r"Optional\[[\w.]*\.(\w+)\]", r"\1 | None", f"`{part.name}.{parameter}`")
        for parameter in list(inspect.signature(part.factory).parameters.values())
        if parameter.name not in ("dim", "core", "attention", "feedforward", "params")
    ]
    named = re.compile(rf"@({part.kind}\.)?{part.name}\b")
    fragments = [f"`{name}`" for name, text in _fragments() if "/" in name and named.search(text)]
    lines = [f"Bindable: {', '.join(arguments)}."] if arguments else []
    lines += [f"Fragments: {', '.join(fragments)}."] if fragments else []
    return "\n".join(lines)


def fragments() -> str:
    """What lies in gin/, a line each."""
    rows = [f"| `{name}` | {_gist(text)} |" for name, text in _fragments()]
    return "\n".join(["| fragment | what it says |", "| --- | --- |", *rows])


def studies() -> str:
    """What lies in studies/, a line each, with the command that runs it."""
    rows = []
    for name in shipped():
        text = find(name).read_text(encoding="utf-8")
        command = "search" if "Search." in text else "ablate"
        rows.append(f"| `rnnlab {command} {name}` | {_gist(text)} |")
    return "\n".join(["| study | its question |", "| --- | --- |", *rows])


def _fragments() -> Iterator[tuple[str, str]]:
    """(name, text): roots first, then folder by folder."""
    paths = sorted((ROOT / "gin").rglob("*.gin"), key=lambda path: (path.parent != ROOT / "gin", path))
    for path in paths:
        yield path.relative_to(ROOT / "gin").with_suffix("").as_posix(), path.read_text(encoding="utf-8")


def _gist(text: str) -> str:
    """The comment that a file begins with, or what it binds."""
    comment = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#").strip())
    bound = [line.partition("#")[0].strip() for line in text.splitlines() if "=" in line]
    return " ".join(comment) or "; ".join(f"`{line}`" for line in bound)


def classes() -> str:
    """What the engine lets a configuration bind beside parts."""
    bindable = registry.bindable()
    return "\n\n".join(_described(bindable[name]) for name in ("LanguageModel", "Block", "Trainer"))


def scoring_classes() -> str:
    """What evaluations and coders bind."""
    return "\n\n".join(_described(one) for one in (Dynamic, Online))


def study_classes() -> str:
    """What study files bind."""
    return "\n\n".join(_described(one) for one in (Search, Ablation))


def _described(factory: Callable[..., object]) -> str:
    docstring = inspect.cleandoc(factory.__doc__ or "")
    lines = "\n".join(_arguments(factory))
    return f"### {factory.__name__}\n\n```text\n{docstring}\n```\n\n```python\n{lines}\n```"


def _arguments(factory: Callable[..., object]) -> Iterator[str]:
    """A line each: the fields of a dataclass with their comments, or the arguments of a function or constructor."""
    source = textwrap.dedent(inspect.getsource(factory))
    (definition,) = ast.parse(source).body
    if "__dataclass_fields__" in vars(factory):
        assert isinstance(definition, ast.ClassDef)
        fields = [node for node in definition.body if isinstance(node, ast.AnnAssign)]
        yield from (source.splitlines()[field.lineno - 1].strip() for field in fields)
        return
    if isinstance(definition, ast.ClassDef):
        (definition,) = (node for node in definition.body if getattr(node, "name", "") == "__init__")
    assert isinstance(definition, ast.FunctionDef)
    arguments = definition.args.args
    required: list[ast.expr | None] = [None] * (len(arguments) - len(definition.args.defaults))
    for argument, default in zip(arguments, [*required, *definition.args.defaults], strict=True):
        if argument.arg != "self":
            yield ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")


def laws() -> str:
    """The laws of the parts that stand in a model."""
    kinds: dict[str, list[str]] = {}
    entries = {}
    for kind in MODULES:
        for law in testing.laws(kind, slow=True):
            kinds.setdefault(law.name, []).append(kind)
            entries[law.name] = law
    rows = []
    for name, law in entries.items():
        held = "all four kinds" if len(kinds[name]) == len(MODULES) else ", ".join(kinds[name])
        rows.append(f"| {name} | {law.statement}{' (`--slow`)' if law.slow else ''} | {held} |")
    return "\n".join(["| law | what it says | holds for |", "| --- | --- | --- |", *rows])


def task_laws() -> str:
    """The laws of tasks."""
    rows = [f"| {law.name} | {law.statement} |" for law in testing.laws("task", slow=True)]
    return "\n".join(["| law | what it says |", "| --- | --- |", *rows])


def evaluation_laws() -> str:
    """The laws of evaluations."""
    rows = [f"| {law.name} | {law.statement} |" for law in testing.laws("evaluation", slow=True)]
    return "\n".join(["| law | what it says |", "| --- | --- |", *rows])


def commands() -> str:
    """The commands, a line each."""
    parser = cli.build_parser()
    (subparsers,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    rows = [f"| `rnnlab {choice.dest}` | {choice.help} |" for choice in subparsers._choices_actions]
    return "\n".join(["| command | what it does |", "| --- | --- |", *rows])


BLOCKS: dict[str, Callable[[], str]] = {
    "parts": parts,
    "fragments": fragments,
    "studies": studies,
    "classes": classes,
    "study classes": study_classes,
    "scoring classes": scoring_classes,
    "laws": laws,
    "task laws": task_laws,
    "evaluation laws": evaluation_laws,
    "commands": commands,
}
MARKED = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)
TABLE = re.compile(r"(<!-- table: (\S+) ([\w@ ]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def pages() -> list[Path]:
    return [*sorted(HERE.glob("*.md")), *sorted(HERE.glob("findings/*.md"))]


def refreshed(text: str) -> str:
    """A page with its generated parts as code and findings have them now. Raises: KeyError for what is not there."""
    text = MARKED.sub(lambda match: f"{match[1]}\n{BLOCKS[match[2]]()}\n\n{match[3]}", text)
    return TABLE.sub(lambda match: f"{match[1]}\n{stored_table(match[2], match[3].split())}\n\n{match[4]}", text)


def stored_table(name: str, keys: list[str]) -> str:
    """Columns of `findings/data/NAME.json`, in this order. Raises: KeyError for one that is not there."""
    found = read_table(DATA / f"{name}.json")
    if found is None:
        raise KeyError(f"{DATA / name}.json is no table that can be read")
    columns = {column.key: column for column in found.columns}
    table = replace(found, title="", notes=(), columns=[columns[key] for key in keys])
    return tables.to_markdown(table).rstrip()


def main() -> None:
    """Bring every page up to date, and say which changed."""
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = refreshed(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
            print(f"{page.relative_to(ROOT)} brought up to date")


if __name__ == "__main__":
    main()
