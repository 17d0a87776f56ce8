"""What should be kept after training: the frozen network, the trained one, or the pool of both?

    python -m benchmarks.kept DATA... --sizes 200 1000 --seeds 0 1 --output benchmarks/results/kept.jsonl
    python -m benchmarks.kept --table benchmarks/results/kept.jsonl

Each task is a data set cut to a size, as for `benchmarks.regret`. The whole network is trained on it from the
frozen head on all depths (`full_training`). What both networks say of the validation images and of up to 500
others is kept beside the line, so that other rules can be asked without training again. One line is written
as each task is done; tasks whose line is there already are skipped. The table: points of test accuracy over
the frozen network that sees averages over the whole picture, by what is kept: "frozen" (the frozen network
with its cells, if it takes any), "trained" (what training ended with), "before" (the best average of the
weights or the frozen network without cells, as was kept before there was a pool), "single" (the same with
cells), "half" (the pool, both weighing the same) and "kept" (with the weight that the validation images
say, which is what a run saves). `--epochs` gives others than a run has by itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from advisor.advice import recommendation, rule
from advisor.advice.settings import Options
from advisor.evidence.linear_head import softmax
from advisor.system.progress import Silent
from advisor.system.storage import replacing
from benchmarks import results
from benchmarks.tasks import Task, not_done, train_and_look
from recipes.training import pool
from recipes.training.averaging import Average

Logits: TypeAlias = Mapping[str, np.ndarray]


def _weight(said: Logits) -> float:
    """Of the trained network in what is kept, as far as the validation images tell."""
    best = pool.best_weight(
        said["frozen validation"].astype(np.float64),
        said["trained validation"].astype(np.float64),
        said["labels validation"],
    )
    return rule.pool_weight(best)


def _single(line: dict[str, Any], said: Logits) -> np.ndarray:
    """Logits of the best average of the weights where its gain is clear, else of the frozen network."""
    average = Average(line["averaging"]["share"], np.array(line["averaging"]["gains"]))
    return said["averaged test"] if average.is_clear else said["frozen test"]


def _before(line: dict[str, Any], said: Logits) -> np.ndarray:
    """Logits of what was kept before there were cells and pools: the best average of the weights where its
    gain over the whole picture is clear, else the frozen network that sees the whole picture."""
    labels, averaged, whole = (said[f"{name} validation"] for name in ("labels", "averaged", "whole"))
    truth = np.eye(whole.shape[1])[labels]
    whole_error, error = (((softmax(each) - truth) ** 2).sum(axis=1) for each in (whole, averaged))
    gained = Average(line["averaging"]["share"], whole_error - error)
    return said["averaged test"] if gained.is_clear else said["whole test"]


def _pool(said: Logits, weight: float) -> np.ndarray:
    return pool.probabilities(said["frozen test"], said["trained test"], weight)


# What each rule says of the test images, [n, classes], by the line and the logits of both networks.
RULES: dict[str, Callable[[dict[str, Any], Logits], np.ndarray]] = {
    "frozen": lambda line, said: said["frozen test"],
    "trained": lambda line, said: said["trained test"],
    "before": _before,
    "single": _single,
    "half": lambda line, said: _pool(said, 0.5),
    "kept": lambda line, said: _pool(said, _weight(said)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="folders, CSV files, or sklearn:digits")
    parser.add_argument("--sizes", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, help="passes over the training images")
    parser.add_argument("--output", type=Path, default=Path("results.jsonl"))
    parser.add_argument("--table", type=Path, nargs="+", help="only print the table of these files")
    arguments = parser.parse_args()
    if not arguments.table:
        measure(arguments)
    print(table([seen for file in arguments.table or [arguments.output] for seen in read(file)]))


def measure(arguments: argparse.Namespace) -> None:
    """Train on the tasks that have no line yet."""
    lines = results.read(arguments.output)
    arguments.output.with_suffix("").mkdir(parents=True, exist_ok=True)
    of_size = [line for line in lines if line["image_size"] == arguments.image_size]
    done = [(line["data"], line["size"], line["seed"]) for line in of_size]
    for task in not_done(arguments.data, arguments.sizes, arguments.seeds, done):
        line, said = judge(task, arguments.image_size, arguments.epochs)
        with replacing(_arrays(arguments.output, line)) as unfinished:
            np.savez_compressed(unfinished, **said)  # type: ignore[arg-type]
        lines.append(line)
        results.write(arguments.output, lines)
        print(table([(line, said)]).splitlines()[2], flush=True)


def judge(task: Task, image_size: int, epochs: int | None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Train the whole network, and look at both networks before one of them or both are kept."""
    options = Options(image_size=image_size, epochs=epochs)
    advised = recommendation.recommend(task.held, options, Silent(), seed=task.seed)
    settings = advised.with_recipe("full_training").settings
    trained, said = train_and_look(task, settings)
    line = {
        "data": task.name,
        "size": task.size,
        "seed": task.seed,
        "image_size": image_size,
        "epochs": settings.epochs,
        "classes": len(task.held.class_names),
        "tested": len(said["labels test"]),
        "recommend": advised.advice.to_json(),
        **trained,
    }
    return line, said


def _arrays(file: Path, line: dict[str, Any]) -> Path:
    """Where the logits of a task lie, beside the lines."""
    name = "-".join(str(line[key]) for key in ("data", "size", "seed", "image_size"))
    return file.with_suffix("") / f"{name}.npz"


def read(file: Path) -> list[tuple[dict[str, Any], Logits]]:
    """All lines of a file with the logits beside it."""
    found: list[tuple[dict[str, Any], Logits]] = []
    for line in results.read(file):
        with np.load(_arrays(file, line)) as arrays:
            found.append((line, dict(arrays)))
    return found


def table(seen: Sequence[tuple[dict[str, Any], Logits]]) -> str:
    """A row for each task, then the mean and the worst of each size, as Markdown."""
    head = ["data", "images", "seed", "validated on", "weight", "whole picture", *RULES]
    rows, gains = [], [_gains(line, said) for line, said in seen]
    for (line, said), gained in zip(seen, gains, strict=True):
        key = [line["data"], str(line["size"]), str(line["seed"]), str(len(said["labels validation"]))]
        key += [f"{_weight(said):.2f}", f"{_accuracy(said['whole test'], said):.1f}"]
        rows.append([*key, *(f"{gain:+.1f}" for gain in gained)])
    for size in sorted({line["size"] for line, _ in seen}):
        group = np.array([each for (line, _), each in zip(seen, gains, strict=True) if line["size"] == size])
        for what, numbers in (("mean", group.mean(axis=0)), ("worst", group.min(axis=0))):
            key = [f"{what} of {len(group)}", f"{size:,}", "", "", "", ""]
            rows.append([*key, *(f"{number:+.2f}" for number in numbers)])
    return results.markdown(head, rows)


def _gains(line: dict[str, Any], said: Logits) -> list[float]:
    """Points of test accuracy over the whole picture, by each rule."""
    whole = _accuracy(said["whole test"], said)
    return [_accuracy(tell(line, said), said) - whole for tell in RULES.values()]


def _accuracy(tested: np.ndarray, said: Logits) -> float:
    """Of logits or probabilities on the test images, in per cent."""
    return 100 * float((tested.argmax(axis=1) == said["labels test"]).mean())


if __name__ == "__main__":
    main()
