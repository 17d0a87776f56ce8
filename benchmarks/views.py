"""Is a second look at an image worth its time: mirrored, at two sizes, or with a second network?

    python -m benchmarks.views DATA... --sizes 200 1000 --seeds 0 1 --output FILE
    python -m benchmarks.views --table FILE...

For each data set, size and seed: the test accuracy of a solved head on all depths, with cells where
leave-one-out says so, for one view of an image and for several. Each way takes one square image and makes the
others by layers that export: Keras' `Resizing` (bilinear), `AveragePooling2D` and a flip. Time is counted in
operations of the network, as times those of one view of the bundled one. One JSON line is written as each
task is done; tasks whose line is there already are skipped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advisor import backbones
from advisor.backbones import BUNDLED
from advisor.backbones.catalogue import catalogue
from advisor.data import images
from advisor.data.names import SPLITS
from advisor.evidence import embedding, linear_head
from advisor.evidence.head_input import HeadInput
from advisor.evidence.linear_head import Fitted
from advisor.evidence.pooling import SHARES
from advisor.evidence.probe import BELIEF_IN_THE_WHOLE
from advisor.evidence.signed_root import signed_root
from advisor.system.devices import load_tensorflow
from benchmarks import results
from benchmarks.tasks import Task, not_done

LITE2 = "efficientnet_lite2"
BATCH = 16
Line = dict[str, Any]


@dataclass(frozen=True)
class View:
    """One look at an image.

    Attributes:
        network: that sees it.
        size: pixels that it sees.
        taken: pixels of the image that the model takes, of which the view is made.
        mirrored: left and right turned around.
    """

    network: str
    size: int
    taken: int
    mirrored: bool = False

    @property
    def times(self) -> float:
        """Its operations, as times those of the bundled network at its own size."""
        row = ROWS[self.network]
        return row.gflop * (self.size / row.image_size) ** 2 / ROWS[BUNDLED].gflop


@dataclass(frozen=True)
class Looked:
    """What a network saw of n images.

    Attributes:
        averages: over the whole picture at all depths, float32 [n, d].
        cells: over the cells of a grid, side by side over the depths, float32 [n, e].
    """

    averages: np.ndarray
    cells: np.ndarray


ROWS = {row.name: row for row in catalogue()}
ONE = View(BUNDLED, 224, 224)
MIRROR = View(BUNDLED, 224, 224, mirrored=True)
LARGE, SMALL = View(BUNDLED, 320, 320), View(BUNDLED, 160, 320)
SECOND = View(LITE2, 260, 260)
WAYS: dict[str, tuple[str, tuple[View, ...]]] = {  # name: how views are joined, and which
    "one view": ("mean", (ONE,)),
    "with the mirror image": ("mean", (ONE, MIRROR)),
    "320 px": ("mean", (LARGE,)),
    "320 and 160 px, side by side": ("beside", (LARGE, SMALL)),
    "Lite2": ("mean", (SECOND,)),
    "Lite0 and Lite2, side by side": ("beside", (View(BUNDLED, 224, 260), SECOND)),
    "Lite0 and Lite2, two heads": ("heads", (View(BUNDLED, 224, 260), SECOND)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="as for advisor recommend")
    parser.add_argument("--sizes", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--output", type=Path, default=Path("views.jsonl"))
    parser.add_argument("--table", type=Path, nargs="+", help="only print the table of these files")
    arguments = parser.parse_args()
    print(table(results.measured(arguments, measure)))


def measure(arguments: argparse.Namespace) -> None:
    load_tensorflow()
    lines = results.read(arguments.output)
    done = [(line["data"], line["size"], line["seed"]) for line in lines]
    for task in not_done(arguments.data, arguments.sizes, arguments.seeds, done):
        looked = _looks(task)
        ways = {
            name: _judged(task, join, [looked[view] for view in views])
            for name, (join, views) in WAYS.items()
        }
        line = {
            "data": task.name,
            "size": task.size,
            "seed": task.seed,
            "images": len(task.held),
            "ways": ways,
        }
        lines.append(line)
        results.write(arguments.output, lines)
        print(task.name, task.size, task.seed, *(f"{way['test']:.3f}" for way in ways.values()), flush=True)


def _looks(task: Task) -> dict[View, Looked]:
    """Look at all images of a task in all ways; those of one size are decoded once."""
    found: dict[View, Looked] = {}
    views = {view for _, views in WAYS.values() for view in views}
    for taken in sorted({view.taken for view in views}):
        looks = {view: _look(view) for view in views if view.taken == taken}
        seen: dict[View, list[list[np.ndarray]]] = {view: [] for view in looks}
        for _, pixels in images.stream(list(task.judged.paths), taken, BATCH, lambda *_: None):
            for view, look in looks.items():
                seen[view].append(look(pixels))
        found |= {view: _joined(view, batches) for view, batches in seen.items()}
    return found


def _look(view: View) -> Callable[[np.ndarray], list[np.ndarray]]:
    """What makes a view of images, uint8 [b, taken, taken, 3], and gives what the network sees of it."""
    import keras

    run = embedding.runner(backbones.load(view.network), view.size)
    halved = view.taken == 2 * view.size
    smaller = keras.layers.AveragePooling2D(2) if halved else keras.layers.Resizing(view.size, view.size)

    def look(pixels: np.ndarray) -> list[np.ndarray]:
        shown = pixels[:, :, ::-1] if view.mirrored else pixels
        if view.taken != view.size:
            shown = np.asarray(smaller(shown.astype(np.float32)))
        return [part.copy() for part in run(shown)]

    return look


def _joined(view: View, batches: Sequence[Sequence[np.ndarray]]) -> Looked:
    """What was seen of all images, from batches of averages and cells by depth."""
    parts = [np.concatenate(each) for each in zip(*batches, strict=True)]
    taps = len(backbones.load(view.network).taps)
    averages, cells = parts[:taps], parts[taps:]
    if view.mirrored:
        cells = [_turned_back(cell, average.shape[1]) for cell, average in zip(cells, averages, strict=False)]
    return Looked(np.concatenate(averages, axis=1), np.concatenate(cells, axis=1))


def _turned_back(cells: np.ndarray, channels: int) -> np.ndarray:
    """The cells of mirror images [n, e] in the places that they have in the images."""
    side = round((cells.shape[1] / channels) ** 0.5)
    return cells.reshape(-1, side, side, channels)[:, :, ::-1].reshape(cells.shape)


def _judged(task: Task, join: str, looked: Sequence[Looked]) -> dict[str, Any]:
    """What heads on the views of a task reach, and their log-loss by leave-one-out."""
    data = task.judged
    test = data.indices("test")
    fitted = np.flatnonzero(data.splits != SPLITS.index("test"))
    if join == "mean":
        averages = np.mean([each.averages for each in looked], axis=0)
        looked = [Looked(averages, np.mean([each.cells for each in looked], axis=0))]
    if join == "beside":
        averages = np.concatenate([each.averages for each in looked], axis=1)
        looked = [Looked(averages, np.concatenate([each.cells for each in looked], axis=1))]
    heads = [_head(each, data.labels, fitted, len(data.class_names)) for each in looked]
    logits = np.mean([head.head.logits(seen.take(test)) for head, seen in heads], axis=0)
    held_out = np.mean([np.log(np.maximum(head.held_out, 1e-12)) for head, _ in heads], axis=0)
    told = linear_head.judge(linear_head.softmax(held_out), data.labels[fitted])
    right = logits.argmax(axis=1) == data.labels[test]
    return {
        "test": float(right.mean()),
        "left_out": told.accuracy,
        "log_loss": told.loss,
        "correct": np.packbits(right).tobytes().hex(),
    }


def _head(looked: Looked, labels: np.ndarray, fitted: np.ndarray, classes: int) -> tuple[Fitted, HeadInput]:
    """The head on one look, with cells where leave-one-out says so, and what it sees."""
    roots = signed_root(looked.averages)
    both = HeadInput((roots, signed_root(looked.cells).astype(np.float16)), SHARES)
    inputs = [HeadInput((roots,)), both]
    heads = [linear_head.fit(seen.take(fitted), labels[fitted], classes) for seen in inputs]
    whole, with_cells = (linear_head.judge(head.held_out, labels[fitted]).loss for head in heads)
    chosen = int(len(fitted) * (with_cells - whole) < -BELIEF_IN_THE_WHOLE)
    return heads[chosen], inputs[chosen]


def table(lines: Sequence[Line]) -> str:
    """A row for each way: its time, its accuracy, and what it has over one view."""
    rows = []
    for name, (_, views) in WAYS.items():
        tests = 100 * np.array([line["ways"][name]["test"] for line in lines])
        gains = tests - 100 * np.array([line["ways"]["one view"]["test"] for line in lines])
        loss = np.mean([line["ways"][name]["log_loss"] for line in lines])
        error = gains.std() / np.sqrt(len(gains))
        cells = [f"{sum(view.times for view in views):.1f}", f"{tests.mean():.1f}"]
        cells += [f"{gains.mean():+.2f} ± {error:.2f}", f"{gains.min():+.1f}", f"{loss:.3f}"]
        rows.append([name, *cells])
    heads = ["way", "times the operations", "test accuracy", "over one view", "worst", "log-loss, left out"]
    return results.markdown(heads, rows)


if __name__ == "__main__":
    main()
