"""What `advisor audit` prints for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from advisor.audit.audit import Audit
from advisor.report import audit_words, groups_table
from advisor.report.layout import WIDTH, console, styled, tabled
from advisor.system.text import fitting, shortened, shortened_in_front

SHOWN = 10  # suspects
SHOWN_CLASSES = 5
SHOWN_OTHERS = 3  # of all else
MOST_PATH, MOST_NAME = 36, 16  # characters; the end of a path and the beginning of a name say most


def print_audit(found: Audit) -> None:
    """Print what is wrong with a data set."""
    out = console()
    for part in audit_parts(found, out.width):
        out.print(part)


def audit_parts(found: Audit, width: int = WIDTH) -> list[RenderableType]:
    """The audit as rich renderables, from top to bottom, for a screen of `width` columns."""
    data = found.data
    parts: list[RenderableType] = [
        styled(data.source, "bold"),
        styled(f"{len(data):,} images, {len(data.class_names):,} classes"),
        "",
        styled(audit_words.wrong_labels(found)),
    ]
    parts += [styled(f"Mixed up: {pair}") for pair in audit_words.mixed_up(found)[:SHOWN_OTHERS]]
    if found.suspects:
        rows = [_shortened(audit_words.suspect_cells(found, one)) for one in found.suspects[:SHOWN]]
        parts += ["", tabled(audit_words.SUSPECT_HEADS, rows, audit_words.SUSPECT_NUMBERS, width)]
        parts += _more(len(found.suspects) - SHOWN)
    if found.strangers:
        parts += ["", styled(f"Of no class: {len(found.strangers):,} images, unlike the others")]
        parts += _listed([found.shown(position) for position in found.strangers])
    parts += ["", styled(audit_words.about_copies(found))]
    parts += _listed([" = ".join(found.shown(at) for at in group.positions[:2]) for group in found.copies])
    if groups_table.grouped(found).any():
        parts += ["", styled(audit_words.about_groups(found))]
    if found.shortcuts:
        said = [audit_words.shortcut(found, one) for one in found.shortcuts[:SHOWN_OTHERS]]
        parts += ["", *(styled(sentence, "yellow") for sentence in said)]
        parts += _more(len(found.shortcuts) - SHOWN_OTHERS)
    if around := audit_words.surroundings(found):
        parts += ["", styled(around, "yellow")]
    parts += _classes(found, width)
    if data.warnings:
        parts += ["", *(styled(f"Warning: {warning}", "yellow") for warning in data.warnings)]
    return [*parts, "", styled(f"Looked at {len(data):,} images in {found.seconds:.1f} s", "dim")]


def _classes(found: Audit, width: int) -> list[RenderableType]:
    """What more images would bring, the class first that would gain most; and odd images."""
    rows = [audit_words.class_cells(found, one) for one in found.classes[:SHOWN_CLASSES]]
    rows = [(shortened(fitting(name), MOST_NAME), *numbers) for name, *numbers in rows]
    return [
        "",
        tabled(audit_words.CLASS_HEADS, rows, audit_words.CLASS_NUMBERS, width),
        *_more(len(found.classes) - SHOWN_CLASSES),
        *(styled(sentence) for sentence in audit_words.more_images(found)),
        *(styled(sentence) for sentence in audit_words.odd_images(found)),
    ]


def _shortened(cells: Sequence[str]) -> list[str]:
    path, *names, sure = cells
    return [
        shortened_in_front(fitting(path), MOST_PATH),
        *(shortened(fitting(name), MOST_NAME) for name in names),
        sure,
    ]


def _listed(items: Sequence[str]) -> list[RenderableType]:
    """The first of them, each on its line."""
    return [*(styled(f"  {item}") for item in items[:SHOWN_OTHERS]), *_more(len(items) - SHOWN_OTHERS)]


def _more(count: int) -> list[RenderableType]:
    return [styled(f"  and {count:,} more", "dim")] if count > 0 else []
