"""Made-up advice, runs and what else reports show: small values, and nothing is measured or trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from advisor.advice import plan, rationale, rule, steps
from advisor.advice.recommendation import Recommendation, possible
from advisor.advice.settings import Options, choose
from advisor.data.dataset import Dataset, Summary
from advisor.data.listing import Skipped
from advisor.evidence import sights as looking
from advisor.evidence import similarity
from advisor.evidence.measure import Evidence, Network
from advisor.evidence.probe import CurvePoint, DepthProbe, Expected, Kernel, Position, Probes
from advisor.evidence.sights import Sights
from advisor.evidence.similarity import Similarity
from advisor.results import (
    Comparison,
    Epoch,
    Evaluation,
    Metrics,
    NearCopies,
    Paired,
    Predictions,
    Row,
    Run,
    score,
    wilson_interval,
)
from advisor.system import reproduction


def summary(images: int = 398, class_names: tuple[str, ...] = ("ants", "bees"), **changes: Any) -> Summary:
    """A data set in numbers, with a tenth of it for validation and a fifth for the test."""
    test, validation = images // 5, images // 10
    each = images // len(class_names)
    values = {
        "source": "shared/data/hymenoptera",
        "images": images,
        "class_names": class_names,
        "smallest_class": each,
        "median_class": float(each),
        "largest_class": each,
        "splits": {"train": images - test - validation, "validation": validation, "test": test},
        "skipped": (),
        "fingerprint": "0123456789abcdef",
    }
    return Summary(**{**values, **changes})


def evidence(
    data: Summary,
    taps: tuple[str, ...] = ("shallow", "middle", "deep"),
    gain: float = 0.01,
    image_size: int = 224,
    mirror_loss: float = 0.0,
) -> Evidence:
    """Evidence in which frozen features reach 92 %; `gain` is that of all depths over the last layer."""
    accuracy = np.linspace(0.7, 0.9, len(taps))
    expected = {
        recipe: Expected(
            curve=tuple(CurvePoint(size, reached - 0.1 + size / 2000) for size in (25, 50, 100, 200)),
            accuracy=reached + 0.02,
            interval=(reached - 0.05, reached + 0.07),
            gain_at_double=0.012,
            balanced=reached - 0.2,
            log_loss=1 - reached,
        )
        for recipe, reached in (("feature_extraction", 0.88), ("shallow_features", 0.9))
    }
    return Evidence(
        data=data,
        sampled=min(data.images, 1000),
        similarity=Similarity(0.73, (0.69, 0.77), 0.0741, 0.011, similarity.REFERENCE),
        network=Network(taps, image_size, False),
        probes=Probes(
            by_depth=tuple(DepthProbe(tap, float(a)) for tap, a in zip(taps, accuracy, strict=True)),
            together=DepthProbe("all taps", 0.91),
            gain_of_all_depths=(gain, 0.007),
            expected=expected,
            position={recipe: Position("average", 16, "cells:4", -0.01, 0.008, 3.2) for recipe in expected},
            kernel={recipe: Kernel("linear", True, 0.004, 0.006, -2.1) for recipe in expected},
            widths={tap: 16 * (i + 1) for i, tap in enumerate(taps)},
        ),
        mirror_loss=mirror_loss,
    )


def recommendation(
    data: Summary | None = None, options: Options | None = None, recipe: str | None = None, **changes: Any
) -> Recommendation:
    """The advice that the rule gives for made-up evidence.

    Args:
        data: the data set in numbers; as many images as of ants and bees if left out.
        options: what the user asked for.
        recipe: that the user asked for; the advised one if left out.
        **changes: fields of `Recommendation` to be other than the rule says.
    """
    known = changes.pop("evidence", None) or evidence(data or summary())
    place = rule.place(known.data.images, known.similarity)
    options = options or Options()
    training = recipe if recipe in steps.TRAINING else rule.training_recipe(place, known.probes)
    next_steps = steps.steps(known, possible(options, known), training, target=options.target)
    worth = {step.action: step.worth for step in next_steps if step.action in steps.TRAINING}
    decision = rule.decide(place, known.probes, known.data.splits["validation"], worth)
    settings = choose(recipe or decision.recipe, options, known)
    record = reproduction.Record(
        reproduction.command("recommend", known.data.source, seed=0),
        0,
        known.data.fingerprint,
        {"python": "3.11.2", "numpy": "2.1.0"},
    )
    advice = Recommendation(
        evidence=known,
        quadrant=place,
        recipe=decision.recipe,
        frozen_recipe=decision.frozen_recipe,
        settings=settings,
        plan=plan.make(settings, known),
        rationale=rationale.rows(known, place, decision, next_steps),
        steps=next_steps,
        alternatives=rationale.alternatives(place, decision.recipe, recipe),
        warnings=("the test split has 79 images: its accuracy is known to ±9% at best",),
        device="2 cores of a made-up processor",
        seconds=12.34,
        reproduction=record,
    )
    return replace(advice, **changes)


def sights(data: Dataset) -> Sights:
    """Features in which each class is a cloud, the first image of all far from it and taken for another."""
    generator = np.random.default_rng(0)
    centres = generator.normal(0, 3, (len(data.class_names), 16))
    features = centres[data.labels] + generator.normal(0, 1, (len(data), 16))
    features[0] = -features[0]
    classifier = generator.normal(0, 1, (16, 1000)), np.zeros(1000)
    taken_for = data.labels.copy()
    taken_for[0] = (taken_for[0] + 1) % len(data.class_names)
    features = np.maximum(features, 0).astype(np.float32)
    return looking.look(features, np.arange(len(data)), data, classifier, taken_for)


def predictions(paths: tuple[str, ...], class_names: tuple[str, ...], root: Path) -> Predictions:
    """Predictions on images: each sure of the truth, but every fifth taken for the next class."""
    classes = len(class_names)
    labels = np.arange(len(paths)) % classes
    probabilities = np.full((len(paths), classes), 0.1 / max(1, classes - 1), np.float32)
    probabilities[np.arange(len(paths)), labels] = 0.9
    probabilities[::5] = np.roll(probabilities[::5], 1, axis=1)
    shown = tuple(str(Path(path).relative_to(root)) for path in paths)
    return Predictions(class_names, paths, shown, labels, probabilities)


def run(advice: Recommendation, data: Dataset, folder: Path, classes: int = 2, epochs: int = 1) -> Run:
    """A finished run of one epoch, which solved the head, or of several; all images are tested.

    Args:
        advice: whose settings the run has, but that it trains the network if it has several epochs.
        data: the images.
        folder: of the run.
        classes: of the data set if two, else made-up ones.
        epochs: rows of the history.
    """
    names = data.class_names if classes == 2 else tuple(f"kind {i}" for i in range(classes))
    tested = predictions(data.paths, names, data.root)
    settings = replace(advice.settings, train_from=None if epochs == 1 else "", augmentation=())
    first = 0 if epochs > 1 else 1
    history = tuple(
        Epoch(first + n, "", 1 / (n + 1), 0.8, 1.1 / (n + 1), 0.75, 0.1, 1e-3, 1) for n in range(epochs)
    )
    metrics = Metrics(
        recipe=settings.recipe,
        settings=settings,
        test=tested.scores(),
        validation=replace(score(tested.labels, tested.probabilities, names), accuracy=0.75),
        images={"train": 20, "validation": 2, "test": len(data)},
        parameters={"total": 100, "trained": 10},
        complete=True,
        model_sha256="0" * 64,
        seed=0,
        seconds={"embed": 4.0, "train": 8.0, "total": 12.0},
        device="a machine",
        precision="float32",
        versions={"python": "3"},
        near_copies=NearCopies(3, 0.5),
    )
    return Run(folder, history, tested, metrics)


def comparison(advice: Recommendation, tested: Predictions | None = None) -> Comparison:
    """A leaderboard on which the advised recipe is the second, and one did not come to run.

    Args:
        advice: that was compared.
        tested: what the best recipe and the advised one say of the test images; nothing if left out.
    """

    def row(
        name: str, status: str, accuracy: float | None, seconds: float, parameters: int | None, **more: Any
    ) -> Row:
        interval = None if accuracy is None else wilson_interval(accuracy, advice.data.splits["test"])
        advised = name == advice.recipe
        return Row(name, status, accuracy, interval, accuracy, seconds, parameters, advised=advised, **more)

    frozen = row("shallow_features", "finished", 0.937, 12.3, 5_762)
    return Comparison(
        advice,
        (
            row("fine_tuning", "finished", 0.962, 341.0, 3_371_000),
            frozen,
            replace(frozen, name="feature_extraction", advised=False, same_as="shallow_features"),
            row("simple_cnn", "out of time", 0.711, 512.0, 422_000),
            row("full_training", "not run", None, 0.0, None, needs=34.0),
        ),
        regret=0.025,
        paired=Paired("fine_tuning", advice.data.splits["test"], 1, 3),
        tested={} if tested is None else {"fine_tuning": tested, "shallow_features": tested},
        seconds=866.0,
        budget=900.0,
    )


def evaluation(tested: Predictions, folder: Path) -> Evaluation:
    """An evaluation of the run in a folder, on images two of which are unlike its own."""
    unlike = np.zeros(len(tested), bool)
    unlike[:2] = True
    return Evaluation(
        run=folder,
        recipe="fine_tuning",
        predictions=tested,
        source="shared/data/hymenoptera",
        used="the run's own test split",
        unlike=unlike,
        skipped=(Skipped("ants/broken.png", "not an image"),),
        warnings=("the test split has no images of wasps",),
    )
