"""Do heat maps lie on what tells the class? On photographs into which it was pasted at a known place.

    python -m benchmarks.heatmaps ../shared/data

Photographs of flowers have a blood cell, an insect or a piece of steel pasted into one of their corners,
60 of each, which alone tells the class. Frozen models are trained on them at 224 pixels, and for every fourth
image the map of its class is compared with the place of the object, which covers 13 % of the image.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from advisor import api
from recipes.runs import heatmaps, prediction
from recipes.runs.heatmaps import Heat

SIDE, OBJECT = 224, 80  # pixels of the photograph and of what is pasted into it
CORNERS = (4, SIDE - OBJECT - 4)
EACH, EVERY = 60, 4  # images of each class, and of how many one is looked at
OBJECTS = {"cell": "malaria", "insect": "hymenoptera", "steel": "neu"}


def paste(real_data: Path, folder: Path, each: int) -> dict[str, tuple[int, int]]:
    """Draw them into class folders.

    Args:
        real_data: holds flowers, malaria, hymenoptera and neu.
        folder: to draw into.
        each: images of each class.

    Returns:
        Left and top of the object in pixels, by the path relative to the folder.
    """
    generator, places = np.random.default_rng(0), {}
    flowers = _files(real_data / "flowers")
    for name, source in OBJECTS.items():
        objects = _files(real_data / source)
        (folder / name).mkdir(parents=True)
        for number in range(each):
            image = _square(flowers[generator.integers(len(flowers))], SIDE)
            left, top = (int(at) for at in generator.choice(CORNERS, 2))
            image.paste(_square(objects[generator.integers(len(objects))], OBJECT), (left, top))
            image.save(folder / name / f"{number:03d}.png")
            places[f"{name}/{number:03d}.png"] = left, top
    return places


def mask(place: tuple[int, int], cells: int) -> np.ndarray:
    """Which share of each cell of a grid the object covers, float64 [cells, cells]."""
    whole = np.zeros((SIDE, SIDE))
    left, top = place
    whole[top : top + OBJECT, left : left + OBJECT] = 1
    size = SIDE // cells
    return whole.reshape(cells, size, cells, size).mean(axis=(1, 3))


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png", ".bmp"))


def _square(path: Path, size: int) -> Image.Image:
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side)).resize((size, size))


def found(run_folder: Path, images: Path, names: list[str]) -> list[Heat]:
    """Maps of images for the class that they are of."""
    run = prediction.load(run_folder)
    labels = np.array([run.class_names.index(name.split("/")[0]) for name in names])
    paths = [str(images / name) for name in names]

    def refuse(position: int, reason: str) -> None:
        raise ValueError(f"{paths[position]}: {reason}")

    return list(heatmaps.look(run.folder, run.image_size, run.fit, run.grey, paths, refuse, labels))


def judge(maps: list[np.ndarray], places: list[tuple[int, int]]) -> tuple[float, float]:
    """Which share of maps [cells, cells] lies on the objects, and how often their hottest place does."""
    masks = [mask(place, len(heat)) for heat, place in zip(maps, places, strict=True)]
    share = [(heat * on).sum() / max(heat.sum(), 1e-9) for heat, on in zip(maps, masks, strict=True)]
    hottest = [on.ravel()[heat.argmax()] > 0 for heat, on in zip(maps, masks, strict=True)]
    return float(np.mean(share)), float(np.mean(hottest))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="holds flowers, malaria, hymenoptera and neu")
    data = parser.parse_args().data
    heads = (
        ("last layer", "feature_extraction", "average"),
        ("all depths", "shallow_features", "average"),
        ("all depths, cells", "shallow_features", "cells:4"),
    )
    print("| head | map | on the object | hottest place on it |\n| --- | --- | --- | --- |")
    with TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        places = paste(data, images, EACH)
        names = sorted(places)[::EVERY]
        for head, recipe, pooling in heads:
            run = Path(folder) / head.replace(" ", "-")
            api.run(str(images), recipe=recipe, output=run, settings={"pooling": pooling})
            seen = found(run, images, names)
            sums = [heat.by_depth.sum(axis=0) for heat in seen]
            maps = {
                "above the average place (what is drawn)": [heat.together for heat in seen],
                "above 0 (Grad-CAM)": [np.maximum(each, 0) for each in sums],
                "the last depth alone, above its average": [
                    np.maximum(heat.by_depth[-1] - heat.by_depth[-1].mean(), 0) for heat in seen
                ],
            }
            for name, drawn in maps.items():
                share, hottest = judge(drawn, [places[name] for name in names])
                print(f"| {head} | {name} | {share:.0%} | {hottest:.0%} |", flush=True)


if __name__ == "__main__":
    main()
