"""What a recipe is built with: every choice in plain sight, made in one place, carried in every JSON."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from advisor import backbones
from advisor.advice import looks, rule
from advisor.backbones.pair import JOINT
from advisor.choices import AUTO, CROP, FIT_OPTIONS, FITS, KEEP, LARGEST_IMAGE, RECIPES, Mode
from advisor.data.deep_grey import GreyRange
from advisor.errors import InputError
from advisor.evidence.gaussian import GAUSSIAN, LINEAR
from advisor.evidence.measure import Evidence
from advisor.evidence.pooling import AVERAGE, CELLS
from advisor.evidence.views import ONE
from advisor.system.devices import free_memory

LISTS = ("taps", "augmentation", "by_hand", "grey")  # fields of settings


@dataclass(frozen=True)
class Settings:
    """How a model is built and trained.

    Attributes:
        recipe: one of `RECIPES`.
        mode: one of `RECIPES[recipe].modes`.
        backbone: name or file.
        weights: file of weights, or none for the backbone's own.
        init: "pretrained" or "random".
        image_size: pixels of the finished model's square input.
        training_size: pixels that gradient steps see. Smaller than `image_size`, because random crops
            make objects look larger (Touvron et al., Fixing the train-test resolution discrepancy, 2019).
        taps: the layers whose pooled outputs the head sees, from shallow to deep.
        train_from: the first layer that is trained; all below are frozen. None: the whole backbone is frozen.
        head: "linear", or "mlp:N" for a hidden layer of N units, "mlp:N,M" for two, and so on.
        batch_norm: "frozen" (statistics, scale and offset) or "adapt".
        augmentation: what is done to training images at random, one of `advisor.choices.AUGMENTATIONS` each,
            with a strength behind a colon where it is not the usual one, as in "rotate:40".
        epochs: passes over the training images or, at most, over their features; 0 where the head is solved
            without gradient steps.
        batch_size: images for each gradient step.
        learning_rate: the highest; what becomes of it, `schedule` says.
        weight_decay: of the optimizer, decoupled from the gradient; in each step weights lose this share of
            themselves times the learning rate.
        label_smoothing: 0..1.
        class_weights: "none", or "square root": images weigh 1 / sqrt(images of their class).
        cut_layer: the backbone is used up to this layer; None for the whole.
        base_labels: file with the class names of the backbone's own classifier, whose rows for these classes
            a linear head starts from, too; or none.
        roots: whether the head sees signed square roots of its features, see
            `advisor.evidence.signed_root`. Not where the weights are random.
        keep: what is kept after training, one of `KEEP`.
        pooling: what becomes of feature maps under the head, one of `advisor.evidence.pooling.POOLINGS`. With
            cells the frozen network's head sees these, too; gradient steps always see the whole picture.
        kernel: of the frozen network's head, one of `advisor.evidence.gaussian.KERNELS`. With "gaussian" it
            also sees how like an image is to each one that it was fitted to; gradient steps never do.
        views: how the frozen network looks at each image, one of `advisor.evidence.views.VIEWS`; where
            gradient steps see images always "one".
        optimizer: one of `advisor.choices.OPTIMIZERS`. Gradients are clipped to a norm of 1 with "adamw", our
            own recipe, and left as they are with the others, as Keras does.
        momentum: 0..1, of "sgd" and "rmsprop".
        nesterov: whether the momentum of "sgd" is Nesterov's.
        schedule: "cosine" (warm-up in a tenth of the steps, then a half cosine down to 0), "constant",
            "inverse time" (divided by 1 + `decay` * steps) or "step" (multiplied by `step_factor` after each
            `step_epochs` epochs).
        decay: of the schedule "inverse time", for each step.
        step_epochs: of the schedule "step".
        step_factor: of the schedule "step", 0..1.
        head_epochs: of the `epochs`, how many at the beginning train the head alone, under a frozen backbone.
        head_learning_rate: the highest of these; each of the two phases has the schedule for itself.
        head_start: "fitted" (training begins from a head that was fitted to frozen features), "random", or
            "run" (from the head of the run that it goes on from).
        dropout: share of what goes in that is left out at random, 0..1: behind each hidden layer of the head,
            before a linear one.
        patience: epochs without a better one after which training stops; None for four fifths of all epochs,
            or 10 where the head learns from features that were computed once.
        watch: by what one epoch is better than another on the validation images, one of
            `advisor.choices.WATCHED`.
        epoch_kept: "best", or "last", where training came beyond half of its epochs.
        stop_early: whether training ends where the rest is not worth its time, by the validation images. Only
            where the frozen network and the trained one may both be kept, and the epochs were not chosen by
            hand.
        histograms: whether TensorBoard gets those of all weights after each epoch, which takes time.
        save_every: after each so many epochs the network is saved in `epochs/` of the run folder; 0: never.
        start_from: the folder of a finished run whose network training goes on from; or none.
        fit: how images become squares, one of `advisor.choices.FITS`.
        grey: the values of deep grey that are black and white; None where nothing is deep.
        frozen: what lies below `train_from`, in words; None where we chose it.
        by_hand: which of these the user chose otherwise than we would have.
    """

    recipe: str
    mode: str
    backbone: str
    weights: str | None
    init: str
    image_size: int
    training_size: int
    taps: tuple[str, ...]
    train_from: str | None
    head: str
    batch_norm: str
    augmentation: tuple[str, ...]
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    label_smoothing: float
    class_weights: str
    cut_layer: str | None
    base_labels: str | None
    roots: bool
    keep: str
    pooling: str
    kernel: str = LINEAR
    views: str = ONE
    optimizer: str = "adamw"
    momentum: float = 0.0
    nesterov: bool = False
    schedule: str = "cosine"
    decay: float = 0.0
    step_epochs: int = 7
    step_factor: float = 0.1
    head_epochs: int = 0
    head_learning_rate: float = 1e-3
    head_start: str = "fitted"
    dropout: float = 0.0
    patience: int | None = None
    watch: str = "brier"
    epoch_kept: str = "last"
    stop_early: bool = True
    histograms: bool = False
    save_every: int = 0
    start_from: str | None = None
    fit: str = CROP
    grey: GreyRange | None = None
    frozen: str | None = None
    by_hand: tuple[str, ...] = ()

    @property
    def sees_cells(self) -> bool:
        """Whether the head of the frozen network sees cells of the picture beside the whole."""
        return self.pooling in CELLS

    @property
    def cells_of(self) -> tuple[str, ...]:
        """The layers of the frozen network whose cells its head sees."""
        return self.taps if self.sees_cells else ()

    @property
    def sees_likeness(self) -> bool:
        """Whether the head of the frozen network sees how like an image is to those that it was fitted to."""
        return self.kernel == GAUSSIAN

    @property
    def trains_backbone(self) -> bool:
        return self.train_from is not None

    @property
    def trains_on_images(self) -> bool:
        """Whether gradient steps see images, and not features that were computed once."""
        return RECIPES[self.recipe].modes[self.mode].on_images

    @property
    def solves_head(self) -> bool:
        """Whether there are no gradient steps at all: a linear head is solved on frozen features."""
        return not self.trains_on_images and self.head == "linear" and self.head_start == "fitted"

    @property
    def starts_from_frozen_head(self) -> bool:
        """Whether gradient steps on images begin from a head on frozen features, which may be kept."""
        return self.trains_on_images and self.init == "pretrained"

    @property
    def pools(self) -> bool:
        """Whether the frozen network and the trained one may both be kept."""
        return self.starts_from_frozen_head and self.keep == "better"

    def trains_as(self, other: Settings) -> bool:
        """Whether both train the same network in the same way, whatever their recipes are called."""
        return replace(self, recipe=other.recipe) == other

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(values: dict[str, Any]) -> Settings:
        lists = {name: tuple(values[name]) for name in LISTS if values.get(name) is not None}
        return Settings(**{**values, **lists})


@dataclass(frozen=True)
class Options:
    """What the user asked for; None or False: our choice."""

    backbone: str = "efficientnet_lite0"
    weights: str | None = None
    image_size: int | None = None
    init: str = "pretrained"
    mode: str | None = None
    augment: bool = False
    head: str = "linear"
    train_from: str | None = None
    cut_layer: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    base_labels: str | None = None
    keep: str = "better"
    minutes: float | None = None
    target: float | None = None
    max_megabytes: float | None = None
    start_from: str | None = None
    fit: str = "auto"
    second: str | None = None  # a network beside `backbone` on all depths, which `--backbone auto` may find
    settings: Mapping[str, Any] = field(default_factory=dict)  # by hand, see `advisor.advice.by_hand`

    def check(self, recipe: str | None) -> None:
        """Refuse options that are wrong whatever the data are.

        Raises:
            InputError: names the option, what it got and what it takes.
        """
        if recipe is not None and recipe not in RECIPES:
            raise InputError(f"unknown recipe {recipe!r}; choose one of {', '.join(RECIPES)}")
        hidden_units(self.head)
        if self.keep not in KEEP:
            raise InputError(f"unknown --keep {self.keep!r}; choose one of {', '.join(KEEP)}")
        if self.fit not in (*FIT_OPTIONS, *FITS):
            raise InputError(f"unknown --fit {self.fit!r}; choose one of {', '.join(FIT_OPTIONS)}")
        if self.base_labels and self.head != "linear":
            raise InputError(f"--base-labels starts a linear head, not {self.head}; leave out one of both")
        if self.base_labels and self.init == "random":
            raise InputError("--base-labels needs what the backbone has learnt; leave out --init random")
        if self.base_labels and not os.path.isfile(self.base_labels):
            raise InputError(f"--base-labels {self.base_labels} does not exist; give a JSON list of names")
        for option, value, least in (
            ("--epochs", self.epochs, 1),
            ("--image-size", self.image_size, 8),
            ("--batch-size", self.batch_size, 1),
        ):
            if value is not None and value < least:
                raise InputError(f"{option} is {value}; give {least} or more")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise InputError(f"--minutes is {self.minutes:g}; give more than 0")
        if self.target is not None and not 0 < self.target < 1:
            raise InputError(f"--target is {self.target:g}; give an accuracy between 0 and 1, as 0.95")
        if self.image_size is not None and self.image_size > LARGEST_IMAGE:
            raise InputError(f"--image-size is {self.image_size}; give {LARGEST_IMAGE} or less")
        for option, given, recipes in (
            ("--augment", self.augment, [name for name in RECIPES if "augmented" in RECIPES[name].modes]),
            ("--train-from", self.train_from, [name for name in RECIPES if "partial" in RECIPES[name].modes]),
            (
                "--init random",
                self.init == "random",
                [name for name in RECIPES if RECIPES[name].random_start],
            ),
        ):
            if given and recipe is not None and recipe not in recipes:
                raise InputError(f"{option} goes with --recipe {' or '.join(recipes)}, not with {recipe}")
        self._check_network()
        if self.mode and recipe and self.mode not in RECIPES[recipe].modes:
            modes = ", ".join(RECIPES[recipe].modes)
            raise InputError(f"--mode {self.mode!r} is none of {recipe}'s: {modes}")

    def _check_network(self) -> None:
        """Refuse what does not go with the choice of a network, or is for it alone.

        Raises:
            InputError: names the option.
        """
        most = self.max_megabytes
        if self.backbone != AUTO:
            if most is not None:
                raise InputError(f"--max-megabytes chooses among networks; give --backbone {AUTO} with it")
            return
        if most is not None and not 0 < most < math.inf:
            raise InputError(f"--max-megabytes is {most:g}; give more than 0")
        for option, given in (
            ("--weights", self.weights),
            ("--init random", self.init == "random"),
            ("--train-from", self.train_from),
            ("--cut-layer", self.cut_layer),
            ("--base-labels", self.base_labels),
            ("--start-from", self.start_from),
            ("the setting taps", self.settings.get("taps")),
        ):
            if given:
                raise InputError(f"{option} is for one network; name it in the place of --backbone {AUTO}")


def hidden_units(head: str) -> tuple[int, ...]:
    """Units of the hidden layers of a head: "linear" has none, "mlp:256,128" has 256 and above them 128.

    Raises:
        InputError: neither.
    """
    if head == "linear":
        return ()
    kind, _, units = head.partition(":")
    sizes = units.split(",")
    if kind == "mlp" and all(size.isdecimal() and 0 < int(size) <= 16384 for size in sizes):
        return tuple(map(int, sizes))
    raise InputError(f"unknown head {head!r}; use linear or mlp:N, as in mlp:256 or mlp:256,128")


# Gradient recipes: measured with benchmarks/training_choices.py (table in benchmarks/README.md).
LEARNING_RATE = 3e-4
HEAD_LEARNING_RATE = 1e-3  # of the head alone, on images that change at random
RANDOM_INIT_LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.02
# A head with a hidden layer, on features that were computed once: seconds, and the best epoch is kept.
MLP_EPOCHS, MLP_LEARNING_RATE, MLP_WEIGHT_DECAY = 100, 1e-3, 0.05
DROPOUT = 0.3  # behind a hidden layer
IMAGES_SEEN = 24_000  # training images times epochs
FEWEST_EPOCHS, MOST_EPOCHS, RANDOM_INIT_EPOCHS = 6, 20, 30
TRAINING_SIZE_SHARE = 0.72
STEP_BYTES = 150_000_000  # for one image of 224 pixels in a gradient step of a large backbone, roughly


def choose(recipe: str, options: Options, evidence: Evidence) -> Settings:
    """The settings of a recipe for a data set.

    Args:
        recipe: one of `RECIPES`.
        options: what the user asked for.
        evidence: what was measured.

    Raises:
        InputError: options that do not go with each other.
    """
    options.check(recipe)
    name = options.mode or _mode(recipe, options)
    mode = RECIPES[recipe].modes[name]
    if options.base_labels and mode.sees == "best cut":
        raise InputError(
            "--base-labels needs the backbone's last layer, which --mode cut leaves out; use one"
        )
    data, network, random = evidence.data, evidence.network, options.init == "random"
    training_images = data.splits["train"]
    smaller = max(32, round(TRAINING_SIZE_SHARE * network.image_size / 32) * 32)
    whole_size = network.fixed_size or not mode.on_images
    training_size = network.image_size if whole_size else min(network.image_size, smaller)
    flip = ("flip",) if rule.mirrors_are_harmless(evidence.mirror_loss) else ()
    settings = Settings(
        recipe=recipe,
        mode=name,
        backbone=options.backbone,
        weights=options.weights,
        init=options.init,
        image_size=network.image_size,
        training_size=training_size,
        taps=_taps(mode, options, evidence),
        train_from=None,
        head=options.head,
        batch_norm="adapt" if random else "frozen",
        augmentation=("crop", *flip, "light") if mode.on_images else (),
        epochs=(options.epochs or epochs_for(training_images, random)) if mode.on_images else 0,
        batch_size=options.batch_size or batch_size_for(training_images, training_size, free_memory()),
        learning_rate=_learning_rate(mode, random),
        weight_decay=WEIGHT_DECAY if mode.on_images else 0.0,
        label_smoothing=0.1 if random else 0.0,
        class_weights="square root" if data.is_unbalanced else "none",
        cut_layer=options.cut_layer,
        base_labels=options.base_labels,
        roots=not random,
        keep=options.keep,
        start_from=options.start_from,
        pooling=_pooling(mode, options, evidence),
        kernel=_kernel(mode, options, evidence),
        views=_views(mode, options, evidence),
        dropout=0.0 if options.head == "linear" else DROPOUT,
        epoch_kept="best" if random and options.keep != "trained" else "last",
        fit=evidence.fit.chosen,
        grey=evidence.data.grey,
    )
    if not (mode.on_images or (options.head == "linear" and options.settings.get("head_start") != "random")):
        settings = on_features(settings, options.epochs)
    if options.second and mode.sees == "all" and settings.solves_head:
        settings = _with_second(settings, options)
    middle = network.taps[len(network.taps) // 2]
    train_from = {"head": None, "upper": options.train_from or middle, "all": ""}[mode.trains]
    return replace(settings, train_from=train_from)


def _with_second(settings: Settings, options: Options) -> Settings:
    """The same on all depths of two networks, see `advisor.backbones.pair`."""
    both = backbones.load(f"{options.backbone}{JOINT}{options.second}", None, options.image_size)
    return replace(settings, backbone=both.name, image_size=both.image_size, taps=both.taps, views=ONE)


def on_features(settings: Settings, epochs: int | None = None) -> Settings:
    """The same, where the head learns by gradient steps from features that were computed once.

    Args:
        settings: of any recipe.
        epochs: at most; None for as many as usual.
    """
    return replace(
        settings,
        epochs=epochs or MLP_EPOCHS,
        optimizer="adamw",
        momentum=0.0,
        nesterov=False,
        learning_rate=MLP_LEARNING_RATE,
        weight_decay=MLP_WEIGHT_DECAY,
        label_smoothing=0.0,
        patience=None,
        schedule="constant",
        watch="loss",
        epoch_kept="best",
    )


def _taps(mode: Mode, options: Options, evidence: Evidence) -> tuple[str, ...]:
    """The depths under the head. Training starts from the better frozen head, where there is one.

    Who cuts the network wants the head there and nowhere else, unless a mode says otherwise.
    """
    taps = evidence.network.taps
    if options.cut_layer and (not options.mode or mode.sees == "best cut"):
        return (taps[-1],)
    if mode.sees == "best cut":
        return (evidence.probes.best_cut.tap,)
    deep = mode.sees == "all" or (
        mode.sees == "better" and rule.better_frozen(evidence.probes) == "shallow_features"
    )
    return taps if deep and (options.init != "random" or mode.trains == "head") else (taps[-1],)


def _pooling(mode: Mode, options: Options, evidence: Evidence) -> str:
    """What the probes take of the picture with the same depths, where a head is solved on what they saw."""
    probed = _probed(mode, options, evidence)
    return evidence.probes.position[probed].pooling if probed else AVERAGE


def _kernel(mode: Mode, options: Options, evidence: Evidence) -> str:
    """The kernel of the probes with the same depths, where a head is solved on what they saw."""
    probed = _probed(mode, options, evidence)
    return evidence.probes.kernel[probed].kernel if probed else LINEAR


def _probed(mode: Mode, options: Options, evidence: Evidence) -> str | None:
    """The frozen recipe whose probes saw the same depths, where a head is solved on them."""
    taps = _taps(mode, options, evidence)
    frozen_alone = mode.trains == "head" and not mode.on_images
    by_steps = options.head != "linear" or options.settings.get("head_start") == "random"
    if options.init == "random" or (frozen_alone and by_steps):
        return None
    if taps == evidence.network.taps[-1:]:
        return "feature_extraction"
    return "shallow_features" if taps == evidence.network.taps else None


def _views(mode: Mode, options: Options, evidence: Evidence) -> str:
    """The views that are worth their time to a head that is solved on what they were judged by."""
    taps, whole = _taps(mode, options, evidence), evidence.network.taps
    is_frozen = mode.trains == "head" and not mode.on_images
    if not is_frozen or options.head != "linear" or taps not in (whole, whole[-1:]):
        return ONE
    recipe = "shallow_features" if taps == whole and len(whole) > 1 else "feature_extraction"
    return looks.best_views(evidence, recipe, options.backbone)


def _learning_rate(mode: Mode, random: bool) -> float:
    if random:
        return RANDOM_INIT_LEARNING_RATE
    return HEAD_LEARNING_RATE if mode.trains == "head" else LEARNING_RATE


def batch_size_for(training_images: int, size: int, memory: int) -> int:
    """Images for each gradient step: the usual number, halved until a step takes half of the memory at most.

    Args:
        training_images: in the training split.
        size: pixels of the square images.
        memory: bytes that are free.
    """
    batch = 32 if training_images >= 320 else 16
    while batch > 1 and batch * STEP_BYTES * (size / 224) ** 2 > memory / 2:
        batch //= 2
    return batch


def epochs_for(training_images: int, random: bool) -> int:
    """Passes over the training images: fewer for more images, many from random weights."""
    if random:
        return RANDOM_INIT_EPOCHS
    return int(np.clip(round(IMAGES_SEEN / training_images), FEWEST_EPOCHS, MOST_EPOCHS))


def _mode(recipe: str, options: Options) -> str:
    if options.augment:
        return "augmented"
    if options.train_from:
        return "partial"
    if options.cut_layer and recipe == "shallow_features":
        return "cut"
    return next(iter(RECIPES[recipe].modes))
