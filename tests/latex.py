"""A strict reader of the LaTeX that tables write: what would stop a compiler, or silently change a cell, is an error.

The subset is that of `rnnlab.views.tables`: tabular, groups, inline mathematics, commands with their arguments.
"""

import re

TOKEN = re.compile(
    r"\\begin\{(\w+)\}|\\end\{(\w+)\}|\\\\|\\[A-Za-z]+\*?|\\.|%.*|\$|[{}&#_^~]|\s+|[^\\%${}&#_^~\s]+", re.S
)
KNOWN = {
    "toprule", "midrule", "bottomrule", "multicolumn", "quad", "footnotesize", "texttt", "par", "smallskip", "pm",
    "Delta", "to", "times", "dagger", "textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater",
    "textbar",
}  # fmt: skip
ESCAPES = set("&%$#_{}")
MATHEMATICS = {"pm", "Delta", "to", "times", "dagger"}


class LatexError(ValueError):
    """What LaTeX would not take."""


def check(latex: str) -> list[list[str]]:
    """The cells of the tabular, row by row, as source. Raises: LatexError."""
    body = re.sub(r"(?m)^%.*\n", "", latex)
    columns = len(re.sub(r"@\{\}", "", _argument(body)))
    open_groups: list[str] = []
    math, rows, cells, cell = False, [], [], ""
    inside = after_row = False
    body = body.replace("@{}", "")
    position = 0
    while position < len(body):
        match = TOKEN.match(body, position)
        if match is None:
            raise LatexError(f"cannot read {body[position : position + 20]!r}")
        token, position = match[0], match.end()
        if after_row and token.strip():
            if token[0] in "[*":
                raise LatexError(f"{token!r} after the end of a row is read as its argument")
            after_row = False
        if match[1] or match[2]:
            if match[1]:
                open_groups.append(match[1])
                inside = True
                position = body.index("}", body.index("{", position)) + 1
            elif not open_groups or open_groups.pop() != match[2]:
                raise LatexError(f"\\end{{{match[2]}}} ends nothing")
            else:
                inside = False
            continue
        if token == "\\\\":
            if math or open_groups[-1:] != ["tabular"]:
                raise LatexError(f"a row ends within a group or within mathematics: {cell!r}")
            rows.append([*cells, cell.strip()])
            cells, cell, after_row = [], "", True
            continue
        if token == "{":
            open_groups.append("{")
        elif token == "}":
            if not open_groups or open_groups.pop() != "{" or math:
                raise LatexError(f"}} closes nothing, or closes within mathematics: {cell!r}")
        elif token == "$":
            math = not math
        elif token == "&":
            if not inside or open_groups[-1] != "tabular" or math:
                raise LatexError(f"a bare & in {cell!r}")
            cells, cell = [*cells, cell.strip()], ""
            continue
        elif token[0] in "#_^~%":
            raise LatexError(f"a bare {token[0]} after {cell!r}")
        elif token[0] == "\\":
            name = token[1:]
            if name not in KNOWN and name not in ESCAPES:
                raise LatexError(f"no command {token}")
            if math != (name in MATHEMATICS):
                raise LatexError(f"{token} {'within' if math else 'outside'} mathematics")
            if name in ("toprule", "midrule", "bottomrule"):
                continue
        elif not token.isspace() and any(not c.isprintable() for c in token):
            raise LatexError(f"a control character in {token!r}")
        cell += token
    if open_groups or math:
        raise LatexError(f"not closed: {open_groups or '$'}")
    for row in rows:
        spans = [int(found[1]) if (found := re.match(r"\\multicolumn\{(\d+)\}", one)) else 1 for one in row]
        if sum(spans) != columns:
            raise LatexError(f"{sum(spans)} of {columns} columns in {row}")
    return rows


def _argument(body: str) -> str:
    """What stands between the braces behind `begin{tabular}`."""
    start = body.index(r"\begin{tabular}{") + len(r"\begin{tabular}{")
    depth, at = 1, start
    while depth:
        depth += {"{": 1, "}": -1}.get(body[at], 0)
        at += 1
    return body[start : at - 1]
