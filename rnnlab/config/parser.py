"""From gin text to statements. Nothing is looked up, imported or run.

gin-config's parser does the grammar; this module closes what it leaves open: depth, size, repeated dict keys, a sign
that it drops, numbers that do not print back, and errors without a place.
"""

import tokenize
import warnings
from dataclasses import dataclass
from typing import Any

from gin import config_parser

from rnnlab.config.values import Macro, Reference, Value, shorten
from rnnlab.errors import ConfigError

LARGEST_FILE = 256 * 1024  # [bytes]; the longest resolved configuration is a hundredth of it
DEEPEST = 32  # brackets within brackets


@dataclass(frozen=True)
class Assignment:
    """`scope/selector.argument = value` as written; a macro's name stands in `argument`, its selector is empty."""

    scope: str
    selector: str
    argument: str
    value: Value
    line: int


@dataclass(frozen=True)
class Include:
    path: str
    line: int


def parse(text: str, name: str) -> list[Assignment | Include]:
    """The statements of a text, in order.

    Args:
        name: what errors call the text: a file, or "--set".
    Raises: ConfigError naming the line and what is wrong with it.
    """
    statements: list[Assignment | Include] = []
    try:
        with warnings.catch_warnings(action="error"):  # what Python only warns of ("\q") is wrong in a file to be kept
            parser = _Parser(text, _Delegate())
            while (statement := parser.parse_statement()) is not None:
                statements += _ours(statement, name)
    except SyntaxError as error:
        line = (error.text or "").strip()
        shown = f" in `{_shorten(line)}`" if line else ""
        more = error.msg.startswith("Expected newline")
        problem = "expected one value, which gin does not calculate," if more else _one_line(error.msg)
        raise ConfigError(f"{name}:{error.lineno}: {problem}{shown}") from error
    except tokenize.TokenError as error:
        message, (line_number, _) = error.args
        open_end = "EOF" in message or "unterminated" in message
        problem = "a bracket or string is not closed" if open_end else _one_line(message)
        raise ConfigError(f"{name}:{line_number}: {problem}") from error
    except (ValueError, TypeError, StopIteration) as error:
        raise ConfigError(f"{name}: cannot be read as gin: {_one_line(str(error))}") from error
    return statements


def parse_assignment(text: str, name: str) -> Assignment:
    """The one binding that an override consists of. Raises: ConfigError if it is anything else."""
    shown = f"{name} {_shorten(text)!r}"
    if "=" not in text:
        raise ConfigError(f"{shown}: there is no `=`; write it as 'Block.dropout = 0.2'")
    match parse(text, shown):
        case [Assignment() as assignment]:
            return assignment
    raise ConfigError(f"{shown}: one binding is expected, such as 'Block.dropout = 0.2'")


def _ours(statement: Any, name: str) -> list[Assignment | Include]:
    match statement:
        case config_parser.IncludeStatement():
            return [Include(statement.filename, statement.location.line_num)]
        case config_parser.ImportStatement():
            raise ConfigError(
                f"{name}:{statement.location.line_num}: `{statement.format()}`: a configuration imports nothing; "
                f"parts are found through the entry points of installed packages"
            )
        case config_parser.BlockDeclaration():
            return []  # its bindings follow as statements of their own
    scope, selector, argument, value, location = statement
    if not argument:
        selector, argument = "", selector
    return [Assignment(scope, selector, argument, value, location.line_num)]


class _Delegate(config_parser.ParserDelegate):  # type: ignore[misc]
    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> Reference:
        scope, _, selector = scoped_configurable_name.rpartition("/")
        return Reference(scope, selector, evaluate)

    def macro(self, macro_name: str) -> Macro:
        return Macro(macro_name)


class _Parser(config_parser.ConfigParser):  # type: ignore[misc]
    def __init__(self, text: str, delegate: _Delegate) -> None:
        self._open: list[set[Value]] = []  # for each open bracket, the dict keys seen in it
        super().__init__(text, delegate)

    def _maybe_parse_container(self) -> tuple[bool, Value]:
        if self.current_token.string not in ("{", "(", "["):
            return False, None
        if len(self._open) == DEEPEST:
            self._raise_syntax_error(f"brackets nested more than {DEEPEST} deep")
        self._open.append(set())
        found: tuple[bool, Value] = super()._maybe_parse_container()
        self._open.pop()
        return found

    def _parse_dict_item(self) -> tuple[Value, Value]:
        location = self._current_location()
        key, value = super()._parse_dict_item()
        if not isinstance(key, bool | int | float | str | bytes | None):
            self._raise_syntax_error("a key of a dict is a plain literal", location)
        if key in self._open[-1]:
            self._raise_syntax_error(f"the key {key!r} stands twice in one dict", location)
        self._open[-1].add(key)
        return key, value

    def _maybe_parse_basic_type(self) -> tuple[bool, Value]:
        location = self._current_location()
        signed = self.current_token.string == "-"
        try:
            found, value = super()._maybe_parse_basic_type()
        except SyntaxError:
            self._raise_syntax_error(
                f"`{_shorten(self.current_token.string)}` is no number, string, True, False or None; "
                f"references begin with @, macros with %",
                location,
            )
        if signed and not found:  # gin would go on and read -%dropout as %dropout
            self._raise_syntax_error("a minus sign stands before numbers only", location)
        if isinstance(value, complex):
            self._raise_syntax_error("complex numbers mean nothing here", location)
        if isinstance(value, int) and value.bit_length() > 64:
            self._raise_syntax_error("an integer of more than 64 bits", location)
        return found, value


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _shorten(text: str) -> str:
    return shorten(_one_line(text), 60)
