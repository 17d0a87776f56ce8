"""Evidence to `Recommendation`: measure, place, decide, say why. Trains nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from advisor import backbones
from advisor.advice import plan, rule
from advisor.advice.plan import Plan
from advisor.advice.rule import RECIPE, Quadrant
from advisor.advice.settings import Options, Settings, choose
from advisor.choices import DEFAULT_SAMPLE
from advisor.data import dataset, near_copies
from advisor.data.dataset import Dataset
from advisor.errors import InputError
from advisor.evidence import embedding, probe, similarity
from advisor.evidence.probe import Evidence
from advisor.evidence.similarity import Similarity
from advisor.system import devices, reproduction
from advisor.system.progress import Display

SCHEMA = 1
MIRRORED_IMAGES = 150


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


@dataclass(frozen=True)
class Recommendation:
    """The advice, and all that it rests on.

    Attributes:
        data: the images, without those that could not be read.
        sampled: how many of them were measured.
        similarity: to the source domain.
        quadrant: where the data set lies.
        recipe: what to do.
        settings: how.
        settings_for: the settings of any of the four recipes on the same data.
        plan: what training will take.
        plan_for: the same with other settings.
        rationale: why, a row for each factor.
        evidence: what frozen features can do.
        alternatives: what else, and when.
        warnings: what to know before trusting a result.
        device: what will train.
        seconds: that measuring took.
        reproduction: command, seed, fingerprint of the data and versions, to get the same again.
    """

    data: Dataset
    sampled: int
    similarity: Similarity
    quadrant: Quadrant
    recipe: str
    settings: Settings
    settings_for: Callable[[str], Settings]
    plan: Plan
    plan_for: Callable[[Settings], Plan]
    rationale: tuple[Factor, ...]
    evidence: Evidence
    alternatives: tuple[Alternative, ...]
    warnings: tuple[str, ...]
    device: str
    seconds: float
    reproduction: dict[str, Any]

    def _repr_html_(self) -> str:
        from advisor.report import page

        return page.notebook_recommendation(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The object that `advisor recommend --json` prints."""
        data, counts = self.data, self.data.counts()
        return {
            "schema": SCHEMA,
            "dataset": {
                "source": data.source,
                "images": len(data),
                "classes": len(data.class_names),
                "class_names": list(data.class_names),
                "images_per_class": {
                    "min": int(counts.min()),
                    "median": float(np.median(counts)),
                    "max": int(counts.max()),
                },
                "splits": {split: len(data.indices(split)) for split in dataset.SPLITS},
                "skipped": [{"path": item.path, "reason": item.reason} for item in data.skipped],
            },
            "size": {
                "images": len(data),
                "threshold": rule.LARGE_FROM_IMAGES,
                "level": self.quadrant.size,
            },
            "similarity": {
                "score": self.similarity.score,
                "interval": list(self.similarity.interval),
                "distance": self.similarity.distance,
                "metric": similarity.METRIC,
                "threshold": rule.SIMILAR_FROM_SCORE,
                "level": self.quadrant.similarity,
                "sampled": self.sampled,
                "backbone": backbones.BUNDLED,
                "reference": self.similarity.reference,
            },
            "quadrant": self.quadrant.name,
            "confidence": self.quadrant.confidence,
            "quadrants": self.quadrant.probabilities,
            "recipe": self.recipe,
            "settings": self.settings.to_json(),
            "plan": vars(self.plan),
            "rationale": [vars(row) for row in self.rationale],
            "evidence": {
                "linear_probes": [{"tap": p.tap, "accuracy": p.accuracy} for p in self.evidence.depth],
                "frozen_recipe": self.evidence.frozen_recipe,
                "gain_of_all_depths": list(probe.gain_of_all_depths(self.evidence.depth)),
                "frozen": {
                    recipe: {
                        "expected_accuracy": expected.accuracy,
                        "expected_interval": list(expected.interval),
                        "gain_at_double": expected.gain_at_double,
                        "learning_curve": [vars(point) for point in expected.curve],
                    }
                    for recipe, expected in self.evidence.expected.items()
                },
            },
            "alternatives": [vars(item) for item in self.alternatives],
            "warnings": list(self.warnings),
            "device": self.device,
            "seconds": round(self.seconds, 3),
            "reproduction": self.reproduction,
        }


