"""A data set and a network to `Evidence`: all that is known before anything is decided. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from advisor import backbones
from advisor.backbones import Backbone
from advisor.choices import CROP
from advisor.data import near_copies
from advisor.data.checks import leave_out
from advisor.data.dataset import Dataset, Summary
from advisor.data.names import SPLITS
from advisor.data.sampling import sample
from advisor.errors import InputError
from advisor.evidence import fitting, grouping, pooling, probe, sights, similarity
from advisor.evidence.embedding import Embedded, embed
from advisor.evidence.fitting import AS_USUAL, Fit
from advisor.evidence.grouping import Grouping
from advisor.evidence.probe import CurvePoint, DepthProbe, Expected, Kernel, Position, Probes
from advisor.evidence.second_look import Look
from advisor.evidence.sights import Sights
from advisor.evidence.similarity import Similarity
from advisor.evidence.views import MIRRORED
from advisor.system.progress import Display

MIRRORED_IMAGES = 150


@dataclass(frozen=True)
class Network:
    """What settings depend on of a backbone.

    Attributes:
        taps: names of the layers that can be under the head, from shallow to deep.
        image_size: pixels of the square input, the backbone's own or the user's choice.
        fixed_size: whether it takes that size only.
    """

    taps: tuple[str, ...]
    image_size: int
    fixed_size: bool


@dataclass(frozen=True)
class Evidence:
    """All that is known of a data set and a network before anything is decided.

    Attributes:
        data: the data set in numbers, without images that could not be read.
        sampled: how many of its images were measured.
        similarity: to the source domain.
        network: what will be trained on.
        probes: what its frozen features know.
        mirror_loss: accuracy that is lost on mirror images by who has seen none, see `probe.mirror_loss`.
        grouping: of images that belong together, where the user or their names say so.
        fit: how images become squares.
        looks: what second looks at each image bring, those that were tried.
    """

    data: Summary
    sampled: int
    similarity: Similarity
    network: Network
    probes: Probes
    mirror_loss: float
    grouping: Grouping | None = None
    fit: Fit = AS_USUAL
    looks: tuple[Look, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The object "evidence" of `advisor recommend --json`; data and similarity stand beside it there."""
        probes = self.probes
        return {
            "linear_probes": [vars(one) for one in (*probes.by_depth, probes.together)],
            "gain_of_all_depths": list(probes.gain_of_all_depths),
            "frozen": {
                recipe: {
                    "expected_accuracy": expected.accuracy,
                    "expected_interval": list(expected.interval),
                    "gain_at_double": expected.gain_at_double,
                    "balanced_accuracy": expected.balanced,
                    "log_loss": expected.log_loss,
                    "learning_curve": [vars(point) for point in expected.curve],
                }
                for recipe, expected in probes.expected.items()
            },
            "position": {recipe: vars(position) for recipe, position in probes.position.items()},
            "kernel": {recipe: vars(kernel) for recipe, kernel in probes.kernel.items()},
            "widths": dict(probes.widths),
            "mirror_loss": self.mirror_loss,
            "looks": [vars(look) for look in self.looks],
            "network": {**vars(self.network), "taps": list(self.network.taps)},
        }

    @staticmethod
    def from_json(
        values: Mapping[str, Any],
        data: Summary,
        sampled: int,
        measured: Similarity,
        grouping: Grouping | None,
        fit: Fit,
    ) -> Evidence:
        """What `to_json` gave, with what stands beside it."""
        *by_depth, together = (DepthProbe(**one) for one in values["linear_probes"])
        gain, error = values["gain_of_all_depths"]
        expected = {
            recipe: Expected(
                curve=tuple(CurvePoint(**point) for point in told["learning_curve"]),
                accuracy=told["expected_accuracy"],
                interval=(told["expected_interval"][0], told["expected_interval"][1]),
                gain_at_double=told["gain_at_double"],
                balanced=told["balanced_accuracy"],
                log_loss=told["log_loss"],
            )
            for recipe, told in values["frozen"].items()
        }
        position = {recipe: Position(**told) for recipe, told in values["position"].items()}
        kernel = {recipe: Kernel(**values.get("kernel", {}).get(recipe, {})) for recipe in expected}
        network = values["network"]
        return Evidence(
            data=data,
            sampled=sampled,
            similarity=measured,
            network=Network(**{**network, "taps": tuple(network["taps"])}),
            probes=Probes(
                tuple(by_depth), together, (gain, error), expected, position, kernel, values["widths"]
            ),
            mirror_loss=values["mirror_loss"],
            grouping=grouping,
            fit=fit,
            looks=tuple(Look(**look) for look in values.get("looks", ())),
        )


@dataclass(frozen=True)
class Measured:
    """What `measure` gives back.

    Attributes:
        evidence: what is known.
        data: the images, without those that could not be read.
        near_copies: pairs of paths among the measured images that show nearly the same.
        flat: paths of measured images on which there is next to nothing to see.
        probed: positions in `data` of the images that the probes tell apart, int64 [m].
        sights: what the bundled network sees in the measured images.
    """

    evidence: Evidence
    data: Dataset
    near_copies: tuple[tuple[str, str], ...]
    flat: tuple[str, ...]
    probed: np.ndarray
    sights: Sights


