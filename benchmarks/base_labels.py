"""Do the rows of a backbone's own classifier help, where it knew the wanted classes?

    python -m benchmarks.base_labels DATA --seeds 0 1 2 3 4 --output benchmarks/results/base-labels.jsonl

DATA is a folder of classes; the first seven of them count. The bundled network is trained to tell all seven,
from 250 images each. From what is left, each seed draws 113 images of the third to fifth class; fine-tuning
starts from the trained network with `--base-labels` and without, six epochs at 96 px, and is tested on all
others of the three classes. One line is written as each is done; those that are there are skipped.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from advisor import api
from benchmarks import results

CLASSES, WANTED = 7, slice(2, 5)
FOR_THE_BASE, FOR_A_USER = 250, 113  # images of each class
SIZE, EPOCHS = 96, 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of classes, seven or more")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--output", type=Path, default=Path("base-labels.jsonl"))
    arguments = parser.parse_args()
    lines = results.read(arguments.output)
    done = {(line["seed"], line["base_labels"]) for line in lines}
    todo = [(seed, told) for seed in arguments.seeds for told in (False, True) if (seed, told) not in done]
    if todo:
        with tempfile.TemporaryDirectory() as folder:
            base, held_out = _train_base(arguments.data, Path(folder))
            for seed, told in todo:
                lines.append(_fine_tuned(base, held_out, seed, told, Path(folder)))
                results.write(arguments.output, lines)
    print(table(lines))


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Mean test accuracy over the seeds in per cent, with and without the rows, as Markdown."""
    head = ["", "what is kept", "the frozen network", "the rows before any training"]
    rows = []
    for told, name in ((False, "a solved head"), (True, "its pool with the rows")):
        group = [line for line in lines if line["base_labels"] == told]
        numbers = [np.mean([line[key] for line in group]) for key in ("test", "frozen")]
        before = f"{100 * np.mean([line['before'] for line in group]):.1f}" if told else ""
        rows.append([name, *(f"{100 * number:.1f}" for number in numbers), before])
    return results.markdown(head, rows)


def _train_base(data: Path, folder: Path) -> tuple[Path, Mapping[str, Sequence[Path]]]:
    """The run folder of the network that knows all classes; the images of each that it has not seen."""
    names = sorted(each.name for each in data.iterdir() if each.is_dir())[:CLASSES]
    held_out = {}
    for name in names:
        files = sorted((data / name).iterdir())
        random.Random(0).shuffle(files)
        _copy(files[:FOR_THE_BASE], folder / "seven" / name)
        held_out[name] = files[FOR_THE_BASE:]
    run = api.run(str(folder / "seven"), output=folder / "base", recipe="fine_tuning", image_size=SIZE)
    return run.folder, held_out


def _fine_tuned(
    base: Path, held_out: Mapping[str, Sequence[Path]], seed: int, told: bool, folder: Path
) -> dict[str, Any]:
    """Fine-tune on three of the classes, and tell how accurate that is."""
    data = folder / f"three-{seed}"
    for name in list(held_out)[WANTED]:
        files = list(held_out[name])
        random.Random(100 + seed).shuffle(files)
        _copy(files[:FOR_A_USER], data / "train" / name)
        _copy(files[FOR_A_USER:], data / "test" / name)
    names = folder / "names.json"
    names.write_text(json.dumps(list(held_out)))
    run = api.run(
        str(data),
        output=folder / "run",
        overwrite=True,
        recipe="fine_tuning",
        backbone=str(base / "model.keras"),
        base_labels=str(names) if told else None,
        image_size=SIZE,
        epochs=EPOCHS,
        seed=seed,
    )
    kept, before = run.metrics.kept, run.metrics.before_training
    assert kept is not None
    line = {"seed": seed, "base_labels": told, "test": run.metrics.test.accuracy, "frozen": kept.frozen.test}
    return {**line, "before": before.test.accuracy if before else None}


def _copy(files: Iterable[Path], to: Path) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(file, to / file.name)


if __name__ == "__main__":
    main()
