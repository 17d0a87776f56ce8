"""What is done with each image on the way to its features, in this process or in a worker of a cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from advisor.data import copies, images, near_copies
from advisor.data.deep_grey import GreyRange
from advisor.evidence.forward import BATCH, Forward
from advisor.evidence.signed_root import signed_root
from advisor.evidence.views import View


@dataclass(frozen=True)
class Seen:
    """What one network sees of b images in one view.

    Attributes:
        averages: of each tap, float32 [b, width].
        cells: of each tap that is a map, float16 [b, width]; none unless they were asked for.
    """

    averages: list[np.ndarray]
    cells: list[np.ndarray]


@dataclass(frozen=True)
class Batch:
    """What some images gave.

    Attributes:
        at: int64 [b], positions of those that could be read; there may be none.
        seen: by each look; nothing where no image could be read.
        thumbnails: uint8 [b, 24, 24], as `near_copies` compares them.
        contents: uint8 [b, 32], the SHA-256 of each file.
        unreadable: positions of those that cannot be read, with the reason.
    """

    at: np.ndarray
    seen: list[Seen]
    thumbnails: np.ndarray
    contents: np.ndarray
    unreadable: dict[int, str]


@dataclass(frozen=True)
class Embedder:
    """Makes the function that goes through files; it can be pickled if its networks can.

    Attributes:
        looks: at each image: a view, what gives a frozen network of its size (see `forward.runner`), and how
            many of its outputs are averages over the whole picture; the others are cells.
        image_size: pixels of the square input.
        fit: one of `advisor.choices.FITS`.
        grey: the values of deep grey that are black and white.
        with_cells: whether the cells are wanted.
    """

    looks: tuple[tuple[View, Callable[[], Forward], int], ...]
    image_size: int
    fit: str
    grey: GreyRange | None
    with_cells: bool

    def __call__(self) -> Callable[[Sequence[str]], Iterator[Batch]]:
        """The function from paths to batches, which decodes a few batches ahead of its caller."""
        runs = [(view, network(), averages) for view, network, averages in self.looks]
        return functools.partial(self._batches, runs)

    def _batches(self, runs: list[tuple[View, Forward, int]], paths: Sequence[str]) -> Iterator[Batch]:
        contents: dict[str, bytes] = {}
        unreadable: dict[int, str] = {}
        load = _hashing(contents)
        how = unreadable.__setitem__, self.fit, self.grey, load
        for at, pixels in images.stream(paths, self.image_size, BATCH, *how):
            yield Batch(
                at=at,
                seen=[self._seen(run(view.of(pixels)), averages) for view, run, averages in runs],
                thumbnails=np.stack([near_copies.thumbnail(image) for image in pixels]),
                contents=np.stack([np.frombuffer(contents[paths[m]], np.uint8) for m in at]),
                unreadable=unreadable.copy(),
            )
            unreadable.clear()
        if unreadable:
            none: np.ndarray = np.empty(0, np.int64)
            yield Batch(none, [], none, none, unreadable)

    def _seen(self, outputs: list[np.ndarray], averages: int) -> Seen:
        cells = [_half(part) for part in outputs[averages:]] if self.with_cells else []
        return Seen(outputs[:averages], cells)


def _half(cells: np.ndarray) -> np.ndarray:
    """Roots in half precision, which averages of up to four thousand millions have."""
    most = np.finfo(np.float16).max
    return np.clip(signed_root(cells), -most, most).astype(np.float16)


def _hashing(contents: dict[str, bytes]) -> Callable[[str, int, str, GreyRange | None], np.ndarray]:
    """`images.load_square` that also writes down each file's SHA-256 by its path.

    A file is hashed right after it was decoded, in the same thread, while the operating system still has it
    in memory, so that its bytes come from the disk once.
    """

    def load(path: str, size: int, fit: str, grey: GreyRange | None) -> np.ndarray:
        pixels = images.load_square(path, size, fit, grey)
        try:
            contents[path] = bytes.fromhex(copies.content(path))
        except OSError as error:
            raise images.UnreadableImage(error.strerror or str(error)) from None
        return pixels

    return load
