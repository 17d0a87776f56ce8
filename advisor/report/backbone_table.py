"""The table of `advisor backbones`."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from advisor.system import screen

if TYPE_CHECKING:
    from advisor.backbones.catalogue import Row

TABLE_WIDTH = 76  # columns; on a narrower screen each network has its own lines


def print_backbones(rows: Sequence[Row]) -> None:
    """Print the networks, which of them are ready, and where the figures come from."""
    wide = not sys.stdout.isatty() or shutil.get_terminal_size().columns >= TABLE_WIDTH
    for line in _table(rows) if wide else _blocks(rows, shutil.get_terminal_size().columns):
        screen.say(line)
    screen.say("\nReady offline: " + ", ".join(row.name for row in rows if row.ready) + ".")
    screen.say("download: from Keras at first use; file: with --weights FILE; random: not pre-trained.")
    sources = dict.fromkeys(row.source for row in rows if row.source)
    screen.say("Sources of the figures: " + ", ".join(sources))


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield f"{'name':20}{'pixels':>7}{'million':>12}{'ImageNet':>10}  {'weights':12}{'licence'}"
    yield f"{'':20}{'':>7}{'parameters':>12}{'top-1 %':>10}"
    for row in rows:
        top1 = "-" if row.top1 is None else f"{row.top1:.1f}"
        figures = f"{row.image_size:>7}{row.parameters:>12.1f}{top1:>10}"
        yield f"{row.name:20}{figures}  {row.weights:12}{row.licence}".rstrip()


def _blocks(rows: Sequence[Row], width: int) -> Iterator[str]:
    for row in rows:
        yield row.name
        top1 = "" if row.top1 is None else f", ImageNet top-1 {row.top1:.1f} %"
        licence = f"; licence: {row.licence}" if row.licence else ""
        figures = f"{row.image_size} pixels, {row.parameters:.1f} million parameters{top1}"
        for line in (figures, f"weights: {row.weights}{licence}"):
            yield from textwrap.wrap(line, width, initial_indent="  ", subsequent_indent="  ")
