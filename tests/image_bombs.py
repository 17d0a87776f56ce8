"""Pictures from strangers: small files that claim much, each with what is to be said of it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

SIDE = 14_000  # 196 megapixels, under the limit that holds for any format
PIXELS = "the limit for this kind of"
HEADER = "MB are read before its pixels"


def write_all(folder: Path) -> dict[str, str]:
    """Write the files; a pattern of what is to be said of each by its name, "" where it may be read."""
    said = {}
    for maker in (jpeg2000, webp, avif, tiff, png, jpeg, others):
        for name, content, reason in maker():
            (folder / name).write_bytes(content)
            said[name] = reason
    with (folder / "sparse.webp").open("wb") as file:  # zeros that an archive holds in a few kilobytes
        file.write(b"RIFF\xff\xff\xff\x0fWEBPVP8X")
        file.truncate(150_000_000)
    return said | {"sparse.webp": HEADER}


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def replaced(content: bytes, after: bytes, skipped: int, new: bytes) -> bytes:
    """Other bytes at a distance from the end of the first place where `after` stands."""
    at = content.index(after) + len(after) + skipped
    return content[:at] + new + content[at + len(new) :]


def jpeg2000() -> Iterator[tuple[str, bytes, str]]:
    colour = Image.new("RGB", (64, 64), (200, 40, 30))

    def claiming(content: bytes, tile: int = SIDE, side: int = SIDE) -> bytes:
        content = replaced(content, b"ihdr", 0, struct.pack(">2I", side, side))
        return replaced(content, b"\xff\x51", 4, struct.pack(">8I", side, side, 0, 0, tile, tile, 0, 0))

    plain = saved(colour, "JPEG2000")
    unreduced = saved(colour, "JPEG2000", num_resolutions=1)
    yield "large.jp2", claiming(plain), ""
    yield "unreduced.jp2", claiming(unreduced), PIXELS
    yield "many-tiles.jp2", claiming(plain, tile=10), "MB of memory"
    yield "two-sizes.jp2", replaced(plain, b"\xff\x51", 4, struct.pack(">2I", SIDE, SIDE)), "two sizes"
    small_blocks = saved(colour, "JPEG2000", num_resolutions=1, codeblock_size=(4, 4))
    yield "small-blocks.jp2", claiming(small_blocks, 5000, 5000), "MB of memory"
    style = small_blocks[small_blocks.index(b"\xff\x52") :][:14]
    part, data = unreduced.index(b"\xff\x90"), unreduced.index(b"\xff\x93")
    length = struct.pack(">I", int.from_bytes(unreduced[part + 6 : part + 10], "big") + len(style))
    overruled = unreduced[: part + 6] + length + unreduced[part + 10 : data] + style + unreduced[data:]
    yield "tile-overrules.jp2", claiming(overruled, 5000, 5000), "MB of memory"
    yield "components.jp2", replaced(plain, b"\xff\x51", 36, b"\x3f\xff"), "components|not an image"
    yield "layers.jp2", replaced(plain, b"\xff\x52", 4, b"\xff\xff"), "layers"


def webp() -> Iterator[tuple[str, bytes, str]]:
    side = (SIDE - 1) | (SIDE - 1) << 14
    plain = saved(Image.new("RGB", (64, 64), (200, 40, 30)), "WEBP", lossless=True)
    yield "large.webp", replaced(plain, b"VP8L", 5, struct.pack("<I", side)), PIXELS
    frames = {"save_all": True, "append_images": [Image.new("RGBA", (64, 64))]}
    animated = saved(Image.new("RGBA", (64, 64), (200, 40, 30, 9)), "WEBP", lossless=True, **frames)
    edge = struct.pack("<I", SIDE - 1)[:3]
    yield "canvas.webp", replaced(animated, b"VP8X", 8, edge + edge), PIXELS


def avif() -> Iterator[tuple[str, bytes, str]]:
    small = saved(Image.new("RGB", (64, 64), (200, 40, 30)), "AVIF", speed=10)
    yield "large.avif", replaced(small, b"ispe", 4, struct.pack(">2I", SIDE, SIDE)), PIXELS
    large = saved(Image.new("RGB", (3000, 3000), (200, 40, 30)), "AVIF", speed=10)
    yield "two-sizes.avif", replaced(large, b"ispe", 4, struct.pack(">2I", 64, 64)), "two sizes"


def tiff_file(width: int, height: int, depth: int = 32, pieces: int = 1, **tags: object) -> bytes:
    """A grey floating-point TIFF, deflated, whose strips all lie in the same place.

    Args:
        tags: more tags, or others, as "t" and the number: a number, or (type, count, bytes).
    """
    strip = zlib.compress(bytes(-(-height // pieces) * width * depth // 8), 9) if height < 20_000 else b""
    entries: dict[int, object] = {256: width, 257: height, 258: depth, 259: 8, 262: 1, 277: 1, 339: 3}
    entries |= {278: -(-height // pieces), 273: (4, pieces, struct.pack("<I", 8) * pieces)}
    entries |= {279: (4, pieces, struct.pack("<I", len(strip)) * pieces)}
    entries |= {int(name[1:]): value for name, value in tags.items()}
    start = 8 + len(strip)
    far, directory = b"", struct.pack("<H", len(entries))
    behind = start + 2 + 12 * len(entries) + 4
    for tag, value in sorted(entries.items()):
        kind, count, content = value if isinstance(value, tuple) else (4, 1, struct.pack("<I", value))
        if len(content) > 4:
            far, content = far + content, struct.pack("<I", behind + len(far))
        directory += struct.pack("<HHI", tag, kind, count) + content.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<I", start) + strip + directory + bytes(4) + far


def tiff() -> Iterator[tuple[str, bytes, str]]:
    yield "float.tif", tiff_file(SIDE, SIDE, pieces=1000), PIXELS
    yield "one-strip.tif", tiff_file(8000, 8000), PIXELS
    yield "long.tif", tiff_file(40, 2_097_152), "1,000,000 on a side"
    tile = (4, 1, struct.pack("<I", 8))
    yield "large-tile.tif", tiff_file(40, 40, t322=20_000, t323=20_000, t324=tile, t325=tile), "MB of memory"
    numbers = bytes(12_000_000)
    yield "depths.tif", tiff_file(40, 40, t258=(3, len(numbers) // 2, numbers)), HEADER
    yield "resolution.tif", tiff_file(40, 40, t282=(5, 1_000_000, bytes(range(1, 201)) * 40_000)), HEADER
    # The EXIF directory lies at the end and holds one long list of numbers: it is read with the pixels.
    content = tiff_file(40, 40, t34665=0)
    exif = struct.pack("<HHHII", 1, 33434, 5, len(numbers) // 8, len(content) + 18) + bytes(4) + numbers
    entry = struct.pack("<HHI", 34665, 4, 1)
    yield "exif.tif", replaced(content, entry, 0, struct.pack("<I", len(content))) + exif, "is no pixels"


def png_file(width: int, height: int, colour: int = 6, before: bytes = b"", after: bytes = b"") -> bytes:
    header = struct.pack(">2I5B", width, height, 8, colour, 0, 0, 0)
    pixels = zlib.compress(bytes((4 * width + 1) * min(height, 100)))
    end = chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + after + end


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png() -> Iterator[tuple[str, bytes, str]]:
    text = chunk(b"tEXt", b"a\0" + bytes(12_000_000))
    inflating = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(30_000_000), 9))
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(30_000_000), 9))
    yield "large.png", png_file(SIDE, SIDE), PIXELS
    yield "long.png", png_file(1, 199_000_000), "1,000,000 on a side"
    yield "text.png", png_file(60, 60, before=text), HEADER
    yield "late-text.png", png_file(60, 60, after=text), "is no pixels"
    yield "private.png", png_file(60, 60, after=chunk(b"prIv", bytes(900_000)) * 12), "is no pixels"
    yield "inflating.png", png_file(60, 60, before=inflating), "damaged"
    yield "late-inflating.png", png_file(60, 60, after=inflating), "damaged"
    yield "profile.png", png_file(60, 60, before=profile), "damaged"


def jpeg() -> Iterator[tuple[str, bytes, str]]:
    small = saved(Image.new("RGB", (64, 64), (200, 40, 30)), "JPEG", progressive=True, subsampling=0)
    size = struct.pack(">2H", SIDE, SIDE)
    yield "progressive-colours.jpg", replaced(small, b"\xff\xc2", 3, struct.pack(">2H", 4000, 50_000)), PIXELS
    small = saved(Image.new("RGB", (64, 64), (200, 40, 30)), "JPEG", progressive=True)
    scan = small[small.rindex(b"\xff\xda") : -2]
    yield "scans.jpg", replaced(small, b"\xff\xc2", 3, size)[:-2] + scan * 100 + b"\xff\xd9", "scans"
    exif = b"\xff\xe1" + struct.pack(">H", 60_008) + b"Exif\0\0" + bytes(60_000)
    yield "exif.jpg", small[:2] + exif * 300 + small[2:], HEADER


def others() -> Iterator[tuple[str, bytes, str]]:
    animation = (
        b"GIF89a" + struct.pack("<2H", SIDE, SIDE) + b"\0\0\0,\0\0\0\0" + struct.pack("<2H", SIDE, SIDE)
    )
    yield "large.gif", animation + b"\0\x02\x01\0;", PIXELS
    yield "text.ppm", b"P3 4000 4000 255 " + b"1 " * 100_000, PIXELS
    yield "odd.ppm", b"P6 4000 4000 200 " + bytes(100_000), "damaged or truncated"
    yield "float.ppm", b"Pf 14000 14000 -1.0 ", PIXELS
    yield "comment.ppm", b"P6 #" + b"a" * 10_000_000, HEADER
    header = struct.pack("<3I2H6I", 40, 8000, 8000, 1, 8, 1, 0, 0, 0, 256, 0)
    yield "runs.bmp", b"BM" + struct.pack("<3I", 0, 0, 1078) + header + bytes(range(256)) * 4, PIXELS
    yield (
        "header.bmp",
        b"BM" + struct.pack("<3I", 0, 0, 1078) + b"\xff\xff\xff\x7f" + bytes(20_000_000),
        HEADER,
    )
