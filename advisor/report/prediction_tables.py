"""Predictions as they leave the command line: lines for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from advisor.results import Prediction
from advisor.system.spreadsheet import safe_cell
from advisor.system.storage import replacing
from advisor.system.text import fitting, legible, shortened, shortened_in_front

TOP = 3
PATH_WIDTH = 12  # columns of a path on a terminal, at least
NAME_WIDTH, LEAST_NAME_WIDTH = 16, 8  # columns of the name of a class on a terminal, at most and at least
SHARE_WIDTH = 8  # columns of a probability and of the gaps beside it
UNLIKE = "? unlike the training images"
COLUMNS = ("path", *(f"{what}_{n}" for n in range(1, TOP + 1) for what in ("label", "probability")))


def lines(
    predictions: Iterable[Prediction], class_names: tuple[str, ...], paths: Sequence[str]
) -> Iterator[str]:
    """A line for each image with its most probable classes, under a heading.

    On a terminal, long paths and names are cut so that a line fits, and where that is too narrow the classes
    stand under the image; elsewhere lines are whole.

    Args:
        predictions: in order.
        class_names: of the run.
        paths: all that will come, for the width of the first column.
    """
    top = min(TOP, len(class_names))
    width = max(len("image"), *(len(fitting(path)) for path in paths))
    names = longest = max(len(fitting(name)) for name in class_names)
    screen = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    if screen:
        names = min(longest, NAME_WIDTH, (screen - PATH_WIDTH) // top - SHARE_WIDTH)
        if names < min(longest, LEAST_NAME_WIDTH):
            yield from _blocks(predictions, screen)
            return
        width = min(width, max(PATH_WIDTH, screen - top * (names + SHARE_WIDTH)))
    heads = ("most probable", "second", "third")[:top]
    yield "  ".join([f"{'image':{width}}", *(f"{head:{names + 6}}" for head in heads)]).rstrip()
    for item in predictions:
        cells = [f"{shortened_in_front(fitting(item.path), width):{width}}"]
        for label, probability in item.best(TOP):
            cells.append(f"{shortened(fitting(label), names):{names}} {share(probability):>5}")
        line = "  ".join(cells)
        if not item.unlike:
            yield line
        elif screen and len(line) + len(UNLIKE) + 2 > screen:
            yield from (line, f"  {UNLIKE}")
        else:
            yield f"{line}  {UNLIKE}"


def _blocks(predictions: Iterable[Prediction], screen: int) -> Iterator[str]:
    """The same for a narrow screen: the most probable classes of each image under its path."""
    for item in predictions:
        yield shortened_in_front(fitting(item.path), screen)
        names = [fitting(label) for label, _ in item.best(TOP)]
        width = min(max(map(len, names)), screen - SHARE_WIDTH)
        for name, (_, probability) in zip(names, item.best(TOP), strict=True):
            yield f"  {shortened(name, width):{width}} {share(probability):>5}"
        if item.unlike:
            yield f"  {UNLIKE}"


def share(probability: float) -> str:
    """A probability, 0..1, in per cent; never 100 % unless it is: 0.9996 is not sure."""
    return "100%" if probability == 1 else f"{min(probability, 0.999):.1%}"


def write_json(
    stream: IO[str],
    run_folder: Path,
    class_names: tuple[str, ...],
    threshold: float,
    predictions: Iterable[Prediction],
    skipped: list[tuple[str, str]],
    coverage: float | None = None,
) -> None:
    """One JSON object, written piece by piece, so that memory stays flat.

    Args:
        stream: to write to.
        run_folder: of the run that predicts.
        class_names: of the run.
        threshold: the distance from which on an image is unlike the training images.
        predictions: in order.
        skipped: path and reason; may grow until the last prediction has come.
        coverage: of the prediction sets, where there are any.
    """
    head = {"schema": 1, "run": str(run_folder), "classes": class_names, "threshold": threshold}
    head |= {} if coverage is None else {"coverage": coverage}
    stream.write(json.dumps(head)[:-1] + ', "predictions": [')
    for number, item in enumerate(predictions):
        row = {"path": item.path, **as_json(item)}
        stream.write(("," if number else "") + "\n" + json.dumps(row))
    left_out = [{"path": path, "reason": reason} for path, reason in skipped]
    stream.write("\n]" + f', "skipped": {json.dumps(left_out)}' + "}\n")


def as_json(item: Prediction) -> dict[str, Any]:
    """What is said of an image, without its path; with a "set" where one was asked for."""
    return {
        "top": [
            {"label": label, "probability": round(probability, 6)} for label, probability in item.best(TOP)
        ],
        **({} if item.possible is None else {"set": list(item.possible)}),
        "distance": item.distance,
        "unlike": item.unlike,
    }


def write_csv_file(file: Path, predictions: Iterable[Prediction]) -> None:
    """As `write_csv`, into a file; bytes of a path that are no UTF-8 are kept as they are."""
    with (
        replacing(file) as unfinished,
        unfinished.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        write_csv(stream, predictions)


def write_csv_to_output(predictions: Iterable[Prediction]) -> None:
    """As `write_csv`, to standard output: the same bytes as in a file, but legible names on a terminal."""
    if sys.stdout.isatty():
        write_csv(sys.stdout, predictions, legible)
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    write_csv(sys.stdout, predictions)


def write_csv(
    stream: IO[str], predictions: Iterable[Prediction], spelled: Callable[[str], str] = str
) -> None:
    """A row for each image: path, labels and probabilities, distance, unlike (0 or 1); where there are
    prediction sets, also how many classes are in its set, and their names with a bar between them.

    No path and no label is a formula to a spreadsheet. All text is quoted, for some of them also begin a
    cell at a semicolon or a carriage return in a name.

    Args:
        stream: to write to.
        predictions: in order.
        spelled: how paths and labels are written.
    """
    writer = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    rows = iter(predictions)
    first = next(rows, None)
    of_sets = ["set_size", "set"] if first is not None and first.possible is not None else []
    writer.writerow([*COLUMNS, "distance", "unlike", *of_sets])
    for item in itertools.chain([] if first is None else [first], rows):
        row: list[Any] = [safe_cell(spelled(item.path))]
        for label, probability in item.best(TOP):
            row += [safe_cell(spelled(label)), round(probability, 6)]
        row += [""] * (len(COLUMNS) - len(row))
        row += [round(item.distance, 6), int(item.unlike)]
        if item.possible is not None:
            row += [len(item.possible), safe_cell("|".join(map(spelled, item.possible)))]
        writer.writerow(row)
