"""What each next step would gain and what it costs: the table that the advice follows from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from advisor.advice import looks, rule, times
from advisor.advice.settings import Settings, epochs_for
from advisor.backbones import BUNDLED
from advisor.choices import RECIPES
from advisor.data.dataset import Summary
from advisor.evidence import probe
from advisor.evidence.measure import Evidence
from advisor.evidence.probe import NINETY, Expected, Probes
from advisor.evidence.views import ONE

CORRECTING, MORE_IMAGES, UNTIL_TARGET = "correct labels", "more images", "images until the target"
BY_HAND = (CORRECTING, MORE_IMAGES)  # steps that are a person's work
FROZEN, TRAINING = ("feature_extraction", "shallow_features"), ("fine_tuning", "full_training")


@dataclass(frozen=True)
class Step:
    """Something that can be done next.

    Attributes:
        action: a recipe, a second look as "views=mirror" or "with efficientnet_lite2", `CORRECTING`,
            `MORE_IMAGES` or `UNTIL_TARGET`.
        what: it is, for people.
        gain: accuracy over the better frozen model, -1..1; None where nobody knows.
        interval: 90 % interval of the gain; None where nobody knows.
        seconds: from the advice to the finished folder; None for a person's work, and where nothing tells
            how fast the network is here.
        worth: whether the gain is worth the time; None where nobody knows, and for a person's work.
        balanced_gain: the gain in balanced accuracy, the mean over the classes, -1..1; None where the classes
            are of about the same size, and where nobody knows.
    """

    action: str
    what: str
    gain: float | None
    interval: tuple[float, float] | None
    seconds: float | None
    worth: bool | None
    balanced_gain: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As in `advisor recommend --json`."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Step:
        """What `to_json` gave."""
        low_high = values["interval"]
        return Step(**{**values, "interval": low_high and (low_high[0], low_high[1])})


def fitting(settings: Settings, evidence: Evidence, seconds: float) -> Settings | None:
    """The settings with as many epochs as fit; None where too few do.

    Args:
        settings: of a recipe.
        evidence: what was measured.
        seconds: from the advice to the finished folder.
    """
    splits = evidence.data.splits
    if not times.is_known(settings):
        return settings  # it is stopped when time is over
    rest = times.run(replace(settings, epochs=0), splits, times.known(settings, evidence))
    if not settings.trains_on_images:
        if rest > seconds and settings.views != ONE and "views" not in settings.by_hand:
            return fitting(replace(settings, views=ONE), evidence, seconds)
        return settings if rest <= seconds else None
    epochs = min(settings.epochs, int(rule.PLANNED * (seconds - rest) / times.epoch(settings, splits)))
    return replace(settings, epochs=epochs) if epochs >= rule.LEAST_EPOCHS * settings.epochs else None


def steps(
    evidence: Evidence,
    settings: Mapping[str, Settings],
    training: str,
    seconds: float | None = None,
    target: float | None = None,
    wrong_labels: float = 0.0,
) -> tuple[Step, ...]:
    """The better frozen recipe, the other one, second looks, training, correcting labels, and more images, in
    this order.

    Two recipes that are the same training are one step. Nothing with random weights, of which no frozen
    model can be made.

    Args:
        evidence: what was measured.
        settings: by recipe; those that the user's options rule out are missing.
        training: the recipe that trains the network if one does; where another one is the same training, the
            step has this name.
        seconds: that there are; then a step is worth it where it fits. None for no limit.
        target: the accuracy that is wanted, 0..1; None where nothing was said.
        wrong_labels: share of the labels that are probably wrong, 0..1.
    """
    frozen = rule.better_frozen(evidence.probes)
    if any(each.init == "random" for each in settings.values()):
        return ()
    order = dict.fromkeys((frozen, *FROZEN, training, *TRAINING))
    found: list[Step] = []
    for name in order:
        same = any(settings[step.action].trains_as(settings[name]) for step in found if name in settings)
        if name in settings and not same:
            found.append(_step(name, evidence, settings[name], frozen, seconds))
    at = sum(step.action in FROZEN for step in found)
    found[at:at] = _looks(evidence, settings, seconds)
    expected = evidence.probes.expected[frozen]
    more = [] if target is None else [_until(target, expected, evidence.data)]
    correcting = [_correcting(wrong_labels, expected.accuracy, evidence.data)] if wrong_labels else []
    return (*found, *correcting, _more_images(expected), *more)


def _looks(evidence: Evidence, settings: Mapping[str, Settings], limit: float | None) -> list[Step]:
    """What second looks gain over the better frozen recipe; arguments as for `steps`."""
    found = []
    for look in evidence.looks:
        if look.recipe not in settings:
            continue
        of = replace(settings[look.recipe], views=ONE)
        gain, interval = looks.gain(look, evidence)
        seconds = times.run(of, evidence.data.splits, evidence.sampled)
        seconds += looks.seconds(look, evidence, of.backbone)
        worth = looks.is_worth(look, evidence, of.backbone) and (limit is None or seconds <= limit)
        what = looks.what(look, of.backbone)
        found.append(Step(looks.action(look), what, gain, interval, seconds, worth))
    return found


def step_of(found: Sequence[Step], settings: Settings) -> Step | None:
    """The step that is a training with these settings; None where none is: those of the frozen recipes are
    about heads that are solved."""
    is_step = settings.recipe in TRAINING
    return next((step for step in found if is_step and step.action == settings.recipe), None)


def _step(recipe: str, evidence: Evidence, settings: Settings, frozen: str, limit: float | None) -> Step:
    fits = settings if limit is None else fitting(settings, evidence, limit)
    done, what = replace(fits or settings, views=ONE), RECIPES[recipe].what
    seconds = times.run(done, evidence.data.splits, evidence.sampled) if times.is_known(done) else None
    if not settings.trains_on_images:
        gain, interval = _of_depths(evidence.probes, recipe, frozen)
        more = evidence.probes.expected[recipe].balanced - evidence.probes.expected[frozen].balanced
        return Step(recipe, what, gain, interval, seconds, recipe == frozen, _told(more, evidence.data))
    foretold, between = _of_training(evidence, done, frozen)
    worth = rule.is_worth(foretold, seconds) if limit is None else fits is not None
    if foretold is None:
        if evidence.data.splits["validation"] < rule.FEWEST_VALIDATION_IMAGES:
            worth = None  # whether it fits or not: nobody could tell whether it helped
        return Step(recipe, what, None, None, seconds, worth)
    more = rule.gain_of_training(1 - evidence.probes.expected[frozen].balanced)
    return Step(recipe, what, foretold, between, seconds, worth, _told(more, evidence.data))


def _told(balanced_gain: float, data: Summary) -> float | None:
    """Only where it says what the gain in accuracy does not."""
    return balanced_gain if data.is_unbalanced else None


def _of_depths(probes: Probes, recipe: str, frozen: str) -> tuple[float, tuple[float, float]]:
    """What one frozen recipe has over the better one, by the probes of both on the same images."""
    if recipe == frozen:
        return 0.0, (0.0, 0.0)
    gain, error = probes.gain_of_all_depths
    gain = gain if recipe == "shallow_features" else -gain
    return gain, (gain - NINETY * error, gain + NINETY * error)


def _of_training(
    evidence: Evidence, settings: Settings, frozen: str
) -> tuple[float | None, tuple[float, float] | None]:
    """What training adds, from what it added elsewhere; nothing where nothing like it was measured."""
    few, many = rule.PRICED_IMAGES
    smallest, largest = rule.PRICED_PIXELS
    usual = epochs_for(evidence.data.splits["train"], random=False)
    is_priced = (
        (settings.backbone, settings.weights, settings.cut_layer) == (BUNDLED, None, None)
        and (settings.head, settings.keep) == ("linear", "better")
        and settings.epochs >= usual / 2
        and set(settings.by_hand) <= {"epochs", "batch_size", "kernel"}
        and settings.train_from == ""
        and smallest <= settings.image_size <= largest
        and few <= evidence.data.images <= many
    )
    if not is_priced:
        return None, None
    error = 1 - evidence.probes.expected[frozen].accuracy
    return rule.gain_of_training(error), rule.interval_of_gain(error)


def _until(target: float, expected: Expected, data: Summary) -> Step:
    """As many images as reach an accuracy, by the learning curve."""
    wanted, gain = f"{100 * target:g} % of new images right", max(0.0, target - expected.accuracy)
    needed = probe.images_for(expected.curve, target)
    if not gain:
        what = f"To get {wanted}, the images that there are should do"
    elif needed is None:
        what = f"To get {wanted}, no number of images is in sight, under the frozen model"
    else:
        images = round(needed * data.images / data.fitted)
        what = f"To get {wanted}, it takes about {float(f'{images:.2g}'):,.0f} images in all, "
        what += "under the frozen model"
    return Step(UNTIL_TARGET, what, gain, None, None, None)


def _correcting(share: float, accuracy: float, data: Summary) -> Step:
    """Labels that a person looks at; those of test images stay, see `advisor.data.corrections`.

    Args:
        share: of the labels that are probably wrong, 0..1.
        accuracy: that is expected of the frozen model by the labels as they are, 0..1.
        data: the data set in numbers.
    """
    count = max(1, round(share * data.fitted))
    labels = "label that is" if count == 1 else f"{count:,} labels that are"
    what = f"correct about {labels} probably wrong, under the same frozen model; advisor audit shows them"
    if accuracy < rule.FORETOLD_FROM:
        return Step(CORRECTING, what, None, None, None, None)
    gain, interval = rule.gain_of_correcting(share), rule.interval_of_correcting(share)
    return Step(CORRECTING, what, gain, interval, None, None)


def _more_images(expected: Expected) -> Step:
    """By the learning curve, of which more or less may hold beyond the images that there are."""
    gain, what = expected.gain_at_double, "twice the images, under the same frozen model"
    return Step(MORE_IMAGES, what, gain, (0.0, 2 * gain), None, None)
