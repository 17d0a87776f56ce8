"""Why: the rows of the rationale and the other recipes, in words, from what the rule decides by."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from advisor.advice import looks, rule
from advisor.advice.rule import RECIPE, Decision, Quadrant
from advisor.advice.steps import TRAINING, Step
from advisor.choices import FITS, RECIPES
from advisor.evidence import pooling, similarity
from advisor.evidence.fitting import Fit
from advisor.evidence.gaussian import GAUSSIAN
from advisor.evidence.grouping import Grouping
from advisor.evidence.measure import Evidence
from advisor.evidence.probe import Kernel, Position, Probes


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


def rows(
    evidence: Evidence,
    place: Quadrant,
    decision: Decision,
    steps: Sequence[Step],
    minutes: float | None = None,
) -> tuple[Factor, ...]:
    """A row for each measurement that decides, and one more where they overrule the quadrant.

    Args:
        evidence: what was measured.
        place: where the data set lies.
        decision: what is advised.
        steps: what could be done next.
        minutes: that there are; None for no limit.
    """
    training = next((step for step in steps if step.action in TRAINING), None)
    found = [
        _size(evidence, place),
        _similarity(evidence, place),
        _frozen_accuracy(evidence.probes, decision),
        *_depth(evidence.probes, decision),
        *_position(evidence.probes.position[decision.frozen_recipe]),
        *_kernel(evidence.probes.kernel[decision.frozen_recipe]),
        *_looks(evidence, steps),
        *_shape(evidence.fit),
        *_groups(evidence.grouping),
        *_validation(evidence.data.splits["validation"], decision),
        *([_training(training, minutes)] if training else []),
    ]
    if decision.recipe != decision.proposal:
        found.append(_overruled(place, decision, training, minutes))
    return tuple(found)


def alternatives(place: Quadrant, advised: str, asked: str | None = None) -> tuple[Alternative, ...]:
    """The recipes that are neither advised nor asked for, and when to take each.

    Args:
        place: where the data set lies; the recipe of the most probable quadrant comes first.
        advised: the recipe that is advised.
        asked: the recipe that the user asked for, if any.
    """
    found: list[Alternative] = []
    for name in sorted(RECIPE, key=lambda name: -place.probabilities[name]):
        recipe, probability = RECIPE[name], place.probabilities[name]
        near = place.confidence < rule.BORDERLINE and name == place.neighbour()
        if recipe in (advised, asked):
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
        "-",
        f"{1 - frozen.accuracy:.1%} errors",
        f"{'last layer' if frozen is last_layer else 'all depths'}, 90 % interval {low:.0%} to {high:.0%}; "
        f"last layer {last_layer.accuracy:.1%}, all depths {all_depths.accuracy:.1%}; "
        f"{frozen.gain_at_double:+.1%} with twice the images",
    )


def _depth(probes: Probes, decision: Decision) -> list[Factor]:
    """Whether the lower layers help; no row where the network is looked at in one place only."""
    if len(probes.by_depth) == 1:
        return []
    gain, error = probes.gain_of_all_depths
    best, last = max(probes.by_depth, key=lambda probe: probe.accuracy), probes.last_layer
    known = f"the last layer knows most, {last.accuracy:.1%}"
    if best.accuracy > last.accuracy:
        known = f"{best.tap} knows most, {best.accuracy:.1%}, the last layer {last.accuracy:.1%}"
    return [
        Factor(
            "Depth",
            f"all depths {gain:+.1%} (± {error:.1%})",
            "clearly worse",
            "last layer" if decision.frozen_recipe == "feature_extraction" else "all depths",
            f"averaged over the picture, {known}; on other data all depths {rule.ALL_DEPTHS_GAIN:+.1%}",
        )
    ]


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
            "clearly better",
            "cells" if kept else "whole picture",
            f"what stands where {'matters' if kept else 'says too little'} to a solved head: log-loss "
            f"{position.loss:+.1f}, summed over the images",
        )
    ]


def _kernel(kernel: Kernel) -> list[Factor]:
    """Whether borders between classes are better curved; no row where that was not tried."""
    if not kernel.tried:
        return []
    kept = kernel.kernel == GAUSSIAN
    says = "tells more than its features alone" if kept else "tells too little"
    return [
        Factor(
            "Kernel",
            f"Gaussian {kernel.gain:+.1%} (± {kernel.error:.1%})",
            "clearly better",
            "Gaussian" if kept else "linear",
            f"likeness to each image that the head knows {says}: log-loss {kernel.loss:+.1f}, summed over "
            "the images",
        )
    ]


def _looks(evidence: Evidence, steps: Sequence[Step]) -> list[Factor]:
    """Whether a second look at each image is worth its time; no row where none was tried."""
    told = {look: step for look in evidence.looks for step in steps if step.action == looks.action(look)}
    if not told:
        return []
    best = max(told, key=lambda look: look.taken)
    step = told[best]
    tried = ", ".join(f"{looks.action(look)} {-look.taken:+.1%}" for look in told)
    return [
        Factor(
            "Second look",
            f"{step.gain:+.2%} expected",
            f"{rule.WORTH_GAIN:+.2%}",
            "worth its time" if step.worth else "not worth it",
            f"{step.action}; what became of the log-loss of {best.images:,} images left out: {tried}",
        )
    ]


def _shape(fit: Fit) -> list[Factor]:
    """How images become squares; no row where nothing was tried."""
    if not fit.measured:
        return []
    tried = ", ".join(f"{way.replace(':', ' with ')} {right:.1%}" for way, right in fit.measured.items())
    return [
        Factor(
            "Shape",
            f"{fit.measured[fit.chosen]:.1%} if {FITS[fit.chosen].partition(' ')[0]}",
            "clearly better",
            fit.chosen.replace(":", " with "),
            f"right of images that a probe on all depths has not seen: {tried}",
        )
    ]


def _groups(grouping: Grouping | None) -> list[Factor]:
    """What whole groups cost; no row where the user named none."""
    if grouping is None or not grouping.kept:
        return []
    return [
        Factor(
            "Groups",
            f"{grouping.leave_group_out:.1%} on other groups",
            "-",
            "kept together",
            f"{grouping.groups:,} groups measured; leaving out single images would say "
            f"{grouping.leave_one_out:.1%} (± {grouping.error:.1%}); splits and probes hold whole groups",
        )
    ]


def suggestions(evidence: Evidence, source: str) -> list[str]:
    """What the user should say of the data where something suggests it and it would change what is measured.

    Args:
        evidence: what was measured.
        source: what the user named.
    """
    grouping = evidence.grouping
    if grouping is None or grouping.kept or not rule.should_be_grouped(grouping):
        return []
    both = (
        f"{grouping.leave_one_out:.1%} are right where single images are left out, "
        f"{grouping.leave_group_out:.1%} (± {grouping.error:.1%}) where whole groups are"
    )
    if not grouping.pattern:
        audit = f"advisor audit {shlex.quote(source)} --output DIR"
        return [
            f"{grouping.groups:,} groups of images seem to be shots of one thing, taken by one camera within "
            f"seconds or nearly the same, as {grouping.example}: {both}; if new images will be of new "
            f"things, {audit} writes groups.csv and says how it keeps them together"
        ]
    shared = f", {grouping.of_several_classes:,} of them with several classes" * bool(
        grouping.of_several_classes
    )
    return [
        f"names suggest that images belong together, {grouping.groups:,} groups as {grouping.example}{shared}"
        f": {both}; if new images will be of new groups, give --group-pattern {shlex.quote(grouping.pattern)}"
    ]


def _validation(images: int, decision: Decision) -> list[Factor]:
    """Whether there are enough images to judge training; no row where nothing depends on it."""
    if not decision.trains and (decision.is_judgeable or decision.is_priced):
        return []
    return [
        Factor(
            "Validation",
            f"{images:,} images",
            f"{rule.FEWEST_VALIDATION_IMAGES:,}",
            "can judge" if decision.is_judgeable else "few" if decision.trains else "too few",
            "they weigh what training brings"
            + ("" if decision.is_judgeable or not decision.trains else ", beside what other data say of it"),
        )
    ]


def _training(step: Step, minutes: float | None) -> Factor:
    """Whether what training gains is worth its time, or fits into the time that there is."""
    gain, known = "nobody knows", "nothing like it was measured, with this network at this size"
    if step.gain is not None and step.interval is not None:
        gain, (low, high) = f"{step.gain:+.2%} expected", step.interval
        known = f"90 % interval {low:+.1%} to {high:+.1%}, as on other data with as many errors"
    if minutes is not None:
        fits = "as many epochs as fit" if step.worth else "not even a quarter of its epochs fits"
        return Factor(
            "Training", gain, f"{minutes:g} min", "fits" if step.worth else "too long", f"{known}; {fits}"
        )
    least = f"{rule.least_gain(step.seconds or 0.0):+.2%}"
    if step.gain is None:
        return Factor("Training", gain, least, "unknown", f"{known}: the rule of thumb decides")
    asked = f"{1800 * rule.WORTH_GAIN_PER_SECOND:.0%} more for each half hour"
    asked = f"a step has to gain {rule.WORTH_GAIN:.1%}, and {asked}"
    verdict = "worth its time" if step.worth else "not worth it"
    return Factor("Training", gain, least, verdict, f"{known}; {asked}")


def _overruled(place: Quadrant, decision: Decision, training: Step | None, minutes: float | None) -> Factor:
    if not decision.trains and not decision.is_judgeable and not decision.is_priced:
        why = "there are too few validation images to judge what training gives"
    elif not decision.trains and training and training.worth is False and training.gain is not None:
        why = f"training is expected to gain {training.gain:+.1%}, which is not worth its time"
    elif not decision.trains:
        why = "a measurement on these images outweighs the rule of thumb"
    elif place.size == "large":
        why = "the probes favour the last layer, and fine_tuning starts from it"
    elif minutes is not None:
        why = "training fits into the minutes"
    elif decision.is_priced:
        why = "training is expected to be worth its time with so few images, too"
    else:
        why = "training may gain with so few unlike images, too, and counts only as far as it does"
    return Factor("Evidence", f"quadrant says {decision.proposal}", "measured", decision.recipe, why)
