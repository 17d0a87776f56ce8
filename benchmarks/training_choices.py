"""Which learning rate, and should batch norm's statistics adapt? The defaults in advisor/settings.py.

    python benchmarks/training_choices.py DATA... --size 1000 --image-size 128 --epochs 8

Trains the whole network from the pre-trained weights with each combination on one task for each DATA and
prints a line as each is done: test accuracy, accuracy of the head alone, seconds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np

from advisor import backbones, devices
from advisor.settings import Options, choose
from benchmarks.tasks import cut, train

CHOICES = ((3e-4, "frozen"), (3e-4, "adapt"), (1e-3, "frozen"), (1e-3, "adapt"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    devices.quiet_tensorflow()
    backbone = backbones.load(backbones.BUNDLED)
    print("| data | images | seed | learning rate | batch norm | test | seconds |\n" + 7 * "|---" + "|")
    for source in arguments.data:
        for seed in arguments.seeds:
            task = cut(source, arguments.size, seed)
            if task is None:
                continue
            options = Options(image_size=arguments.image_size, epochs=arguments.epochs)
            settings = choose(
                "full_training",
                options,
                taps=backbone.taps,
                best_cut=backbone.taps[-1],
                image_size=arguments.image_size,
                fixed_size=False,
                counts=np.ones(2),
                training_images=len(task.held.indices("train")),
                flips=("flip",),
            )
            for rate, batch_norm in CHOICES:
                result = train(task, replace(settings, learning_rate=rate, batch_norm=batch_norm))
                print(
                    f"| {task.name} | {arguments.size} | {seed} | {rate:g} | {batch_norm} "
                    f"| {result['test']:.3f} | {result['seconds']:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
