"""What is wrong with a data set: wrong labels, images of no class, copies, shortcuts. Decides nothing.

The images are seen by the bundled network, whose features of them `recommend` keeps, too: nothing is embedded
twice.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from advisor import backbones
from advisor.audit import classes, copies, labels, shortcuts, surroundings
from advisor.audit.classes import ClassFacts
from advisor.audit.copies import Copies
from advisor.audit.labels import Labels
from advisor.audit.shortcuts import Shortcut
from advisor.audit.surroundings import Surroundings
from advisor.data import shots
from advisor.data.checks import leave_out
from advisor.data.corrections import Corrections
from advisor.data.dataset import Dataset
from advisor.data.names import SPLITS
from advisor.evidence import linear_head, probe
from advisor.evidence.embedding import embed
from advisor.evidence.probe import CurvePoint
from advisor.evidence.signed_root import signed_root
from advisor.system import reproduction
from advisor.system.progress import Display
from advisor.system.solvers import SMALL_FOR_TWO, solvers

SCHEMA = 1
SHOWN_NEIGHBOURS = 3  # beside each suspect, as far as they have room on a phone
# Wrong labels between two classes from which on these are told as mixed up: fewer are single mistakes.
LEAST_MIXED = 3.0


@dataclass(frozen=True)
class Suspect:
    """An image whose label is probably wrong.

    Attributes:
        position: which of the data set it is.
        suggested: the class that is likelier, an index into the names of the classes.
        probability: of that class, 0..1, by a head that has not seen the image.
        own_probability: of the class that the label names.
        neighbours: positions of the most similar images whose label is sure, the most similar first.
    """

    position: int
    suggested: int
    probability: float
    own_probability: float
    neighbours: tuple[int, ...]


@dataclass(frozen=True)
class MixedUp:
    """Two classes that are taken for each other.

    Attributes:
        classes: indices into the names of the classes, ascending.
        estimated: wrong labels between them, either way.
    """

    classes: tuple[int, int]
    estimated: float


@dataclass(frozen=True)
class Target:
    """How many images would reach an accuracy.

    Attributes:
        accuracy: that is wanted of new images, 0..1.
        images: in all, with as many more of each class; None where no number is in sight.
    """

    accuracy: float
    images: int | None


@dataclass(frozen=True)
class Audit:
    """What is wrong with a data set.

    Attributes:
        data: the images, without those that could not be read.
        corrections: that were made before; None where there were none.
        accuracy: of the head that judges the labels, on images that it has not seen, 0..1.
        suspects: the most probable first.
        estimated: how many labels should be wrong.
        interval: 90 % interval of that number.
        mixed_up: pairs of classes, those with most wrong labels first.
        strangers: positions of images that belong to no class, the strangest first.
        copies: groups of images that show the same.
        shortcuts: what gives a class away beside what is in the picture.
        surroundings: what a head knows where the middle is masked; None where there are too few images.
        classes: what is known of each, the one first of which twice the images would mend most.
        curve: accuracy by the number of images that a head was fitted to.
        target: how many images would reach what the user wants; None where nothing was said.
        groups: int64 [n], equal for images that seem to be shots of one thing, or that the user says belong
            together.
        seconds: that it took.
        reproduction: how to get the same again.
    """

    data: Dataset
    corrections: Corrections | None
    accuracy: float
    suspects: tuple[Suspect, ...]
    estimated: float
    interval: tuple[float, float]
    mixed_up: tuple[MixedUp, ...]
    strangers: tuple[int, ...]
    copies: tuple[Copies, ...]
    shortcuts: tuple[Shortcut, ...]
    surroundings: Surroundings | None
    classes: tuple[ClassFacts, ...]
    curve: tuple[CurvePoint, ...]
    target: Target | None
    groups: np.ndarray
    seconds: float
    reproduction: reproduction.Record

    def shown(self, position: int) -> str:
        """An image as the user knows it."""
        return self.data.shown(self.data.paths[position])

    def label(self, position: int) -> str:
        """The name of the class that an image is in."""
        return self.data.class_names[self.data.labels[position]]

    def to_json(self) -> dict[str, Any]:
        """The object that `advisor audit --json` prints."""
        names = self.data.class_names
        return {
            "schema": SCHEMA,
            "dataset": self.data.summary().to_json(),
            "accuracy": self.accuracy,
            "labels": [
                {
                    "path": self.shown(one.position),
                    "label": self.label(one.position),
                    "suggested": names[one.suggested],
                    "probability": one.probability,
                    "own_probability": one.own_probability,
                    "neighbours": [self._told(position) for position in one.neighbours],
                }
                for one in self.suspects
            ],
            "mislabelled": {"estimated": self.estimated, "interval": list(self.interval)},
            "mixed_up": [
                {"classes": [names[label] for label in pair.classes], "estimated": pair.estimated}
                for pair in self.mixed_up
            ],
            "no_class": [self._told(position) for position in self.strangers],
            "copies": [
                {
                    "images": [
                        {**self._told(position), "split": SPLITS[self.data.splits[position]]}
                        for position in group.positions
                    ],
                    "exact": group.exact,
                    "across_splits": group.across_splits,
                    "across_classes": group.across_classes,
                }
                for group in self.copies
            ],
            "shortcuts": [
                {
                    "kind": one.kind,
                    "value": one.value,
                    "label": names[one.label],
                    "with_it": one.with_it,
                    "of_class": one.of_class,
                    "elsewhere": one.elsewhere,
                    "examples": [self.shown(position) for position in one.positions],
                }
                for one in self.shortcuts
            ],
            "surroundings": self.surroundings and vars(self.surroundings),
            "classes": [
                {
                    **vars(one),
                    "label": names[one.label],
                    "blank": [self.shown(position) for position in one.blank],
                    "odd_sizes": [self.shown(position) for position in one.odd_sizes],
                }
                for one in self.classes
            ],
            "learning_curve": [vars(point) for point in self.curve],
            "target": self.target and vars(self.target),
            "warnings": list(self.data.warnings),
            "seconds": round(self.seconds, 3),
            "reproduction": vars(self.reproduction),
        }

    def _told(self, position: int) -> dict[str, str]:
        return {"path": self.shown(position), "label": self.label(position)}


def audit(
    data: Dataset,
    corrections: Corrections | None,
    image_size: int | None,
    target: float | None,
    seed: int,
    display: Display,
    command: str,
) -> Audit:
    """Look for what is wrong with a data set.

    Args:
        data: the images, those of the test split, too.
        corrections: that the images have already.
        image_size: pixels at which they are seen; the bundled network's own if left out.
        target: the accuracy that is wanted, 0..1; None where nothing was said.
        seed: of the bootstrap, and of all samples.
        display: where progress is shown.
        command: that does the same again.

    Raises:
        InputError: too few images can be read.
    """
    began = time.monotonic()
    network = backbones.load(backbones.BUNDLED)
    size = image_size or network.image_size
    embedded = embed(network, data, np.arange(len(data)), size, display.steps("Measuring images"))
    data = leave_out(data, embedded.unreadable)
    # The rows of what is embedded are from here on the images of the data set, in the same order.
    embedded = embedded.with_positions(np.arange(len(data)))
    display.steps("Judging labels")(0, 1)
    features, groups, count = embedded.features, data.groups, len(data.class_names)
    seen = signed_root(features.values)
    with solvers(min(seen.shape), SMALL_FOR_TWO):
        held_out = linear_head.fit(seen, data.labels, count, groups=groups).held_out
    judged, right = labels.judge(held_out, data.labels, seed), held_out.argmax(axis=1) == data.labels
    curves = classes.curves(seen, data.labels, count, groups, right, seed)
    last = signed_root(features.last())
    looked = shortcuts.look(data, seed, display.steps("Looking for shortcuts"))
    same = copies.find(embedded, data)
    return Audit(
        data=data,
        corrections=corrections,
        accuracy=float(right.mean()),
        suspects=_suspects(judged, last),
        estimated=judged.estimated,
        interval=judged.interval,
        mixed_up=_mixed_up(judged),
        strangers=tuple(labels.strangers(judged, last).tolist()),
        copies=same,
        shortcuts=shortcuts.find(looked, data),
        surroundings=surroundings.measure(network, embedded, data, size, seed, display),
        classes=classes.facts(embedded, data, curves, looked.sharpness()),
        curve=curves.whole,
        target=None if target is None else Target(target, probe.images_for(curves.whole, target)),
        groups=_groups(data, same, display),
        seconds=time.monotonic() - began,
        reproduction=reproduction.Record(command, seed, data.fingerprint(), reproduction.versions()),
    )


def _groups(data: Dataset, same: Sequence[Copies], display: Display) -> np.ndarray:
    """Shots of one thing, and what the user says of groups."""
    pairs = [(group.positions[0], at) for group in same for at in group.positions[1:]]
    if data.groups is not None:
        _, first, of = np.unique(data.groups, return_index=True, return_inverse=True)
        pairs += [(int(first[group]), at) for at, group in enumerate(of.tolist())]
    return shots.groups(shots.origins(data.paths, display.steps("Looking for shots of one thing")), pairs)


def _suspects(judged: Labels, features: np.ndarray) -> tuple[Suspect, ...]:
    rows, sure = judged.suspects, np.flatnonzero(judged.sure)
    near = labels.nearest(features, rows, sure, SHOWN_NEIGHBOURS)
    return tuple(
        Suspect(
            position=int(row),
            suggested=int(judged.suggested[row]),
            probability=float(judged.probability[row]),
            own_probability=float(judged.own[row]),
            neighbours=tuple(others.tolist()),
        )
        for row, others in zip(rows, near, strict=True)
    )


def _mixed_up(judged: Labels) -> tuple[MixedUp, ...]:
    """Pairs of classes with `LEAST_MIXED` wrong labels or more between them."""
    both = np.triu(judged.mixed + judged.mixed.T)
    found = [
        MixedUp((int(one), int(other)), float(both[one, other]))
        for one, other in np.argwhere(both >= LEAST_MIXED)
    ]
    return tuple(sorted(found, key=lambda pair: -pair.estimated))
