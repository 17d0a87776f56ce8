"""A run that goes on from another one: its network and head, its splits, and one history of both."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from advisor.advice.settings import Options, Settings
from advisor.data import copies, images
from advisor.data.dataset import Dataset
from advisor.data.names import SPLITS
from advisor.errors import InputError
from advisor.evidence.pooling import FLATTEN, MAXIMUM
from advisor.evidence.views import ONE
from advisor.results import Epoch, Metrics
from advisor.system.storage import open_plain
from recipes.runs import prediction, run_files, splits_file
from recipes.runs.splits_file import Known

HISTORY = "history.csv"
LARGEST_HISTORY = 50_000_000  # bytes
# What is the network's that the run was built with.
NETWORK = ("backbone", "weights", "image_size", "cut_layer", "fit")
SHAPE_OF_HEAD = ("taps", "roots", "pooling")  # that a head with trained weights was made for


@dataclass(frozen=True)
class Start:
    """A finished run to go on from.

    Attributes:
        folder: of the run.
        metrics: of the run.
        class_names: in the order of its outputs.
        images: that it knows.
        history: of the run, and of those before it.
    """

    folder: Path
    metrics: Metrics
    class_names: tuple[str, ...]
    images: tuple[Known, ...]
    history: tuple[Epoch, ...]

    @property
    def head_was_solved(self) -> bool:
        """Whether its head was solved on frozen features, with the validation images at the end."""
        kept = self.metrics.kept
        return self.metrics.settings.solves_head or (kept is not None and kept.weight == 0)


def read(folder: str) -> Start:
    """Open the folder of a run to go on from.

    Raises:
        InputError: it holds no finished run, is damaged, or its model is two networks.
    """
    finished = prediction.load(folder)
    metrics = run_files.read_metrics(finished.folder)
    if not metrics.complete:
        raise InputError(f"{folder} is not finished; go on with --output {folder} --resume, then from it")
    if metrics.kept is not None and 0 < metrics.kept.weight < 1:
        raise InputError(
            f"{folder} holds two networks, the frozen and the trained one; train it again with "
            "--keep trained or --keep single to go on from it"
        )
    images = splits_file.read(finished.folder)
    return Start(finished.folder, metrics, finished.class_names, images, _history(finished.folder))


def with_network(start: Start, options: Options) -> Options:
    """The options, with the network of the run to go on from and, where it was trained, its head.

    A head that was solved has learnt from the validation images in the end. So it is solved again without
    them, as they have to judge the second stage; its shape is free.

    Raises:
        InputError: an option or a setting asks for another network or head.
    """
    of_run, usual = start.metrics.settings, Options()
    filled: dict[str, Any] = {}
    values = dict(options.settings)
    names = NETWORK if start.head_was_solved else (*NETWORK, "head")
    for name in names:
        given, known = getattr(options, name), getattr(of_run, name)
        if given not in (getattr(usual, name), known):
            raise InputError(
                f"{start.folder} was built with {_shown(name, known)}, not {_shown(name, given)}; "
                f"leave out --{name.replace('_', '-')}"
            )
        filled[name] = known
    if options.init == "random" or options.base_labels:
        raise InputError("--start-from has weights and a head; leave out --init random and --base-labels")
    if not start.head_was_solved:
        values = {**values, "head_start": values.get("head_start", "run")}
        for name, known in _shape_of_head(of_run).items():
            if values.get(name, known) != known:
                raise InputError(f"the head of {start.folder} was made for {name}={known}; leave out {name}")
            values[name] = known
    return replace(options, **filled, settings=values)


def same_splits(start: Start, data: Dataset) -> Dataset:
    """The images in the splits of the run to go on from, by their content.

    Raises:
        InputError: there are other classes, or images that the run does not know.
    """
    if data.class_names != start.class_names:
        raise InputError(
            f"{start.folder} tells {len(start.class_names)} classes, from {start.class_names[0]}, and "
            f"{data.source} has others; give the same DATA"
        )
    exactly = {(image.path, image.content): image.split for image in start.images}
    by_content = {image.content: image.split for image in start.images}
    splits, unknown = data.splits.copy(), []
    for position, path in enumerate(data.paths):
        try:
            content = bytes.fromhex(copies.content(path))
        except OSError:
            continue  # it will be left out, as all that cannot be read
        split = exactly.get((data.shown(path), content)) or by_content.get(content)
        if split is None:
            unknown.append(path)
        else:
            splits[position] = SPLITS.index(split)
    new = len(unknown) - len(images.find_unreadable(unknown, lambda done, all_of_them: None))
    if new or not np.isin(range(len(SPLITS)), splits).all():
        raise InputError(
            f"{new:,} images of {data.source} are not among those of {start.folder}; give the same DATA"
        )
    return replace(data, splits=splits, grey=start.metrics.settings.grey)


def joined(earlier: Sequence[Epoch], own: Sequence[Epoch]) -> tuple[Epoch, ...]:
    """One history of a run and of the one that it went on from.

    The head before the first step is the end of the earlier run, so it has no row again. A stage that solves
    a head, and takes no steps, is one epoch.

    Args:
        earlier: of the run before; empty where there was none.
        own: of this run.
    """
    if not earlier:
        return tuple(own)
    last = earlier[-1]
    rows = [row for row in own if row.epoch] or [replace(own[-1], epoch=1)]
    return (*earlier, *(replace(row, epoch=row.epoch + last.epoch, stage=last.stage + 1) for row in rows))


def _shape_of_head(settings: Settings) -> dict[str, Any]:
    """What the settings say of what a trained head sees, as they stand in JSON."""
    told = {"taps": list(settings.taps), "roots": settings.roots}
    told |= {"views": settings.views} if settings.views != ONE else {}
    return {**told, "pooling": settings.pooling} if settings.pooling in (MAXIMUM, FLATTEN) else told


def _shown(name: str, value: Any) -> str:
    return f"no --{name.replace('_', '-')}" if value is None else str(value)


def _history(folder: Path) -> tuple[Epoch, ...]:
    """history.csv of a run.

    Raises:
        InputError: it is missing or damaged.
    """
    kinds: dict[str, Any] = {
        field.name: {"int": int, "float": float, "str": str}[str(field.type)] for field in fields(Epoch)
    }
    with run_files.reading(folder, HISTORY), open_plain(folder / HISTORY) as file:
        content = file.read(LARGEST_HISTORY).decode("utf-8")
        found = list(csv.DictReader(io.StringIO(content)))
        if not found or not {"epoch", "phase", "loss"} <= set(found[0]) or None in found[0]:
            raise ValueError("is no history of epochs")
        try:
            return tuple(
                Epoch(**{name: kinds[name](value) for name, value in row.items() if name in kinds})
                for row in found
            )
        except TypeError:
            raise ValueError("is no history of epochs") from None
