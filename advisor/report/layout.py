"""How text is laid out on a terminal: rich tables for the width that is there, 80 columns at most."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

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


def tabled(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: Collection[str],
    width: int,
    bold: Collection[int] = (),
) -> RenderableType:
    """A table whose last column may go on in further lines; blocks where the others have no room.

    Args:
        heads: of the columns.
        rows: their cells.
        numbers: heads of the columns that stand to the right.
        width: of the screen, in columns.
        bold: positions of the rows that stand out.
    """
    *others, last = zip(heads, *rows, strict=True)
    words = max(len(word) for cell in last for word in cell.split() or [""])
    if sum(max(map(len, column)) + 1 for column in others) + words > width:
        return blocks(heads, rows, width)
    table = ruled(width)
    for head in heads:
        right = head in numbers
        table.add_column(head, justify="right" if right else "left", no_wrap=head != heads[-1])
    for number, row in enumerate(rows):
        table.add_row(*map(styled, row), style="bold" if number in bold else "")
    return table
