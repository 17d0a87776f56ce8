"""Second looks at a sample of a data set, those that may be worth their time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from advisor import backbones
from advisor.advice import looks, rule
from advisor.advice.settings import Options
from advisor.backbones import Backbone
from advisor.backbones.catalogue import catalogue
from advisor.evidence import pooling
from advisor.evidence.measure import Evidence, Measured
from advisor.evidence.second_look import MOST_IMAGES, First, Look
from advisor.evidence.views import LEAST_SIZE, MIRROR, SIZES, TIMES
from advisor.system import speed
from advisor.system.progress import Display

# Settings that a user may have chosen otherwise, and then no look is offered: it was judged without them.
_OTHERWISE = ("views", "pooling", "kernel", "taps", "roots", "head_start")


def measure(
    measured: Measured,
    backbone: Backbone,
    options: Options,
    others: Sequence[str],
    left: float | None,
    seed: int,
    display: Display,
) -> Measured:
    """Look again at some of the images that were probed.

    Nothing is tried where so few errors are expected that no look is worth its time, or where the user's
    options say how a frozen network is to look.

    Args:
        measured: the data set.
        backbone: that was probed.
        options: what the user asked for.
        others: names of the networks that may look, too; see `second_networks`.
        left: seconds from now to the finished folder; None for no limit.
        seed: of the sample.
        display: where progress is shown.
    """
    evidence = measured.evidence
    recipe = rule.better_frozen(evidence.probes)
    if not _may_look(backbone, options) or _is_saturated(evidence, recipe):
        return measured
    each = speed.seconds("embed", backbone.name, evidence.network.image_size)
    tried = [
        views
        for views in _views(evidence, backbone, recipe)
        if _is_in_time(evidence, (TIMES[views] - 1) * each, left)
    ]
    size = options.image_size
    in_time = [name for name in others if _is_in_time(evidence, looks.seconds_each(name, size), left)]
    if not (tried or in_time):
        return measured
    probes, network = evidence.probes, evidence.network
    of = recipe, probes, seed, display
    first = First.of(measured.data, measured.probed, backbone, network.image_size, evidence.fit.chosen, *of)
    found = [first.in_views(views, display) for views in tried]
    found += [first.with_network(backbones.load(name, None, size), probes, display) for name in in_time]
    fitting = tuple(look for look in found if look and _fits(look, evidence))
    return replace(measured, evidence=replace(evidence, looks=fitting))


def _fits(look: Look, evidence: Evidence) -> bool:
    """Whether a head on all that is seen is small enough, with cells if they were taken."""
    data, position = evidence.data, evidence.probes.position[look.recipe]
    of = data.fitted, data.images, [look.width], len(data.class_names)
    return position.pooling == pooling.AVERAGE or pooling.fits(*of)


def _may_look(backbone: Backbone, options: Options) -> bool:
    """Whether a frozen recipe would be built as it is judged."""
    by_hand = any(name in options.settings for name in _OTHERWISE)
    changed = options.base_labels or options.cut_layer or options.mode or options.augment or by_hand
    return options.init == "pretrained" and options.head == "linear" and not changed


def _is_saturated(evidence: Evidence, recipe: str) -> bool:
    return 1 - evidence.probes.expected[recipe].accuracy < rule.SATURATED_ERROR


def _views(evidence: Evidence, backbone: Backbone, recipe: str) -> Iterator[str]:
    """The views that may be worth it: another size only where that needs no TensorFlow to get ready."""
    if 1 - evidence.probes.expected[recipe].accuracy < rule.VIEWS_FROM_ERROR:
        return
    if rule.mirrors_are_harmless(evidence.mirror_loss):
        yield MIRROR
    if not (backbone.fixed_size or backbone.draw is None or evidence.network.image_size < LEAST_SIZE):
        yield SIZES


def _is_in_time(evidence: Evidence, each: float, left: float | None) -> bool:
    """Whether a second look at the sample, and then at all images, takes no more than the time that is left.

    Args:
        evidence: of the data set.
        each: seconds for an image.
        left: seconds; None for no limit.
    """
    images = sum(evidence.data.splits.values())
    return left is None or (images + min(images, MOST_IMAGES)) * each < left


def second_networks(
    backbone: Backbone, options: Options, compared: Mapping[str, float] = MappingProxyType({})
) -> list[str]:
    """Networks that may look beside one: ready, small enough with it, and such as need no TensorFlow.

    Args:
        backbone: the first one.
        options: what the user asked for.
        compared: megabytes of the frozen models with those that were probed on the same images, of which all
            may look; without them it is the best on ImageNet alone.
    """
    rows = {row.name: row for row in catalogue() if row.weights in ("bundled", "installed")}
    if rows.pop(backbone.name, None) is None or options.weights or options.start_from:
        return []
    if compared:
        most = (options.max_megabytes or math.inf) - compared[backbone.name]
        return [name for name in rows if compared.get(name, math.inf) <= most]
    if options.image_size or not rows:
        return []
    return [max(rows.values(), key=lambda row: row.top1 or 0.0).name]
