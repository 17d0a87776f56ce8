"""Is there a better training for the same time, or one that loses nothing in less?

    python -m benchmarks.training_choices DATA... --sizes 200 1000 --output benchmarks/results/training.jsonl
    python -m benchmarks.training_choices --table benchmarks/results/training.jsonl

Trains the whole network on each task as `full_training` does, and once for each of `CHANGES`, which are asked
for by name with `--changes`. One line is written as each training is done; those that have a line are
skipped. The table: points of test accuracy that a change gains, for the trained network alone and for the
pool that is kept, each with its standard error over the data sets; the worst task; and the share of the time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from advisor.advice import recommendation
from advisor.advice.settings import Options, Settings
from advisor.system.progress import Silent
from benchmarks import results
from benchmarks.tasks import not_done, train

AS_IT_IS = "as it is"
CHANGES: dict[str, Callable[[Settings], Settings]] = {
    AS_IT_IS: lambda settings: settings,
    "half the epochs": lambda settings: replace(settings, epochs=max(1, settings.epochs // 2)),
    "twice the epochs": lambda settings: replace(settings, epochs=2 * settings.epochs),
    "rate 1e-4": lambda settings: replace(settings, learning_rate=1e-4),
    "rate 1e-3": lambda settings: replace(settings, learning_rate=1e-3),
    "batch norm adapts": lambda settings: replace(settings, batch_norm="adapt"),
    "label smoothing 0.1": lambda settings: replace(settings, label_smoothing=0.1),
    "at the whole size": lambda settings: replace(settings, training_size=settings.image_size),
    "the upper half": lambda settings: replace(settings, train_from=settings.taps[len(settings.taps) // 2]),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="folders, CSV files, or sklearn:digits")
    parser.add_argument("--sizes", nargs="+", type=int, default=[200, 1000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--changes", nargs="+", choices=tuple(CHANGES), default=list(CHANGES))
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--output", type=Path, default=Path("results.jsonl"))
    parser.add_argument("--table", type=Path, nargs="+", help="only print the table of these files")
    arguments = parser.parse_args()
    if not arguments.table:
        for change in dict.fromkeys((AS_IT_IS, *arguments.changes)):
            measure(arguments, change)
    print(table([line for file in arguments.table or [arguments.output] for line in results.read(file)]))


def measure(arguments: argparse.Namespace, change: str) -> None:
    """Train with a change on the tasks that have no line yet."""
    lines = results.read(arguments.output)
    done = [(line["data"], line["size"], line["seed"]) for line in lines if line["change"] == change]
    for task in not_done(arguments.data, arguments.sizes, arguments.seeds, done):
        options = Options(image_size=arguments.image_size)
        advised = recommendation.recommend(task.held, options, Silent(), seed=task.seed)
        settings = CHANGES[change](advised.with_recipe("full_training").settings)
        key = {"data": task.name, "size": task.size, "seed": task.seed, "change": change}
        lines.append({**key, "epochs": settings.epochs, **train(task, settings)})
        results.write(arguments.output, lines)
        print(key, f"{lines[-1]['test']:.3f}", f"{lines[-1]['seconds']:.0f} s", flush=True)


def table(lines: Sequence[dict[str, Any]]) -> str:
    """A row for each change and size, as Markdown."""
    known = {(line["data"], line["size"], line["seed"], line["change"]): line for line in lines}
    rows = []
    for change in list(CHANGES)[1:]:
        for size in sorted({line["size"] for line in lines}):
            keys = [key for key in known if key[1] == size and key[3] == change]
            pairs = [(known[key], known[(*key[:3], AS_IT_IS)]) for key in keys]
            if pairs:
                rows.append([change, f"{size:,}", str(len(pairs)), *_compared(pairs)])
    head = ["change", "images", "tasks", "trained alone", "kept", "worst", "of the time"]
    return results.markdown(head, rows)


def _compared(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    names = [new["data"] for new, _ in pairs]
    trained = [100 * (new["averaging"]["trained"] - old["averaging"]["trained"]) for new, old in pairs]
    kept = [100 * (new["test"] - old["test"]) for new, old in pairs]
    time = np.mean([new["seconds"] / old["seconds"] for new, old in pairs])
    return [_mean(trained, names), _mean(kept, names), f"{min(kept):+.1f}", f"{time:.0%}"]


def _mean(points: Sequence[float], names: Sequence[str]) -> str:
    """The mean, and its standard error over the data sets where there are several."""
    by_set = [
        np.mean([point for point, of in zip(points, names, strict=True) if of == name]) for name in set(names)
    ]
    error = f" ± {np.std(by_set, ddof=1) / np.sqrt(len(by_set)):.2f}" if len(by_set) > 1 else ""
    return f"{np.mean(points):+.2f}{error}"


if __name__ == "__main__":
    main()
