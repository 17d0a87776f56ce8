"""Why: the rows of the rationale and the other recipes, in words, from what the rule decides by."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.advice import rule
from advisor.advice.rule import RECIPE, Decision, Quadrant
from advisor.choices import RECIPES
from advisor.evidence import pooling, similarity
from advisor.evidence.measure import Evidence
from advisor.evidence.probe import BELIEF_IN_THE_WHOLE, Position, Probes


@dataclass(frozen=True)
class Factor:
    """One row of the rationale."""

    factor: str
    measured: str
    threshold: str
    verdict: str
    because: str


@dataclass(frozen=True)
class Alternative:
    """Another recipe, and when to take it."""

    recipe: str
    when: str


def rows(evidence: Evidence, place: Quadrant, decision: Decision) -> tuple[Factor, ...]:
    """A row for each measurement that decides, and one more where they overrule the quadrant."""
    found = [
        _size(evidence, place),
        _similarity(evidence, place),
        _frozen_accuracy(evidence.probes, decision),
        _depth(evidence.probes, decision),
        *_position(evidence.probes.position[decision.frozen_recipe]),
        _validation(evidence.data.splits["validation"], decision),
    ]
    if decision.recipe != decision.proposal:
        found.append(_overruled(place, decision))
    return tuple(found)


def alternatives(place: Quadrant, advised: str) -> tuple[Alternative, ...]:
    """The other three recipes, that of the most probable quadrant first, and when to take each."""
    found: list[Alternative] = []
    for name in sorted(RECIPE, key=lambda name: -place.probabilities[name]):
        recipe, probability = RECIPE[name], place.probabilities[name]
        near = place.confidence < rule.BORDERLINE and name == place.neighbour()
        if recipe == advised:
            continue
        if name == place.name:
            reason = "by the rule of thumb, without these measurements"
        elif near:
            reason = f"{name} has probability {probability:.0%}: run advisor compare"
        else:
            reason = RECIPES[recipe].when
        found.append(Alternative(recipe, reason))
    return tuple(found)


def _size(evidence: Evidence, place: Quadrant) -> Factor:
    few = place.size == "small"
    return Factor(
        "Size",
        f"{evidence.data.images:,} images",
        f"{rule.LARGE_FROM_IMAGES:,}",
        place.size,
        f"{len(evidence.data.class_names)} classes, median {int(evidence.data.median_class):,} images; "
        + ("the rule of thumb freezes the backbone" if few else "enough to train the whole network"),
    )


def _similarity(evidence: Evidence, place: Quadrant) -> Factor:
    near = evidence.similarity
    return Factor(
        "Similarity",
        f"{near.score:.2f} ({near.interval[0]:.2f}-{near.interval[1]:.2f})",
        f"{rule.SIMILAR_FROM_SCORE:.2f}",
        place.similarity,
        f"{similarity.METRIC} {near.distance:.3f} to {near.reference}",
    )


def _frozen_accuracy(probes: Probes, decision: Decision) -> Factor:
    frozen = probes.expected[decision.frozen_recipe]
    low, high = frozen.interval
    last_layer, all_depths = (probes.expected[name] for name in ("feature_extraction", "shallow_features"))
    return Factor(
        "Frozen accuracy",
        f"{frozen.accuracy:.1%} expected",
        f"{1 - rule.SATURATED_ERROR:.0%}",
        "little to gain" if decision.is_solved else "room to gain",
        f"{'last layer' if frozen is last_layer else 'all depths'}, 90 % interval {low:.0%} to {high:.0%}; "
        f"last layer {last_layer.accuracy:.1%}, all depths {all_depths.accuracy:.1%}; "
        f"{frozen.gain_at_double:+.1%} with twice the images",
    )


def _depth(probes: Probes, decision: Decision) -> Factor:
    gain, error = probes.gain_of_all_depths
    best, last = max(probes.by_depth, key=lambda probe: probe.accuracy), probes.last_layer
    known = f"the last layer knows most, {last.accuracy:.1%}"
    if best.accuracy > last.accuracy:
        known = f"{best.tap} knows most, {best.accuracy:.1%}, the last layer {last.accuracy:.1%}"
    return Factor(
        "Depth",
        f"all depths {gain:+.1%} (± {error:.1%})",
        f"{rule.least_gain_of_all_depths(error):.2%}",
        "last layer" if decision.frozen_recipe == "feature_extraction" else "all depths",
        f"averaged over the picture, {known}; {rule.ALL_DEPTHS_GAIN:+.1%} on other data",
    )


def _position(position: Position) -> list[Factor]:
    """Whether it matters where things stand; no row where no cells were tried."""
    if position.tried is None:
        return []
    cells = pooling.CELLS[position.tried]
    kept = position.pooling != pooling.AVERAGE
    return [
        Factor(
            "Position",
            f"in up to {cells}x{cells} cells {position.gain:+.1%} (± {position.error:.1%})",
            f"log-loss -{BELIEF_IN_THE_WHOLE:g}",
            "cells" if kept else "whole picture",
            f"what stands where {'matters' if kept else 'says too little'} to a solved head: log-loss "
            f"{position.loss:+.1f}, summed over the images",
        )
    ]


def _validation(images: int, decision: Decision) -> Factor:
    return Factor(
        "Validation",
        f"{images:,} images",
        f"{rule.FEWEST_VALIDATION_IMAGES:,}",
        "can judge" if decision.is_judgeable else "too few",
        "they weigh what training brings",
    )


def _overruled(place: Quadrant, decision: Decision) -> Factor:
    if not decision.trains:
        why = "a measurement on these images outweighs the rule of thumb"
    elif place.size == "large":
        why = "the probes favour the last layer, and fine_tuning starts from it"
    else:
        why = "training may gain with so few unlike images, too, and counts only as far as it does"
    return Factor("Evidence", f"quadrant says {decision.proposal}", "measured", decision.recipe, why)
