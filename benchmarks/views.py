"""Is a second look at an image worth its time: mirrored, at two sizes, or with a second network?

    python -m benchmarks.views DATA... --sizes 200 1000 --seeds 0 1 --output FILE
    python -m benchmarks.views --table FILE...

For each data set, size and seed: the test accuracy of a solved head on all depths, with cells and with a
Gaussian kernel where leave-one-out says so, for one view of an image and for several; for one view also
without the kernel. Each way takes one square image and makes the others by layers that export: Keras'
`Resizing` (bilinear), `AveragePooling2D` and a flip. Time is counted in operations of the network, as times
those of one view of the bundled one. One JSON line is written as each task is done; ways that are in its line
already are not tried again.

The last rows are what `advisor recommend` takes, of the ways that it tries the one that should gain most by
`rule.gain_of_look`, where that is worth it; the same with one network; and with what the gains on all other
data sets say. The second table has what such gains were, by the share of the log-loss that was taken away.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advisor import backbones
from advisor.advice import rule
from advisor.backbones import BUNDLED
from advisor.backbones.catalogue import catalogue
from advisor.data import images
from advisor.data.names import SPLITS
from advisor.evidence import embedding, linear_head
from advisor.evidence.gaussian import Gaussian
from advisor.evidence.head_input import HeadInput
from advisor.evidence.linear_head import Fitted
from advisor.evidence.pooling import SHARES
from advisor.evidence.probe import BELIEF_IN_STRAIGHT, BELIEF_IN_THE_WHOLE
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
HALF = View(BUNDLED, 112, 224)
SECOND = View(LITE2, 260, 260)
STRAIGHT = "one view, without a kernel"
WAYS: dict[str, tuple[str, tuple[View, ...]]] = {  # name: how views are joined, and which
    "one view": ("mean", (ONE,)),
    STRAIGHT: ("straight", (ONE,)),
    "with the mirror image": ("mean", (ONE, MIRROR)),
    "224 and 112 px, side by side": ("beside", (ONE, HALF)),
    "224 and 112 px, two heads": ("heads", (ONE, HALF)),
    "Lite2": ("mean", (SECOND,)),
    "Lite0 and Lite2, side by side": ("beside", (View(BUNDLED, 224, 260), SECOND)),
    "Lite0 and Lite2, two heads": ("heads", (View(BUNDLED, 224, 260), SECOND)),
}
PLAIN = "one view"
SECOND_LOOKS = [name for name, (_, views) in WAYS.items() if len(views) > 1]
# What `advisor recommend` looks at, beside one view.
TRIED = ("with the mirror image", "224 and 112 px, side by side", "Lite0 and Lite2, side by side")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="as for advisor recommend")
    parser.add_argument("--sizes", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--output", type=Path, default=Path("views.jsonl"))
    parser.add_argument("--table", type=Path, nargs="+", help="only print the table of these files")
    arguments = parser.parse_args()
    lines = results.measured(arguments, measure)
    print(table(lines), told(lines), sep="\n\n")


def measure(arguments: argparse.Namespace) -> None:
    load_tensorflow()
    lines = results.read(arguments.output)
    known = {(line["data"], line["size"], line["seed"]): line for line in lines}
    done = [key for key, line in known.items() if set(WAYS) <= set(line["ways"])]
    for task in not_done(arguments.data, arguments.sizes, arguments.seeds, done):
        line = known.get((task.name, task.size, task.seed))
        if line is None:
            of = {"data": task.name, "size": task.size, "seed": task.seed, "images": len(task.held)}
            line = {**of, "ways": {}}
            lines.append(line)
        todo = {name: way for name, way in WAYS.items() if name not in line["ways"]}
        looked = _looks(task, {view for _, views in todo.values() for view in views})
        for name, (join, views) in todo.items():
            line["ways"][name] = _judged(task, join, [looked[view] for view in views])
        results.write(arguments.output, lines)
        tests = (f"{line['ways'][name]['test']:.3f}" for name in WAYS)
        print(task.name, task.size, task.seed, *tests, flush=True)


def _looks(task: Task, views: set[View]) -> dict[View, Looked]:
    """Look at all images of a task in some ways; those of one size are decoded once."""
    found: dict[View, Looked] = {}
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
    curved = join != "straight"
    heads = [_head(each, data.labels, fitted, len(data.class_names), curved) for each in looked]
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


def _head(
    looked: Looked, labels: np.ndarray, fitted: np.ndarray, classes: int, curved: bool
) -> tuple[Fitted, HeadInput]:
    """The head on one look, with cells and, if `curved`, a kernel where leave-one-out says so; with what it
    sees."""

    def with_loss(seen: HeadInput) -> tuple[float, Fitted, HeadInput]:
        head = linear_head.fit(seen.take(fitted), labels[fitted], classes)
        return len(fitted) * linear_head.judge(head.held_out, labels[fitted]).loss, head, seen

    roots, own = signed_root(looked.averages), np.full(len(labels), -1)
    own[fitted] = np.arange(len(fitted))
    cells = HeadInput((roots, signed_root(looked.cells).astype(np.float16)), SHARES)
    best = with_loss(HeadInput((roots,)))
    ways: list[tuple[float, Callable[[HeadInput], HeadInput]]] = [(BELIEF_IN_THE_WHOLE, lambda _: cells)]
    if curved:
        ways.append((BELIEF_IN_STRAIGHT, lambda seen: seen.and_likeness(Gaussian.of(roots[fitted]), own)))
    for belief, more in ways:
        tried = with_loss(more(best[2]))
        best = tried if tried[0] - best[0] < -belief else best
    return best[1:]


def table(lines: Sequence[Line]) -> str:
    """A row for each way: its time, its accuracy, and what it has over one view."""
    rows = []
    tried = [name for name in WAYS if all(name in line["ways"] for line in lines)]
    named: dict[str, list[str]] = {name: [name] * len(lines) for name in tried}
    known = rule.VIEW_ANYWAY, rule.NETWORK_ANYWAY, rule.LOOK_TOO
    one_network = TRIED[:-1]
    named["what is worth it, as advised"] = [_worth(line, TRIED, known) for line in lines]
    named["the same with one network"] = [_worth(line, one_network, known) for line in lines]
    named["as advised, by the other sets"] = [
        _worth(line, TRIED, _fitted([one for one in lines if one["data"] != line["data"]])[0])
        for line in lines
    ]
    for name, chosen in named.items():
        ways = [line["ways"][way] for line, way in zip(lines, chosen, strict=True)]
        tests = 100 * np.array([way["test"] for way in ways])
        gains = tests - 100 * np.array([line["ways"][PLAIN]["test"] for line in lines])
        loss = np.mean([way["log_loss"] for way in ways])
        error = gains.std() / np.sqrt(len(gains))
        times = np.mean([sum(view.times for view in WAYS[way][1]) for way in chosen])
        cells = [f"{times:.1f}", f"{tests.mean():.1f}"]
        cells += [f"{gains.mean():+.2f} ± {error:.2f}", f"{gains.min():+.1f}", f"{loss:.3f}"]
        if STRAIGHT in tried:
            more = tests - 100 * np.array([line["ways"][STRAIGHT]["test"] for line in lines])
            cells.append(f"{more.mean():+.2f} ± {more.std() / np.sqrt(len(more)):.2f}")
        rows.append([name, *cells])
    heads = ["way", "times the operations", "test accuracy", "over one view", "worst", "log-loss, left out"]
    return results.markdown([*heads, *(["over one without a kernel"] if STRAIGHT in tried else [])], rows)


def _worth(line: Line, tried: Sequence[str], known: Sequence[float] | np.ndarray) -> str:
    """The way that should gain most, where that is worth it.

    Args:
        line: of a task.
        tried: some of the ways.
        known: what a view and what a second network take away of the errors anyway, and what any look does
            for the log-loss that it takes away.
    """
    error = 1 - line["ways"][PLAIN]["left_out"]
    told = {name: error * (known[int(_by_network(name))] + known[2] * _taken(line, name)) for name in tried}
    best = max(told, key=lambda name: told[name])
    return best if told[best] >= rule.WORTH_GAIN else PLAIN


def _by_network(way: str) -> bool:
    """Whether a second network looks."""
    return len({view.network for view in WAYS[way][1]}) > 1


def _taken(line: Line, way: str) -> float:
    """The share of the log-loss of one view that a way takes away."""
    return float(1 - line["ways"][way]["log_loss"] / line["ways"][PLAIN]["log_loss"])


def _fitted(lines: Sequence[Line]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What second looks took away of the errors, by least squares; all gains, and what these say they are."""
    pairs = [(line, name) for line in lines for name in SECOND_LOOKS]
    errors = np.array([1 - line["ways"][PLAIN]["left_out"] for line, _ in pairs])
    taken = np.array([_taken(line, name) for line, name in pairs])
    gains = np.array([line["ways"][name]["test"] - line["ways"][PLAIN]["test"] for line, name in pairs])
    second = np.array([_by_network(name) for _, name in pairs])
    asked = np.stack([errors * ~second, errors * second, errors * taken], axis=1)
    known = np.linalg.lstsq(asked, gains, rcond=None)[0]
    return known, gains, asked @ known


def told(lines: Sequence[Line]) -> str:
    """What second looks took away of the errors, and how far the gains were from that."""
    (view, network, too), gains, expected = _fitted(lines)
    accuracy = [_more_left_out(line, name) for line in lines for name in SECOND_LOOKS]
    rows = [
        ["gains", f"{len(gains)}"],
        ["share of the errors that a view takes, anyway", f"{view:.3f}"],
        ["and a second network", f"{network:.3f}"],
        ["of the share of the log-loss that was taken away", f"{too:.2f}"],
        ["standard deviation of what is left, points", f"{100 * (gains - expected).std():.2f}"],
        ["correlation of gains with that", f"{np.corrcoef(gains, expected)[0, 1]:.2f}"],
        ["correlation with the accuracy of leave-one-out", f"{np.corrcoef(gains, accuracy)[0, 1]:.2f}"],
    ]
    return results.markdown(["what second looks took away", ""], rows)


def _more_left_out(line: Line, way: str) -> float:
    return float(line["ways"][way]["left_out"] - line["ways"][PLAIN]["left_out"])


if __name__ == "__main__":
    main()
