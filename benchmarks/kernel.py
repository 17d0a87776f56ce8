"""Are borders between classes better curved: what does a Gaussian kernel bring to a frozen network?

    python -m benchmarks.kernel benchmarks/results/grid.jsonl DATA... --output FILE
    python -m benchmarks.kernel --table FILE...

For each task that `benchmarks.grid` measured on these data sets: heads on all depths, with cells where the
probes took them, with and without the kernel, on the features of the frozen network. Nothing is trained: what
the trained network said of the same images lies beside the grid's lines, so that the pool of both can be made
anew. One JSON line is written as each task is done; tasks whose line is there already are skipped.

The first table: points of test accuracy that the kernel adds, taken always and taken where it lowers the
log-loss of leave-one-out by some nats, summed over the images; mean with its standard error, worst, and how
often it is taken. The second: what it adds to the frozen model and to what is kept after training, and what
training then gains, with the price of training that follows from it, see `benchmarks.prices`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from advisor import backbones
from advisor.advice.settings import Settings
from advisor.evidence import linear_head
from advisor.evidence.embedding import embed
from advisor.evidence.gaussian import GAUSSIAN, KERNELS, LINEAR
from advisor.evidence.pooling import AVERAGE
from advisor.evidence.probe import BELIEF_IN_STRAIGHT
from advisor.system.devices import load_tensorflow
from benchmarks import grid, prices, results
from benchmarks.grid import Logits
from benchmarks.kept import RULES, accuracy
from benchmarks.tasks import Task, cut
from recipes.job import Job
from recipes.training.frozen import solve

BELIEFS = (0.0, 2.0, 4.0, 8.0)
Line = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="lines of the grid, then data sets as for advisor recommend")
    parser.add_argument("--output", type=Path, default=Path("kernel.jsonl"))
    parser.add_argument("--table", type=Path, nargs="+", help="only print the tables of these files")
    arguments = parser.parse_args()
    lines = results.measured(arguments, measure)
    print(by_belief(lines), with_training(lines), sep="\n\n")


def measure(arguments: argparse.Namespace) -> None:
    load_tensorflow()
    file, *sources = arguments.data
    names = {Path(source.replace(":", "-")).name: source for source in sources}
    lines = results.read(arguments.output)
    done = {(line["data"], line["size"], line["seed"]) for line in lines}
    for told, said in grid.read(Path(file)):
        key = told["data"], told["size"], told["seed"]
        if key in done or told["data"] not in names:
            continue
        task = cut(names[told["data"]], told["size"], told["seed"])
        if task is None:
            continue
        heads = {kernel: _head(task, told, said, kernel) for kernel in KERNELS}
        lines.append({**dict(zip(("data", "size", "seed"), key, strict=True)), "heads": heads})
        results.write(arguments.output, lines)
        print(*key, *(f"{heads[kernel]['frozen']:.1f} {heads[kernel]['kept']:.1f}" for kernel in KERNELS))


def _head(task: Task, told: Line, said: Logits, kernel: str) -> dict[str, float]:
    """What the frozen network reaches with this kernel, alone and in the pool with the trained one."""
    data, recommended = task.judged, told["recommend"]
    settings = Settings.from_json(recommended["settings"])
    backbone = backbones.load(settings.backbone)
    pooling = recommended["evidence"]["position"]["shallow_features"]["pooling"]
    settings = replace(
        settings,
        recipe="shallow_features",
        mode="all_taps",
        train_from=None,
        taps=backbone.taps,
        pooling=pooling,
        kernel=kernel,
    )
    grid_of = pooling if settings.sees_cells else AVERAGE
    features = embed(backbone, data, np.arange(len(data)), told["image_size"], pooling=grid_of).features
    job = Job(data, backbone, features, settings, Path(), task.seed)
    seen, fitted = job.head_features(), job.fitted
    judged, used = solve(job, seen, data.indices("train")), solve(job, seen, fitted)
    anew = {
        **said,
        "frozen validation": judged.head.logits(job.head_features(data.indices("validation"))),
        "frozen test": used.head.logits(job.head_features(data.indices("test"))),
    }
    left_out = linear_head.judge(used.held_out, data.labels[fitted])
    tested = linear_head.judge(linear_head.softmax(anew["frozen test"]), data.labels[data.indices("test")])
    return {
        "frozen": 100 * tested.accuracy,
        "log_loss": tested.loss,
        "kept": accuracy(RULES["kept"](told, anew), anew),
        "left_out": 100 * left_out.accuracy,
        "nats": len(fitted) * left_out.loss,
    }


def by_belief(lines: Sequence[Line]) -> str:
    """A row for each belief in straight borders, a column for each number of images."""
    sizes = sorted({line["size"] for line in lines})
    rows = []
    for name, belief in (("always", None), *((f"from {belief:g} nats on", belief) for belief in BELIEFS)):
        cells = []
        for size in sizes:
            group = [line for line in lines if line["size"] == size]
            gains = np.array([_gain(line, "frozen", belief) for line in group])
            taken = sum(belief is None or _is_taken(line, belief) for line in group)
            error = gains.std() / np.sqrt(len(gains))
            cells.append(f"{gains.mean():+.2f} ± {error:.2f}, {gains.min():+.1f}, {taken} of {len(group)}")
        today = ", as advised" if belief == BELIEF_IN_STRAIGHT else ""
        rows.append([f"{name}{today}", *cells])
    return results.markdown(["the kernel is taken", *(f"{size:,} images" for size in sizes)], rows)


def with_training(lines: Sequence[Line]) -> str:
    """A row for each number of images, and the price of training."""
    sizes: list[int | None] = sorted({line["size"] for line in lines})
    rows = []
    for size in [*sizes, None]:
        group = [line for line in lines if size in (None, line["size"])]
        row = [f"{size:,}" if size else "all", str(len(group))]
        for what in ("frozen", "kept"):
            gains = np.array([_gain(line, what, BELIEF_IN_STRAIGHT) for line in group])
            row.append(f"{gains.mean():+.2f} ± {gains.std() / np.sqrt(len(gains)):.2f}, {gains.min():+.1f}")
        losses = [_chosen(line)["log_loss"] - line["heads"][LINEAR]["log_loss"] for line in group]
        trained = [_trained(line["heads"][LINEAR]) for line in group]
        now = [_trained(_chosen(line)) for line in group]
        rows.append([*row, f"{np.mean(losses):+.3f}", f"{np.mean(trained):+.2f}", f"{np.mean(now):+.2f}"])
    heads = ["images", "tasks", "frozen", "kept after training", "log-loss, frozen"]
    table = results.markdown([*heads, "training gained", "training gains"], rows)
    return f"{table}\n\n{_price(lines)}"


def _price(lines: Sequence[Line]) -> str:
    """What training gains by the root of the errors of leave-one-out, without the kernel and with it."""
    names, laws = np.array([line["data"] for line in lines]), []
    for head in (lambda line: line["heads"][LINEAR], _chosen):
        errors = np.array([[100 - head(line)["left_out"]] for line in lines])
        laws.append(prices.law(errors, np.array([_trained(head(line)) for line in lines]), names))
    return f"Without the kernel: {laws[0]}\n\nWith it: {laws[1]}"


def _is_taken(line: Line, belief: float) -> bool:
    return bool(line["heads"][GAUSSIAN]["nats"] - line["heads"][LINEAR]["nats"] < -belief)


def _chosen(line: Line) -> dict[str, float]:
    """The head that is taken."""
    return line["heads"][GAUSSIAN if _is_taken(line, BELIEF_IN_STRAIGHT) else LINEAR]


def _gain(line: Line, what: str, belief: float | None) -> float:
    """Points over straight borders; None takes the kernel always."""
    taken = belief is None or _is_taken(line, belief)
    return line["heads"][GAUSSIAN][what] - line["heads"][LINEAR][what] if taken else 0.0


def _trained(head: dict[str, float]) -> float:
    """Points that training adds to a frozen network."""
    return head["kept"] - head["frozen"]


if __name__ == "__main__":
    main()
