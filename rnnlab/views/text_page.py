"""A text as a page, colored by surprisal, with the bits of each symbol where the pointer rests. It opens offline."""

from html import escape

from rnnlab.safe_text import printable
from rnnlab.views.inspection import Inspection
from rnnlab.views.symbols import LEVELS, SURE, UNIFORM, Symbol, symbols
from rnnlab.views.text_picture import ink, palette

HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ margin: 24px auto; max-width: 1000px; padding: 0 16px; background: #f1f1ee; color: #1d2024;
  font: 15px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 20px; margin: 0 0 4px; overflow-wrap: anywhere; }}
p {{ margin: 4px 0; color: #5d646d; }}
.legend {{ display: flex; flex-wrap: wrap; margin: 12px 0; font-size: 12.5px; }}
.legend span {{ width: 46px; padding: 2px 0; text-align: center; }}
pre {{ font: 15px/1.7 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }}
i {{ font-style: normal; opacity: 0.75; }}
b {{ font-weight: normal; }}
.first {{ outline: 1px dotted #5d646d; }}
{classes}
</style>
</head>
<body>
"""


def render_text(inspection: Inspection, name: str) -> str:
    """The page, as text of ASCII and the text's own characters; `name` is what the text is called."""
    title = escape(printable(f"{name}, as {inspection.run.name} read it"))
    classes = "\n".join(
        f".s{level} {{ background: {color}; color: {ink(color)}; }}" for level, color in enumerate(palette())
    )
    count = len(inspection["text"])
    shown = "".join(map(_span, symbols(inspection["text"], inspection["surprisal"])))
    return (
        f"{HEAD.format(title=title, classes=classes)}"
        f"<h1>{title}</h1>\n"
        f"<p>Surprisal: {inspection.bpc:.3f} bits/byte over {count - 1:,} bytes, from the checkpoint at step "
        f"{inspection.step:,}. Color: bits that a symbol cost, all of its bytes together. {SURE:g}: it was certain; "
        f"{UNIFORM:g}: as a guess among 256 bytes. Rest the pointer on a symbol to read its bits.</p>\n"
        f"{_legend()}\n<pre>{shown}</pre>\n</body>\n</html>\n"
    )


def _legend() -> str:
    width = (UNIFORM - SURE) / LEVELS
    marks = [f"{SURE + level * width:g}" for level in range(LEVELS)]
    marks[-1] += "+"
    spans = (f'<span class="s{level}">{mark}</span>' for level, mark in enumerate(marks))
    return f'<div class="legend" title="bits of a symbol, from here to the next">{"".join(spans)}&nbsp; bits</div>'


def _span(symbol: Symbol) -> str:
    stands_for = len(symbol.raw) > 1 or symbol.shown != symbol.raw.decode("latin-1")
    letters = f"<i>{escape(symbol.shown)}</i>" if _is_escape(symbol) else escape(symbol.shown)
    bits = "not scored: nothing comes before it" if symbol.bits is None else f"{symbol.bits:.2f} bits"
    raw = f", {symbol.raw.hex(' ')}" if stands_for else ""
    style = "first" if symbol.level is None else f"s{symbol.level}"
    line_end = "\n" if symbol.raw == b"\n" else ""
    return f'<b class="{style}" title="byte {symbol.start:,}{raw}: {bits}">{letters}</b>{line_end}'


def _is_escape(symbol: Symbol) -> bool:
    """Whether what is shown stands for something that cannot be."""
    return symbol.shown.encode() != symbol.raw