def measure(
    data: Dataset,
    backbone: Backbone,
    image_size: int,
    pretrained: bool,
    most_images: int,
    source: Dataset | None,
    seed: int,
    display: Display,
    fit: str = "auto",
) -> Measured:
    """Measure a data set.

    Args:
        data: the images.
        backbone: that will be trained or used.
        image_size: pixels of its square input.
        pretrained: whether its weights are; random ones are not probed, but the yardstick in their place.
        most_images: to measure.
        source: images of the backbone's source domain, where it is not ImageNet.
        seed: of the sample, the bootstrap and the learning curves.
        display: where progress is shown.
        fit: how images become squares, see `fitting.choose`. Similarity is measured on the crop, as its
            reference was.

    Raises:
        InputError: too few images can be read.
    """
    yardstick = backbones.load(backbones.BUNDLED)
    positions = _sampled(data, most_images, seed)
    prober, size = (backbone, image_size) if pretrained else (yardstick, yardstick.image_size)
    squares = fitting.choose(fit, prober, data, positions, size, seed, display)
    own = (yardstick.fingerprint, yardstick.taps, yardstick.image_size, CROP)
    is_yardstick = not pretrained or own == (backbone.fingerprint, backbone.taps, image_size, squares.chosen)
    cells = _finest_cells(data) if pretrained else pooling.AVERAGE
    bar, of_these = display.steps("Measuring images"), cells if is_yardstick else pooling.AVERAGE
    looked_at = embed(yardstick, data, positions, yardstick.image_size, bar, pooling=of_these)
    leave_out(data, looked_at.unreadable)  # refuses data of which nothing is left to measure
    near = _similarity(looked_at, yardstick, source, most_images, seed, display)
    probed = looked_at
    if not is_yardstick:
        bar = display.steps("Probing the backbone")
        probed = embed(backbone, data, positions, image_size, bar, pooling=cells, fit=squares.chosen)
    # From here on the cells, which are many numbers, are in memory once.
    looked_at = replace(looked_at, features=looked_at.features.without_cells())
    loss = _mirror_loss(_without_test_images(looked_at, data), data, yardstick, seed, display)
    rest = leave_out(data, probed.unreadable)
    probed, grid = _ready_to_probe(probed, data, backbone, image_size, squares.chosen, display)
    probes = _probes(probed, grid, data, rest, seed, display)
    probed_at = _positions(probed.positions[probes.rows], data, rest)
    return Measured(
        evidence=Evidence(
            data=rest.summary(),
            sampled=len(looked_at.positions),
            similarity=near,
            network=Network(backbone.taps, image_size, backbone.fixed_size),
            probes=probes,
            mirror_loss=loss,
            fit=squares,
            grouping=grouping.measure(probed, data, seed),
        ),
        data=rest,
        near_copies=_near_copies(looked_at, data),
        flat=tuple(data.paths[at] for at in looked_at.positions[near_copies.are_flat(looked_at.thumbnails)]),
        probed=probed_at,
        sights=_sights(looked_at, yardstick, data, rest, probed_at, probes),
    )


def probe_network(
    data: Dataset,
    backbone: Backbone,
    image_size: int,
    most_images: int,
    seed: int,
    display: Display,
    fit: str,
) -> Probes:
    """What another network's frozen features know of a sample of the same data set.

    Arguments are those of `measure`, but for `fit`, which is the way that was chosen. A smaller sample is a
    part of a larger one.

    Raises:
        InputError: too few images can be read.
    """
    positions, cells = _sampled(data, most_images, seed), _finest_cells(data)
    bar = display.steps(f"Probing {backbone.name}")
    probed = embed(backbone, data, positions, image_size, bar, pooling=cells, fit=fit)
    rest = leave_out(data, probed.unreadable)
    probed, grid = _ready_to_probe(probed, data, backbone, image_size, fit, display)
    return _probes(probed, grid, data, rest, seed, display)


def _sampled(data: Dataset, most_images: int, seed: int) -> np.ndarray:
    """Positions of a sample; each split has its share, as it follows the order that these were drawn by."""
    return sample(data.labels * len(SPLITS) + data.splits, most_images, seed)


def _finest_cells(data: Dataset) -> str:
    """The finest cells that a head on so many images may see."""
    fitted = len(data) - len(data.indices("test"))
    return pooling.FINEST if fitted <= pooling.MOST_IMAGES else pooling.AVERAGE


def _ready_to_probe(
    embedded: Embedded, data: Dataset, backbone: Backbone, image_size: int, fit: str, display: Display
) -> tuple[Embedded, str]:
    """A sample with the cells that its probes see, and without the test images; and which cells these are."""
    probed, grid = _with_fitting_cells(embedded, data, backbone, image_size, fit, display)
    return _without_test_images(probed, data), grid


