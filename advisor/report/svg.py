"""Charts as SVG text: sharp at every size, in light and dark, on paper, and without matplotlib.

Axes and words take the colour of the surrounding text (`currentColor`); marks have colours that stand
out on white and on black.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from advisor.report.charts import COLORS, BarChart, ConfusionMatrix, Corner, LineChart, QuadrantMap, Ranked
from advisor.report.rendering import safe
from advisor.report.words import percent
from advisor.system.text import shortened

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 14, 44
MAP_HEIGHT = 400
BAR, BAR_NAMES, BAR_VALUES = 24, 150, 52  # height of a bar, and the room for names and for values
PLAIN, QUIET, MARKED = COLORS["plain"], COLORS["quiet"], COLORS["marked"]


@dataclass(frozen=True)
class Scale:
    """Values to pixels along one axis.

    Attributes:
        low: the value at `start`.
        high: the value at `end`.
        start: pixel.
        end: pixel.
        log: whether the axis is logarithmic.
        whole: whether only whole numbers are marked.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False

    def __call__(self, value: float) -> float:
        points = (self.low, self.high, value)
        low, high, at = (math.log(v) for v in points) if self.log else points
        return self.start + (at - low) / ((high - low) or 1.0) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Four to six round values, or one for each power of ten (or doubling, on a short axis)."""
        if self.log:
            for base in (10.0, 2.0):
                first = math.ceil(math.log(self.low, base) - 1e-9)
                last = math.floor(math.log(self.high, base) + 1e-9)
                found = [base**exponent for exponent in range(first, last + 1)]
                if len(found) >= 3:
                    break
            return found
        raw = max(((self.high - self.low) or 1.0) / 5, float(self.whole))
        power = 10 ** math.floor(math.log10(raw))
        multiples = (1, 2, 5, 10) if self.whole else (1, 2, 2.5, 5, 10)
        step = next(m * power for m in multiples if m * power >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass
class _Drawing:
    """An SVG that grows by one element at a time; `title` is for who cannot see it."""

    width: int
    height: int
    title: str
    parts: list[str] = field(default_factory=list)

    def add(self, tag: str, text: str | None = None, **attributes: Any) -> None:
        values = "".join(f' {k.rstrip("_").replace("_", "-")}="{_value(v)}"' for k, v in attributes.items())
        self.parts.append(f"<{tag}{values}/>" if text is None else f"<{tag}{values}>{safe(text)}</{tag}>")

    def text(self, x: float, y: float, text: str, anchor: str = "middle", **attributes: Any) -> None:
        values = {"fill": "currentColor", "font_size": 12, "text_anchor": anchor, **attributes}
        self.add("text", text, x=x, y=y, **values)

    def line(self, x1: float, y1: float, x2: float, y2: float, **attributes: Any) -> None:
        values = {"stroke": "currentColor", "stroke_width": 1, **attributes}
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, **values)

    def axes(self, x: Scale, y: Scale, names: tuple[str, str], formats: tuple[Callable, Callable]) -> None:
        self.x_axis(x, y, names[0], formats[0])
        for tick in y.ticks():
            self.line(x.start, y(tick), x.end, y(tick), stroke_opacity=0.12)
            self.text(x.start - 6, y(tick) + 4, formats[1](tick), "end")
        self.line(x.start, y.start, x.start, y.end)
        middle = (y.start + y.end) / 2
        self.text(12, middle, names[1], transform=f"rotate(-90 12 {_value(middle)})")

    def x_axis(self, x: Scale, y: Scale, name: str, form: Callable) -> None:
        for tick in x.ticks():
            self.line(x(tick), y.start, x(tick), y.end, stroke_opacity=0.12)
            self.text(x(tick), y.start + 16, form(tick))
        self.line(x.start, y.start, x.end, y.start)
        self.text((x.start + x.end) / 2, y.start + 36, name)

    def drawn(self) -> Markup:
        """The whole SVG, as wide as there is room."""
        return Markup(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'style="width:100%;max-width:{round(1.4 * self.width)}px;height:auto" '
            f'font-family="system-ui, sans-serif">'
            f"<title>{safe(self.title)}</title>{''.join(self.parts)}</svg>"
        )


def _value(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(safe(value))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _apart(ticks: list[float], in_percent: bool) -> Callable[[float], str]:
    """Writes the values of ticks with as many decimals as it takes to tell each from the next.

    >>> [_apart([1.6086, 1.6088, 1.609], False)(tick) for tick in (1.6086, 1.6088, 1.609)]
    ['1.6086', '1.6088', '1.6090']
    >>> _apart([0.25, 0.5, 0.75], True)(0.5)
    '50%'
    """
    unit = 100 if in_percent else 1
    step = unit * min((b - a for a, b in pairwise(ticks)), default=1.0)
    # Steps are 1, 2, 2.5 or 5 times a power of ten.
    decimals = next(
        many for many in range(12) if abs(step * 10**many - round(step * 10**many)) < 1e-6 * 10**many * step
    )
    return lambda value: f"{unit * value:.{decimals}f}{'%' if in_percent else ''}"


def line_chart(shown: LineChart) -> Markup:
    """Lines over a common axis."""
    xs = [x for one in shown.series for x, _ in one.points]
    ys = [y for one in shown.series for _, y in one.points]
    if shown.interval:
        ys += shown.interval[1:]
    margin = 0.08 * ((max(ys) - min(ys)) or 0.1)
    low, high = max(0.0, min(ys) - margin), max(ys) + margin
    most = max(max(xs), min(xs) * 1.01 + 1e-9)
    x = Scale(min(xs), most, LEFT + 8, WIDTH - RIGHT, shown.log_x, whole=True)
    y = Scale(low, min(1.0, high) if shown.in_percent else high, HEIGHT - BOTTOM, TOP + 22)
    drawing = _Drawing(WIDTH, HEIGHT, shown.title)
    drawing.axes(x, y, shown.axes, (_number, _apart(y.ticks(), shown.in_percent)))
    for number, (at, words) in enumerate(shown.borders):
        drawing.line(x(at), y.start, x(at), y.end, stroke_dasharray="4 4")
        drawing.text(x(at) + 4, y.start - 6 - 13 * number, words, "start", font_size=11)
    if shown.interval:
        at, low, high = shown.interval
        drawing.line(x(at), y(low), x(at), y(high), stroke=MARKED, stroke_width=3)
    legend = float(LEFT)
    for one in shown.series:
        color, dash = COLORS[one.tone], {"stroke_dasharray": "6 4"} if one.dashed else {}
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in one.points)
        drawing.add("polyline", points=path, fill="none", stroke=color, stroke_width=2, **dash)
        for a, b in one.points:
            drawing.add("circle", cx=x(a), cy=y(b), r=3, fill=color)
        drawing.line(legend, TOP - 4, legend + 20, TOP - 4, stroke=color, stroke_width=2, **dash)
        drawing.text(legend + 25, TOP, one.name, "start")
        legend += 46 + 6.6 * len(one.name)
    return drawing.drawn()


def bars(shown: BarChart) -> Markup:
    """Horizontal bars of shares, each with its number."""
    drawing = _Drawing(WIDTH, BAR * len(shown.bars) + 8, shown.title)
    x = Scale(0.0, 1.0, BAR_NAMES, WIDTH - BAR_VALUES)
    for i, (name, share) in enumerate(shown.bars):
        top, color = 4.0 + i * BAR, MARKED if name == shown.marked else PLAIN
        drawing.text(BAR_NAMES - 8, top + 15, shortened(name, 21), "end")
        drawing.add(
            "rect", x=BAR_NAMES, y=top + 3, width=max(0.5, x(share) - BAR_NAMES), height=BAR - 6, fill=color
        )
        drawing.text(x(share) + 6, top + 15, percent(share), "start")
    return drawing.drawn()


def leaderboard(rows: tuple[Ranked, ...]) -> Markup:
    """The accuracy of each recipe with its interval, best first."""
    height, left, top = 34, 140, 18
    ends = [end for row in rows for end in row.interval] or [0.0, 1.0]
    margin = 0.05 * ((max(ends) - min(ends)) or 0.1)
    bottom = top + height * len(rows)
    x = Scale(max(0.0, min(ends) - margin), min(1.0, max(ends) + margin), left, WIDTH - 24)
    drawing = _Drawing(WIDTH, bottom + BOTTOM, "Test accuracy of each recipe with its 95 % interval")
    y = Scale(0.0, 1.0, bottom, top - 8)
    drawing.x_axis(x, y, "test accuracy, with its 95 % interval", percent)
    for i, row in enumerate(rows):
        middle, color = top + (i + 0.5) * height, COLORS[row.tone]
        drawing.text(left - 10, middle + 4, row.name, "end")
        drawing.line(x(row.interval[0]), middle, x(row.interval[1]), middle, stroke=color, stroke_width=2)
        drawing.add("circle", cx=x(row.accuracy), cy=middle, r=5, fill=color)
        drawing.text(x(row.accuracy), middle - 9, f"{row.accuracy:.1%}", font_size=11)
    return drawing.drawn()


def quadrant_map(shown: QuadrantMap) -> Markup:
    """The 2 x 2 to scale: this data set with its interval among well-known ones, borders, probabilities."""
    counts = [shown.images, 20, 100_000]
    # The room above and below is for the words.
    y = Scale(min(counts) / 3, max(counts) * 5, MAP_HEIGHT - BOTTOM, TOP, log=True)
    x = Scale(0.0, 1.0, LEFT + 8, WIDTH - RIGHT)
    drawing = _Drawing(WIDTH, MAP_HEIGHT, "Number of images against similarity to the source domain")
    border_x, border_y = x(shown.similar_from), y(shown.many_from)
    for corner in shown.corners:
        _corner(drawing, corner, x, y, border_x, border_y)
    drawing.axes(x, y, ("similarity to the source domain", "images"), (lambda v: f"{v:.1f}", _number))
    drawing.line(border_x, y.start, border_x, y.end, stroke_dasharray="5 4")
    drawing.line(x.start, border_y, x.end, border_y, stroke_dasharray="5 4")
    here_x, here_y = x(shown.score), y(shown.images)
    for name, images, score in shown.known:
        at_x, at_y = x(score), y(images)
        if math.hypot(at_x - here_x, at_y - here_y) > 14:
            drawing.add("circle", cx=at_x, cy=at_y, r=3.5, fill=QUIET)
            drawing.text(at_x + 7, at_y + 4, name, "start", font_size=11, fill=QUIET)
    low, high = shown.interval
    drawing.line(x(low), here_y, x(high), here_y, stroke=MARKED, stroke_width=3)
    drawing.add("circle", cx=here_x, cy=here_y, r=7, fill=MARKED, stroke="#fff", stroke_width=1.5)
    anchor = "end" if shown.score > 0.75 else "start" if shown.score < 0.25 else "middle"
    drawing.text(here_x, here_y + 22, "your images", anchor, font_weight="bold", fill=MARKED)
    return drawing.drawn()


def _corner(drawing: _Drawing, corner: Corner, x: Scale, y: Scale, border_x: float, border_y: float) -> None:
    """A quadrant, the darker the more probable, with its recipe at its outer edge."""
    left, right = (border_x, x.end) if corner.is_similar else (x.start, border_x)
    top, bottom = (border_y, y.start) if corner.is_few else (y.end, border_y)
    drawing.add(
        "rect",
        x=left,
        y=top,
        width=right - left,
        height=bottom - top,
        fill=PLAIN,
        fill_opacity=0.06 + 0.22 * corner.probability,
    )
    drawing.text(
        (left + right) / 2,
        bottom - 10 if corner.is_few else top + 18,
        f"{corner.recipe} {corner.probability:.0%}",
        font_weight="bold" if corner.is_here else "normal",
    )


def confusion(shown: ConfusionMatrix) -> Markup:
    """Counts by true class (rows) and predicted class (columns), shaded by the share of the row."""
    across, down = [[shortened(name, most) for name in shown.names] for most in (16, 18)]
    longest = max(map(len, across))
    cell, left, top = 34, 130, 26 + round(5.2 * longest)
    size = cell * len(shown.names)
    drawing = _Drawing(
        left + size + 12 + round(4.4 * longest), top + size + 8, "Confusion matrix of the test split"
    )
    drawing.text(left - 8, top - 10, "true ↓  predicted →", "end", font_size=11)
    for i, (counts, shares) in enumerate(zip(shown.counts.tolist(), shown.shares.tolist(), strict=True)):
        middle = (i + 0.5) * cell
        drawing.text(left - 8, top + middle + 4, down[i], "end")
        at = f"{_value(left + middle)} {top - 8}"
        drawing.text(0, 4, across[i], "start", transform=f"translate({at}) rotate(-50)")
        for j, (count, share) in enumerate(zip(counts, shares, strict=True)):
            color, at_x, at_y = PLAIN if i == j else MARKED, left + j * cell, top + i * cell
            shade = min(1.0, 0.05 + 0.8 * share)
            drawing.add(
                "rect", x=at_x, y=at_y, width=cell - 2, height=cell - 2, fill=color, fill_opacity=shade
            )
            if count:
                drawing.text(at_x + cell / 2 - 1, at_y + cell / 2 + 4, f"{count}")
    return drawing.drawn()
