"""What a picture costs to decode: found out from its header, before memory is spent on its pixels.

Files come from strangers, and a kilobyte can claim gigabytes. So every picture has a price in bytes: the most
that decoding it and turning it into RGB take at once. One that costs more than `MEMORY` is refused. How many
pixels that allows depends on what a format's decoder holds beside them:

| format | most pixels |
|---|---|
| any | 200 million, and a million on a side |
| JPEG | 200 million, as cameras write it (4:2:0); 75 million where the shorter side is under 4,096 |
| PNG, BMP, GIF, PPM, TIFF | 170 million of one byte, 106 million of colour or floating point |
| TIFF in one compressed piece | 60 million of colour, for the piece is held beside the pixels |
| JPEG 2000 | 200 million; 35 million of colour where the shorter side is under 4,096 and there are no tiles |
| WebP, AVIF, HEIC | 42 million |
| PPM as text, BMP with run lengths | 2.5 million, for their decoders are slow |

What is in a file beside the pixels (profiles, EXIF, XMP, comments) counts, too, and may take 8 MB; a WebP or
AVIF file 100 MB.
"""

from __future__ import annotations

from typing import BinaryIO

from PIL import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from advisor.data.codestreams import Codestream, av1_sizes, read_at, read_jpeg2000

# What all pictures that are being decoded may take together, in bytes.
MEMORY = 850_000_000
# Twice what a 100-megapixel camera takes.
MAX_PIXELS = 200_000_000
MAX_SIDE = 1_000_000
# Decoders in Python take a microsecond for each number: a few seconds, not minutes.
SLOW_DECODERS = ("ppm_plain", "bmp_rle")
MAX_SLOW_PIXELS = 2_500_000
# Each scan of a progressive JPEG passes over all pixels, in a nanosecond each, and may be but 300 bytes long.
# An honest one has a dozen.
MOST_SCANS = 20
MOST_SCANNED_PIXELS = 5_000_000_000
# No backbone takes a larger square, so decoding at a fraction of a picture's size keeps this many pixels.
LARGEST_SQUARE = 2048

READ_WHOLE = ("WEBP", "AVIF", "HEIF")  # their files are read before anything is decoded
# For each pixel of these. Measured: 16 of WebP with transparency or several frames; 13 of AVIF with
# 8 bits a colour, whose planes are twice as large with 12.
_WHOLE_BYTES = 20

# What may be read before the pixels: of an ordinary file, and of one with long profiles or comments.
SHORT_HEADER = 500_000
LONG_HEADER = 8_000_000
# A tag of numbers in a TIFF becomes a list of numbers, or of tiles, in Python: so many times as large.
_HEADER_GROWS = 75
# WebP and AVIF files are read whole, and copied twice.
SHORT_FILE = 8_000_000
LONG_FILE = 100_000_000
_FILE_GROWS = 3
# At once; a damaged length would have the whole file read.
LARGEST_READ = 16_000_000
UNLIMITED = 1 << 60


class TooExpensive(ValueError):
    """Decoding takes too much; the message says what the limit is."""


def most_read(file: BinaryIO) -> tuple[int, int]:
    """How many bytes may be read before the pixels: of an ordinary file, and of one that is read alone."""
    start = read_at(file, 0, 12)
    if start[8:12] == b"WEBP" or start[4:8] == b"ftyp":
        return SHORT_FILE, LONG_FILE
    return SHORT_HEADER, LONG_HEADER


def most_read_with_pixels(image: ImageFile.ImageFile, file: BinaryIO, header: int) -> int:
    """How many bytes may be read while the pixels are, where metadata can be among them."""
    if image.format == "PNG" and file.seek(0, 2) > LONG_HEADER:
        start = position = image.tile[0].offset - 8
        while (chunk := read_at(file, position, 8))[4:] == b"IDAT":
            position += 12 + int.from_bytes(chunk[:4], "big")
        return position - start + LONG_HEADER
    if isinstance(image, TiffImageFile):
        own = 0 if decoder(image) == "libtiff" else 4 * _decoded_bytes(image) + LARGEST_READ
        return own + header
    return UNLIMITED


