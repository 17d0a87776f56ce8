"""Files to pixels: the one place that decodes and resizes."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from advisor.storage import replacing

# Twice what a 100-megapixel camera takes. More is refused by its header, before memory is spent on it.
MAX_PIXELS = 200_000_000

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit raises two kinds of warnings; ours gives a reason


class UnreadableImage(ValueError):
    """A file that cannot be decoded; the message is the reason, without the path."""


def measure(path: str | Path) -> tuple[int, int]:
    """Width and height in pixels, from the header alone.

    Raises:
        UnreadableImage: empty, not an image, or more than `MAX_PIXELS`.
    """
    with _open(path) as image:
        return image.size


def _open(path: str | Path) -> Image.Image:
    try:
        if os.path.getsize(path) == 0:
            raise UnreadableImage("the file is empty")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(path)
    except UnreadableImage:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableImage("not an image that Pillow can read") from None
    except OSError as error:
        raise UnreadableImage(error.strerror or str(error)) from None
    except Exception as error:  # Pillow's plug-ins raise nearly anything on hostile headers
        raise UnreadableImage(f"damaged header ({error})") from None
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise UnreadableImage(f"{image.width} x {image.height} pixels; the limit is {MAX_PIXELS:,} pixels")
    return image


def read(path: str | Path, at_least: int | None = None) -> Image.Image:
    """Decode one image to RGB the way a viewer shows it.

    The first frame of an animation; turned as its EXIF orientation says; transparency on white;
    16-bit and floating-point grey scaled to 8 bits.

    Args:
        path: the file.
        at_least: pixels that the shorter side needs; lets JPEG be decoded at a fraction of its size.

    Raises:
        UnreadableImage: empty, truncated, not an image, or more than `MAX_PIXELS`.
    """
    with _open(path) as image:
        try:
            if at_least is not None:
                image.draft("RGB", (at_least, at_least))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
        except Exception as error:  # as above: a decoder's errors are of many kinds
            raise UnreadableImage(f"damaged or truncated ({error})") from None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image.copy()
    if image.mode.startswith(("I", "F")):
        return _deep_grey_to_rgb(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    """Pillow would clip 16-bit, 32-bit and floating-point grey at 255: scale instead."""
    grey = np.nan_to_num(np.asarray(image, dtype=np.float32))
    low, high = float(grey.min()), float(grey.max())
    if image.mode.startswith("I;16") or (image.mode == "I" and low >= 0 and 255 < high <= 65535):
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 1 and image.mode == "F":
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    scaled = (grey - low) * (255.0 / max(high - low, 1e-12))
    return Image.fromarray(scaled.round().astype(np.uint8), "L").convert("RGB")


def load_square(path: str | Path, size: int) -> np.ndarray:
    """Decode, scale the shorter side to `size` (bicubic, antialiased) and cut out the centre.

    Returns:
        uint8 [size, size, 3], RGB.

    Raises:
        UnreadableImage: see `read`.
    """
    image = read(path, at_least=size)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box, reducing_gap=3.0))


def stream(
    paths: Sequence[str],
    size: int,
    batch_size: int,
    unreadable: Callable[[int, str], None],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Decode images in order, in threads, a few batches ahead of the caller; memory stays flat.

    Args:
        paths: the files.
        size: pixels of the sides, see `load_square`.
        batch_size: images in each batch but the last.
        unreadable: called with position in `paths` and reason for each file that cannot be decoded.

    Yields:
        Positions in `paths` [b] and pixels uint8 [b, size, size, 3].
    """
    threads = os.cpu_count() or 1
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[np.ndarray]] = deque()
        positions: list[int] = []
        pixels: list[np.ndarray] = []
        submitted = 0
        try:
            for position in range(len(paths)):
                while submitted < len(paths) and len(ahead) < 2 * batch_size + threads:
                    ahead.append(pool.submit(load_square, paths[submitted], size))
                    submitted += 1
                try:
                    pixels.append(ahead.popleft().result())
                    positions.append(position)
                except UnreadableImage as error:
                    unreadable(position, str(error))
                if len(pixels) == batch_size:
                    yield np.array(positions), np.stack(pixels)
                    positions, pixels = [], []
            if pixels:
                yield np.array(positions), np.stack(pixels)
        finally:
            pool.shutdown(cancel_futures=True)


def decode_all(
    paths: Sequence[str], size: int, file: Path, progress: Callable[[int, int], None] | None = None
) -> tuple[np.ndarray, dict[int, str]]:
    """Decode images once into a file that is mapped into memory, so that epochs do not decode again.

    The operating system keeps in memory what fits there; a data set of any size needs no more.

    Args:
        paths: n files.
        size: pixels of the sides, see `load_square`.
        file: an .npy file to write; an existing one of the right shape is used as it is.
        progress: called with images done and images to do.

    Returns:
        uint8 [n, size, size, 3], and the reason by position for each file that could not be decoded.
    """
    shape = (len(paths), size, size, 3)
    try:
        pixels = np.load(file, mmap_mode="r", allow_pickle=False)
        if pixels.shape == shape and pixels.dtype == np.uint8:
            return pixels, {}
    except (OSError, ValueError, EOFError):
        pass
    unreadable: dict[int, str] = {}
    with replacing(file) as unfinished:
        written = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.uint8, shape=shape)
        for positions, batch in stream(paths, size, 64, unreadable.__setitem__):
            written[positions] = batch
            if progress:
                progress(int(positions[-1]) + 1, len(paths))
        written.flush()
        del written
    return np.load(file, mmap_mode="r", allow_pickle=False), unreadable
