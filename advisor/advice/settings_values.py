"""What each field of `Settings` may be, for values that come from a file or a command line."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from advisor.advice.settings import hidden_units
from advisor.choices import (
    AUGMENTATIONS,
    FITS,
    KEEP,
    LARGEST_IMAGE,
    OPTIMIZERS,
    RECIPES,
    SCHEDULES,
    WATCHED,
)
from advisor.errors import InputError
from advisor.evidence.gaussian import KERNELS
from advisor.evidence.pooling import POOLINGS
from advisor.evidence.views import VIEWS
from advisor.system.json_shape import Maybe, conform, short

SHARE = (float, 0, 1)
COUNT = (int, 0, 2**62)
SIZE = (int, 8, LARGEST_IMAGE)
RATE = (float, 0, 1e9)
# By the name of the field, as `advisor.system.json_shape.conform` takes them.
SHAPES: dict[str, Any] = {
    "recipe": str,
    "mode": str,
    "backbone": str,
    "weights": str | None,
    "init": str,
    "image_size": SIZE,
    "training_size": SIZE,
    "taps": [str],
    "train_from": str | None,
    "head": str,
    "batch_norm": str,
    "augmentation": [str],
    "epochs": COUNT,
    "batch_size": (int, 1, 2**31),
    "learning_rate": RATE,
    "weight_decay": RATE,
    "label_smoothing": SHARE,
    "class_weights": str,
    "cut_layer": str | None,
    "base_labels": str | None,
    "roots": bool,
    "keep": str,
    "pooling": str,
    "kernel": str,
    "views": str,
    "optimizer": str,
    "momentum": SHARE,
    "nesterov": bool,
    "schedule": str,
    "decay": RATE,
    "step_epochs": (int, 1, 2**31),
    "step_factor": SHARE,
    "head_epochs": COUNT,
    "head_learning_rate": RATE,
    "head_start": str,
    "dropout": (float, 0, 0.99),
    "patience": Maybe((int, 1, 2**31)),
    "watch": str,
    "epoch_kept": str,
    "stop_early": bool,
    "histograms": bool,
    "save_every": COUNT,
    "start_from": str | None,
    "fit": str,
    "grey": Maybe([float]),
    "frozen": str | None,
    "by_hand": [str],
}
CHOICES: dict[str, Collection[str]] = {
    "recipe": RECIPES,
    "init": ("pretrained", "random"),
    "batch_norm": ("frozen", "adapt"),
    "class_weights": ("none", "square root"),
    "keep": tuple(KEEP),
    "fit": tuple(FITS),
    "pooling": POOLINGS,
    "kernel": KERNELS,
    "views": tuple(VIEWS),
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "head_start": ("fitted", "random", "run"),
    "watch": tuple(WATCHED),
    "epoch_kept": ("last", "best"),
}


def check(values: Mapping[str, Any]) -> None:
    """Whether values have the types and lie in the ranges of the settings of these names.

    Args:
        values: by names of `SHAPES`, as they are in JSON.

    Raises:
        ValueError: one has not; the message is meant to stand behind the name of a file.
    """
    conform(values, {name: SHAPES[name] for name in values})
    for name, choices in CHOICES.items():
        if name in values and values[name] not in choices:
            raise ValueError(f"holds {short(values[name])} for {name}")
    if {"recipe", "mode"} <= set(values) and values["mode"] not in RECIPES[values["recipe"]].modes:
        raise ValueError(f"holds {short(values['mode'])} for mode")
    if "head" in values:
        hidden_units(values["head"])
    if "taps" in values and (not values["taps"] or len(set(values["taps"])) < len(values["taps"])):
        raise ValueError("holds no list of different taps")
    grey = values.get("grey")
    if grey is not None and not (len(grey) == 2 and grey[0] < grey[1]):
        raise ValueError("holds no range for grey")
    for change in values.get("augmentation", ()):
        strength_of(change)


def strength_of(change: str) -> tuple[str, float]:
    """The name of a change of images and its strength: "rotate:40" is ("rotate", 40), "flip" ("flip", 1).

    Raises:
        InputError: there is no such change, or not in this strength.
    """
    name, colon, text = change.partition(":")
    known = AUGMENTATIONS.get(name)
    if known is None:
        raise InputError(f"unknown augmentation {change!r}; choose from {', '.join(AUGMENTATIONS)}, or none")
    if not colon:
        return name, 1.0 if known.strength is None else known.strength
    try:
        strength = float(text)
    except ValueError:
        strength = -1.0
    if known.strength is None:
        raise InputError(f"augmentation {change!r}: {name} has no strength; give {name}")
    if not known.least <= strength <= known.most:
        limits = f"from {known.least:g} to {known.most:g}"
        raise InputError(f"augmentation {change!r}: give a number {limits}, as in {name}:{known.strength:g}")
    return name, strength
