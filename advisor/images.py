"""Files to pixels: the one place that decodes and resizes."""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from advisor.errors import InputError
from advisor.storage import replacing

# Twice what a 100-megapixel camera takes. More is refused by its header, before memory is spent on it.
MAX_PIXELS = 200_000_000
# From here on images are decoded one at a time, so that threads cannot fill the memory together.
LARGE_PIXELS = 30_000_000
_one_large = threading.Lock()

# What cameras, scanners and browsers write. Not Pillow's whole list: it hands EPS files to Ghostscript,
# an interpreter, whatever they are called.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit raises two kinds of warnings; ours gives a reason
# Once and for all, for `warnings.catch_warnings` does not work in threads.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


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
        image = Image.open(path, formats=FORMATS)
    except UnreadableImage:
        raise
    except Image.UnidentifiedImageError:
        if Path(path).suffix.lower() in (".heic", ".heif"):
            raise UnreadableImage("HEIC cannot be read; convert it to JPEG") from None
        raise UnreadableImage("not an image, or of an unknown format") from None
    except OSError as error:
        raise UnreadableImage(error.strerror or str(error)) from None
    except Exception as error:  # Pillow's plug-ins raise nearly anything on hostile headers
        raise UnreadableImage(f"damaged header ({error})") from None
    if not image.width * image.height:
        image.close()
        raise UnreadableImage("it has no pixels")
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise UnreadableImage(f"{image.width} x {image.height} pixels; the limit is {MAX_PIXELS:,} pixels")
    return image


def read(path: str | Path, at_least: int | None = None) -> Image.Image:
    """Decode one image to RGB the way a viewer shows it.

    The first frame of an animation or page of a document; turned as its EXIF orientation says;
    transparency on white; 16-bit and floating-point grey scaled to 8 bits. Colour profiles are ignored,
    as in the pipelines that backbones were trained with.

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
            with _one_large if image.width * image.height > LARGE_PIXELS else nullcontext():
                image.load()
                return _to_rgb(_upright(image))
        except Exception as error:  # as above: a decoder's errors are of many kinds
            raise UnreadableImage(f"damaged or truncated ({error})") from None


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says, if it can be read: viewers show an image with damaged EXIF, too."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # as above
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _deep_grey_to_rgb(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


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


def find_unreadable(paths: Sequence[str], progress: Callable[[int, int], None]) -> dict[int, str]:
    """Decode files to see whether that works: the reason by position for each that cannot be decoded."""
    reasons: dict[int, str] = {}
    for positions, _ in stream(paths, 8, 64, reasons.__setitem__):
        progress(int(positions[-1]) + 1, len(paths))
    return reasons


def changed(path: str, reason: str) -> str:
    """What to tell a user whose files were readable when a run began."""
    way_out = "put it back and add --resume, or start again with --overwrite"
    return f"{path} changed during the run ({reason}); {way_out}"


def decode_all(
    paths: Sequence[str], size: int, file: Path, progress: Callable[[int, int], None] | None = None
) -> np.ndarray:
    """Decode images once into a file that is mapped into memory, so that epochs do not decode again.

    The operating system keeps in memory what fits there; a data set of any size needs no more.

    Args:
        paths: n files.
        size: pixels of the sides, see `load_square`.
        file: an .npy file to write; an existing one of the right shape is used as it is.
        progress: called with images done and images to do.

    Returns:
        uint8 [n, size, size, 3].

    Raises:
        InputError: a file that could be read before is gone or damaged now.
    """
    shape = (len(paths), size, size, 3)
    try:
        pixels = np.load(file, mmap_mode="r", allow_pickle=False)
        if pixels.shape == shape and pixels.dtype == np.uint8:
            return pixels
    except (OSError, ValueError, EOFError):
        pass

    def refuse(position: int, reason: str) -> None:
        raise InputError(changed(paths[position], reason))

    # Written, not mapped: on a full disk a mapped file kills the process, a written one says so.
    with replacing(file) as unfinished, unfinished.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for positions, batch in stream(paths, size, 64, refuse):
            out.write(batch.data)
            if progress:
                progress(int(positions[-1]) + 1, len(paths))
    return np.load(file, mmap_mode="r", allow_pickle=False)