def recommend(
    data: Dataset,
    options: Options,
    display: Display,
    recipe: str | None = None,
    sample: int = DEFAULT_SAMPLE,
    source: Dataset | None = None,
    seed: int = 0,
) -> Recommendation:
    """Measure a data set and decide.

    Args:
        data: the images.
        options: what the user asked for.
        display: where progress is shown.
        recipe: the settings will be for this one, whatever is advised; None for the advised one.
        sample: most images to measure.
        source: images of the backbone's source domain, where it is not ImageNet.
        seed: of the sample, the bootstrap and the learning curves.

    Raises:
        InputError: options or data that nothing can be done with.
    """
    began = time.monotonic()
    options.check(recipe)
    if sample < 10:
        raise InputError(f"--sample is {sample}; give 10 or more")
    backbone = backbones.load(
        options.backbone, options.weights, options.image_size, options.init == "random", options.cut_layer
    )
    if backbone.source == "none":
        if recipe != "full_training":
            raise InputError(f"{options.backbone} has random weights: only --recipe full_training can use it")
        options = replace(options, init="random")
    if options.train_from:
        options = replace(
            options, train_from=backbone.model.layers[backbone.layer_index(options.train_from)].name
        )
    image_size = options.image_size or backbone.image_size
    yardstick = backbones.load(backbones.BUNDLED)
    # Each split has its share: a sample follows the order that the splits were drawn by.
    strata = data.labels * len(dataset.SPLITS) + data.splits
    positions = dataset.sample(strata, sample, seed)
    bar = display.steps("Measuring images")
    measured = embedding.embed(yardstick, data, positions, yardstick.image_size, bar)
    data.without(measured.unreadable)  # else nothing may be left to measure
    reference, name = similarity.reference_features(), similarity.REFERENCE
    if source is not None:
        chosen = dataset.sample(source.labels, sample, seed)
        bar = display.steps("Measuring the source domain")
        reference = embedding.embed(yardstick, source, chosen, yardstick.image_size, bar).features.last()
        if len(reference) < 2:
            raise InputError(f"no two images of --source {source.source} can be read; give others")
        name = source.source
    near = similarity.measure(measured.features.last(), reference, seed, name)
    probed = measured
    own = (backbone.fingerprint, backbone.taps, image_size)
    if options.init == "pretrained" and own != (yardstick.fingerprint, yardstick.taps, yardstick.image_size):
        probed = embedding.embed(backbone, data, positions, image_size, display.steps("Probing the backbone"))
    # What chooses the model must not have seen the test split.
    probed = _without_test_images(probed, data)
    judging = _without_test_images(measured, data)
    seen = data.labels[judging.positions]
    rows = dataset.sample(seen, min(MIRRORED_IMAGES, len(seen) // 3), seed)
    bar = display.steps("Looking at mirror images")
    mirrored = embedding.embed(
        yardstick, data, judging.positions[rows], yardstick.image_size, bar, mirrored=True
    )
    rows = rows[np.isin(judging.positions[rows], mirrored.positions)]  # an image may vanish meanwhile
    harmless = probe.flip_is_harmless(
        judging.features.last(), seen, mirrored.features.last(), rows, len(data.class_names)
    )

    labels = data.labels[probed.positions]
    copies = _near_copies(data, measured)
    data = data.without(probed.unreadable)
    training, test = len(data.indices("train")), len(data.indices("test"))
    place = rule.place(len(data), near)
    display.steps("Probing")(0, 1)
    evidence = probe.gather(
        probed.features,
        labels,
        len(data.class_names),
        len(data) - test,
        test,
        seed,
    )
    advised, reasons = decide(place, evidence, len(data.indices("validation")))

    def settings_for(name: str) -> Settings:
        return choose(
            name,
            options,
            taps=backbone.taps,
            best_cut=max(evidence.depth[:-1], key=lambda p: p.accuracy).tap,
            image_size=image_size,
            fixed_size=backbone.fixed_size,
            counts=data.counts(),
            training_images=training,
            flip=harmless,
            all_depths_help=evidence.frozen_recipe == "shallow_features",
        )

    widths = dict(zip(probed.features.taps, probed.features.widths, strict=True))

    def plan_for(other: Settings) -> Plan:
        return plan.make(
            other, widths, len(data.class_names), len(data), training, on_gpu=bool(devices.gpus())
        )

    settings = settings_for(recipe or advised)
    return Recommendation(
        data=data,
        sampled=len(measured.positions),
        similarity=near,
        quadrant=place,
        recipe=advised,
        settings=settings,
        settings_for=settings_for,
        plan=plan_for(settings),
        plan_for=plan_for,
        rationale=(*_axes(data, near, place), *reasons),
        evidence=evidence,
        alternatives=alternatives(place, advised),
        warnings=(
            *data.warnings,
            *_warnings(data, yardstick.image_size),
            *copies,
            *backbone.notes,
        ),
        device=devices.describe(),
        seconds=time.monotonic() - began,
        reproduction={
            "command": reproduction.command(
                "recommend",
                data.source,
                backbone=options.backbone,
                weights=options.weights,
                image_size=options.image_size,
                sample=sample,
                source=source.source if source else None,
                seed=seed,
            ),
            "seed": seed,
            "data": data.fingerprint(),
            "versions": reproduction.versions(),
        },
    )


def decide(place: Quadrant, evidence: Evidence, validation_images: int) -> tuple[str, tuple[Factor, ...]]:
    """The rule: the quadrant proposes a recipe, measurements may overrule it.

    1. The quadrant's recipe is the proposal.
    2. Training the network is worth trying with many images, and with few that are unlike the source domain,
       where there are enough validation images to tell whether it helped: it falls back to the frozen recipe
       where it did not.
    3. Where frozen features already classify nearly every image, it can gain no more than their error, and a
       frozen recipe is advised.
    4. Between the two frozen recipes the probes decide, see `probe.better_frozen`, and training starts from
       the one that they prefer. That is why `fine_tuning` is advised on unlike data, too, where they prefer
       the last layer: `full_training` starts from all depths.
    """
    proposal = RECIPE[place.name]
    preferred, frozen = evidence.frozen_recipe, evidence.preferred
    starts_shallow = place.similarity == "low" and preferred == "shallow_features"
    training = "full_training" if starts_shallow else "fine_tuning"
    low, high = frozen.interval
    last_layer, all_depths = (evidence.expected[name] for name in ("feature_extraction", "shallow_features"))
    saturated = 1 - frozen.accuracy < rule.SATURATED_ERROR
    judgeable = validation_images >= rule.FEWEST_VALIDATION_IMAGES
    trains = judgeable and not saturated and (place.size == "large" or place.similarity == "low")
    recipe = training if trains else preferred
    room = Factor(
        "Frozen accuracy",
        f"{frozen.accuracy:.1%} expected",
        f"{1 - rule.SATURATED_ERROR:.0%}",
        "little to gain" if saturated else "room to gain",
        f"{'last layer' if frozen is last_layer else 'all depths'}, 90 % interval {low:.0%} to {high:.0%}; "
        f"last layer {last_layer.accuracy:.1%}, all depths {all_depths.accuracy:.1%}; "
        f"{frozen.gain_at_double:+.1%} with twice the images",
    )
    judges = Factor(
        "Validation",
        f"{validation_images:,} images",
        f"{rule.FEWEST_VALIDATION_IMAGES:,}",
        "can judge" if judgeable else "too few",
        "training is kept only where they show that it helped",
    )
    if not trains:
        why = "a measurement on these images outweighs the rule of thumb"
    elif place.size == "large":
        why = "the probes favour the last layer, and fine_tuning starts from it"
    else:
        why = "training may gain with so few unlike images, too, and is kept only where it does"
    overruled = Factor("Evidence", f"quadrant says {proposal}", "measured", recipe, why)
    reasons = (room, _depth(evidence), judges)
    return recipe, (*reasons, overruled) if recipe != proposal else reasons


def _depth(evidence: Evidence) -> Factor:
    gain, error = probe.gain_of_all_depths(evidence.depth)
    deep = evidence.frozen_recipe == "feature_extraction"
    best, last = max(evidence.depth, key=lambda p: p.accuracy), evidence.depth[-2]
    return Factor(
        "Depth",
        f"all depths {gain:+.1%} (± {error:.1%})",
        f"{rule.least_gain_of_all_depths(error):.2%}",
        "last layer" if deep else "all depths",
        f"probes: best at {best.tap} {best.accuracy:.1%}, last layer {last.accuracy:.1%}; "
        f"{rule.ALL_DEPTHS_GAIN:+.1%} on other data",
    )


def _without_test_images(embedded: embedding.Embedded, data: Dataset) -> embedding.Embedded:
    rows = np.flatnonzero(data.splits[embedded.positions] != dataset.SPLITS.index("test"))
    return embedded.take(rows)


def _axes(data: Dataset, near: Similarity, place: Quadrant) -> tuple[Factor, Factor]:
    per_class = int(np.median(data.counts()))
    few = place.size == "small"
    return (
        Factor(
            "Size",
            f"{len(data):,} images",
            f"{rule.LARGE_FROM_IMAGES:,}",
            place.size,
            f"{len(data.class_names)} classes, median {per_class:,} images; "
            + ("the rule of thumb freezes the backbone" if few else "enough to train the whole network"),
        ),
        Factor(
            "Similarity",
            f"{near.score:.2f} ({near.interval[0]:.2f}-{near.interval[1]:.2f})",
            f"{rule.SIMILAR_FROM_SCORE:.2f}",
            place.similarity,
            f"{similarity.METRIC} {near.distance:.3f} to {near.reference}",
        ),
    )


def alternatives(place: Quadrant, advised: str) -> tuple[Alternative, ...]:
    """The other three recipes, that of the most probable quadrant first, and when to take each."""
    others = sorted(RECIPE, key=lambda name: -place.probabilities[name])
    when = {
        "feature_extraction": "if it must be ready in a minute, or images are few",
        "fine_tuning": "if you have time and want the last points of accuracy",
        "shallow_features": "if fine detail or texture matters more than whole objects",
        "full_training": "if you have many images that look like no photograph",
    }
    found: list[Alternative] = []
    for name in others:
        recipe, probability = RECIPE[name], place.probabilities[name]
        if recipe != advised:
            near = place.confidence < rule.BORDERLINE and name == place.neighbour()
            if name == place.name:
                reason = "by the rule of thumb, without these measurements"
            elif near:
                reason = f"{name} has probability {probability:.0%}: run advisor compare"
            else:
                reason = when[recipe]
            found.append(Alternative(recipe, reason))
    return tuple(found)


def _near_copies(data: Dataset, measured: embedding.Embedded) -> list[str]:
    """What to know about images that are nearly the same, among those that were measured."""
    pairs = measured.positions[near_copies.find(measured.thumbnails)]
    if not len(pairs):
        return []
    # Both of a pair are in a sample with the square of its share.
    in_all = round(len(pairs) * (len(data) / len(measured.positions)) ** 2)
    more = f", so about {in_all:,} in all" if in_all > len(pairs) else ""
    training = dataset.SPLITS.index("train")
    across = [pair for pair in pairs if (data.splits[pair] == training).sum() == 1]
    shown = " = ".join(data.shown(data.paths[i]) for i in (across or pairs)[0])
    told = [
        f"{len(pairs):,} {'pair' if len(pairs) == 1 else 'pairs'} of nearly the same image among "
        f"{len(measured.positions):,}{more}, as {shown}"
        + (
            f"; {len(across):,} with one in training and one not: accuracy will look too good"
            if across
            else ""
        )
    ]
    differ = [pair for pair in pairs if data.labels[pair[0]] != data.labels[pair[1]]]
    if differ:
        names = " = ".join(data.shown(data.paths[i]) for i in differ[0])
        told.append(f"{len(differ):,} of them are in two classes, as {names}")
    return told


def _warnings(data: Dataset, measured_size: int) -> list[str]:
    warnings = []
    if data.skipped:
        names = ", ".join(f"{item.path} ({item.reason})" for item in data.skipped[:3])
        more = f" and {len(data.skipped) - 3} more" if len(data.skipped) > 3 else ""
        warnings.append(f"{len(data.skipped)} skipped: {names}{more}")
    counts = data.counts()
    if counts.max() > 3 * counts.min():
        smallest, largest = data.class_names[counts.argmin()], data.class_names[counts.argmax()]
        warnings.append(
            f"unbalanced classes: {largest!r} has {counts.max():,} images, {smallest!r} {counts.min():,}; "
            "look at macro F1 beside accuracy"
        )
    tiny = np.flatnonzero(data.shorter_sides < measured_size // 2)
    if len(tiny):
        warnings.append(
            f"{len(tiny):,} images are smaller than {measured_size // 2} pixels and will be enlarged, "
            f"as {data.shown(data.paths[tiny[0]])}"
        )
    test = len(data.indices("test"))
    if test < 100:
        error = 1.645 * 0.5 / math.sqrt(test)
        warnings.append(f"the test split has {test} images: its accuracy is known to ±{error:.0%} at best")
    return warnings
