"""A text as a picture, colored by surprisal."""

from functools import cache
from itertools import islice

import numpy as np
from matplotlib import colormaps, colors
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from rnnlab.config.values import shorten
from rnnlab.safe_text import printable
from rnnlab.views.inspection import Inspection
from rnnlab.views.plots import styled
from rnnlab.views.symbols import LEVELS, SURE, UNIFORM, Symbol, symbols

COLUMNS, ROWS = 100, 44  # symbols of a picture, at most
NARROWEST = 50  # columns, for the title
BLANK = "#e9e9e6"  # behind what costs nothing known: the first byte, and where there is no text
CELL = (0.1, 0.2)  # width and height of a symbol [inches]
UNKNOWN = "▯"  # for a character that the font does not have


@cache
def palette() -> tuple[str, ...]:
    """A color for each level, from certain to guessed, as #rrggbb."""
    shades = colormaps["YlOrRd"](np.linspace(0.0, 0.85, LEVELS))
    shades[0] = (1.0, 1.0, 1.0, 1.0)
    return tuple(colors.to_hex(shade) for shade in shades)


def ink(color: str) -> str:
    """The color of letters on that one: black or white, whichever has more contrast."""
    channels = np.array(colors.to_rgb(color))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return "#000000" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "#ffffff"


@styled(**{"axes.titlelocation": "left"})
def draw_text(inspection: Inspection, name: str) -> Figure:
    """The beginning of the text, as much as is legible, each symbol on the color of its surprisal."""
    rows, shown = _rows(inspection)
    width, height = max(NARROWEST, *map(len, rows)), max(len(rows), 3)
    figure = Figure(figsize=(width * CELL[0] + 1.4, height * CELL[1] + 1.1), layout="constrained")
    axis = figure.subplots()
    grid = np.full((height, width), np.nan)
    for place, row in enumerate(rows):
        for column, symbol in enumerate(row):
            level = symbol.level
            grid[place, column] = np.nan if level is None else level
            axis.text(
                column, place, _letter(symbol), ha="center", va="center", fontsize=8, family="monospace",
                color="#000000" if level is None else ink(palette()[level]),
            )  # fmt: skip
    shades = colors.ListedColormap(palette())
    picture = axis.imshow(grid, cmap=shades, vmin=0, vmax=LEVELS, aspect="auto", interpolation="nearest")
    axis.grid(False)
    axis.set(xticks=[], yticks=[], facecolor=BLANK)
    axis.spines[:].set_visible(False)
    total = len(inspection["text"])
    part = "" if shown == total else f", its first {shown:,} bytes"
    title = f"{shorten(printable(name), 50)}{part}: surprisal, {inspection.bpc:.3f} bits/byte over {total - 1:,} bytes"
    axis.set_title(title, fontsize=10)
    bar = figure.colorbar(picture, ax=axis, fraction=0.03, pad=0.01, aspect=max(8, height))
    ticks = np.arange(0, LEVELS + 1, 4)
    labels = [f"{SURE + tick * (UNIFORM - SURE) / LEVELS:g}" for tick in ticks]
    bar.set_ticks(list(ticks), labels=[*labels[:-1], f"{labels[-1]}+"])
    bar.set_label("Surprisal [bits]")
    return figure


def _rows(inspection: Inspection) -> tuple[list[list[Symbol]], int]:
    """Rows of symbols, a new one after a newline, and how many bytes are in them."""
    rows: list[list[Symbol]] = [[]]
    shown = 0
    for symbol in islice(symbols(inspection["text"], inspection["surprisal"]), COLUMNS * ROWS):
        if len(rows[-1]) == COLUMNS or (rows[-1] and rows[-1][-1].raw == b"\n"):
            if len(rows) == ROWS:
                break
            rows.append([])
        rows[-1].append(symbol)
        shown += len(symbol.raw)
    return rows, shown


def _letter(symbol: Symbol) -> str:
    """What fits in a cell: one glyph that the font has."""
    letter = symbol.shown if len(symbol.shown) == 1 else UNKNOWN
    return letter if _has_glyphs(letter) else UNKNOWN


@cache
def _has_glyphs(letters: str) -> bool:
    font = get_font(findfont(FontProperties(family="monospace")))
    return all(font.get_char_index(ord(letter)) for letter in letters)
