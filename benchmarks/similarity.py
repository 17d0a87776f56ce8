"""Measures of similarity side by side, on real and on generated images.

    python -m benchmarks.similarity IMAGENET_SAMPLES DATA...

IMAGENET_SAMPLES is a folder of one image for each ImageNet class. Images derived from its first half
(grey, blurred, shrunk) and generated ones (noise, flat colours, shapes, letters) are measured against
features of the other half; each DATA against the shipped reference. A useful measure orders them as a
person would: photographs first, then drawings, then microscopes, then noise.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from advisor import backbones
from advisor.data import sources
from advisor.data.dataset import Dataset
from advisor.evidence import embedding, similarity

MOST = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("imagenet_samples", type=Path)
    parser.add_argument("data", nargs="*")
    arguments = parser.parse_args()
    backbone = backbones.load(backbones.BUNDLED)
    files = sorted(str(path) for path in arguments.imagenet_samples.iterdir())
    other_half = _features(sources.unlabelled(files[1::2], "reference"), backbone)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, images in _generated(files[::2]):
            paths = []
            for number, image in enumerate(images):
                paths.append(f"{folder}/{name.replace(' ', '-')}-{number:04}.png")
                image.save(paths[-1])
            data = sources.unlabelled(paths, name)
            rows.append((name, _measures(_features(data, backbone), other_half, backbone)))
    for source in arguments.data:
        found = _features(sources.load(source), backbone)
        rows.append((Path(source).name, _measures(found, similarity.reference_features(), backbone)))
    names = list(rows[0][1])
    print(f"| images | {' | '.join(names)} |\n|---{'|---' * len(names)}|")
    for name, values in sorted(rows, key=lambda row: row[1]["KID"]):
        print(f"| {name} | {' | '.join(f'{values[key]:.3f}' for key in names)} |")


def _features(data: Dataset, backbone: backbones.Backbone) -> np.ndarray:
    chosen = np.random.default_rng(0).permutation(len(data))[:MOST]
    return embedding.embed(backbone, data, chosen, backbone.image_size).features.last()


def _measures(x: np.ndarray, y: np.ndarray, backbone: backbones.Backbone) -> dict[str, float]:
    """Each candidate, of features x [n, d] against reference features y [m, d]."""
    assert backbone.classifier is not None
    kernel, bias = backbone.classifier
    logits = x @ kernel + bias
    energy = np.log(np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)) + logits.max(axis=1)
    measured = similarity.measure(x, y)
    means = x.mean(axis=0), y.mean(axis=0)
    cosine = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    center, spread = y.mean(axis=0), y.std(axis=0) + 1e-3
    unit = [(a - center) / spread for a in (x, y)]
    unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in unit]
    return {
        "KID": measured.distance,
        "score": measured.score,
        "largest softmax": float(np.exp(logits.max(axis=1) - energy).mean()),
        "energy": float(energy.mean()),
        "Frechet": _frechet(x, y),
        "cosine of means": float(cosine),
        "5 nearest": float(np.sort(unit[0] @ unit[1].T, axis=1)[:, -5:].mean()),
        "batch-norm means": float(np.sqrt((((means[0] - center) / spread) ** 2).mean())),
    }


def _frechet(x: np.ndarray, y: np.ndarray, shrinkage: float = 0.1) -> float:
    """Frechet distance of normal distributions with covariances shrunk towards a multiple of the identity."""

    def covariance(a: np.ndarray) -> np.ndarray:
        sample = np.cov(a, rowvar=False)
        return (1 - shrinkage) * sample + shrinkage * np.trace(sample) / len(sample) * np.eye(len(sample))

    a, b = covariance(x), covariance(y)
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    return float(((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * cross)


def _generated(files: list[str]) -> Iterator[tuple[str, Iterator[Image.Image]]]:
    generator = np.random.default_rng(0)

    def photographs(change: Callable[[Image.Image], Image.Image]) -> Iterator[Image.Image]:
        for file in files:
            with Image.open(file) as image:
                yield change(image.convert("RGB"))

    def color() -> tuple[int, ...]:
        return tuple(int(value) for value in generator.integers(0, 256, 3))

    def shapes() -> Iterator[Image.Image]:
        for number in range(300):
            image = Image.new("RGB", (128, 128), color())
            left, top = generator.integers(5, 60, 2)
            box = (
                int(left),
                int(top),
                int(left + generator.integers(20, 60)),
                int(top + generator.integers(20, 60)),
            )
            draw = ImageDraw.Draw(image)
            (draw.ellipse if number % 2 else draw.rectangle)(box, fill=color())
            yield image

    def letters() -> Iterator[Image.Image]:
        for number in range(300):
            image = Image.new("L", (96, 96), 255)
            place = (int(generator.integers(5, 40)), int(generator.integers(0, 30)))
            font = ImageFont.load_default(int(generator.integers(30, 60)))
            ImageDraw.Draw(image).text(place, "ABCDEFGHJK"[number % 10], font=font, fill=30)
            yield image

    def noise() -> Iterator[Image.Image]:
        for _ in range(300):
            yield Image.fromarray(generator.integers(0, 256, (224, 224, 3), dtype=np.uint8))

    yield "the other half of ImageNet", photographs(lambda image: image)
    yield "ImageNet in grey", photographs(lambda image: image.convert("L"))
    yield "ImageNet, blurred by 4 px", photographs(lambda image: image.filter(ImageFilter.GaussianBlur(4)))
    yield "ImageNet at 64 px", photographs(lambda image: image.resize((64, 64)))
    yield "ImageNet at 32 px", photographs(lambda image: image.resize((32, 32)))
    yield "flat colours", (Image.new("RGB", (224, 224), color()) for _ in range(300))
    yield "shapes", shapes()
    yield "letters", letters()
    yield "noise", noise()


if __name__ == "__main__":
    main()
