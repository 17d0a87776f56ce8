"""Which learning rate, and should batch norm's statistics adapt? The defaults in advisor/advice/settings.py.

    python -m benchmarks.training_choices DATA... --size 1000 --image-size 128 --epochs 8

Trains the whole network from the pre-trained weights, all depths under the head, with each combination on one
task for each DATA and SEED and prints a line as each is done: test accuracy of what is kept, accuracy of the
head alone, seconds.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace

from advisor.advice import recommendation
from advisor.advice.settings import Options
from advisor.system.progress import Silent
from benchmarks.tasks import cut, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-4, 3e-4, 1e-3])
    parser.add_argument("--batch-norm", nargs="+", choices=("frozen", "adapt"), default=["frozen", "adapt"])
    arguments = parser.parse_args()
    print("| data | images | seed | learning rate | batch norm | test | seconds |\n" + 7 * "|---" + "|")
    for source, seed in itertools.product(arguments.data, arguments.seeds):
        task = cut(source, arguments.size, seed)
        if task is None:
            continue
        options = Options(image_size=arguments.image_size, epochs=arguments.epochs)
        advised = recommendation.recommend(task.held, options, Silent(), seed=seed)
        settings = advised.with_recipe("full_training").settings
        frozen = replace(settings, recipe="shallow_features", mode="all_taps", train_from=None, epochs=0)
        head = train(task, frozen)
        print(
            f"| {task.name} | {arguments.size} | {seed} | head alone | | {head['test']:.3f} | |", flush=True
        )
        for batch_norm, rate in itertools.product(arguments.batch_norm, arguments.rates):
            result = train(task, replace(settings, learning_rate=rate, batch_norm=batch_norm))
            print(
                f"| {task.name} | {arguments.size} | {seed} | {rate:g} | {batch_norm} "
                f"| {result['test']:.3f} | {result['seconds']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
