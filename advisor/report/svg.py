"""Charts as SVG text: sharp at every size, in light and dark, on paper, and without matplotlib.

Axes and words take the colour of the surrounding text (`currentColor`); marks have colours that stand
out on white and on black.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from advisor.advice import rule
from advisor.evidence import similarity

BLUE, ORANGE, GREY = "#4c86d9", "#e08a3c", "#8a8f98"
WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 14, 44

# Well-known kinds of images in the map: name, images, and the Kernel Inception Distance that
# `advisor recommend DATA --json` gives as similarity.distance with the default sample and seed. The
# folders hold hymenoptera, tf_flowers, NEU surface defects
# and 6,000 of NIH's malaria cells; digits is sklearn:digits, garments are those of Fashion-MNIST.
REFERENCE_POINTS = (
    ("ants, bees", 398, 0.074),
    ("flowers", 3670, 0.097),
    ("steel surfaces", 1800, 0.309),
    ("blood cells", 6000, 0.578),
    ("digits", 1797, 0.454),
    ("garments", 70000, 0.263),
)


@dataclass(frozen=True)
class Scale:
    """Values to pixels along one axis."""

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
                found = [
                    base**e
                    for e in range(
                        math.ceil(math.log(self.low, base) - 1e-9),
                        math.floor(math.log(self.high, base) + 1e-9) + 1,
                    )
                ]
                if len(found) >= 3:
                    break
            return found
        raw = max(((self.high - self.low) or 1.0) / 5, float(self.whole))
        power = 10 ** math.floor(math.log10(raw))
        multiples = (1, 2, 5, 10) if self.whole else (1, 2, 2.5, 5, 10)
        step = next(m * power for m in multiples if m * power >= raw * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass(frozen=True)
class Series:
    """A line with points."""

    name: str
    points: Sequence[tuple[float, float]]
    color: str
    dashed: bool = False


def percent(value: float) -> str:
    return f"{value:.1%}".replace(".0%", "%")


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


@dataclass
class _Drawing:
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
        for tick in x.ticks():
            self.line(x(tick), y.start, x(tick), y.end, stroke_opacity=0.12)
            self.text(x(tick), y.start + 16, formats[0](tick))
        for tick in y.ticks():
            self.line(x.start, y(tick), x.end, y(tick), stroke_opacity=0.12)
            self.text(x.start - 6, y(tick) + 4, formats[1](tick), "end")
        self.line(x.start, y.start, x.end, y.start)
        self.line(x.start, y.start, x.start, y.end)
        middle = (y.start + y.end) / 2
        self.text((x.start + x.end) / 2, y.start + 36, names[0])
        self.text(12, middle, names[1], transform=f"rotate(-90 12 {_value(middle)})")

    def __str__(self) -> str:
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img" '
            f'style="width:100%;max-width:{round(1.4 * self.width)}px;height:auto" '
            f'font-family="system-ui, sans-serif">'
            f"<title>{safe(self.title)}</title>{''.join(self.parts)}</svg>"
        )


def safe(text: object) -> str:
    """Text for HTML; what UTF-8 or a browser cannot show becomes a question mark."""
    return escape("".join(c if c.isprintable() or c == "\n" else "�" for c in str(text)))


def _value(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else escape(str(value))


def line_chart(
    title: str,
    series: Sequence[Series],
    names: tuple[str, str],
    log_x: bool = False,
    in_percent: bool = True,
    border: tuple[float, str] | None = None,
    band: tuple[float, float, float] | None = None,
) -> str:
    """Lines over a common axis.

    Args:
        title: for who cannot see it.
        series: with one point or more each.
        names: of the axes; x counts something.
        log_x: whether x is logarithmic.
        in_percent: whether y is a share.
        border: x of a vertical line, and the words to its right.
        band: x, low and high of an interval.
    """
    points = [point for one in series for point in one.points]
    xs, ys = [p[0] for p in points], [p[1] for p in points] + list(band[1:] if band else ())
    margin = 0.08 * ((max(ys) - min(ys)) or 0.1)
    low, high = max(0.0, min(ys) - margin), max(ys) + margin
    x = Scale(min(xs), max(max(xs), min(xs) * 1.01 + 1e-9), LEFT + 8, WIDTH - RIGHT, log_x, whole=True)
    y = Scale(low, min(1.0, high) if in_percent else high, HEIGHT - BOTTOM, TOP + 22)
    drawing = _Drawing(WIDTH, HEIGHT, title)
    drawing.axes(x, y, names, (number, percent if in_percent else lambda v: f"{v:.3g}"))
    if border:
        drawing.line(x(border[0]), y.start, x(border[0]), y.end, stroke_dasharray="4 4")
        drawing.text(x(border[0]) + 4, y.start - 6, border[1], "start", font_size=11)
    if band:
        drawing.line(x(band[0]), y(band[1]), x(band[0]), y(band[2]), stroke=ORANGE, stroke_width=3)
    at = float(LEFT)
    for one in series:
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in one.points)
        dash = {"stroke_dasharray": "6 4"} if one.dashed else {}
        drawing.add("polyline", points=path, fill="none", stroke=one.color, stroke_width=2, **dash)
        for a, b in one.points:
            drawing.add("circle", cx=x(a), cy=y(b), r=3, fill=one.color)
        drawing.line(at, TOP - 4, at + 20, TOP - 4, stroke=one.color, stroke_width=2, **dash)
        drawing.text(at + 25, TOP, one.name, "start")
        at += 46 + 6.6 * len(one.name)
    return str(drawing)


def bars(title: str, rows: Sequence[tuple[str, float]], marked: str | None = None) -> str:
    """Horizontal bars of shares, each with its number; one may be marked."""
    height, left, right = 24, 150, 52
    drawing = _Drawing(WIDTH, height * len(rows) + 8, title)
    x = Scale(0.0, 1.0, left, WIDTH - right)
    for i, (name, share) in enumerate(rows):
        top, color = 4.0 + i * height, ORANGE if name == marked else BLUE
        drawing.text(left - 8, top + 15, _short(name, 21), "end")
        drawing.add("rect", x=left, y=top + 3, width=max(0.5, x(share) - left), height=height - 6, fill=color)
        drawing.text(x(share) + 6, top + 15, percent(share), "start")
    return str(drawing)


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def quadrant_map(advice: dict[str, Any]) -> str:
    """The 2 x 2 to scale: this data set with its interval among well-known ones, borders, probabilities."""
    height = 400
    images, few = advice["size"]["images"], advice["size"]["threshold"]
    score, border = advice["similarity"]["score"], advice["similarity"]["threshold"]
    counts = [images, 20, 100_000]
    y = Scale(min(counts) / 3, max(counts) * 5, height - BOTTOM, TOP, log=True)  # room for the words
    x = Scale(0.0, 1.0, LEFT + 8, WIDTH - RIGHT)
    drawing = _Drawing(WIDTH, height, "Number of images against similarity to the source domain")
    corners = {
        "small-dissimilar": (x.start, x(border), y(few), y.start),
        "small-similar": (x(border), x.end, y(few), y.start),
        "large-dissimilar": (x.start, x(border), y.end, y(few)),
        "large-similar": (x(border), x.end, y.end, y(few)),
    }
    for name, (x1, x2, y1, y2) in corners.items():
        tint = 0.06 + 0.22 * advice["quadrants"][name]
        drawing.add("rect", x=x1, y=y1, width=x2 - x1, height=y2 - y1, fill=BLUE, fill_opacity=tint)
        words = f"{rule.RECIPE[name]} {advice['quadrants'][name]:.0%}"
        weight = "bold" if name == advice["quadrant"] else "normal"
        at = y2 - 10 if name.startswith("small") else y1 + 18
        drawing.text((x1 + x2) / 2, at, words, font_weight=weight)
    drawing.axes(x, y, ("similarity to the source domain", "images"), (lambda v: f"{v:.1f}", number))
    drawing.line(x(border), y.start, x(border), y.end, stroke_dasharray="5 4")
    drawing.line(x.start, y(few), x.end, y(few), stroke_dasharray="5 4")
    here = x(score), y(images)
    for name, count, distance in REFERENCE_POINTS:
        at_x, at_y = x(similarity.score(distance)), y(count)
        if math.hypot(at_x - here[0], at_y - here[1]) > 14:
            drawing.add("circle", cx=at_x, cy=at_y, r=3.5, fill=GREY)
            drawing.text(at_x + 7, at_y + 4, name, "start", font_size=11, fill=GREY)
    low, high = advice["similarity"]["interval"]
    drawing.line(x(low), here[1], x(high), here[1], stroke=ORANGE, stroke_width=3)
    drawing.add("circle", cx=here[0], cy=here[1], r=7, fill=ORANGE, stroke="#fff", stroke_width=1.5)
    anchor = "end" if score > 0.75 else "start" if score < 0.25 else "middle"
    drawing.text(here[0], here[1] + 22, "your images", anchor, font_weight="bold", fill=ORANGE)
    return str(drawing)


def confusion(title: str, matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Counts by true class (rows) and predicted class (columns), shaded by the share of the row."""
    longest = max(len(_short(name, 16)) for name in names)
    cell, left, top = 34, 130, 26 + round(5.2 * longest)
    size = cell * len(names)
    drawing = _Drawing(left + size + 12 + round(4.4 * longest), top + size + 8, title)
    drawing.text(left - 8, top - 10, "true ↓  predicted →", "end", font_size=11)
    for i, name in enumerate(names):
        middle = (i + 0.5) * cell
        drawing.text(left - 8, top + middle + 4, _short(name, 18), "end")
        at = f"{_value(left + middle)} {top - 8}"
        drawing.text(0, 4, _short(name, 16), "start", transform=f"translate({at}) rotate(-50)")
        total = max(1, sum(matrix[i]))
        for j, count in enumerate(matrix[i]):
            color, at_x, at_y = BLUE if i == j else ORANGE, left + j * cell, top + i * cell
            shade = min(1.0, 0.05 + 0.8 * count / total) if count else 0.05
            drawing.add(
                "rect", x=at_x, y=at_y, width=cell - 2, height=cell - 2, fill=color, fill_opacity=shade
            )
            if count:
                drawing.text(at_x + cell / 2 - 1, at_y + cell / 2 + 4, f"{count}")
    return str(drawing)
