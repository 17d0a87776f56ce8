"""Predictions as they leave the command line: lines for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from advisor.dataset import legible
from advisor.storage import replacing

if TYPE_CHECKING:
    from recipes.prediction import FinishedRun, Prediction

TOP = 3
PATH_WIDTH, NAME_WIDTH = 36, 16
COLUMNS = ("path", *(f"{what}_{n}" for n in range(1, TOP + 1) for what in ("label", "probability")))


def lines(
    predictions: Iterable[Prediction], class_names: tuple[str, ...], paths: Sequence[str]
) -> Iterator[str]:
    """A line for each image with its most probable classes, under a heading.

    Args:
        predictions: in order.
        class_names: of the run.
        paths: all that will come, for the width of the first column.
    """
    width = min(PATH_WIDTH, max(len("image"), *(len(legible(path)) for path in paths)))
    names = min(NAME_WIDTH, max(len(legible(name)) for name in class_names))
    top = min(TOP, len(class_names))
    heads = ("most probable", "second", "third")[:top]
    yield "  ".join([f"{'image':{width}}", *(f"{head:{names + 6}}" for head in heads)]).rstrip()
    for item in predictions:
        cells = [_start_cut(legible(item.path), width)]
        for label, probability in item.best(TOP):
            cells.append(f"{_end_cut(legible(class_names[label]), names)} {_share(probability):>5}")
        yield "  ".join([*cells, *(["? unlike the training images"] if item.unlike else [])])


def _share(probability: float) -> str:
    """Never 100 % unless it is: 0.9996 is not sure."""
    return "100%" if probability == 1 else f"{min(probability, 0.999):.1%}"


def _start_cut(text: str, width: int) -> str:
    """The end of a path says more than its beginning."""
    return f"{text:{width}}" if len(text) <= width else "…" + text[len(text) - width + 1 :]


def _end_cut(text: str, width: int) -> str:
    return f"{text:{width}}" if len(text) <= width else text[: width - 1] + "…"


def write_json(
    stream: IO[str],
    run: FinishedRun,
    predictions: Iterable[Prediction],
    skipped: list[tuple[str, str]],
) -> None:
    """One JSON object, written piece by piece, so that memory stays flat.

    Args:
        stream: to write to.
        run: that predicts.
        predictions: in order.
        skipped: path and reason; may grow until the last prediction has come.
    """
    threshold = run.neighbours.threshold if run.neighbours else None
    head = {"schema": 1, "run": str(run.folder), "classes": run.class_names, "threshold": threshold}
    stream.write(json.dumps(head)[:-1] + ', "predictions": [')
    for number, item in enumerate(predictions):
        row = {
            "path": item.path,
            "top": [
                {"label": run.class_names[label], "probability": round(probability, 6)}
                for label, probability in item.best(TOP)
            ],
            "distance": item.distance,
            "unlike": item.unlike,
        }
        stream.write(("," if number else "") + "\n" + json.dumps(row))
    left_out = [{"path": path, "reason": reason} for path, reason in skipped]
    stream.write("\n]" + f', "skipped": {json.dumps(left_out)}' + "}\n")


def write_csv_file(file: Path, class_names: tuple[str, ...], predictions: Iterable[Prediction]) -> None:
    """As `write_csv`, into a file; bytes of a path that are no UTF-8 are kept as they are."""
    with (
        replacing(file) as unfinished,
        unfinished.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream,
    ):
        write_csv(stream, class_names, predictions)


def write_csv(stream: IO[str], class_names: tuple[str, ...], predictions: Iterable[Prediction]) -> None:
    """A row for each image: path, labels and probabilities, distance, unlike (0 or 1)."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*COLUMNS, "distance", "unlike"])
    for item in predictions:
        row: list[Any] = [item.path]
        for label, probability in item.best(TOP):
            row += [class_names[label], f"{probability:.6f}"]
        row += [""] * (len(COLUMNS) - len(row))
        row += ["" if item.distance is None else f"{item.distance:.6f}"]
        row += ["" if item.unlike is None else int(item.unlike)]
        writer.writerow(row)
