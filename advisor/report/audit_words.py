"""What the page and the terminal say of an audit in the same words."""

from __future__ import annotations

import numpy as np

from advisor.audit.audit import Audit, Suspect
from advisor.audit.classes import ClassFacts
from advisor.audit.copies import Copies
from advisor.audit.shortcuts import Shortcut
from advisor.data import shots

SUSPECT_HEADS = ("Image", "Label", "Looks like", "Sure")
SUSPECT_NUMBERS = ("Sure",)  # this column stands to the right
CLASS_HEADS = ("Class", "Images", "Right", "With twice as many")
CLASS_NUMBERS = CLASS_HEADS[1:]
LOOKS_HEADS = ("Brightness", "Sharpness", "Blank", "Odd sizes")  # beside them where there is room
WORTH_TELLING = 0.01  # of a class, told right with twice the images
TOLD_AROUND = 0.5  # of the way from chance to the whole picture, from which on surroundings are asked about


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


def surroundings(found: Audit) -> str:
    """What a head knows where the middle is masked, as a question; nothing where it knows little."""
    known = found.surroundings
    if known is None or known.accuracy - known.chance < TOLD_AROUND * (known.whole - known.chance):
        return ""
    return (
        "Is the class told by what is around the thing? With the middle masked, a head still gets "
        f"{known.accuracy:.0%} of {known.images:,} images right; of the same images whole {known.whole:.0%}, "
        f"by chance {known.chance:.0%}."
    )


def class_cells(found: Audit, one: ClassFacts) -> tuple[str, ...]:
    """A class as text, in the order of `CLASS_HEADS`."""
    name = found.data.class_names[one.label]
    return name, f"{one.images:,}", f"{one.accuracy:.1%}", f"{one.at_double:.1%}"


def looks_cells(one: ClassFacts) -> tuple[str, ...]:
    """How its images look, in the order of `LOOKS_HEADS`."""
    sharpness = "" if one.sharpness is None else f"{one.sharpness:.1f}"
    return f"{one.brightness:.0f}", sharpness, f"{len(one.blank):,}", f"{len(one.odd_sizes):,}"


def more_images(found: Audit) -> list[str]:
    """What more images would bring, and how many are wanted, in sentences."""
    most = found.classes[0]
    said = []
    if len(found.classes) > 1 and most.at_double - most.accuracy >= WORTH_TELLING:
        name = found.data.class_names[most.label]
        said.append(f"With twice the images of every class, {name} would gain most.")
    if found.target:
        wanted = f"To get {100 * found.target.accuracy:g} % of new images right"
        if found.target.images is None:
            said.append(f"{wanted}, no number of images is in sight, under a frozen network.")
        elif found.target.images <= len(found.data):
            said.append(f"{wanted}, the images that there are should do.")
        else:
            images = float(f"{found.target.images:.2g}")
            said.append(f"{wanted}, it takes about {images:,.0f} images in all, under a frozen network.")
    return said


def odd_images(found: Audit) -> list[str]:
    """Images on which there is nothing to see, and those of unusual size, in sentences."""
    blank = [position for one in found.classes for position in one.blank]
    odd = [position for one in found.classes for position in one.odd_sizes]
    said = []
    if blank:
        said.append(f"{_some(len(blank), 'image')} almost of one colour, as {found.shown(blank[0])}.")
    if odd:
        said.append(f"{_some(len(odd), 'image')} of an unusual size or form, as {found.shown(odd[0])}.")
    return said


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
