"""How text is laid out on a terminal: rich tables for the width that is there, 80 columns at most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from advisor.system.text import fitting

WIDTH = 80
LEAST_PROSE = 20  # columns that sentences need beside something else; below, they stand under it


def console() -> Console:
    """Standard output, at most 80 columns wide; plain text where it is no terminal."""
    found = Console(highlight=False)
    found.width = min(WIDTH, found.width) if found.is_terminal else WIDTH
    return found


def styled(text: object, style: str = "") -> Text:
    """Text that is legible and never markup: a file may be called [bold]."""
    return Text(fitting(text), style, overflow="fold")


def ruled(width: int) -> Table:
    """A table without columns yet, with a line under its heading and one space between columns."""
    return Table(box=box.SIMPLE_HEAD, width=width, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))


def pairs(rows: Iterable[tuple[str, str]], width: int) -> RenderableType:
    """Names with their values beside them or, where that leaves too little room, under them."""
    known = [(styled(f"  {name}"), styled(value)) for name, value in rows]
    longest = max((name.cell_len for name, _ in known), default=0)
    if width - longest - 2 < LEAST_PROSE:
        return Group(*(part for name, value in known for part in (name, Padding(value, (0, 0, 0, 4)))))
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, value in known:
        table.add_row(name, value)
    return table


def blocks(heads: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> RenderableType:
    """A table for a narrow screen: under the first cell of each row the others, each with its heading."""
    parts: list[RenderableType] = []
    for first, *others in rows:
        parts += [styled(first, "bold"), pairs(zip(heads[1:], others, strict=True), width)]
    return Group(*parts)
