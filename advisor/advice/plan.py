"""What will be built, in parameters and in seconds. Answers without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from advisor.advice import times
from advisor.advice.settings import Settings, hidden_units
from advisor.backbones import BUNDLED
from advisor.evidence import gaussian
from advisor.evidence.measure import Evidence
from advisor.evidence.pooling import FLATTEN
from advisor.evidence.views import SIZES

# Weights of EfficientNet-Lite0 below its classifier that a gradient may change, by what batch norm does;
# its statistics are none. A test counts them.
BUNDLED_PARAMETERS = {"frozen": 3_328_992, "adapt": 3_371_008}


@dataclass(frozen=True)
class Plan:
    """What training will take.

    Attributes:
        parameters_trained: weights that are fitted; None where only building the network would tell.
        seconds_estimated: from the advice to the finished folder; None where nothing tells how fast the
            network is here, see `advisor.system.speed`.
    """

    parameters_trained: int | None
    seconds_estimated: float | None


def make(settings: Settings, evidence: Evidence) -> Plan:
    """Count what will be trained and estimate how long it will take.

    Args:
        settings: of the recipe.
        evidence: what was measured.
    """
    seconds = None
    if times.is_known(settings):
        seconds = times.run(settings, evidence.data.splits, times.known(settings, evidence))
    return Plan(_parameters(settings, evidence), seconds)


def megabytes_of_kernel(settings: Settings, evidence: Evidence) -> float:
    """Millions of bytes that a Gaussian kernel adds to a model; 0 where there is none."""
    if not settings.sees_likeness:
        return 0.0
    features = sum(evidence.probes.widths[tap] for tap in settings.taps)
    return 4 * gaussian.size(features, evidence.data.fitted) / 1e6


def _parameters(settings: Settings, evidence: Evidence) -> int | None:
    probes, classes = evidence.probes, len(evidence.data.class_names)
    if not set(settings.taps) <= set(probes.widths):
        return None
    if settings.pooling == FLATTEN or (settings.sees_cells and "taps" in settings.by_hand):
        return None
    features, units = sum(probes.widths[tap] for tap in settings.taps), hidden_units(settings.head)
    if settings.sees_cells and not settings.trains_on_images:
        recipe = "feature_extraction" if len(settings.taps) == 1 else "shallow_features"
        features = probes.position[recipe].width
    if settings.views == SIZES:
        features *= 2
    if settings.base_labels:
        *_, last = probes.widths
        features += probes.widths[last]
    if settings.sees_likeness and not settings.trains_on_images:
        features += evidence.data.fitted
    sizes = (features, *units, classes)
    head = sum((below + 1) * above for below, above in pairwise(sizes))
    if settings.train_from is None:
        return head
    whole_bundled = settings.backbone == BUNDLED and settings.train_from == ""
    return BUNDLED_PARAMETERS[settings.batch_norm] + head if whole_bundled else None
