"""What a user can choose from, told without importing anything: the command line needs it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Mode:
    """One way in which a recipe works.

    Attributes:
        trains: "head" (the backbone stays frozen), "upper" (its layers from one upwards, too) or "all".
        sees: the depths under the head: "last" (the last layer alone), "all", "better" (of these two the one
            whose frozen head is better) or "best cut" (the one depth at which a linear probe is best).
        on_images: whether gradient steps see images, changed at random, and not features computed once.
    """

    trains: str
    sees: str
    on_images: bool


@dataclass(frozen=True)
class Recipe:
    """A row of the table of recipes; the recipe itself is the module of this name in `recipes`.

    Attributes:
        what: it does, for people.
        when: to take it although something else is advised.
        modes: by name; the first is the default.
        random_start: whether it may start from random weights.
    """

    what: str
    when: str
    modes: Mapping[str, Mode]
    random_start: bool = False


_PARTIAL = Mode("upper", "last", on_images=True)

RECIPES = {
    "feature_extraction": Recipe(
        "freeze the whole backbone, train a new classifier on its features",
        "if it must be ready in a minute, or images are few",
        {"cached": Mode("head", "last", on_images=False), "augmented": Mode("head", "last", on_images=True)},
    ),
    "fine_tuning": Recipe(
        "fine-tune the whole network gently, classifier first",
        "if you have time and want the last points of accuracy",
        {"everything": Mode("all", "better", on_images=True), "partial": _PARTIAL},
    ),
    "shallow_features": Recipe(
        "use what the lower layers know, and a new classifier",
        "if fine detail or texture matters more than whole objects",
        {
            "all_taps": Mode("head", "all", on_images=False),
            "cut": Mode("head", "best cut", on_images=False),
            "partial": _PARTIAL,
        },
    ),
    "full_training": Recipe(
        "train the whole network from the pre-trained weights",
        "if you have many images that look like no photograph",
        {"everything": Mode("all", "all", on_images=True)},
        random_start=True,
    ),
}

CROP = "crop"
FITS = {  # how an image becomes a square; the first is the usual one
    CROP: "cut to their central square",
    "squash": "squeezed into a square",
    "pad:border": "padded to a square with the mean colour of the sides that are padded",
    "pad:grey": "padded to a square with grey",
}
FIT_OPTIONS = ("auto", "crop", "pad", "squash")

KEEP = {  # after training; the first is the default
    "better": "the pool of the frozen network and the trained one, or one of them alone if it is as good",
    "single": "one network: the best average of its weights before and after training, or the frozen one",
    "trained": "what training ends with, whatever the validation images say",
}
OPTIMIZERS = ("adamw", "adam", "sgd", "rmsprop")
SCHEDULES = ("cosine", "constant", "inverse time", "step")
WATCHED = {  # by what one epoch is better than another, on the validation images
    "brier": "squared error of the probabilities",
    "accuracy": "accuracy",
    "loss": "log-loss",
}


@dataclass(frozen=True)
class Augmentation:
    """One way in which training images are changed at random.

    Attributes:
        strength: the usual one; None where there is nothing to choose.
        least: of the strength.
        most: of the strength.
        meaning: of the strength, for people.
    """

    strength: float | None
    least: float = 0.0
    most: float = 1.0
    meaning: str = ""


AUGMENTATIONS = {
    "crop": Augmentation(0.4, 0.05, 1.0, "smallest share of the area that a crop keeps"),
    "flip": Augmentation(None),
    "light": Augmentation(0.2, 0.0, 1.0, "change of brightness and contrast, at most"),
    "rotate": Augmentation(20.0, 0.0, 180.0, "degrees, at most, either way"),
    "zoom": Augmentation(0.2, 0.0, 0.9, "change of size, at most, in and out"),
    "shift": Augmentation(0.2, 0.0, 0.9, "share of the side, at most, each way"),
    "shear": Augmentation(0.2, 0.0, 1.0, "share of the side, at most"),
}

AUTO = "auto"  # in the place of a network's name: the best of those that are ready
DEFAULT_SAMPLE = 1000  # images that the advice is measured on, at most
LARGEST_IMAGE = 2048  # pixels; no published backbone takes more, and memory grows with the square
