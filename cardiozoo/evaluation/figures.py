"""How all plots look, and their two forms: PNG files, and SVG that takes the colours of the page it stands in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# In SVG these become the page's own colours, so that a plot can be read on a dark page too.
INK, GRID = "#1f2328", "#8c959f"
BLUE, ORANGE, TEAL, GREY = "#2f6fb5", "#c4601d", "#2a8c82", "#8c959f"
PAGE_COLORS = {INK: "currentColor", BLUE: "var(--blue)", TEAL: "var(--teal)", ORANGE: "var(--orange)"}
STYLE = {
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.titlesize": 11,
    "figure.titleweight": "bold",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "grid.alpha": 0.25,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": GRID,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8,
    "ytick.color": GRID,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8,
}


@contextmanager
def house_style() -> Iterator[None]:
    """All figures are made and saved within this."""
    with mpl.rc_context(STYLE):
        yield


def new_figure(width: float, height: float, title: str, synthetic: bool | None) -> Figure:
    """An empty figure, size in inches, whose title says so when the data are synthetic. No pyplot, no global state."""
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(f"SYNTHETIC · {title}" if synthetic else title, x=0.01, ha="left")
    return figure


def interval_dots(axes: Axes, y: list[float], rows: list[dict[str, float | None]], color: str) -> None:
    """Values with horizontal intervals at heights y; undefined ones are written out."""
    for height, row in zip(y, rows, strict=True):
        value, low, high = row["value"], row["low"], row["high"]
        if value is None or value != value:
            at = {"va": "center", "ha": "right", "transform": axes.get_yaxis_transform()}
            axes.text(0.98, height, "undefined", color=GREY, fontsize=7, **at)
            continue
        if low is not None and high is not None and low == low:
            axes.plot([low, high], [height, height], color=color, linewidth=1.4, alpha=0.75, solid_capstyle="round")
        axes.plot([value], [height], "o", color=color, markersize=4.5)


def save_png(figure: Figure, path: Path) -> Path:
    """150 dots an inch on white; no date inside, so the same figure gives the same bytes."""
    figure.savefig(path, dpi=150, facecolor="white", metadata={"Software": None})
    return path


def inline_svg(figure: Figure, name: str) -> str:
    """SVG to stand inside HTML: transparent, in the page's colours, ids prefixed by ``name``, no addresses."""
    buffer = StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=metadata)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s(xmlns(:\w+)?)="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    for color, name_on_page in PAGE_COLORS.items():
        svg = svg.replace(color, name_on_page)
    return svg
