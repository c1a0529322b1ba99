"""One look for every picture: the palette, and matplotlib figures as inline SVG or PNG without global state.

A figure is drawn in the light colours. In the SVG each of them becomes the CSS variable of the same name, so that the
page turns its pictures dark together with its text.
"""

from __future__ import annotations

import io
import re
import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from TRAINING.reports.columns import typeset

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# name: (light, dark). The series are Okabe and Ito's colours, told apart with every common colour blindness, a little
# darker on light and lighter on dark. Light values are unique, since the SVG is searched for them.
PALETTE: dict[str, tuple[str, str]] = {
    "page": ("#f6f7f8", "#0e1318"),
    "card": ("#ffffff", "#161d24"),
    "ink": ("#18212b", "#e6ebf1"),
    "muted": ("#5a6877", "#9aa8b7"),
    "line": ("#e0e5ea", "#2a343f"),
    "strong": ("#b4bec9", "#4a5866"),
    "blue": ("#0072b2", "#5cb6f2"),
    "orange": ("#d55e00", "#ff9152"),
    "green": ("#00946a", "#3fcf9f"),
    "purple": ("#b8578f", "#ea9cc7"),
    "amber": ("#b47b00", "#f3be4e"),
    "sky": ("#2389bd", "#a9dcfa"),
}
SERIES = ("blue", "orange", "green", "purple", "amber", "sky")
SOLID, DASHED, DOTTED = "-", (0, (5, 2)), (0, (1.2, 1.6))
LINE_NAMES = {SOLID: "solid", DASHED: "dashed", DOTTED: "dotted"}
LIGHT = {name: light for name, (light, _) in PALETTE.items()}
_NAME_OF = {light: name for name, light in LIGHT.items()}

_SETTINGS = {
    "svg.fonttype": "none",  # text stays text: selectable, small, in the page's font
    "text.parse_math": False,  # a $ in a name is a dollar
    "text.usetex": False,
    "font.family": "DejaVu Sans",  # ships with matplotlib, so sizes are the same everywhere
    "font.size": 12.5,
    "text.color": LIGHT["ink"],
    "axes.edgecolor": LIGHT["strong"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.labelsize": 12.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "grid.color": LIGHT["line"],
    "grid.linewidth": 0.8,
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "lines.solid_joinstyle": "round",
    "path.simplify_threshold": 0.25,
    "figure.facecolor": "none",
    "savefig.facecolor": "auto",
}
_LOCK = threading.Lock()  # matplotlib's settings are global: one picture at a time

Paint = Callable[["Figure"], None]


def _save(paint: Paint, width: float, height: float, settings: dict[str, object], **save: object) -> bytes:
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    stream = io.BytesIO()
    with _LOCK, style.context(["default", _SETTINGS | settings]), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="Glyph .* missing from font", category=UserWarning
        )  # symbols are users'
        figure = Figure(figsize=(width / 72, height / 72))
        FigureCanvasAgg(figure)
        paint(figure)
        figure.savefig(stream, **save)
    return stream.getvalue()


def _variable(match: re.Match[str]) -> str:
    return f"var(--{_NAME_OF[match[0]]})" if match[0] in _NAME_OF else match[0]


def _restyle(match: re.Match[str]) -> str:
    declarations = re.sub(r"font-family:[^;]*;? ?", "", match[2])
    return f'{match[1]}style="{re.sub("#[0-9a-f]{6}", _variable, declarations)}"'


def _shorten(match: re.Match[str]) -> str:
    rounded = re.sub(r"-?\d+\.\d+", lambda decimal: f"{float(decimal[0]):.1f}".removesuffix(".0"), match[2])
    steps = re.sub(r" *\n *", "", rounded).strip()
    return f'{match[1]}d="{steps}"'


def svg(paint: Paint, width: float, height: float, *, name: str, label: str) -> Markup:
    """Draw a figure of ``width`` x ``height`` pixels as SVG to stand inside a page.

    Parameters
    ----------
    paint : draws on the empty figure it is given.
    name : unique in the page; the ids inside are made from it, so the same input gives the same bytes.
    label : what a screen reader says.
    """
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    drawn = _save(paint, width, height, {"svg.hashsalt": name}, format="svg", metadata=metadata, transparent=True)
    body = drawn.decode("utf-8")
    body = body[body.index("<svg") :]
    body = body[body.index(">") + 1 : body.rindex("</svg>")]
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style.*?</defs>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body).replace("<use xlink:href", "<use href")
    body = re.sub(r'(<[a-z][^<>]*?)style="([^"]*)"', _restyle, body)  # within tags only: texts are left alone
    body = re.sub(r'(<path (?:id="[^"]*" )?)d="([^"]*)"', _shorten, body)
    body = re.sub(r">\s*\n\s*<", ">\n<", body).replace("<g/>\n", "").strip()
    opening = f'<svg class="plot" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">'
    return Markup(f"{opening}\n{body}\n</svg>")


def png(paint: Paint, width: float, height: float, *, scale: float = 1.0) -> bytes:
    """Draw a figure as a PNG of ``width * scale`` x ``height * scale`` pixels on the light page's colour."""
    settings = {"figure.facecolor": LIGHT["page"]}
    return _save(paint, width, height, settings, format="png", dpi=72 * scale, metadata={"Software": None})


def axes(figure: Figure, left: float, top: float, right: float, bottom: float, **options: object) -> Axes:
    """Axes whose edges are given in pixels from the figure's left and top."""
    width, height = figure.get_size_inches() * 72
    box = (left / width, 1 - bottom / height, (right - left) / width, (bottom - top) / height)
    return figure.add_axes(box, **options)


def dates(axis: Axes, ticks: int) -> None:
    """At most ``ticks`` dates below an axis, years where they begin."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(minticks=2, maxticks=ticks)
    formats = ["%Y", "%b", "%d %b", "%H:%M", "%H:%M", "%S"]
    formatter = ConciseDateFormatter(
        locator, formats=formats, zero_formats=["", "%b\n%Y", "%d %b", "%H:%M", "%H:%M", "%S"], show_offset=False
    )
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(formatter)


def ticks(axis: Axes, count: int, write: Callable[[float], str], along: str = "y") -> None:
    """About ``count`` values beside (``along="y"``) or below an axis, written by ``write``."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    side = axis.yaxis if along == "y" else axis.xaxis
    side.set_major_locator(MaxNLocator(count))
    side.set_major_formatter(FuncFormatter(lambda value, _: typeset(write(value))))
