"""Files to pixels: the one place that decodes and resizes.

Files come from strangers, so what decoding one can cost is found out from its header, and what costs too much
is refused: `advisor.data.image_costs` says how many pixels each format may have. All threads
share its memory.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from PIL import ExifTags, Image, ImageFile
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile
from PIL.JpegImagePlugin import JpegImageFile

from advisor.choices import CROP
from advisor.data import deep_grey, image_costs
from advisor.data.codestreams import Codestream
from advisor.data.deep_grey import Grey, GreyRange
from advisor.data.image_costs import LARGEST_SQUARE
from advisor.errors import InputError
from advisor.system import devices
from advisor.system.storage import replacing

# What cameras, scanners and browsers write. Not Pillow's whole list: it hands EPS files to Ghostscript,
# an interpreter, whatever they are called.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")

HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")  # of single images; not of films

# From here on a picture is reduced while it is converted, so that its RGB is never whole in memory.
LARGE_PIXELS = 10_000_000
STRIP_PIXELS = 1_000_000
GLANCE, LEAST_CONTRAST = 256, 2.0  # pixels of the sides, and grey levels of standard deviation
GREY = 128  # what images are padded with, where not with a colour of their own

Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit raises two kinds of warnings; ours gives a reason
# In pieces that the allocator gives back: of 16 MB, as is usual, it keeps a gigabyte for the threads.
Image.core.set_block_size(1 << 26)
# Once and for all, for `warnings.catch_warnings` does not work in threads.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class UnreadableImage(ValueError):
    """A file that cannot be decoded; the message is the reason, without the path."""


class _SharedMemory:
    """Bytes that pictures may take together, whatever thread decodes them."""

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, amount: int) -> Iterator[None]:
        """Wait until that much is free; more than there is means all of it."""
        amount = min(amount, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()


_memory = _SharedMemory(image_costs.MEMORY)


class _TooMuchRead(Exception):
    """A header, or what is in a file beside its pixels, is longer than allowed."""


class _PictureFile(io.BufferedReader):
    """Gives out no more bytes than it may, whatever lengths a header claims."""

    allowed = image_costs.UNLIMITED

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= image_costs.LARGEST_READ:
            size = self.allowed + 1 if size is None or size < 0 else image_costs.LARGEST_READ
        content = super().read(min(size, self.allowed + 1))
        self.allowed -= max(len(content), 64)  # so that reading byte by byte does not take forever
        if self.allowed < 0:
            raise _TooMuchRead("too much in it is no pixels")
        return content


class _Picture(NamedTuple):
    """An open image whose pixels have not been read.

    Args:
        image: as Pillow sees it.
        file: where it is read from.
        codestream: of a JPEG 2000 file.
    """

    image: ImageFile.ImageFile
    file: _PictureFile
    codestream: Codestream | None


class Header(NamedTuple):
    """What the header of a file says.

    Attributes:
        size: width and height, pixels.
        has_more: whether there are more pages or frames than the one that is used.
        is_deep: whether its grey values have more than 8 bits.
    """

    size: tuple[int, int]
    has_more: bool
    is_deep: bool


def header(path: str | Path) -> Header:
    """What a file's header says; no pixels are decoded.

    Raises:
        UnreadableImage: empty, not an image, or one that takes too much memory to decode.
    """
    with _opened(path) as picture:
        return Header(picture.image.size, _has_more(picture.image), deep_grey.is_deep(picture.image))


def _has_more(image: ImageFile.ImageFile) -> bool:
    """Whether there is a second page or frame, as far as that can be found out at little cost."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # of damaged frames, and where too much would have to be read for it
        return False


class Origin(NamedTuple):
    """What a file says of where it is from.

    Args:
        format: that it has, whatever its name ends in.
        camera: that EXIF names; empty where it names none.
        size: width and height in pixels.
        taken: when, by the clock of the camera, in seconds from the beginning of 1970 on; None where EXIF
            does not say it.
    """

    format: str
    camera: str
    size: tuple[int, int]
    taken: float | None


def origin(path: str | Path) -> Origin:
    """What a file says of where it is from.

    Raises:
        UnreadableImage: see `header`.
    """
    with _opened(path) as picture:
        image = picture.image
        try:
            exif = image.getexif()
            named = [str(exif.get(tag, "")) for tag in (ExifTags.Base.Make, ExifTags.Base.Model)]
            taken = _seconds(exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal))
        except Exception:  # as below: EXIF may be damaged in any way
            named, taken = [], None
        camera = " ".join(" ".join(named).replace("\0", " ").split())
        return Origin(image.format or "", camera, image.size, taken)


