"""How fast, side by side in one run, so that the ratios mean something on a noisy machine.

    python -m benchmarks.speed FLOWERS --output benchmarks/results/speed.json
    python -m benchmarks.speed FLOWERS --small DATA --large DATA    # and peak memory of both
    python -m benchmarks.speed FLOWERS --photographs 200    # and photographs of 12 megapixels

- Start-up: `advisor --help` beside importing TensorFlow.
- `advisor recommend` from nothing, where the network is ready, and once more; each of its phases;
  `advisor predict` of one image.
- Decoding alone, the network alone, and embedding, which is both at once; `keras.Model.predict` on the same
  backbone and pipeline; the usual PyTorch loop with the same weights, where `torch` and
  `efficientnet_lite_pytorch` are installed.
- From command to finished model: `advisor run FLOWERS --recipe feature_extraction` without a cache, beside
  the procedure of TensorFlow's tutorials: MobileNetV2 at 128 px, 5 epochs frozen and 5 fine-tuned from layer
  129, random weights. One epoch of each kind is timed after a first batch, and counted five times.
- Peak memory of `advisor recommend` on two data sets.
- `advisor recommend` on photographs of the size that phones write, by phase: images of FLOWERS, enlarged,
  with noise as a sensor has it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from advisor import api, backbones
from advisor.data import images, sources
from advisor.data.dataset import Dataset
from advisor.evidence import embedding, forward
from advisor.system.progress import Silent
from benchmarks.results import markdown

ADVISOR = (sys.executable, "-m", "advisor.cli")
PHOTOGRAPH = (4032, 3024)  # pixels of what phones write
NOISE = 6.0  # of each value 0..255; makes files of the size that phones write
TUTORIAL_EPOCHS, TUTORIAL_SIZE, TUTORIAL_LAYER = 5, 128, 129


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", help="a folder of photographs, as flowers")
    parser.add_argument("--small", help="for peak memory")
    parser.add_argument("--large", help="the same kind of images, many more of them")
    parser.add_argument("--photographs", type=int, default=0, help="how many of 12 megapixels to measure")
    parser.add_argument("--output", type=Path, help="write the measurements as JSON to this file")
    arguments = parser.parse_args()
    measured: dict[str, float] = {}
    measured |= start_up()
    measured |= end_to_end(arguments.data)
    measured |= phases(arguments.data)
    if arguments.small and arguments.large:
        measured |= peak_memory(arguments.small, arguments.large)
    data = sources.load(arguments.data)
    if arguments.photographs:
        measured |= large_photographs(data, arguments.photographs)
    measured |= embedding_speed(data)
    measured |= tutorial(data)
    print(markdown(["measured", "value"], [[name, f"{value:,.2f}"] for name, value in measured.items()]))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(measured, indent=1) + "\n")


def start_up() -> dict[str, float]:
    """Seconds, the best of five."""

    def best(*command: str) -> float:
        return min(
            seconds(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(5)
        )

    return {
        "start-up of advisor --help, s": best(*ADVISOR, "--help"),
        "import tensorflow, s": best(sys.executable, "-c", "import tensorflow"),
    }


def seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def end_to_end(source: str) -> dict[str, float]:
    """Seconds from command to finished command; the first and the last begin with an empty cache."""
    with tempfile.TemporaryDirectory() as folder:

        def advisor(cache: str, *arguments: str) -> float:
            command, environment = [*ADVISOR, *arguments], os.environ | {"ADVISOR_CACHE": f"{folder}/{cache}"}
            return seconds(lambda: subprocess.run(command, check=True, capture_output=True, env=environment))

        run = ("run", source, "--recipe", "feature_extraction", "--output", f"{folder}/run")
        photograph = sources.load(source).paths[0]
        measured = {"advisor recommend, s": advisor("first", "recommend", source)}
        shutil.rmtree(f"{folder}/first/features")
        return measured | {
            "advisor recommend, network ready, s": advisor("first", "recommend", source),
            "advisor recommend, second call, s": advisor("first", "recommend", source),
            "advisor run --recipe feature_extraction, s": advisor("second", *run),
            "advisor predict of one image, s": advisor("second", "predict", f"{folder}/run", photograph),
        }


class Clock(Silent):
    """Writes down when each stage begins, by the clock and by what the processors have done."""

    def __init__(self) -> None:
        self._began: list[tuple[str, float, float]] = []

    def steps(self, what: str) -> Callable[[int, int], None]:
        self._began.append((what, time.monotonic(), time.process_time()))
        return super().steps(what)

    def stages(self) -> list[tuple[str, float, float]]:
        """Each stage, up to the next one or to now: its seconds, and those of the processors."""
        ends = [*self._began[1:], ("", time.monotonic(), time.process_time())]
        return [
            (what, end - start, end_busy - busy)
            for (what, start, busy), (_, end, end_busy) in zip(self._began, ends, strict=True)
        ]


def phases(source: str, what_of: str = "recommend from nothing") -> dict[str, float]:
    """Seconds of each stage of `advisor recommend` from nothing, but for the start of Python.

    Args:
        source: the images.
        what_of: what the stages are called by.
    """
    clock, before = Clock(), os.environ.get("ADVISOR_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ADVISOR_CACHE"] = folder
        try:
            api.recommend(source, display=clock)
            stages = clock.stages()
        finally:
            del os.environ["ADVISOR_CACHE"]
            if before is not None:
                os.environ["ADVISOR_CACHE"] = before
    return {f"{what_of}: {what}, s": took for what, took, _ in stages}


def large_photographs(data: Dataset, count: int) -> dict[str, float]:
    """Seconds of each stage on so many photographs, and what decoding them alone takes."""
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        for n in rng.permutation(len(data))[:count]:
            with Image.open(data.paths[n]) as image:
                pixels = np.asarray(
                    image.convert("RGB").resize(PHOTOGRAPH, Image.Resampling.BICUBIC), np.float32
                )
            pixels = pixels + rng.normal(0, NOISE, pixels.shape).astype(np.float32)
            file = Path(folder, data.class_names[data.labels[n]], f"{n}.jpg")
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=90)
        paths = [str(path) for path in Path(folder).rglob("*.jpg")]

        def decoding() -> None:
            for _ in images.stream(paths, 224, forward.BATCH, lambda position, reason: None):
                pass

        name = f"{len(paths):,} photographs of 12 megapixels"
        size = sum(Path(path).stat().st_size for path in paths) / len(paths) / 1e6
        return {
            f"{name}, each, MB": size,
            **phases(folder, name),
            f"{name}: decoding alone, s": seconds(decoding),
        }


def peak_memory(small: str, large: str) -> dict[str, float]:
    """MB of resident memory at the peak of `advisor recommend`, without a cache."""
    measured = {}
    for source in (small, large):
        images_held = len(sources.load(source))
        with tempfile.TemporaryDirectory() as folder:
            code = (
                "import resource, subprocess, sys\n"
                "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
            )
            peak = subprocess.run(
                [sys.executable, "-c", code, *ADVISOR, "recommend", source],
                check=True, capture_output=True, text=True, env=os.environ | {"ADVISOR_CACHE": folder},
            )  # fmt: skip
        measured[f"peak memory of recommend, {images_held:,} images, MB"] = int(peak.stdout) / 1024
    return measured


def embedding_speed(data: Dataset, count: int = 640) -> dict[str, float]:
    """Images a second over the first `count` images, each way the better of two passes in turn."""
    paths = list(data.paths[:count])
    backbone = backbones.load(backbones.BUNDLED)
    model, run = backbone.features(backbone.taps), embedding.runner(backbone, 224)

    def ours() -> None:
        for _, pixels in images.stream(paths, 224, forward.BATCH, lambda position, reason: None):
            run(pixels)

    def decoding() -> None:
        for _ in images.stream(paths, 224, forward.BATCH, lambda position, reason: None):
            pass

    def network() -> None:
        black = np.zeros((forward.BATCH, 224, 224, 3), np.uint8)
        for _ in range(0, len(paths), forward.BATCH):
            run(black)

    def keras_predict() -> None:
        for start in range(0, len(paths), 64):
            part = np.stack([images.load_square(path, 224) for path in paths[start : start + 64]])
            model.predict(part, batch_size=32, verbose=0)

    ways = {
        "our embedding": ours,
        "decoding alone": decoding,
        "the network alone": network,
        "keras predict": keras_predict,
    }
    torch_way = pytorch(paths)
    if torch_way:
        ways["PyTorch"] = torch_way
    taken: dict[str, float] = {}
    for _ in range(2):  # in turn, and twice: the first time warms up
        for name, work in ways.items():
            taken[name] = min(seconds(work), taken.get(name, float("inf")))
    return {f"{name}, images/s": len(paths) / value for name, value in taken.items()}


def pytorch(paths: list[str]) -> Callable[[], None] | None:
    """The usual loop: Pillow, a DataLoader with two workers, the network in eager mode; None without it."""
    try:
        import torch
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        return None
    from advisor.backbones.efficientnet_lite import LITE0

    network = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=str(LITE0.installed_file())
    ).eval()

    class Images(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, at: int) -> torch.Tensor:
            image = Image.open(paths[at]).convert("RGB")
            scale = 224 / min(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), 3)
            left, top = (image.width - 224) // 2, (image.height - 224) // 2
            pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
            return torch.from_numpy((pixels - 127) / 128).permute(2, 0, 1)

    def loop() -> None:
        with torch.no_grad():
            for batch in torch.utils.data.DataLoader(Images(), batch_size=32, num_workers=2):
                network.extract_features(batch).mean((2, 3))

    return loop


def tutorial(data: Dataset) -> dict[str, float]:
    """Seconds that the tutorials' procedure takes for this data set, on images decoded to memory before."""
    import keras
    import tensorflow as tf

    at = data.indices("train")
    decode = seconds(lambda: [images.load_square(data.paths[i], TUTORIAL_SIZE) for i in at[:200]]) / 200
    pixels = np.random.default_rng(0).integers(0, 255, (32, TUTORIAL_SIZE, TUTORIAL_SIZE, 3), np.uint8)
    labels = np.arange(32) % len(data.class_names)
    steps = -(-len(at) // 32)
    batches = tf.data.Dataset.from_tensors((pixels, labels)).repeat(steps)
    base = keras.applications.MobileNetV2((TUTORIAL_SIZE, TUTORIAL_SIZE, 3), include_top=False, weights=None)
    image = keras.Input((TUTORIAL_SIZE, TUTORIAL_SIZE, 3))
    scaled = keras.applications.mobilenet_v2.preprocess_input(keras.ops.cast(image, "float32"))
    pooled = keras.layers.GlobalAveragePooling2D()(base(scaled, training=False))
    model = keras.Model(image, keras.layers.Dense(len(data.class_names))(keras.layers.Dropout(0.2)(pooled)))
    total = decode * len(at)
    for first in (len(base.layers), TUTORIAL_LAYER):
        for index, layer in enumerate(base.layers):
            layer.trainable = index >= first
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=False)
        model.fit(batches.take(1), verbose=0)
        total += TUTORIAL_EPOCHS * seconds(lambda: model.fit(batches, verbose=0))
    return {"MobileNetV2 at 128 px, 5 epochs frozen and 5 fine-tuned, s": total}


if __name__ == "__main__":
    main()