def _probes(probed: Embedded, grid: str, data: Dataset, rest: Dataset, seed: int, display: Display) -> Probes:
    """What linear probes find in the features of a sample.

    Args:
        probed: the sample, without test images.
        grid: the cells that they see.
        data: all images.
        rest: those of them that can be read.
        seed: of the learning curves' samples.
        display: where progress is shown.
    """
    display.steps("Probing")(0, 1)
    test = len(rest.indices("test"))
    return probe.gather(
        probed.features,
        grid,
        data.labels[probed.positions],
        len(data.class_names),
        len(rest) - test,
        test,
        seed,
        data.groups_of(probed.positions),
    )


def _sights(
    looked_at: Embedded,
    yardstick: Backbone,
    data: Dataset,
    rest: Dataset,
    probed: np.ndarray,
    probes: Probes,
) -> Sights:
    """What there is to see of a sample, and what the probes take its images for.

    Args:
        looked_at: the sample, by the yardstick.
        yardstick: the bundled network.
        data: all images.
        rest: those of them that can be read.
        probed: positions in `rest` of the images that the probes tell apart, int64 [m].
        probes: what they found.
    """
    paths = set(rest.paths)
    rows = [row for row, at in enumerate(looked_at.positions) if data.paths[at] in paths]
    positions = _positions(looked_at.positions[rows], data, rest)
    taken_for = np.full(len(rest), sights.NOT_ASKED)
    if probes.held_out is not None:
        taken_for[probed] = probes.held_out.argmax(axis=1)
    features = looked_at.features.last()[rows]
    return sights.look(features, positions, rest, yardstick.classifier, taken_for[positions])


def _positions(positions: np.ndarray, data: Dataset, rest: Dataset) -> np.ndarray:
    """Where images of a data set stand in what is left of it, int64 [n]."""
    if len(rest) == len(data):
        return positions
    at = {path: position for position, path in enumerate(rest.paths)}
    return np.array([at[data.paths[position]] for position in positions], np.int64)


def _similarity(
    looked_at: Embedded,
    yardstick: Backbone,
    source: Dataset | None,
    most_images: int,
    seed: int,
    display: Display,
) -> Similarity:
    """To ImageNet, or to images of another source domain."""
    features = looked_at.features.last()
    if source is None:
        return similarity.measure(features, similarity.reference_features(), seed)
    chosen = sample(source.labels, most_images, seed)
    bar = display.steps("Measuring the source domain")
    reference = embed(yardstick, source, chosen, yardstick.image_size, bar).features.last()
    if len(reference) < 2:
        raise InputError(f"no two images of --source {source.source} can be read; give others")
    return similarity.measure(features, reference, seed, source.source)


def _with_fitting_cells(
    probed: Embedded, data: Dataset, backbone: Backbone, image_size: int, fit: str, display: Display
) -> tuple[Embedded, str]:
    """The finest cells that a head on all taps may see, and their name.

    Args:
        probed: has the finest cells that there are, if any.
        data: all images.
        backbone: whose features they are.
        image_size: pixels of its square input.
        fit: how images become squares.
        display: where progress is shown.
    """
    for name in pooling.CELLS:
        if not any(probed.features.cell_widths):
            break
        if name != pooling.FINEST:
            bar = display.steps("Probing coarser cells")
            probed = embed(backbone, data, probed.positions, image_size, bar, pooling=name, fit=fit)
        widths = (*probed.features.widths, *probed.features.cell_widths)
        fitted = len(data) - len(data.indices("test"))
        if pooling.fits(fitted, len(data), widths, len(data.class_names)):
            return probed, name
    return replace(probed, features=probed.features.without_cells()), pooling.AVERAGE


def _without_test_images(embedded: Embedded, data: Dataset) -> Embedded:
    """What chooses the model must not have seen the test split."""
    rows = np.flatnonzero(data.splits[embedded.positions] != SPLITS.index("test"))
    return embedded.take(rows)


def _mirror_loss(judging: Embedded, data: Dataset, yardstick: Backbone, seed: int, display: Display) -> float:
    labels = data.labels[judging.positions]
    rows = sample(labels, min(MIRRORED_IMAGES, len(labels) // 3), seed)
    bar = display.steps("Looking at mirror images")
    turned = embed(yardstick, data, judging.positions[rows], yardstick.image_size, bar, (MIRRORED,))
    rows = rows[np.isin(judging.positions[rows], turned.positions)]  # an image may vanish meanwhile
    return probe.mirror_loss(
        judging.features.last(), labels, turned.features.last(), rows, len(data.class_names)
    )


def _near_copies(looked_at: Embedded, data: Dataset) -> tuple[tuple[str, str], ...]:
    pairs = looked_at.positions[near_copies.find(looked_at.thumbnails)]
    return tuple((data.paths[first], data.paths[second]) for first, second in pairs)