def _seconds(time: object) -> float | None:
    """A time as EXIF writes it, in seconds from the beginning of 1970 on, whatever the zone."""
    try:
        return datetime.strptime(str(time).strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


@contextmanager
def _opened(path: str | Path, at_least: int | None = None) -> Iterator[_Picture]:
    """A picture, and where `at_least` says of what size the memory that decoding it takes."""
    try:
        if not os.path.getsize(path):  # before it is opened, for a named pipe would wait
            raise UnreadableImage("the file is empty")
        raw = open(path, "rb", buffering=0)  # noqa: SIM115  _PictureFile closes it
    except OSError as error:
        raise UnreadableImage(error.strerror or str(error)) from None
    with _PictureFile(raw) as file:
        try:
            picture = _open(file, long=False)
        except _TooMuchRead:
            pass
        else:
            with picture.image, _memory.reserve(_price(picture, at_least)):
                yield picture
            return
        # Alone, for what a long header becomes in Python is many times as large.
        with _memory.reserve(image_costs.MEMORY):
            try:
                picture = _open(file, long=True)
            except _TooMuchRead as error:
                raise UnreadableImage(str(error)) from None
            with picture.image:
                yield picture


def _price(picture: _Picture, at_least: int | None) -> int:
    return 0 if at_least is None else image_costs.decoding_bytes(picture.image, picture.codestream, at_least)


def _open(file: _PictureFile, long: bool) -> _Picture:
    allowed = 0
    try:
        file.allowed = image_costs.UNLIMITED
        allowed = image_costs.most_read(file)[long]
        file.seek(0)
        file.allowed = allowed
        image = Image.open(file, formats=(*FORMATS, *_heif_where_it_is_one(file)))
        header = allowed - file.allowed
        file.allowed = image_costs.UNLIMITED
        codestream = image_costs.check(image, file, header)
        file.allowed = image_costs.most_read_with_pixels(image, file, allowed)
    except _TooMuchRead:
        reason = f"more than {allowed / 1e6:.0f} MB are read before its pixels; save it without metadata"
        raise _TooMuchRead(reason) from None
    except image_costs.TooExpensive as error:
        raise UnreadableImage(str(error)) from None
    except Image.UnidentifiedImageError:
        if Path(os.fsdecode(file.name)).suffix.lower() in (".heic", ".heif"):
            raise UnreadableImage(
                "HEIC needs pillow-heif: pip install 'transfer-advisor[heic]', or convert it to JPEG"
            ) from None
        raise UnreadableImage("not an image, or of an unknown format") from None
    except OSError as error:
        raise UnreadableImage(error.strerror or _short(error)) from None
    except Exception as error:  # Pillow's plug-ins raise nearly anything on hostile headers
        raise UnreadableImage(f"damaged header ({_short(error)})") from None
    return _Picture(image, file, codestream)


def _heif_where_it_is_one(file: _PictureFile) -> tuple[str, ...]:
    """The format HEIF, if a file begins as one and pillow-heif is there to read it."""
    start = file.read(12)
    file.seek(0)
    if start[4:8] != b"ftyp" or start[8:12] not in HEIF_BRANDS:
        return ()
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return ()
    register_heif_opener()
    return ("HEIF",)


def _short(error: Exception) -> str:
    """What an exception says, in one line: Pillow's may hold a piece of the file."""
    return " ".join(str(error).split())[:100]


def grey_values(path: str | Path) -> Grey | None:
    """The values of deep grey in a file; None where it has none, or cannot be decoded."""
    try:
        with _opened(path, LARGEST_SQUARE) as picture:
            odd = image_costs.decoder(picture.image) == "ppm"  # states its own white, see `_of_odd_depth`
            return None if odd or not deep_grey.is_deep(picture.image) else deep_grey.values(picture.image)
    except Exception:  # as in `read`, which says why
        return None


def read(path: str | Path, at_least: int = LARGEST_SQUARE, grey: GreyRange | None = None) -> Image.Image:
    """Decode one image to RGB the way a viewer shows it.

    The first frame of an animation or page of a document; turned as its EXIF orientation says;
    transparency on white, or on black where white would leave nothing to see; grey of more than 8 bits scaled
    to 8. Colour profiles are ignored, as in the pipelines that backbones were trained with.

    Args:
        path: the file.
        at_least: pixels that the shorter side needs, 1 to `LARGEST_SQUARE`. JPEG and JPEG 2000 are decoded at
            a fraction of their size where that leaves so many, and large pictures are reduced to no less than
            three times as many.
        grey: the values of deep grey that are black and white; None for what the file looks like.

    Raises:
        UnreadableImage: empty, truncated, not an image, or one that takes too much memory to decode.
    """
    with _opened(path, at_least) as picture:
        image = picture.image
        try:
            if isinstance(image, JpegImageFile):
                image_costs.check_scans(image, picture.file)
                image.draft("RGB", (at_least, at_least))
            if picture.codestream and isinstance(image, Jpeg2KImageFile):
                picture.codestream.reduce(image, at_least)
            if image_costs.decoder(image) == "ppm":
                return _to_rgb(_of_odd_depth(image, picture.file), at_least, None)
            image.load()
            return _to_rgb(_upright(image), at_least, grey)
        except image_costs.TooExpensive as error:
            raise UnreadableImage(str(error)) from None
        except Exception as error:  # as above: a decoder's errors are of many kinds
            raise UnreadableImage(f"damaged or truncated ({_short(error)})") from None


_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says, if it can be read: viewers show an image with damaged EXIF, too."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # as above
        turn = None
    if turn is None:
        return image
    turned = image.transpose(turn)
    image.close()  # two at once are enough
    return turned


def _of_odd_depth(image: ImageFile.ImageFile, file: _PictureFile) -> Image.Image:
    """A PPM whose largest number is none of 1, 255 and 65535, which Pillow takes a minute for in Python."""
    _, largest = cast(tuple[str, int], image.tile[0].args)
    depth = np.dtype(">u1" if largest < 256 else ">u2")
    shades = np.arange(256**depth.itemsize) / largest * 255
    shades = shades.round().clip(0, 255).astype(np.uint8)
    pixels = np.empty((image.height, image.width * len(image.getbands())), np.uint8)
    file.seek(image.tile[0].offset)
    for row in pixels:
        content = file.read(row.size * depth.itemsize)
        if len(content) < row.size * depth.itemsize:
            raise ValueError("it ends too early")
        row[:] = shades[np.frombuffer(content, depth)]
    shape = (image.height, image.width, -1) if len(image.getbands()) > 1 else (image.height, image.width)
    return Image.fromarray(pixels.reshape(shape), "L" if image.mode == "I" else image.mode)


def _to_rgb(image: Image.Image, at_least: int, grey: GreyRange | None) -> Image.Image:
    """In strips, so that only the picture and its RGB are whole in memory; large pictures are reduced."""
    width, height = image.size
    large = width * height > LARGE_PIXELS
    factor = max(1, min(image.size) // (3 * at_least)) if large else 1
    if image.mode == "RGB" and "transparency" not in image.info and factor == 1:
        return image
    shades = (grey or _shades(image)) if deep_grey.is_deep(image) else None
    behind = _behind(image)
    if not large:
        return _strip_to_rgb(image, shades, behind)
    result = Image.new("RGB", (-(-width // factor), -(-height // factor)))
    for top, strip in _strips(image, factor):
        result.paste(_strip_to_rgb(strip, shades, behind).reduce(factor), (0, top // factor))
    return result


def _strips(image: Image.Image, factor: int = 1) -> Iterator[tuple[int, Image.Image]]:
    """The first row and the pixels of each part, whole multiples of `factor` rows."""
    rows = max(1, STRIP_PIXELS // image.width // factor) * factor
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _is_transparent(image: Image.Image) -> bool:
    """Whether parts of it may be."""
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _behind(image: Image.Image) -> str:
    """The colour that transparency is put on: white, or black for white drawings on nothing."""
    if deep_grey.is_deep(image) or not _is_transparent(image):
        return "white"
    size = min(image.width, GLANCE), min(image.height, GLANCE)
    small = image.resize(size, Image.Resampling.NEAREST).convert("RGBA")

    def contrast(colour: str) -> float:
        return float(np.asarray(_on(colour, small).convert("L")).std())

    return "black" if contrast("white") < LEAST_CONTRAST < contrast("black") else "white"


def _on(colour: str, image: Image.Image) -> Image.Image:
    """An RGBA image on a colour."""
    return Image.alpha_composite(Image.new("RGBA", image.size, colour), image).convert("RGB")


def _strip_to_rgb(image: Image.Image, shades: GreyRange | None, behind: str) -> Image.Image:
    if shades:
        return deep_grey.to_rgb(image, shades)
    if _is_transparent(image):
        return _on(behind, image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _shades(image: Image.Image) -> GreyRange:
    """What is black and what is white in an image of deep grey, by itself."""
    if image.mode.startswith("I;16"):
        return 0.0, 65535.0
    low, high = np.inf, -np.inf
    for _, strip in _strips(image):
        grey = np.asarray(strip)
        grey = grey[np.isfinite(grey)]
        if grey.size:
            low, high = min(low, grey.min()), max(high, grey.max())
    return deep_grey.usual_range(image, float(low), float(high))


def load_square(path: str | Path, size: int, fit: str = CROP, grey: GreyRange | None = None) -> np.ndarray:
    """Decode an image and make it a square, scaled bicubically with antialiasing.

    Args:
        path: the file.
        size: pixels of the sides.
        fit: one of `advisor.choices.FITS`.
        grey: see `read`.

    Returns:
        uint8 [size, size, 3], RGB.

    Raises:
        UnreadableImage: see `read`.
    """
    image = read(path, size, grey)
    if fit.startswith("pad:"):
        return _padded(image, size, fit.removeprefix("pad:"))
    side = min(image.size)
    across, down = (side, side) if fit == CROP else image.size
    left, top = (image.width - across) // 2, (image.height - down) // 2
    box = (left, top, left + across, top + down)
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box, reducing_gap=3.0))


def _padded(image: Image.Image, size: int, colour: str) -> np.ndarray:
    """The longer side scaled to `size`; the rest has the mean colour of the sides beside it, or is grey."""
    scale = size / max(image.size)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    pixels = np.asarray(image.resize(inner, Image.Resampling.BICUBIC, reducing_gap=3.0))
    ends = pixels[[0, -1]] if image.width > image.height else pixels[:, [0, -1]]
    fill = ends.mean(axis=(0, 1)).round() if colour == "border" else GREY
    square = np.empty((size, size, 3), np.uint8)
    square[:] = fill
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    square[top : top + inner[1], left : left + inner[0]] = pixels
    return square


def stream(
    paths: Sequence[str],
    size: int,
    batch_size: int,
    unreadable: Callable[[int, str], None],
    fit: str = CROP,
    grey: GreyRange | None = None,
    load: Callable[[str, int, str, GreyRange | None], np.ndarray] = load_square,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Decode images in order, in threads, a few batches ahead of the caller; memory stays flat.

    Args:
        paths: the files.
        size: pixels of the sides, see `load_square`.
        batch_size: images in each batch but the last.
        unreadable: called with position in `paths` and reason for each file that cannot be decoded.
        fit: one of `advisor.choices.FITS`.
        grey: see `read`.
        load: called in the threads as `load_square` is, and raises what that raises.

    Yields:
        Positions in `paths` [b] and pixels uint8 [b, size, size, 3].
    """
    threads = devices.cpus()
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[np.ndarray]] = deque()
        positions: list[int] = []
        pixels: list[np.ndarray] = []
        submitted = 0
        try:
            for position in range(len(paths)):
                while submitted < len(paths) and len(ahead) < 2 * batch_size + threads:
                    ahead.append(pool.submit(load, paths[submitted], size, fit, grey))
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
    paths: Sequence[str],
    size: int,
    file: Path,
    progress: Callable[[int, int], None] | None = None,
    fit: str = CROP,
    grey: GreyRange | None = None,
) -> np.ndarray:
    """Decode images once into a file that is mapped into memory, so that epochs do not decode again.

    The operating system keeps in memory what fits there; a data set of any size needs no more.

    Args:
        paths: n files.
        size: pixels of the sides, see `load_square`.
        file: an .npy file to write; an existing one of the right shape is used as it is.
        progress: called with images done and images to do.
        fit: one of `advisor.choices.FITS`.
        grey: see `read`.

    Returns:
        uint8 [n, size, size, 3].

    Raises:
        InputError: a file that could be read before is gone or damaged now.
    """
    shape = (len(paths), size, size, 3)
    try:
        pixels = np.lib.format.open_memmap(file, mode="r")
        if pixels.shape == shape and pixels.dtype == np.uint8:
            return pixels
    except Exception:  # none, or damaged, of which NumPy raises nearly anything
        pass

    def refuse(position: int, reason: str) -> None:
        raise InputError(changed(paths[position], reason))

    # Written, not mapped: on a full disk a mapped file kills the process, a written one says so.
    with replacing(file) as unfinished, unfinished.open("wb") as out:
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for positions, batch in stream(paths, size, 64, refuse, fit, grey):
            out.write(batch.data)
            if progress:
                progress(int(positions[-1]) + 1, len(paths))
    return np.load(file, mmap_mode="r", allow_pickle=False)
