"""What it brings to average the weights before and after training, see recipes/averaging.py.

    python -m benchmarks.averaging DATA... --sizes 200 1000 --seeds 0 1

Trains the whole network once for each task and looks at the test images twice: with the best epoch, and with
the model that is kept in the end.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any
from unittest import mock

import numpy as np

from advisor import devices
from benchmarks.regret import advise, epochs_of
from benchmarks.results import markdown
from benchmarks.tasks import Task, cut, train
from recipes import averaging, run_folder, training

IMAGES_SEEN = 8000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--sizes", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--recipe", default="full_training", choices=("fine_tuning", "full_training"))
    arguments = parser.parse_args()
    devices.quiet_tensorflow()
    rows = []
    for source, size, seed in itertools.product(arguments.data, arguments.sizes, arguments.seeds):
        task = cut(source, size, seed)
        if task is None:
            continue
        best_epoch, kept, share = compare(task, arguments.recipe, arguments.image_size)
        rows.append([task.name, str(size), str(seed), f"{best_epoch:.3f}", f"{kept:.3f}", f"{share:.1f}"])
        print(*rows[-1], flush=True)
    print(markdown(["data", "images", "seed", "best epoch", "kept", "share of it"], rows))
    gain = 100 * np.mean([float(row[4]) - float(row[3]) for row in rows])
    print(f"\nWhat is kept is {gain:+.2f} points better on average.")


def compare(task: Task, recipe: str, image_size: int) -> tuple[float, float, float]:
    """Test accuracy of the best epoch and of what is kept, and the share of the trained weights in that."""
    settings = advise(task, image_size, epochs_of(task, IMAGES_SEEN))[1].settings_for(recipe)
    test_at = task.judged.indices("test")
    paths = tuple(task.judged.paths[i] for i in test_at)
    found: list[float] = []

    def watched(model: Any, before: Any, after: Any, validation: Any, progress: Any) -> float:
        model.set_weights(after)
        told = run_folder.predict(model, paths, image_size, lambda *_: None)[1].argmax(axis=1)
        share = averaging.use_best_average(model, before, after, validation, progress)
        found.extend([float((told == task.judged.labels[test_at]).mean()), share])
        return share

    with mock.patch.object(training, "use_best_average", watched):
        kept = train(task, settings)["test"]
    best_epoch, share = found
    return best_epoch, kept, share


if __name__ == "__main__":
    main()
