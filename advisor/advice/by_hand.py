"""Settings that a user sets by hand: read from words or a file, checked, and put in the place of ours."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from types import UnionType
from typing import Any

from advisor.advice import settings as our
from advisor.advice.settings import LISTS, Options, Settings
from advisor.advice.settings_values import CHOICES, SHAPES, check
from advisor.choices import AUGMENTATIONS
from advisor.data.dataset import Summary
from advisor.errors import InputError
from advisor.evidence.gaussian import GAUSSIAN, LINEAR
from advisor.evidence.measure import Evidence
from advisor.evidence.pooling import CELLS, FLATTEN, MAXIMUM, MOST_IMAGES
from advisor.evidence.views import LEAST_SIZE, ONE, SIZES
from advisor.system.json_file import read_json
from advisor.system.json_shape import Maybe

WORDS_OF_TRUTH = {"true": True, "yes": True, "false": False, "no": False}
_TOLD = ("grey", "frozen", "by_hand")  # follow from the others
# Fields of settings that have an option of their own, beside the recipe.
WITH_OPTION = tuple(field.name for field in fields(Options) if field.name in SHAPES)
NAMES = tuple(name for name in SHAPES if name not in (*WITH_OPTION, "recipe", *_TOLD))
# What means something in one network alone.
_OF_NETWORK = ("weights", "taps", "train_from", "cut_layer", "base_labels")
_ASKED = ("head", "epochs", "batch_size", "keep")  # of the options, what changes how a recipe trains
# The probes judge the kernel with these as we would have taken them. With views it was judged elsewhere, see
# benchmarks/views.py.
_JUDGED_WITH_KERNEL = ("pooling", "roots", "taps")
# Without gradient steps these say nothing.
_OF_STEPS = (
    "training_size",
    "augmentation",
    "batch_norm",
    "learning_rate",
    "weight_decay",
    "label_smoothing",
    "optimizer",
    "momentum",
    "nesterov",
    "schedule",
    "decay",
    "step_epochs",
    "step_factor",
    "head_epochs",
    "head_learning_rate",
    "dropout",
    "patience",
    "watch",
    "epoch_kept",
    "stop_early",
    "histograms",
    "save_every",
)


def parsed(assignments: Iterable[str]) -> dict[str, Any]:
    """The values of `--set NAME=VALUE`, as they would stand in JSON; the last one of a name counts.

    Raises:
        InputError: there is no such setting, or it takes no such value; the message names the nearest one.
    """
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise InputError(f"--set {assignment}: give NAME=VALUE, as in --set learning_rate=0.001")
        name = name.strip().replace("-", "_")
        if name in (*WITH_OPTION, "recipe"):
            raise InputError(f"--set {assignment}: give --{name.replace('_', '-')} {text} for it")
        if name not in NAMES:
            raise InputError(f"--set {assignment}: there is no setting {name!r}; {_nearest(name, NAMES)}")
        values[name] = _value(assignment, name, text.strip())
    return values


def assignment(name: str, value: Any) -> str:
    """A value from `parsed` in words again.

    >>> assignment("augmentation", ["flip", "rotate:40"]), assignment("nesterov", True)
    ('augmentation=flip,rotate:40', 'nesterov=true')
    """
    if isinstance(value, list):
        return f"{name}={','.join(value) or 'none'}"
    return f"{name}={str(value).lower() if value is None or isinstance(value, bool) else value}"


def read_file(path: str) -> dict[str, Any]:
    """The settings in a JSON file, or under "settings" in one, as in the metrics.json of a run.

    Raises:
        InputError: it cannot be read, or holds what is no setting, or a value that the setting does not take.
    """
    try:
        values = read_json(Path(path))
        if isinstance(values, dict) and isinstance(values.get("settings"), dict):
            values = values["settings"]
        if not isinstance(values, dict):
            raise ValueError("holds no object")
    except OSError as error:
        raise InputError(f"cannot read --settings {path} ({error.strerror}); give a JSON file") from None
    except ValueError as error:
        raise InputError(f"--settings {path} {error}; give the metrics.json of a run, or an object") from None
    return checked(values, f"--settings {path}")


def checked(values: Mapping[str, Any], source: str = "settings") -> dict[str, Any]:
    """Values that come as an object, where they are settings.

    Args:
        values: by name.
        source: what they are called in a message.

    Raises:
        InputError: one is none, or is not what the setting takes.
    """
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    for name in plain:
        if name not in SHAPES:
            raise InputError(f"{source}: there is no setting {name!r}; {_nearest(str(name), tuple(SHAPES))}")
    try:
        check(plain)
    except InputError:
        raise
    except (ValueError, TypeError) as error:
        raise InputError(f"{source} {error}; see docs/settings.md for what it takes") from None
    return {name: _as_stored(name, value) for name, value in plain.items() if name not in _TOLD}


def _as_stored(name: str, value: Any) -> Any:
    """A whole number as a float where the setting is one."""
    shape = SHAPES[name]
    return float(value) if isinstance(shape, tuple) and shape[0] is float else value


def with_options(options: Options, recipe: str | None) -> tuple[Options, str | None]:
    """Options and recipe, filled up from the settings that have an option of their own.

    What an option says already stays, and then settings that belong to another network are left out.

    Args:
        options: with `settings` from a file, maybe.
        recipe: that was asked for; None for none.

    Raises:
        InputError: two of them do not go with each other.
    """
    values, usual = dict(options.settings), Options()
    another = options.backbone not in (usual.backbone, values.get("backbone", options.backbone))
    if another:
        values = {name: value for name, value in values.items() if name not in _OF_NETWORK}
    filled = {
        name: values[name] or getattr(usual, name)  # a solved head has 0 epochs, a whole network starts at ""
        for name in WITH_OPTION
        if name in values and getattr(options, name) == getattr(usual, name)
    }
    if options.augment or (recipe and recipe != values.get("recipe", recipe)):
        filled.pop("mode", None)
    if filled.get("mode") not in (None, "partial"):
        filled.pop("train_from", None)
    kept = {name: value for name, value in values.items() if name in NAMES}
    whole = replace(options, **filled, settings=kept)
    _check_pairs(whole)
    return whole, recipe or values.get("recipe")


def choose(recipe: str, options: Options, evidence: Evidence) -> Settings:
    """The settings of a recipe for a data set, with those that were set by hand in the place of ours.

    Args:
        recipe: one of `RECIPES`.
        options: what the user asked for.
        evidence: what was measured.

    Raises:
        InputError: options that do not go with each other.
    """
    ours = our.choose(recipe, options, evidence)
    values = {name: tuple(value) if name in LISTS else value for name, value in options.settings.items()}
    if values.get("head_start") == "run" and not ours.trains_on_images:
        values["head_start"] = "fitted"  # to features that are computed once, from the start
    chosen = replace(ours, **{**_following(ours, values), **values})
    bare = replace(options, **{name: getattr(Options(), name) for name in _ASKED}, settings={})
    usual = our.choose(recipe, bare, evidence)
    asked = [name for name in _ASKED if getattr(usual, name) != getattr(chosen, name)]
    asked = [] if chosen.solves_head else asked
    other = [name for name in SHAPES if name in values and getattr(ours, name) != getattr(chosen, name)]
    chosen = replace(chosen, by_hand=(*asked, *other))
    _check_together(chosen, evidence.network.fixed_size)
    _check_kernel(chosen, evidence.data)
    return chosen


def without_effect(settings: Settings) -> tuple[str, ...]:
    """Which of those that were set by hand say nothing, because there are no gradient steps."""
    return tuple(name for name in settings.by_hand if settings.solves_head and name in _OF_STEPS)


def _following(ours: Settings, values: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from values that were set by hand, unless it was set, too."""
    follows: dict[str, Any] = {}
    if values.get("optimizer", "adamw") != "adamw":
        follows["weight_decay"] = 0.0
    if values.get("head_epochs"):
        follows["head_start"] = "random"
    if not values.get("roots", True) and ours.sees_cells:
        follows["pooling"] = "average"
    if values.get("pooling") in (MAXIMUM, FLATTEN):
        follows["taps"] = ours.taps[-1:]
    if any(values.get(name, getattr(ours, name)) != getattr(ours, name) for name in _JUDGED_WITH_KERNEL):
        follows["kernel"] = LINEAR
    if values.get("pooling") == FLATTEN:
        follows["training_size"] = ours.image_size
    return follows


