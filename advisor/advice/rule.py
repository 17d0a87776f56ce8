"""The rule: size x similarity -> quadrant, and what measurements change about it.

Every threshold of the advice stands here, with where it comes from; then the functions that decide. The words
of the rationale are made from the same inputs, in `advisor.advice.rationale`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from advisor.evidence import similarity
from advisor.evidence.grouping import Grouping
from advisor.evidence.probe import Probes
from advisor.evidence.similarity import Similarity

# Few or many: what training gains over frozen features grows with the number of images and no size stands out
# (benchmarks/calibration.py). The source documents call 341 images few, 4,242 and 10,015 many.
LARGE_FROM_IMAGES = 500
# Similar or unlike: `advisor.evidence.similarity` defines the score so that the border is here.
SIMILAR_FROM_SCORE = 0.5
# How gradual the borders are: the odds change e-fold for each factor of 1.5 in images; photographs and what
# is none are about 0.08 apart in KID where they come nearest to the border (benchmarks/similarity.py).
SIZE_WIDTH, DISTANCE_WIDTH = math.log(1.5), 0.02
# Below this probability of the quadrant the advice names its neighbour.
BORDERLINE = 0.75
# What training adds to the accuracy that is expected of the better frozen model: this much of the root of its
# errors; nine of ten tasks gained between these accuracies more than that. With the bundled network, at such
# sizes (benchmarks/kernel.py).
GAIN_OF_ROOT, GAIN_INTERVAL = 0.0320, (-0.0237, 0.0397)
PRICED_IMAGES, PRICED_PIXELS = (100, 6_000), (96, 256)
# What a person who corrects as many labels as should be wrong, the most probable first, adds to the accuracy
# of a frozen model: this much of their share of all labels; bounds of nine of ten cases. What is hard for the
# head is taken for wrong, too, so that correcting may add nothing; below this accuracy of the frozen model
# nothing tells one from the other (benchmarks/correcting.py).
GAIN_OF_CORRECTING, CORRECTING_INTERVAL, FORETOLD_FROM = 0.12, (0.0, 0.2), 0.8
# What a second look at each image takes away of the errors of the frozen model: this share anyway where it is
# mirrored or at another size, this one where a second network looks, which errs differently, and this much of
# the share that it takes away of the log-loss of leave-one-out, which tells more than its errors; nine of ten
# gains were so near (benchmarks/views.py).
VIEW_ANYWAY, NETWORK_ANYWAY, LOOK_TOO, LOOK_INTERVAL = 0.005, 0.036, 0.38, 0.017
# Expected error from which on views of one network are tried: below it one has to take away 6 % of the
# log-loss or more to be worth it, which it did in one of 42 tasks, and was worse.
VIEWS_FROM_ERROR = 0.17
# While a network is trained, what the pool takes away of the log-loss on the validation images tells what the
# end will bring: after `TOLD_FROM` of the epochs the frozen network's errors will be fewer by the share
# `TAKEN_ANYWAY`, and by `TAKEN_TOO` of that of the log-loss. 100 images tell; 20 told nothing
# (benchmarks/stopping.py).
TOLD_FROM, FEWEST_TO_TELL, TAKEN_ANYWAY, TAKEN_TOO = 0.3, 50, 0.047, 0.71
# A step is worth its time where it gains half a point, and a point more for each half hour that it takes:
# who waits for training wants to see it in the errors; three in a hundred are worth more than an hour.
WORTH_GAIN, WORTH_GAIN_PER_SECOND = 0.005, 0.01 / 1800
# Where nobody knows what training gains, the quadrant decides, and it is not tried below this expected error:
# with many images it gained nothing where under 2 % was expected, a point from 5 to 10 %
# (benchmarks/calibration.py).
SATURATED_ERROR = 0.05
# Of the epochs that a training has by itself, the least share that it is begun with where minutes are given.
LEAST_EPOCHS = 0.25
PLANNED = 0.9  # of the time that is left for epochs, for they may take longer than expected
# Validation images, as 200 images give, from which on they can judge whether training helped: on tasks of 50
# images, with 5 of them, what they took for a gain lost a point of test accuracy (benchmarks/averaging.py).
FEWEST_VALIDATION_IMAGES = 20
# The pool has no such bound: with few of them it weighs the networks about as `POOL_CENTRE` says, and gained
# 1.3 +- 0.6 points with 100 images (benchmarks/kept.py).
# One network is the trained one where that lowered their Brier score by so many standard errors
# (benchmarks/averaging.py).
CLEAR_GAIN = 0.5
# What is believed of the weight of the trained network before validation images are seen, and how firmly: at
# a distance of one half from it by so many nats. The trained network is too sure of itself, so that its
# logits are larger: with 0.3 the log-loss was lower by 0.016 +- 0.003 than with 0.5 (benchmarks/kept.py).
POOL_CENTRE, POOL_BELIEF = 0.3, 10.0
# A network that weighs less than this in the pool is left out, for it costs as much as the other one.
LEAST_POOL_WEIGHT = 0.1
# What is believed of all depths against the last layer before the images are seen, mean and spread of their
# gain in accuracy: 1.2 +- 2.0 points at 224 px on 42 tasks, more at 128 px (benchmarks/frozen.py).
ALL_DEPTHS_GAIN, ALL_DEPTHS_SPREAD = 0.015, 0.02
# Of two networks the better one has the lower leave-one-out log-loss, summed over the images that both were
# probed on; an accuracy on ImageNet that is higher by one per cent stands for so many nats. The difference of
# two sums is uncertain by about so much of the root of one of them (benchmarks/networks.py).
NETWORK_BELIEF, NETWORK_NOISE = 32.0, 0.7
# Accuracy that mirror images may lose and still pass for the same. Letters and digits lose far more.
MIRROR_TOLERANCE = 0.05
# Where names suggest groups, those are spoken of that show several classes, as patients do whose cells are
# healthy and ill, from this share of the groups on; and all that cost so much accuracy, and so many standard
# errors of it, where a probe has not seen them. Chosen on two sets (docs/data.md, tests/test_groups.py).
SHARE_OF_SEVERAL_CLASSES, GROUP_DROP, GROUP_ERRORS = 0.2, 0.01, 2.0

RECIPE = {
    "small-similar": "feature_extraction",
    "large-similar": "fine_tuning",
    "small-dissimilar": "shallow_features",
    "large-dissimilar": "full_training",
}


@dataclass(frozen=True)
class Quadrant:
    """A place in the 2 x 2.

    Attributes:
        name: a key of `RECIPE`.
        size: "small" or "large".
        similarity: "high" or "low".
        probabilities: of all four; they sum to 1.
    """

    name: str
    size: str
    similarity: str
    probabilities: Mapping[str, float]

    @property
    def confidence(self) -> float:
        """The probability of this quadrant, 0..1."""
        return self.probabilities[self.name]

    def neighbour(self) -> str:
        """The quadrant that is the next most probable."""
        others = {name: p for name, p in self.probabilities.items() if name != self.name}
        return max(others, key=lambda name: others[name])


@dataclass(frozen=True)
class Decision:
    """What is advised, and which measurement decided it.

    Attributes:
        recipe: the advised one.
        proposal: the recipe of the quadrant.
        frozen_recipe: the better of the two frozen recipes.
        is_judgeable: whether there are enough validation images to tell whether training helped.
        trains: whether the advised recipe trains the network.
        is_priced: whether what training gains was foretold.
    """

    recipe: str
    proposal: str
    frozen_recipe: str
    is_judgeable: bool
    trains: bool
    is_priced: bool


def decide(
    place: Quadrant, probes: Probes, validation_images: int, worth: Mapping[str, bool | None]
) -> Decision:
    """The quadrant proposes a recipe, measurements may overrule it.

    The network is trained where that is worth its time. Where nobody knows what it gains, it is worth trying
    with many images, and with few that are unlike the source domain, unless frozen features leave nearly
    nothing to gain or there are too few validation images to tell whether it helped. Training starts from the
    frozen recipe that the probes prefer: `full_training` from all depths, `fine_tuning` from what is better.
    Where nothing is trained, the better frozen recipe is advised.

    Args:
        place: where the data set lies.
        probes: what was measured.
        validation_images: that there are.
        worth: by recipe, whether training is worth its time; None or missing where nobody knows.
    """
    frozen, training = better_frozen(probes), training_recipe(place, probes)
    priced = worth.get(training, next(iter(worth.values()), None))  # the same training may have another name
    unsolved = 1 - probes.expected[frozen].accuracy >= SATURATED_ERROR
    by_quadrant = unsolved and (place.size == "large" or place.similarity == "low")
    judgeable = validation_images >= FEWEST_VALIDATION_IMAGES
    trains = (judgeable and by_quadrant) if priced is None else priced
    recipe = training if trains else frozen
    return Decision(recipe, RECIPE[place.name], frozen, judgeable, trains, priced is not None)


def gain_of_training(expected_error: float) -> float:
    """What training should add to the accuracy of the frozen model, of which this error is expected, 0..1."""
    return min(expected_error, GAIN_OF_ROOT * math.sqrt(expected_error))


def interval_of_gain(expected_error: float) -> tuple[float, float]:
    """The 90 % interval of `gain_of_training`, -1..1."""
    gain, (below, above) = gain_of_training(expected_error), GAIN_INTERVAL
    return gain + below, min(gain + above, expected_error)


def gain_of_correcting(wrong: float) -> float:
    """What correcting labels should add to the accuracy of a frozen model, if this share is wrong, 0..1."""
    return GAIN_OF_CORRECTING * wrong


def interval_of_correcting(wrong: float) -> tuple[float, float]:
    """The 90 % interval of `gain_of_correcting`, -1..1."""
    low, high = CORRECTING_INTERVAL
    return low * wrong, high * wrong


def gain_of_look(expected_error: float, taken: float, by_network: bool) -> float:
    """What a second look at each image adds to the accuracy of the frozen model, -1..1.

    Args:
        expected_error: of the frozen model with one look, 0..1.
        taken: see `advisor.evidence.second_look.Look`.
        by_network: whether a second network looks.
    """
    anyway = NETWORK_ANYWAY if by_network else VIEW_ANYWAY
    return expected_error * (anyway + LOOK_TOO * max(-1.0, taken))


def gain_at_end(expected_error: float, taken_away: float) -> float:
    """What a training that is under way will have added to the accuracy of the frozen model, 0..1.

    Args:
        expected_error: of the frozen model, 0..1.
        taken_away: of its log-loss on the validation images by the pool, the most so far, at most 1.
    """
    return expected_error * max(0.0, TAKEN_ANYWAY + TAKEN_TOO * taken_away)


def least_gain(seconds: float) -> float:
    """The accuracy that a step of so many seconds has to gain, 0..1."""
    return WORTH_GAIN + WORTH_GAIN_PER_SECOND * seconds


def is_worth(gain: float | None, seconds: float | None) -> bool | None:
    """Whether a step is worth its time; None where its gain is not known. Unknown seconds count as none."""
    return None if gain is None else gain >= least_gain(seconds or 0.0)


def training_recipe(place: Quadrant, probes: Probes) -> str:
    """The recipe to train the network with, if it is trained."""
    starts_shallow = place.similarity == "low" and better_frozen(probes) == "shallow_features"
    return "full_training" if starts_shallow else "fine_tuning"


def better_frozen(probes: Probes) -> str:
    """The better of the two frozen recipes, by what its probe says and what is known from other data.

    Both are as cheap, so that nothing else speaks for either. On most data all depths together were better
    than the last layer alone; a few hundred images that say otherwise are believed only as far as their
    number goes (benchmarks/frozen.py).
    """
    gain, error = probes.gain_of_all_depths
    return "feature_extraction" if gain < least_gain_of_all_depths(error) else "shallow_features"


def least_gain_of_all_depths(
    error: float, gain: float = ALL_DEPTHS_GAIN, spread: float = ALL_DEPTHS_SPREAD
) -> float:
    """The measured gain of all depths over the last layer from which they are the better guess, -1..0.

    The mean of a normal belief with that prior, `gain` and `spread`, after a measurement with a standard
    error of `error`, is positive from there.
    """
    return -gain * (error / spread) ** 2


def nats_of_network(
    more_top1: float, log_loss: float, over: float, images: int, belief: float = NETWORK_BELIEF
) -> tuple[float, float]:
    """How much speaks for one network and against another, in nats, and the standard deviation of that.

    Log-loss tells more than accuracy, in which two networks differ by a few images. The more images there
    are, the less the accuracy on ImageNet counts.

    Args:
        more_top1: per cent that it has over the other one on ImageNet.
        log_loss: of leave-one-out with it, the mean over the images.
        over: of the other one.
        images: that both were probed on.
        belief: in ImageNet, nats for each per cent.
    """
    noise = NETWORK_NOISE * math.sqrt(images * max(log_loss, over))
    return images * (over - log_loss) + belief * more_top1, noise


def mirrors_are_harmless(mirror_loss: float) -> bool:
    """Whether a mirror image shows the same as an image, so that training may see it.

    Args:
        mirror_loss: see `advisor.evidence.probe.mirror_loss`.
    """
    return mirror_loss <= MIRROR_TOLERANCE


def should_be_grouped(grouping: Grouping) -> bool:
    """Whether images that seem to belong together should be kept together, so that the user is asked."""
    if grouping.pattern and grouping.of_several_classes >= SHARE_OF_SEVERAL_CLASSES * grouping.groups:
        return True
    return grouping.drop >= max(GROUP_DROP, GROUP_ERRORS * grouping.error)


def place(images: int, measured: Similarity) -> Quadrant:
    """Find the quadrant of a data set with this many images, all splits together."""
    size = "large" if images >= LARGE_FROM_IMAGES else "small"
    level = "high" if measured.score >= SIMILAR_FROM_SCORE else "low"
    large = _logistic(math.log(images / LARGE_FROM_IMAGES) / SIZE_WIDTH)
    border = -similarity.SCALE * math.log(SIMILAR_FROM_SCORE)
    width = math.hypot(DISTANCE_WIDTH, measured.deviation)
    similar = _logistic((border - measured.distance) / width)
    probabilities = {
        "small-similar": (1 - large) * similar,
        "large-similar": large * similar,
        "small-dissimilar": (1 - large) * (1 - similar),
        "large-dissimilar": large * (1 - similar),
    }
    return Quadrant(f"{size}-{'similar' if level == 'high' else 'dissimilar'}", size, level, probabilities)


def pool_weight(best: float) -> float:
    """The weight of the trained network in what is kept, 0..1: 0 is the frozen network alone, 1 the trained.

    Args:
        best: the weight at which the pool of both is best, 0..1.
    """
    if best < LEAST_POOL_WEIGHT:
        return 0.0
    return 1.0 if best > 1 - LEAST_POOL_WEIGHT else best


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, x))))
