"""What the page and the terminal say of an audit in the same words."""

from __future__ import annotations

import numpy as np

from advisor.audit.audit import Audit, Suspect
from advisor.audit.copies import Copies
from advisor.audit.shortcuts import Shortcut
from advisor.data import shots

SUSPECT_HEADS = ("Image", "Label", "Looks like", "Sure")
SUSPECT_NUMBERS = ("Sure",)  # this column stands to the right


def wrong_labels(found: Audit) -> str:
    """How many labels should be wrong, in a sentence or two."""
    low, high = (round(bound) for bound in found.interval)
    by = f"by a head on frozen features that gets {found.accuracy:.1%} of them right without having seen them"
    if round(found.estimated) == 0:
        return f"No label of {len(found.data):,} seems wrong, {by}."
    share = found.estimated / len(found.data)
    return (
        f"About {found.estimated:,.0f} of {len(found.data):,} labels ({share:.1%}) seem wrong, 9 of 10 times "
        f"{low:,} to {high:,}, {by}. What is hard for it counts, too: look before you change anything."
    )


def mixed_up(found: Audit) -> list[str]:
    """Each pair of classes that are taken for each other."""
    names = found.data.class_names
    return [
        f"{' and '.join(names[label] for label in pair.classes)}: about {pair.estimated:,.0f} of them"
        for pair in found.mixed_up
    ]


def suspect_cells(found: Audit, one: Suspect) -> tuple[str, str, str, str]:
    """A suspect as text, in the order of `SUSPECT_HEADS`."""
    suggested = found.data.class_names[one.suggested]
    return found.shown(one.position), found.label(one.position), suggested, f"{one.probability:.0%}"


def about_copies(found: Audit) -> str:
    """How many images are there more than once, and what harm that does."""
    if not found.copies:
        return "No image is there more than once."
    groups, images = len(found.copies), sum(len(group.positions) for group in found.copies)
    classes = sum(group.across_classes for group in found.copies)
    splits = sum(group.across_splits for group in found.copies)
    said = f"{images:,} images in {_some(groups, 'group')} show the same or nearly the same"
    said += f"; {_some(classes, 'group')} in two classes" if classes else ""
    said += f"; {_some(splits, 'group')} in training and outside of it" if splits else ""
    return f"{said}."


def about_groups(found: Audit) -> str:
    """How many images seem to be shots of one thing."""
    sizes = np.bincount(found.groups)
    images, groups = sizes[sizes > 1].sum(), int((sizes > 1).sum())
    return (
        f"{images:,} images in {_some(groups, 'group')} seem to belong together: taken by one camera within "
        f"{shots.BURST_SECONDS:g} seconds, nearly the same, or by what you say."
    )


def kind_of_copies(group: Copies) -> str:
    """What the images of a group have in common, and whether that does harm."""
    said = ["the same file" if group.exact else "nearly the same picture"]
    said += ["in two classes"] if group.across_classes else []
    said += ["in training and outside of it"] if group.across_splits else []
    return ", ".join(said)


def shortcut(found: Audit, one: Shortcut) -> str:
    """What gives a class away, as a question."""
    name = found.data.class_names[one.label]
    has = {
        "file format": f"are {one.value} files",
        "image size": f"have {one.value} pixels",
        "camera": f"were taken by {one.value}",
        "border": f"have a {one.value} border",
        "mark": f"have the same mark in the {one.value}",
    }[one.kind]
    others = f"{one.elsewhere:,} image{'' if one.elsewhere == 1 else 's'}"
    return (
        f"Is {name!r} told by its {one.kind}? {one.with_it:,} of {one.of_class:,} images of it that were "
        f"looked at {has}; {others if one.elsewhere else 'none'} of other classes."
    )


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
