"""The page of an audit, its JSON, and the list of suspects to correct: people look, they do not read."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any

from markupsafe import Markup

from advisor.audit.audit import Audit, Suspect
from advisor.data import images
from advisor.data.corrections import COLUMNS
from advisor.data.dataset import Dataset
from advisor.report import audit_words, groups_table
from advisor.report.pictures import jpeg, thumbnail
from advisor.report.rendering import html
from advisor.system import reproduction
from advisor.system.json_file import write_json, write_text
from advisor.system.spreadsheet import safe_cell

# Shown on the page, which has 3 MB then: who has looked at so many corrects them and asks again.
MOST_SUSPECTS, MOST_STRANGERS = 100, 30
MOST_GROUPS, MOST_COPIES = 30, 6  # of copies, and images of each
MOST_CLASSES = 50  # rows of the table
WHOLE = 240  # pixels of the longer side of what shows a border or a mark


def write(found: Audit, folder: Path) -> None:
    """Write audit.json, suspects.csv and report.html, and groups.csv if images belong together.

    Args:
        found: what to show.
        folder: exists.
    """
    write_json(folder / "audit.json", found.to_json())
    write_text(folder / "suspects.csv", _suspects_table(found))
    groups_table.write(found, folder)
    record = found.reproduction
    write_text(
        folder / "report.html",
        html(
            "audit.html",
            title=f"Audit of {found.data.source}",
            **_of_audit(found),
            about_groups=audit_words.about_groups(found) if groups_table.grouped(found).any() else "",
            together=groups_table.command(found, str(folder)),
            then=reproduction.command(
                "recommend", found.data.source, corrections=str(folder / "suspects.csv")
            ),
            command=record.command,
            record=[("seed", record.seed), ("data fingerprint", record.data), *record.versions.items()],
        ),
    )


def _suspects_table(found: Audit) -> str:
    """suspects.csv: a row for each suspect and each image of no class, with a column to fill in.

    What was corrected before comes first, so that the new list takes the place of the old one.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(COLUMNS)
    if found.corrections:
        for path, correction in found.corrections.rows():
            table.writerow((safe_cell(path), "", "", "", correction))
    for one in found.suspects:
        suggested = found.data.class_names[one.suggested]
        names = (found.shown(one.position), found.label(one.position), suggested)
        table.writerow((*map(safe_cell, names), f"{one.probability:.3f}", ""))
    for position in found.strangers:
        table.writerow((safe_cell(found.shown(position)), safe_cell(found.label(position)), "", "", ""))
    return text.getvalue()


def _of_audit(found: Audit) -> dict[str, Any]:
    """What the template needs."""
    suspects, strangers = found.suspects[:MOST_SUSPECTS], found.strangers[:MOST_STRANGERS]
    groups = [(group, group.positions[:MOST_COPIES]) for group in found.copies[:MOST_GROUPS]]
    wanted = [position for one in suspects for position in (one.position, *one.neighbours)]
    wanted += [*strangers, *(position for _, shown in groups for position in shown)]
    pictures = _pictures(found, wanted)

    def figures(positions: Iterable[int]) -> list[tuple[Markup | None, str, str]]:
        return [(pictures[at], found.label(at), found.shown(at)) for at in positions]

    def card(one: Suspect) -> dict[str, Any]:
        return {
            "picture": pictures[one.position],
            "cells": audit_words.suspect_cells(found, one),
            "neighbours": figures(one.neighbours),
        }

    return {
        "found": found,
        "wrong_labels": audit_words.wrong_labels(found),
        "mixed_up": audit_words.mixed_up(found),
        "suspects": [card(one) for one in suspects],
        "more_suspects": len(found.suspects) - len(suspects),
        "strangers": figures(strangers),
        "more_strangers": len(found.strangers) - len(strangers),
        "about_copies": audit_words.about_copies(found),
        "copies": [
            (audit_words.kind_of_copies(group), figures(shown), len(group.positions) - len(shown))
            for group, shown in groups
        ],
        "more_copies": len(found.copies) - len(groups),
        "shortcuts": [
            (
                audit_words.shortcut(found, one),
                [_whole(found.data, at) for at in one.positions],
            )
            for one in found.shortcuts
        ],
        "surroundings": audit_words.surroundings(found),
        "class_heads": audit_words.CLASS_HEADS + audit_words.LOOKS_HEADS,
        "classes": [
            audit_words.class_cells(found, one) + audit_words.looks_cells(one)
            for one in found.classes[:MOST_CLASSES]
        ],
        "more_classes": max(len(found.classes) - MOST_CLASSES, 0),
        "more_images": audit_words.more_images(found),
        "odd_images": audit_words.odd_images(found),
        "warnings": found.data.warnings,
    }


def _whole(data: Dataset, position: int) -> Markup | None:
    """A small picture that is not cut to a square, for what matters may be at its edges."""
    try:
        picture = images.read(data.paths[position], WHOLE, data.grey)
    except images.UnreadableImage:
        return None
    picture.thumbnail((WHOLE, WHOLE))
    return jpeg(picture)


def _pictures(found: Audit, positions: Iterable[int]) -> dict[int, Markup | None]:
    """Small pictures of some images, each decoded once."""
    wanted = list(dict.fromkeys(positions))
    paths = [found.data.paths[at] for at in wanted]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(wanted, pool.map(thumbnail, paths, repeat(found.data.grey)), strict=True))
