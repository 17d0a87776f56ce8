"""Made-up values for tests, with everything that a test does not care about filled in."""

from __future__ import annotations

from collections.abc import Mapping

from advisor.data.dataset import Summary
from advisor.evidence.measure import Evidence, Network
from advisor.evidence.probe import CurvePoint, DepthProbe, Expected, Probes
from advisor.evidence.similarity import Similarity


def probes(widths: Mapping[str, int] | None = None, gain: float = 0.0) -> Probes:
    """Probes that are right about four images in five; `gain` is that of all depths over the last layer."""
    widths = {"shallow": 2, "deep": 7} if widths is None else widths
    expected = Expected((CurvePoint(100, 0.7), CurvePoint(200, 0.8)), 0.8, (0.7, 0.9), 0.02)
    return Probes(
        by_depth=tuple(DepthProbe(tap, 0.8) for tap in widths),
        together=DepthProbe("all taps", 0.8 + gain),
        gain_of_all_depths=(gain, 0.01),
        expected={"feature_extraction": expected, "shallow_features": expected},
        widths=widths,
    )


def evidence(
    found: Probes | None = None,
    *,
    train: int = 80,
    validation: int = 10,
    test: int = 10,
    classes: tuple[int, ...] = (50, 50),
    image_size: int = 224,
    fixed_size: bool = False,
    mirror_loss: float = 0.0,
) -> Evidence:
    """Evidence of a data set with these splits and images of each class."""
    found = probes() if found is None else found
    return Evidence(
        data=Summary(
            source="made up",
            images=train + validation + test,
            class_names=tuple(f"class {number}" for number in range(len(classes))),
            smallest_class=min(classes),
            median_class=float(sorted(classes)[len(classes) // 2]),
            largest_class=max(classes),
            splits={"train": train, "validation": validation, "test": test},
            skipped=(),
            fingerprint="0" * 16,
        ),
        sampled=train,
        similarity=Similarity(0.7, (0.65, 0.75), 0.08, 0.01, "ImageNet-1k"),
        network=Network(tuple(found.widths), image_size, fixed_size),
        probes=found,
        mirror_loss=mirror_loss,
    )
