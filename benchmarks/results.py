"""Results as JSON lines, one for each thing measured, and as Markdown tables."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advisor.system.storage import replacing


def read(file: Path) -> list[dict[str, Any]]:
    """All lines; none where there is no file yet."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def asked_for(description: str | None) -> list[dict[str, Any]]:
    """The lines of the files that a command line names, whose help has this description."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    return [line for file in parser.parse_args().files for line in read(file)]


def measured(
    arguments: argparse.Namespace, measure: Callable[[argparse.Namespace], None]
) -> list[dict[str, Any]]:
    """The lines of the files of `--table`, where these are named; else measure, and those of `--output`."""
    if not arguments.table:
        measure(arguments)
    return [line for file in arguments.table or [arguments.output] for line in read(file)]


def correct(line: dict[str, Any], recipe: str) -> np.ndarray:
    """Which of the test images a recipe classified correctly, bool [tested], in one order for all recipes."""
    bits = np.frombuffer(bytes.fromhex(line["recipes"][recipe]["correct"]), np.uint8)
    return np.unpackbits(bits)[: line["tested"]].astype(bool)


def paired_gain(line: dict[str, Any], recipe: str, over: str) -> tuple[float, float]:
    """Points of test accuracy that a recipe has over another, and their standard error on the same images."""
    difference = 100 * (correct(line, recipe).astype(float) - correct(line, over))
    return float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))


def write(file: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Replace a file as a whole, so that stopping at any moment loses no line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as unfinished:
        unfinished.write_text("".join(json.dumps(line) + "\n" for line in lines))


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
