"""The table of `advisor backbones`."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from advisor.system import screen

if TYPE_CHECKING:
    from advisor.backbones import Backbone
    from advisor.backbones.catalogue import Row
    from advisor.backbones.layer_table import Layer

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


def print_layers(backbone: Backbone, layers: Sequence[Layer]) -> None:
    """Print the layers of a network, with what `--train-from` each of them leaves frozen."""
    screen.say(f"{backbone.name} at {backbone.image_size} px, {len(layers)} layers; * marks those probed\n")
    longest = max(len(layer.name) for layer in layers)
    blocks = max(len("block"), *(len(layer.block) for layer in layers))
    screen.say(
        f"{'number':>6}   {'name':{longest}}  {'block':{blocks}}{'pixels':>8}{'channels':>10}{'below':>13}"
    )
    for layer in layers:
        mark = "*" if layer.is_probed else " "
        figures = f"{layer.pixels or '-':>8}{layer.channels or '-':>10}{layer.parameters_below:>13,}"
        screen.say(f"{layer.number:>6} {mark} {layer.name:{longest}}  {layer.block:{blocks}}{figures}")
    screen.say("\nbelow: parameters that --train-from this layer leaves frozen.")
    counted = ", or child:N, as PyTorch counts" if backbone.children else ""
    screen.say(f"--train-from and --cut-layer take a number, a name or a block{counted}.")


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