def _check_pairs(options: Options) -> None:
    """Refuse settings of which one cannot be followed because of another, whatever the data are.

    Raises:
        InputError: says which, and what to give.
    """
    values = options.settings
    optimizer, pooling = values.get("optimizer", "adamw"), values.get("pooling", "average")
    momentum, alone = values.get("momentum", 0), values.get("head_epochs", 0)
    views = values.get("views", ONE)
    for is_wrong, message in (
        (
            momentum and optimizer not in ("sgd", "rmsprop"),
            f"momentum goes with optimizer=sgd or rmsprop, not with {optimizer}",
        ),
        (
            values.get("nesterov") and not (optimizer == "sgd" and momentum),
            "nesterov goes with optimizer=sgd and a momentum, as in momentum=0.9",
        ),
        (
            pooling in (MAXIMUM, FLATTEN) and options.base_labels,
            f"--base-labels needs averages, not pooling={pooling}; leave out one of both",
        ),
        (
            views != ONE and options.base_labels,
            f"--base-labels needs one view, not views={views}; leave out one of both",
        ),
        (
            views != ONE and pooling in (MAXIMUM, FLATTEN),
            f"views={views} needs averages, not pooling={pooling}; leave out one of both",
        ),
        (
            pooling in CELLS and not values.get("roots", True),
            f"pooling={pooling} sees roots; leave out roots=false, or set pooling=average",
        ),
        (
            values.get("head_start") == "run" and not options.start_from,
            "head_start=run needs a run to go on from; give it with --start-from RUN",
        ),
        (
            alone and options.epochs is not None and alone >= options.epochs,
            f"head_epochs is {alone}, but --epochs gives {options.epochs} in all; give more --epochs",
        ),
    ):
        if is_wrong:
            raise InputError(message)


