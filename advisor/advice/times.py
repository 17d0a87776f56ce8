"""How long it takes to build a model, part by part. Answers without TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from advisor.advice import looks
from advisor.advice.settings import Settings
from advisor.backbones import BUNDLED
from advisor.backbones.catalogue import catalogue
from advisor.backbones.pair import JOINT
from advisor.evidence.measure import Evidence
from advisor.evidence.outliers import MOST
from advisor.evidence.views import TIMES
from advisor.system import speed

# Seconds of a run beside those that its images take, as `advisor run` on 398 images of 128 pixels spends them
# on 2 cores: loading TensorFlow and the network; saving a frozen model, and its page; the same before
# training, and decoding; turning the gradient step into a graph; saving what is kept, turning it into its
# fastest form, and its page.
START, AFTER_SOLVING, BEFORE_STEPS, TRACE, AFTER = 5.0, 3.0, 5.0, 7.0, 9.0
# Seconds that an image takes while a head on all depths is solved, on the machine of `speed.REFERENCE`;
# two heads side by side on 6,000 cells of blood took about 4 s.
SOLVE = 0.0005
# The same for each three images where the head sees cells or likenesses: 5,000 of 38,352 numbers took 35 s
# beside other work, with what each image takes.
DECOMPOSE = 1.5e-10
# Heads that are solved: what is judged and what is kept; training begins from the whole picture, too.
HEADS = 2
VALIDATIONS = 2  # passes through the validation images after the last step, beside the one of each epoch


def is_known(settings: Settings) -> bool:
    """Whether the seconds here are more than a guess."""
    is_reference = settings.backbone == BUNDLED and settings.weights is None
    if _members(settings) and not settings.trains_on_images:
        return True
    return speed.is_known(_work(settings), _network(settings), is_reference)


def known(settings: Settings, evidence: Evidence) -> float:
    """Images whose features are there already: those that were measured, of the network that was.

    With a second network beside it, as many as take both so long as those take the first one, which was of
    use if it sees the images as they are.
    """
    network = evidence.network
    if set(settings.taps) <= set(network.taps):
        return evidence.sampled
    members = _members(settings)
    if not members or settings.image_size != network.image_size:
        return 0
    own = looks.asked_size(evidence, members[0])
    return evidence.sampled * min(1.0, looks.seconds_each(members[0], own) / _embedding(settings))


def run(settings: Settings, images: Mapping[str, int], known: float) -> float:
    """Seconds from the advice to the finished folder.

    Args:
        settings: of the recipe.
        images: of each split.
        known: images whose features are there already.
    """
    embedded = max(0.0, TIMES[settings.views] * sum(images.values()) - known)
    looking = embedded * _embedding(settings)
    if not settings.trains_on_images:
        solving = HEADS * _solving(settings, images)
        return START + looking + solving + AFTER_SOLVING
    steps = settings.epochs * epoch(settings, images)
    return START + looking + _before_steps(settings, images) + steps + after_steps(settings, images)


def needed(settings: Settings, images: Mapping[str, int]) -> float:
    """Seconds that a training takes at least: one epoch and all that belongs to it.

    Nothing for a recipe without gradient steps on images: it is always begun.

    Args:
        settings: of the recipe.
        images: of each split.
    """
    if not settings.trains_on_images:
        return 0.0
    return _before_steps(settings, images) + epoch(settings, images) + after_steps(settings, images)


def epoch(settings: Settings, images: Mapping[str, int]) -> float:
    """Seconds of one epoch of gradient steps on images; arguments as for `needed`."""
    step = speed.seconds(_work(settings), _network(settings), settings.training_size)
    return images["train"] * step + _validating(settings, images)


def after_steps(settings: Settings, images: Mapping[str, int]) -> float:
    """Seconds from the last gradient step of a training to the page of its run; arguments as for `needed`."""
    if not settings.trains_on_images:
        return 0.0
    looking = VALIDATIONS * _validating(settings, images) + _testing(settings, images)
    return AFTER + looking


def _before_steps(settings: Settings, images: Mapping[str, int]) -> float:
    return BEFORE_STEPS + (HEADS + 1) * _solving(settings, images) + TRACE


def _work(settings: Settings) -> str:
    """A key of `speed.REFERENCE`."""
    if not settings.trains_on_images:
        return "embed"
    return "step" if settings.trains_backbone else "head"


def _members(settings: Settings) -> list[str]:
    """The two networks that stand side by side, where both are in the catalogue; else none."""
    names, known = settings.backbone.split(JOINT), {row.name for row in catalogue()}
    return names if len(names) > 1 and known.issuperset(names) else []


def _embedding(settings: Settings) -> float:
    """Seconds that an image takes with the frozen network, of two of them as long as both take."""
    name, members = _network(settings), _members(settings)
    if members and not speed.is_known("embed", name, is_reference=False):
        own = max(row.image_size for row in catalogue() if row.name in members)
        size = None if settings.image_size == own else settings.image_size
        return sum(looks.seconds_each(each, size) for each in members)
    return speed.seconds("embed", name, settings.image_size)


def _network(settings: Settings) -> str:
    """As `Backbone.name`."""
    return Path(settings.backbone).name


def _validating(settings: Settings, images: Mapping[str, int]) -> float:
    return images["validation"] * speed.seconds("head", _network(settings), settings.image_size)


def _testing(settings: Settings, images: Mapping[str, int]) -> float:
    """Seconds for the test images; where the trained network alone is kept, for some of the others, too."""
    seen = images["test"]
    if settings.trains_on_images and settings.keep != "better":
        seen += min(MOST, images["train"]) + min(MOST, images["validation"])
    twice = 2 if settings.pools else 1
    return seen * twice * speed.seconds("embed", _network(settings), settings.image_size)


def _solving(settings: Settings, images: Mapping[str, int]) -> float:
    """Seconds that one head on frozen features takes."""
    if settings.init == "random":
        return 0.0
    fitted = images["train"]
    decomposed = fitted**3 * DECOMPOSE if settings.sees_cells or settings.sees_likeness else 0.0
    slowness = speed.REFERENCE_GFLOPS / speed.matrix_gflops()
    return (fitted * SOLVE + decomposed) * slowness
