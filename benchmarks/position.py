"""Should a frozen network see what stands where: the cells of a grid beside the whole picture?

    python -m benchmarks.position DATA... --sizes 200 1000 --output benchmarks/results/position.jsonl
    python -m benchmarks.position --table benchmarks/results/position.jsonl

Each task is a data set cut to a size, as for `benchmarks.regret`. Heads on the averages over the whole
picture and on those with cells, the whole picture having some share in what the head sees, are fitted to the
training and validation images, judged by leave-one-out on these, and tested on up to 500 others. Nothing is
trained by gradient steps. One line is written as each task is done; tasks whose line is there already are
skipped.

The first table tells what each head gains over the whole picture alone: points of test accuracy on average
over the tasks, their standard error over the data sets, the worst task, in how many the loss is clear (more
than twice its standard error, both heads having been tested on the same images), and what the log-loss
gains. The second tells the same where leave-one-out chooses between the whole picture and the cells with the
share that is used, by how firmly one believes in the whole picture before the images are seen.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advisor import backbones
from advisor.evidence import embedding, linear_head, pooling
from advisor.evidence.features import Features
from advisor.evidence.head_input import HeadInput
from advisor.evidence.probe import BELIEF_IN_THE_WHOLE
from benchmarks import results
from benchmarks.tasks import Task, not_done

WHOLE = "whole picture"
SHARES = (0.0, 0.25, 0.5)  # of the whole picture beside cells
BELIEFS = (0.0, 2.0, 4.0, 7.0, 10.0)
DEPTHS = ("last layer", "all depths")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="folders, CSV files, or sklearn:digits")
    parser.add_argument("--sizes", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--output", type=Path, default=Path("results.jsonl"))
    parser.add_argument("--table", type=Path, nargs="+", help="only print the tables of these files")
    arguments = parser.parse_args()
    lines = results.measured(arguments, measure)
    print(heads(lines), choices(lines), sep="\n\n")


def measure(arguments: argparse.Namespace) -> None:
    """Judge the heads on the tasks that have no line yet."""
    lines, image_size = results.read(arguments.output), arguments.image_size
    done = [(each["data"], each["size"], each["seed"]) for each in lines if each["image_size"] == image_size]
    for task in not_done(arguments.data, arguments.sizes, arguments.seeds, done):
        key = {"data": task.name, "size": task.size, "seed": task.seed, "image_size": image_size}
        lines.append({**key, **judge(task, image_size)})
        results.write(arguments.output, lines)
        print(*key.values(), flush=True)


def judge(task: Task, image_size: int) -> dict[str, Any]:
    """What every head says of the images that it was fitted to, left out, and of the test images.

    Returns:
        "images" fitted to, and by depths and head: "loss", the leave-one-out log-loss in nats, summed;
        "tested", the mean log-loss on the test images; "correct", which of them are right (bits in
        hexadecimal digits); "tests", how many there are.
    """
    data, backbone = task.judged, backbones.load(backbones.BUNDLED, image_size=image_size)
    told: dict[str, Any] = {}
    for name in pooling.CELLS:
        embedded = embedding.embed(backbone, data, np.arange(len(data)), image_size, pooling=name)
        labels, is_test = data.labels[embedded.positions], data.splits[embedded.positions] == 2
        fitted, tested = np.flatnonzero(~is_test), np.flatnonzero(is_test)
        for depths, head, seen in _views(embedded.features, name):
            solved = linear_head.fit(seen.take(fitted), labels[fitted], len(data.class_names))
            said = solved.head.probabilities(seen.take(tested))
            right = said.argmax(axis=1) == labels[tested]
            told[f"{depths}, {head}"] = {
                "loss": len(fitted) * linear_head.judge(solved.held_out, labels[fitted]).loss,
                "tested": linear_head.judge(said, labels[tested]).loss,
                "correct": np.packbits(right).tobytes().hex(),
            }
    return {"images": len(fitted), "tests": len(tested), "heads": told}


def _views(features: Features, name: str) -> list[tuple[str, str, HeadInput]]:
    """What each head sees, with the depths and the name of the head."""
    views = []
    for depths, taps in zip(DEPTHS, (features.taps[-1:], features.taps), strict=True):
        if name == pooling.FINEST:
            views.append((depths, WHOLE, features.whole_picture(taps)))
        whole, cells = features.with_cells(taps).parts
        for share in SHARES:
            seen = HeadInput((whole, cells), (share, 1 - share)) if share else HeadInput((cells,))
            views.append((depths, _head(name, share), seen))
    return views


def _head(name: str, share: float) -> str:
    return f"{name}, share of the whole {share:g}"


def heads(lines: Sequence[dict[str, Any]]) -> str:
    """A row for each image size, depths and head, as Markdown."""
    rows = []
    for size, depths in itertools.product(_image_sizes(lines), DEPTHS):
        group = [line for line in lines if line["image_size"] == size]
        for name, share in itertools.product(pooling.CELLS, SHARES):
            head = _head(name, share)
            rows.append([f"{size}", depths, head, *_gains(group, depths, lambda line: head)])  # noqa: B023
    return results.markdown(["px", "depths", "head", *_GAINS], rows)


def choices(lines: Sequence[dict[str, Any]]) -> str:
    """A row for each image size, depths and belief, as Markdown."""
    cells, rows = _head(pooling.FINEST, pooling.SHARES[0]), []
    for size, depths in itertools.product(_image_sizes(lines), DEPTHS):
        group = [line for line in lines if line["image_size"] == size]
        for belief in BELIEFS:

            def choose(line: dict[str, Any]) -> str:
                loss = {head: line["heads"][f"{depths}, {head}"]["loss"] for head in (WHOLE, cells)}  # noqa: B023
                return cells if loss[cells] + belief < loss[WHOLE] else WHOLE  # noqa: B023

            today = ", as advised" if belief == BELIEF_IN_THE_WHOLE else ""
            taken = sum(choose(line) == cells for line in group)
            key = [f"{size}", depths, f"{belief:g} nats{today}", f"{taken} of {len(group)}"]
            rows.append([*key, *_gains(group, depths, choose)])
    return results.markdown(["px", "depths", "belief", "cells taken", *_GAINS], rows)


_GAINS = ["points", "standard error", "worst", "clear losses", "log-loss"]


def _image_sizes(lines: Sequence[dict[str, Any]]) -> list[int]:
    return sorted({line["image_size"] for line in lines})


def _gains(
    lines: Sequence[dict[str, Any]], depths: str, choose: Callable[[dict[str, Any]], str]
) -> list[str]:
    """What the chosen heads gain over the whole picture alone."""
    points, losses, clear = [], [], 0
    by_data: dict[str, list[float]] = {}
    for line in lines:
        whole, chosen = (line["heads"][f"{depths}, {head}"] for head in (WHOLE, choose(line)))
        difference = _correct(chosen, line) - _correct(whole, line)
        gain, error = difference.mean(), difference.std() / np.sqrt(len(difference))
        clear += int(gain < -2 * error)
        points.append(100 * gain)
        losses.append(chosen["tested"] - whole["tested"])
        by_data.setdefault(line["data"], []).append(100 * gain)
    means = np.array([np.mean(gains) for gains in by_data.values()])
    error = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.nan
    return [
        f"{np.mean(points):+.2f}",
        f"{error:.2f}",
        f"{min(points):+.1f}",
        str(clear),
        f"{np.mean(losses):+.4f}",
    ]


def _correct(head: dict[str, Any], line: dict[str, Any]) -> np.ndarray:
    """Which test images are right, float64 [n]."""
    bits = np.frombuffer(bytes.fromhex(head["correct"]), np.uint8)
    return np.unpackbits(bits, count=line["tests"]).astype(float)


if __name__ == "__main__":
    main()
