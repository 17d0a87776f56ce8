"""What second looks at each image are worth: see `advisor.evidence.second_look`."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from advisor.advice import rule
from advisor.backbones.catalogue import BUNDLED, catalogue
from advisor.backbones.pair import JOINT
from advisor.evidence.measure import Evidence
from advisor.evidence.second_look import Look
from advisor.evidence.views import MIRROR, ONE, TIMES
from advisor.system import speed

WITH = "with "  # before the name of a second network


def action(look: Look) -> str:
    """What the step is called."""
    return f"{WITH}{look.network}" if look.network else f"views={look.views}"


def what(look: Look, backbone: str) -> str:
    """What it does, in half a sentence."""
    if look.network:
        both = f"{backbone}{JOINT}{look.network}"
        return f"look with two networks, under one head: --recipe shallow_features --backbone {both}"
    if look.views == MIRROR:
        return f"look at each image and its mirror image, with {look.recipe}"
    return f"look at each image and at the same of half the size, with {look.recipe}"


def gain(look: Look, evidence: Evidence) -> tuple[float, tuple[float, float]]:
    """What it adds to the accuracy of the better frozen recipe, -1..1, and the 90 % interval of that."""
    expected = evidence.probes.expected[rule.better_frozen(evidence.probes)]
    told = rule.gain_of_look(1 - expected.accuracy, look.taken, look.network is not None)
    return told, (told - rule.LOOK_INTERVAL, told + rule.LOOK_INTERVAL)


def seconds(look: Look, evidence: Evidence, backbone: str) -> float:
    """That it takes more for all images than the first look does.

    Of two networks the one that sees fewer pixels gets them from the image of the other one. So what it saw
    alone is of no use then; what the other one saw is.
    """
    network, images = evidence.network, sum(evidence.data.splits.values())
    if look.network:
        size = asked_size(evidence, backbone)
        second = size or next(row.image_size for row in catalogue() if row.name == look.network)
        again = evidence.sampled if network.image_size < second else 0
        missing = images - look.images if network.image_size <= second else images
        return again * seconds_each(Path(backbone).name, size) + missing * seconds_each(look.network, size)
    more = TIMES[look.views] - 1
    return images * more * speed.seconds("embed", Path(backbone).name, network.image_size)


def is_worth(look: Look, evidence: Evidence, backbone: str) -> bool:
    """Whether its gain is worth its time."""
    return bool(rule.is_worth(gain(look, evidence)[0], seconds(look, evidence, backbone)))


def best_second(evidence: Evidence, worth: Collection[str]) -> str | None:
    """The second network that gains most, of those whose action is among the steps that are worth their time;
    None if none is."""
    found = [look for look in evidence.looks if look.network and action(look) in worth]
    return max(found, key=lambda look: look.taken).network if found else None


def best_views(evidence: Evidence, recipe: str, backbone: str) -> str:
    """Of the views that are worth their time to a frozen recipe those that gain most; "one" if none are."""
    worth = [
        look
        for look in evidence.looks
        if look.network is None and look.recipe == recipe and is_worth(look, evidence, backbone)
    ]
    return max(worth, key=lambda look: look.taken).views if worth else ONE


def asked_size(evidence: Evidence, backbone: str) -> int | None:
    """Pixels that the user asked for, which all networks see then; None where each sees its own."""
    own = {row.name: row.image_size for row in catalogue()}.get(backbone)
    return None if evidence.network.image_size == own else evidence.network.image_size


def seconds_each(name: str, size: int | None = None) -> float:
    """That an image takes with a network: as it did here, else by its operations beside the bundled one's.

    Args:
        name: as in `advisor backbones`.
        size: pixels of the square input; None for the network's own.
    """
    rows = {row.name: row for row in catalogue()}
    row, bundled = rows[name], rows[BUNDLED]
    size = size or row.image_size
    if speed.is_known("embed", name, is_reference=name == BUNDLED):
        return speed.seconds("embed", name, size)
    each = speed.seconds("embed", bundled.name, bundled.image_size)
    return each * row.gflop / bundled.gflop * (size / row.image_size) ** 2
