"""Attribution as colour along an ECG's trace: blue speaks against the prediction, orange for it.

The two hues differ for every common kind of colour blindness and in print. Strength is opacity, so a trace without
attribution is the plain black trace.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

from cardiozoo.analysis.ecg_layout import FOOTER, MM_PER_POINT, Page, Stretch

AGAINST, FOR = (0.05, 0.36, 0.72), (0.88, 0.36, 0.02)
INK = "#15181c"
#: Attribution is summed over so many seconds before it is drawn: half a millimetre of paper.
BIN_SECONDS = 0.02
WIDEST = 5.5  # points
WORDS = 46.0  # mm left of the legend


@dataclass(frozen=True)
class Highlight:
    """Attribution in bins.

    Attributes:
        sums: (12, bins), attribution summed over the samples of each bin.
        size: Samples a bin.
        scale: Sum of the fullest colour; 0 if there is no attribution at all.
        target: What is explained.
    """

    sums: np.ndarray
    size: int
    scale: float
    target: str

    @classmethod
    def of(
        cls, attribution: np.ndarray, rate: float, present: np.ndarray, target: str, scale: float | None
    ) -> Highlight:
        """Sum (12, T) over bins of 20 ms; absent leads and samples that are not finite count as 0."""
        values = np.where(present[:, None] & np.isfinite(attribution), attribution, 0.0)
        size = max(1, round(BIN_SECONDS * rate))
        sums = np.add.reduceat(values, np.arange(0, values.shape[1], size), axis=1)
        if scale is None:
            strengths = np.abs(sums[present]) if present.any() else np.zeros(1)
            scale = float(np.percentile(strengths, 99.5)) or float(strengths.max())
        return cls(sums, size, scale, target)

    def colors(self, lead: int, bins: np.ndarray) -> np.ndarray:
        """(n, 4) RGBA of some bins."""
        strength = np.clip(self.sums[lead, bins] / self.scale, -1, 1) if self.scale else np.zeros(len(bins))
        return _rgba(strength)


def _rgba(strength: np.ndarray) -> np.ndarray:
    color = np.where(strength[:, None] > 0, np.array([FOR]), np.array([AGAINST]))
    return np.concatenate([color, np.abs(strength)[:, None] * 0.9], axis=1)


def draw_highlight(axes: Axes, x: np.ndarray, y: np.ndarray, s: Stretch, highlight: Highlight) -> None:
    """A broad line below the trace of a stretch; x and y in mm, beginning at the stretch's first sample."""
    first, last = s.first // highlight.size, (s.last - 1) // highlight.size
    bins = np.arange(first, last + 1)
    colors = highlight.colors(s.lead, bins)
    pieces, kept = [], []
    for b, color in zip(bins, colors, strict=True):
        a = max(b * highlight.size - s.first, 0)
        e = min((b + 1) * highlight.size - s.first, len(x) - 1)
        if color[3] > 0.02 and e > a:
            pieces.append(np.column_stack([x[a : e + 1], y[a : e + 1]]))
            kept.append(color)
    if pieces:
        widths = [WIDEST * (0.45 + 0.55 * color[3]) for color in kept]
        axes.add_collection(LineCollection(pieces, colors=kept, linewidths=widths, capstyle="butt", zorder=3))


def draw_legend(axes: Axes, page: Page, highlight: Highlight) -> None:
    """The colours with their meaning and scale, at the lower right."""
    words = f"against {highlight.target}"
    room = page.right - page.left - 12 - WORDS
    width, height, steps = min(50.0, max(room, 20.0)), 2.6, 50
    left, y = page.right - width - 12, FOOTER - 5.0  # under the other words, where these leave no room beside them
    for i, color in enumerate(_rgba(np.linspace(-1, 1, steps))):
        box = (left + i * width / steps, y)
        axes.add_patch(Rectangle(box, width / steps, height, facecolor=color, linewidth=0, zorder=5))
    size = {"fontsize": 7, "color": INK}
    fitting = (left - 3) / len(words) / (0.56 * MM_PER_POINT)
    axes.text(left - 1.5, y + height / 2, words, ha="right", va="center", **size | {"fontsize": min(7, fitting)})
    axes.text(left + width + 1.5, y + height / 2, "for it", ha="left", va="center", **size)
    scale = f"{highlight.scale:.2g}"
    ends = ((0.0, f"-{scale}"), (0.5, "0"), (1.0, f"+{scale}")) if highlight.scale else ()
    for share, words in ends:
        axes.text(left + share * width, y - 0.7, words, ha="center", va="top", fontsize=6, color=INK)
    what = (
        f"attribution, summed over {1000 * BIN_SECONDS:g} ms of a lead"
        if highlight.scale
        else "attribution: 0 everywhere"
    )
    axes.text(left + width / 2, y - 3.4, what, ha="center", va="top", fontsize=6, color=INK)