def check(image: ImageFile.ImageFile, file: BinaryIO, header: int) -> Codestream | None:
    """Refuse what takes too much to decode.

    Args:
        image: opened, not loaded.
        file: where it is read from.
        header: bytes of it that were read already.

    Returns:
        The headers of a JPEG 2000 file, else None.

    Raises:
        TooExpensive: with the limit.
        ValueError: damaged.
    """
    width, height = image.size
    pixels = width * height
    if pixels > MAX_PIXELS or max(width, height) > MAX_SIDE:
        limit = f"{MAX_PIXELS:,} pixels" if pixels > MAX_PIXELS else f"{MAX_SIDE:,} on a side"
        raise TooExpensive(f"{width} x {height} pixels; the limit is {limit}")
    asked = f"{width} x {height} pixels; the limit for this kind of {image.format}"
    if decoder(image) in SLOW_DECODERS and pixels > MAX_SLOW_PIXELS:
        raise TooExpensive(f"{asked} is {MAX_SLOW_PIXELS:,} pixels; save it as PNG")
    codestream = None
    if image.format == "JPEG2000":
        codestream = read_jpeg2000(file)
        if codestream.size != image.size:
            raise ValueError("it has two sizes")
    elif image.format == "AVIF" and any(a * b > 2 * pixels + 1_000_000 for a, b in av1_sizes(file)):
        raise ValueError("it has two sizes")
    own = decoding_bytes(image, codestream, LARGEST_SQUARE)
    grows = _FILE_GROWS if image.format in READ_WHOLE else _HEADER_GROWS
    metadata = grows * header if header > SHORT_HEADER else 0
    if own + metadata > MEMORY:
        most = MEMORY * pixels // own
        reason = f"{asked} is {most:,} pixels"
        if metadata or most < 10_000_000:  # it is not for its pixels
            needed = (own + metadata) / 1e6
            reason = f"decoding it takes {needed:,.0f} MB of memory; the limit is {MEMORY / 1e6:.0f} MB"
        raise TooExpensive(f"{reason}; make it smaller or save it as JPEG")
    return codestream


def check_scans(image: JpegImageFile, file: BinaryIO) -> None:
    """Refuse a progressive JPEG that would take minutes. Not in `check`, for the whole file is read.

    Raises:
        TooExpensive: with the limit.
    """
    if "progressive" not in image.info:
        return
    most = max(MOST_SCANS, MOST_SCANNED_PIXELS // (image.width * image.height))
    file.seek(0)
    scans = sum(part.count(b"\xff\xda") for part in iter(lambda: file.read(LARGEST_READ), b""))
    if scans > most:
        raise TooExpensive(f"{scans} scans; the limit for a progressive JPEG of its size is {most}")


def decoding_bytes(image: ImageFile.ImageFile, codestream: Codestream | None, at_least: int) -> int:
    """The most that decoding and converting to RGB take at once, in bytes.

    Args:
        image: opened, not loaded.
        codestream: of a JPEG 2000 file.
        at_least: pixels that the shorter side needs, see `advisor.data.images.read`.
    """
    if codestream:
        return codestream.decoding_bytes(at_least)
    width, height = image.size
    pixels = width * height
    if isinstance(image, JpegImageFile):
        # Progressive files, and those with a scan for each colour, are held whole: two bytes a coefficient.
        blocks = [(across, down) for _, across, down, _ in image.layer]
        unit = max(across for across, _ in blocks) * max(down for _, down in blocks)
        padded = (width + 32) * (height + 32)
        coefficients = 2 * padded * sum(across * down for across, down in blocks) // unit
        return coefficients + 8 * pixels // jpeg_fraction(image, at_least) ** 2
    if image.format in READ_WHOLE:
        return _WHOLE_BYTES * pixels
    kept = _decoded_bytes(image)
    piece = _piece_bytes(image) if isinstance(image, TiffImageFile) else 0
    return piece + kept + max(kept, 4 * pixels)


def jpeg_fraction(image: ImageFile.ImageFile, at_least: int) -> int:
    """A JPEG is decoded at 1 / this of its size: 1, 2, 4 or 8."""
    possible = min(image.size) // at_least
    return next(fraction for fraction in (8, 4, 2, 1) if fraction <= max(1, possible))


def decoder(image: ImageFile.ImageFile) -> str:
    """What Pillow calls it; of WebP and AVIF there is none yet."""
    return image.tile[0].codec_name if image.tile else ""


def _decoded_bytes(image: ImageFile.ImageFile) -> int:
    each = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    # Rows begin at whole words, and each has a pointer.
    return image.height * (8 + (image.width * each + 3) // 4 * 4)


def _piece_bytes(image: TiffImageFile) -> int:
    """The strip or tile that is inflated before it is copied to its place; twice, for some decoders do."""
    tags = image.tag_v2
    if decoder(image) != "libtiff":
        return 0
    depths = [_whole(depth) for depth in tags.get(258, (1,))]
    samples = _whole(tags.get(277, 1))
    bits = max(
        32 if tags.get(262) == 6 else 0, sum(depths) if len(depths) == samples else max(depths) * samples
    )
    if 322 in tags or 323 in tags:
        across, down = _whole(tags[322]), _whole(tags[323])
    else:
        across, down = tags[256], min(_whole(tags.get(278, tags[257])), tags[257])
    return 2 * across * down * bits // 8


def _whole(value: object) -> int:
    """A length in a tag, which may also be negative, have a fraction or be no number."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{value} where a length belongs")
    return value
