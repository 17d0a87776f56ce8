"""Size x similarity -> quadrant. Every threshold of the advice lives here, with where it comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass

from advisor.evidence import similarity

# Few or many: what training gains over frozen features grows with the number of images, from nothing with 50
# over 0.9 points with 200 to 1.4 with 1,000 (benchmarks/calibration.py, table in benchmarks/README.md), so no
# size stands out. The border agrees with the source documents: 341 images are few, 4,242 and 10,015 many.
LARGE_FROM_IMAGES = 500
# With so many validation images, as 200 images give, training may be tried on unlike images although they
# are few: they tell whether it helped, and where it did not, the frozen model is kept. With fewer no rule
# helps: on tasks of fifty images gains of one to three standard errors lost four points of test accuracy on
# average. See benchmarks/README.md.
FEWEST_VALIDATION_IMAGES = 20
# Similar or unlike: the score is defined so that this is 0.5, see advisor/evidence/similarity.py.
SIMILAR_FROM_SCORE = 0.5
# How gradual the borders are. Size: odds change e-fold for each factor of 1.5 in images. Similarity: the
# gap between the photographs and the non-photographs nearest to the border is about 0.08 wide in KID.
SIZE_WIDTH = math.log(1.5)
DISTANCE_WIDTH = 0.02
# Frozen features that are expected to be wrong about fewer images than this are ready in seconds, and
# training gains little: 0.1 points where under 2 % was expected, but over 1 from 5 to 10 %
# (benchmarks/calibration.py). Between 2 and 5 % the regret is the same wherever the border lies, so the
# cheaper advice is given.
SATURATED_ERROR = 0.05
# What is believed of a frozen head on all depths before its images are seen: mean and spread of its gain in
# accuracy over the last layer alone, as measured on other data: at the backbone's own image size 1.2 ± 2.0
# points on 42 tasks, at 128 px more (benchmarks/frozen.py, tables in benchmarks/README.md).
ALL_DEPTHS_GAIN, ALL_DEPTHS_SPREAD = 0.015, 0.02
# Below this probability of the quadrant the advice names its neighbour.
BORDERLINE = 0.75

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
    probabilities: dict[str, float]

    @property
    def confidence(self) -> float:
        return self.probabilities[self.name]

    def neighbour(self) -> str:
        """The quadrant that is the next most probable."""
        others = {name: p for name, p in self.probabilities.items() if name != self.name}
        return max(others, key=lambda name: others[name])


def least_gain_of_all_depths(
    error: float, gain: float = ALL_DEPTHS_GAIN, spread: float = ALL_DEPTHS_SPREAD
) -> float:
    """The measured gain of all depths over the last layer from which they are the better guess, -1..0.

    The mean of a normal belief with that prior, `gain` and `spread`, after a measurement with a standard
    error of `error`, is positive from there.
    """
    return -gain * (error / spread) ** 2


def place(images: int, measured: similarity.Similarity) -> Quadrant:
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


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, x))))
