"""What will be built: in words, in parameters and in seconds. Answers without TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor.advice.settings import Settings, hidden_units
from advisor.backbones import BUNDLED
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


def make(
    settings: Settings,
    widths: Mapping[str, int],
    classes: int,
    images: int,
    training_images: int,
    on_gpu: bool,
) -> Plan:
    """Count what will be trained and estimate how long it will take.

    Args:
        settings: of the recipe.
        widths: features at each tap that is known.
        classes: of the data set.
        images: of all splits.
        training_images: of the training split.
        on_gpu: whether a GPU will train.
    """
    known_speed = settings.backbone == BUNDLED and not on_gpu
    return Plan(
        _parameters(settings, widths, classes),
        _seconds(settings, images, training_images, matrix_gflops()) if known_speed else None,
    )


def _parameters(settings: Settings, widths: Mapping[str, int], classes: int) -> int | None:
    if not set(settings.taps) <= set(widths):
        return None
    features, units = sum(widths[tap] for tap in settings.taps), hidden_units(settings.head)
    head = (features + 1) * classes if units is None else (features + 1) * units + (units + 1) * classes
    if settings.train_from is None:
        return head
    whole_bundled = settings.backbone == BUNDLED and settings.train_from == ""
    return BUNDLED_PARAMETERS[settings.batch_norm] + head if whole_bundled else None


def _seconds(settings: Settings, images: int, training_images: int, gflops: float) -> float:
    slower = REFERENCE_GFLOPS / gflops
    embed = images * EMBED_SECONDS * (settings.image_size / 224) ** 2 * slower
    if not settings.trains_on_images:
        return START_SECONDS + embed
    step = STEP_SECONDS if settings.trains_backbone else FORWARD_SECONDS
    epoch = training_images * step * (settings.training_size / 224) ** 2 * slower
    return START_SECONDS + TRACE_SECONDS + embed + settings.epochs * epoch


def matrix_gflops(side: int = 768, seconds: float = 0.05) -> float:
    """How many billion operations a second this machine does, multiplying float32 matrices.

    Measured once and kept in the cache, so that the same command gives the same plan.

    Args:
        side: of the square matrices.
        seconds: to spend; the fastest product counts.
    """
    file = cache_folder() / "gigaflops.txt"
    try:
        return float(file.read_text())
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


def words(advice: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The plan for people: pairs of a name and a value.

    Args:
        advice: as `Recommendation.to_json` returns it.
    """
    settings, plan = advice["settings"], advice["plan"]
    if settings["train_from"] is None:
        layers = "all frozen"
    elif settings["train_from"] == "":
        layers = "all trained" + ("" if settings["init"] == "pretrained" else ", from random weights")
    else:
        layers = f"frozen below {settings['train_from']}, trained from there"
    if settings["mode"] == "cut":
        layers += f", cut above {settings['taps'][-1]}"
    taps = settings["taps"]
    features = taps[0] if len(taps) == 1 else f"{len(taps)} depths together, {taps[0]} to {taps[-1]}"
    if settings.get("roots"):  # not in the reports of an older version
        features = f"square roots of {features}"
    rows = [
        ("backbone", f"{settings['backbone']} at {settings['image_size']} px, {layers}"),
        ("features", features),
        ("head", settings["head"] + (", solved to its optimum" if _is_convex(settings) else "")),
    ]
    if plan["parameters_trained"] is not None:
        rows.append(("parameters", f"{plan['parameters_trained']:,} trained"))
    if settings["epochs"]:
        on_images = f"{settings['epochs']} epochs at {settings['training_size']} px"
        rows += [
            (
                "training",
                (on_images if settings["augmentation"] else f"up to {settings['epochs']} epochs on features")
                + f", batches of {settings['batch_size']}, "
                + ("averaged with the start" if _is_averaged(settings) else "best epoch kept"),
            ),
            (
                "optimizer",
                f"AdamW, learning rate {settings['learning_rate']:g}, "
                f"weight decay {settings['weight_decay']:g}, batch norm {settings['batch_norm']}",
            ),
            ("augmentation", ", ".join(settings["augmentation"]) or "none"),
        ]
    if settings["class_weights"] != "none":
        rows.append(("class weights", settings["class_weights"]))
    if plan["seconds_estimated"] is not None:
        rows.append(("time", f"about {duration(plan['seconds_estimated'])} on {advice['device']}"))
    return rows


def _is_convex(settings: Mapping[str, Any]) -> bool:
    return not settings["epochs"] and settings["head"] == "linear"


def _is_averaged(settings: Mapping[str, Any]) -> bool:
    return settings["init"] == "pretrained" and settings["head"] == "linear"


def duration(seconds: float) -> str:
    """Rounded for people: "40 s", "5 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(10, round(seconds / 10) * 10)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
