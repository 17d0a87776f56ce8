"""What will be built, in parameters and in seconds. Answers without TensorFlow."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from advisor.advice.settings import Settings, hidden_units
from advisor.backbones import BUNDLED
from advisor.data.dataset import Summary
from advisor.evidence.measure import Evidence
from advisor.evidence.pooling import AVERAGE
from advisor.evidence.probe import Probes
from advisor.system.storage import cache_folder, replacing

# Weights of EfficientNet-Lite0 below its classifier that a gradient may change, by what batch norm does;
# its statistics are none. A test counts them.
BUNDLED_PARAMETERS = {"frozen": 3_328_992, "adapt": 3_371_008}

# Seconds an image of 224 x 224 pixels takes on a processor that multiplies float32 matrices at
# REFERENCE_GFLOPS: decoded and through the frozen network; one gradient step of the whole network; the
# same with the backbone frozen, forward only. Measured on 2 cores; convolutions scale with the pixels.
REFERENCE_GFLOPS = 195.0
EMBED_SECONDS, STEP_SECONDS, FORWARD_SECONDS = 0.006, 0.036, 0.012
START_SECONDS = 10.0  # TensorFlow's start and writing the model
TRACE_SECONDS = 20.0  # turning the gradient step into a graph


@dataclass(frozen=True)
class Plan:
    """What training will take.

    Attributes:
        parameters_trained: weights that are fitted; None where only building the network would tell.
        seconds_estimated: from images to the finished model, within a factor of about two; None on a GPU
            and for backbones whose speed is not known.
    """

    parameters_trained: int | None
    seconds_estimated: float | None


def make(settings: Settings, evidence: Evidence, on_gpu: bool) -> Plan:
    """Count what will be trained and estimate how long it will take.

    Args:
        settings: of the recipe.
        evidence: what was measured.
        on_gpu: whether a GPU will train.
    """
    known_speed = settings.backbone == BUNDLED and not on_gpu
    return Plan(
        _parameters(settings, evidence.probes, len(evidence.data.class_names)),
        _seconds(settings, evidence.data) if known_speed else None,
    )


def _parameters(settings: Settings, probes: Probes, classes: int) -> int | None:
    if not set(settings.taps) <= set(probes.widths):
        return None
    features, units = sum(probes.widths[tap] for tap in settings.taps), hidden_units(settings.head)
    if settings.pooling != AVERAGE and not settings.trains_on_images:
        recipe = "feature_extraction" if len(settings.taps) == 1 else "shallow_features"
        features = probes.position[recipe].width
    if settings.base_labels:
        *_, last = probes.widths
        features += probes.widths[last]
    head = (features + 1) * classes if units is None else (features + 1) * units + (units + 1) * classes
    if settings.train_from is None:
        return head
    whole_bundled = settings.backbone == BUNDLED and settings.train_from == ""
    return BUNDLED_PARAMETERS[settings.batch_norm] + head if whole_bundled else None


def _seconds(settings: Settings, data: Summary) -> float:
    embed = data.images * EMBED_SECONDS * slowness(settings.image_size)
    if not settings.trains_on_images:
        return START_SECONDS + embed
    step = STEP_SECONDS if settings.trains_backbone else FORWARD_SECONDS
    epoch = data.splits["train"] * step * slowness(settings.training_size)
    return START_SECONDS + TRACE_SECONDS + embed + settings.epochs * epoch


def slowness(pixels: int) -> float:
    """How much longer an image takes here than the seconds above say, as a factor above 0.

    Args:
        pixels: side of the image; the seconds above are for 224.
    """
    return (pixels / 224) ** 2 * REFERENCE_GFLOPS / matrix_gflops()


def matrix_gflops(side: int = 768, seconds: float = 0.05) -> float:
    """How many billion operations a second this machine does, multiplying float32 matrices.

    Measured once and kept in the cache, so that the same command gives the same plan.

    Args:
        side: of the square matrices.
        seconds: to spend; the fastest product counts.
    """
    file = cache_folder() / "gigaflops.txt"
    try:
        kept = float(file.read_text())
        if 0.01 < kept < 1e6:  # else damaged: no processor does that
            return kept
    except (OSError, ValueError):
        pass
    a = np.ones((side, side), np.float32)
    fastest, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        a @ a
        fastest = min(fastest, time.perf_counter() - start)
    measured = round(2 * side**3 / fastest / 1e9, 1)
    with replacing(file) as unfinished:
        unfinished.write_text(str(measured))
    return measured