def _check_together(settings: Settings, fixed_size: bool) -> None:
    """Refuse settings that do not go with those of the recipe for the data.

    Args:
        settings: all of them.
        fixed_size: whether the network takes images of one size only.

    Raises:
        InputError: says which, and what to give.
    """
    size, epochs, alone = settings.image_size, settings.epochs, settings.head_epochs
    if settings.training_size > size:
        raise InputError(f"training_size is more than the image size; give {size} or less")
    if settings.pooling == FLATTEN and settings.training_size != size:
        raise InputError(f"pooling=flatten needs images of one size; give training_size={size}")
    if settings.views != ONE and settings.trains_on_images:
        raise InputError(
            f"views={settings.views} is for a frozen network, whose features are computed once; leave it out "
            f"with {settings.recipe}, mode {settings.mode}"
        )
    if settings.views == SIZES and (fixed_size or size < LEAST_SIZE):
        takes = f"this network takes {size} px only" if fixed_size else f"half of {size} px is too small"
        raise InputError(f"views=sizes shows each image at half its size, too, and {takes}; leave it out")
    if alone and not settings.trains_on_images:
        raise InputError(f"head_epochs is for training on images; leave it out with {settings.recipe}")
    if alone and alone >= epochs:
        raise InputError(f"head_epochs is {alone}, of {epochs} epochs; give fewer, or more --epochs")


def _check_kernel(settings: Settings, data: Summary) -> None:
    """Refuse a Gaussian kernel where there is none to compute.

    Raises:
        InputError: says why, and what to give.
    """
    if settings.kernel != GAUSSIAN:
        return
    if settings.init == "random":
        raise InputError("kernel=gaussian is for frozen features; leave it out with --init random")
    if not (settings.solves_head or settings.starts_from_frozen_head):
        raise InputError("kernel=gaussian is for a head that is solved; leave one of them out")
    if data.fitted > MOST_IMAGES:
        raise InputError(
            f"kernel=gaussian compares each two of {data.fitted:,} images, at most {MOST_IMAGES:,}; "
            "leave it out"
        )


def _value(assignment: str, name: str, text: str) -> Any:
    """A value in words as it would stand in JSON.

    Raises:
        InputError: the setting takes no such value.
    """
    shape = SHAPES[name]
    if isinstance(shape, Maybe):
        if text.lower() in ("none", "null"):
            return None
        shape = shape.shape
    if isinstance(shape, list):
        found: Any = [] if text.lower() == "none" else [part.strip() for part in text.split(",")]
    elif shape is bool:
        if text.lower() not in WORDS_OF_TRUTH:
            raise InputError(f"--set {assignment}: give true or false")
        return WORDS_OF_TRUTH[text.lower()]
    elif isinstance(shape, tuple):
        return _number(assignment, text, *shape)
    else:
        assert shape is str or isinstance(shape, UnionType)
        found = text.lower().replace("_", " ") if name in CHOICES else text
    if name in CHOICES and found not in CHOICES[name]:
        raise InputError(f"--set {assignment}: {_nearest(found, CHOICES[name])}")
    if name == "augmentation":
        unknown = [part for part in found if part.partition(":")[0] not in AUGMENTATIONS]
        if unknown:
            raise InputError(f"--set {assignment}: {_nearest(unknown[0], (*AUGMENTATIONS, 'none'))}")
    checked({name: found}, f"--set {assignment}")
    return found


def _number(assignment: str, text: str, kind: type, least: float, most: float) -> float:
    """A number in words.

    Raises:
        InputError: it is none, or lies outside its range; the message names the nearest inside.
    """
    what = "a whole number" if kind is int else "a number"
    limits = f"of {least:g} or more" if most >= 1e9 else f"from {least:g} to {most:g}"
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or value != value:
        raise InputError(f"--set {assignment}: give {what} {limits}")
    if not least <= value <= most:
        nearest = least if value < least else most
        raise InputError(f"--set {assignment}: give {what} {limits}; the nearest is {nearest:g}")
    return value


def _nearest(word: str, known: Iterable[str]) -> str:
    """What to say of a word that is not known."""
    known = tuple(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]}?" + (f" Else: {', '.join(known)}" if len(known) <= 8 else "")
    return f"choose one of {', '.join(known)}"
