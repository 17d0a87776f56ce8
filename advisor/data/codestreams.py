"""What JPEG 2000 and AV1 say of their pixels, where their decoders read it.

Pillow looks at the boxes around a code stream. The decoders believe the stream, which may say something else.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

# Markers, items and the like in one file; honest ones have hundreds.
_MOST_PARTS = 200_000
# From here on JPEG 2000 is decoded at a fraction of its size.
_MANY_PIXELS = 10_000_000


@dataclass(frozen=True)
class Codestream:
    """What a JPEG 2000 file says of its pixels, where the decoder reads it.

    Args:
        size: width and height in pixels.
        shifted: whether the picture begins elsewhere than at the origin of its grid.
        components: colours.
        bits: of the deepest component.
        tile: width and height in pixels, no more than the picture's.
        tiles: how many.
        levels: how often the size can be halved while decoding.
        blocks: for each pixel of a component, that are held as objects of their own.
    """

    size: tuple[int, int]
    shifted: bool
    components: int
    bits: int
    tile: tuple[int, int]
    tiles: int
    levels: int
    blocks: float

    def halvings(self, at_least: int) -> int:
        """How often a large picture is halved while decoding; its shorter side keeps `at_least` pixels."""
        width, height = self.size
        halvings = 0
        # No further than needed, for the decoder's halves are shifted by a part of a pixel.
        while width * height >> 2 * halvings > _MANY_PIXELS and min(self.size) >> halvings + 1 >= at_least:
            halvings += 1
        return 0 if self.shifted else min(self.levels, halvings)  # Pillow mistakes the place of shifted tiles

    def reduce(self, image: Jpeg2KImageFile, at_least: int) -> None:
        """Have `image` decoded at a fraction of its size."""
        step = 1 << self.halvings(at_least)
        # Pillow rounds to the nearest where the decoder rounds up.
        image._size = -(-image.width // step) * step, -(-image.height // step) * step
        image.reduce = self.halvings(at_least)

    def decoding_bytes(self, at_least: int) -> int:
        """As for other formats, see above."""
        halvings = self.halvings(at_least)
        width, height = self.size
        across, down = self.tile
        # Integers of 32 bits, the bytes that are made of them, then the picture, its rows, and its RGB.
        for_each = self.components * (4 + (4 if self.bits > 16 else (self.bits + 7) // 8))
        decoded = (across * down * for_each + width * height * 8) >> 2 * halvings
        blocks = int(600 * self.blocks * self.components * across * down)
        return decoded + blocks + 12_000 * self.tiles + 24 * height


def read_jpeg2000(file: BinaryIO) -> Codestream:
    """Read the headers of a JPEG 2000 file, those of all its tiles included, for they may overrule the first.

    Raises:
        ValueError: it is damaged or of a kind that is not read.
    """
    if read_at(file, 0, 4) != b"\xff\x4f\xff\x51":
        _find_codestream(file)
    start = file.tell() - 4
    size: bytes = b""
    styles = []
    for kind, content in _segments(file, start + 2):
        if kind == 0x51:
            if size:
                raise ValueError("two sizes")
            size = content
        elif kind == 0x52:
            styles.append((content[5:], content[0] & 1, content[2:4]))
        elif kind == 0x53:
            styles.append((content[2:], content[1] & 1, b""))
    if not styles:
        raise ValueError("no coding style")
    return _codestream(size, styles)


def _codestream(size: bytes, styles: list[tuple[bytes, int, bytes]]) -> Codestream:
    _, right, bottom, left, top, across, down, tile_left, tile_top, components = struct.unpack_from(
        ">H8IH", size
    )
    if not 1 <= components <= 4 or len(size) < 36 + 3 * components:
        raise ValueError(f"{components} components")
    if not (left < right and top < bottom and across and down and tile_left <= left and tile_top <= top):
        raise ValueError("no pixels")
    levels, blocks = 32, 0.0
    for style, own_precincts, layers in styles:
        if layers and int.from_bytes(layers, "big") > 1000:
            raise ValueError("more than 1,000 layers")
        levels = min(levels, style[0])
        precincts = style[5 : 6 + style[0]] if own_precincts else b"\xff" * (style[0] + 1)
        blocks = max(blocks, _blocks(style[1] + 2, style[2] + 2, precincts))
    columns, rows = -(-(right - tile_left) // across), -(-(bottom - tile_top) // down)
    width, height = right - left, bottom - top
    return Codestream(
        size=(width, height),
        shifted=bool(left or top),
        components=components,
        bits=max(depth & 0x7F for depth in size[36 : 36 + 3 * components : 3]) + 1,
        tile=(min(across, width), min(down, height)),
        tiles=columns * rows,
        levels=levels,
        blocks=blocks,
    )


def _blocks(wide: int, high: int, precincts: bytes) -> float:
    """How many for each pixel, in all resolutions from the smallest: powers of two of their largest sides."""
    found = 0.0
    for halved, precinct in enumerate(reversed(precincts)):
        across, down = min(wide, (precinct & 15) - 1), min(high, (precinct >> 4) - 1)
        found += 0.25**halved / 2.0 ** (across + down)
    return found


def _find_codestream(file: BinaryIO) -> None:
    """To the first byte after the four that begin the code stream inside the boxes of a .jp2 file."""
    for kind, start, _ in boxes(file, 0, file.seek(0, 2)):
        if kind == b"jp2c":
            if read_at(file, start, 4) != b"\xff\x4f\xff\x51":
                break
            return
    raise ValueError("no code stream")


def _segments(file: BinaryIO, position: int) -> Iterator[tuple[int, bytes]]:
    """Kinds and contents of the marker segments of the main header and of all parts of tiles."""
    part = 0
    for _ in range(_MOST_PARTS):
        marker = read_at(file, position, 2)
        if marker in (b"", b"\xff\xd9"):
            return
        if marker[0] != 0xFF or len(marker) < 2:
            raise ValueError("damaged code stream")
        if marker[1] == 0x93:  # the data of a part of a tile
            if part <= position:
                return  # the last part, of unknown length
            position, part = part, 0
            continue
        length = int.from_bytes(file.read(2), "big")
        content = file.read(length - 2) if length > 2 else b""
        if len(content) < max(1, length - 2):
            return  # truncated: the decoder says so
        if marker[1] == 0x90:
            part_length = int.from_bytes(content[2:6], "big")
            part = position + part_length if part_length else 0
        yield marker[1], content
        position += 2 + length
    raise ValueError("too many parts")


# ---------------------------------------------------------------------------------------------------
# AV1, in AVIF


def av1_sizes(file: BinaryIO) -> Iterator[tuple[int, int]]:
    """Width and height of all coded pictures of an AVIF file's items, and of the first of each of its tracks.

    Raises:
        ValueError: it is damaged.
    """
    parts = 0
    for coded in _av1_data(file):
        for kind, content in _units(coded):
            parts += 1
            if parts > _MOST_PARTS:
                raise ValueError("too many parts")
            if kind == 1:
                yield _sequence_size(_Bits(content))


def _av1_data(file: BinaryIO) -> Iterator[bytes]:
    rest = end = file.seek(0, 2)
    for kind, start, stop in boxes(file, 0, end):
        extents: Iterator[list[tuple[int, int]]] = iter(())
        if kind == b"meta":
            extents = _item_extents(file, start + 4, stop)
        elif kind == b"moov":
            extents = _first_samples(file, start, stop)
        for places in extents:
            coded = b"".join(read_at(file, position, min(length, rest + 1)) for position, length in places)
            rest -= len(coded)
            if rest < 0:
                raise ValueError("items lie on one another")
            yield coded


def _item_extents(file: BinaryIO, start: int, stop: int) -> Iterator[list[tuple[int, int]]]:
    """Where the AV1 items of a "meta" box lie: position and length of their pieces."""
    inner = {kind: (first, last) for kind, first, last in boxes(file, start, stop)}
    if b"iloc" not in inner or b"iinf" not in inner:
        return
    first, last = inner[b"iinf"]
    coded = set()
    for _, at, end in boxes(file, first + (6 if read_at(file, first, 1) == b"\0" else 8), last):
        entry = _Bits(read_at(file, at, min(end - at, 16)))
        version = entry.take(32) >> 24
        number = entry.take(32 if version > 2 else 16)
        if entry.take(48) & 0xFFFFFFFF == int.from_bytes(b"av01", "big"):
            coded.add(number)
    first, last = inner[b"iloc"]
    table = _Bits(read_at(file, first, min(last - first, 8_000_000)))
    version = table.take(32) >> 24
    offset_size, length_size, base_size, index_size = (8 * table.take(4) for _ in range(4))
    for _ in range(table.take(32 if version == 2 else 16)):
        number = table.take(32 if version == 2 else 16)
        inside = table.take(16) & 15 if version else 0
        table.take(16)
        base = table.take(base_size) + (inner.get(b"idat", (0, 0))[0] if inside == 1 else 0)
        places = []
        for _ in range(table.take(16)):
            table.take(index_size if version else 0)
            offset = table.take(offset_size)
            places.append((base + offset, table.take(length_size) or stop))
        if number in coded:
            yield places


def _first_samples(file: BinaryIO, start: int, stop: int) -> Iterator[list[tuple[int, int]]]:
    """Where the first picture of each track of a "moov" box lies."""
    for kind, first, last in boxes(file, start, stop):
        if kind in (b"trak", b"mdia", b"minf"):
            yield from _first_samples(file, first, last)
        elif kind == b"stbl":
            inner = {kind: first for kind, first, _ in boxes(file, first, last)}
            if not inner.keys() >= {b"stsz"} or not inner.keys() & {b"stco", b"co64"}:
                continue
            sizes = read_at(file, inner[b"stsz"], 16)
            length = int.from_bytes(sizes[4:8], "big") or int.from_bytes(sizes[12:16], "big")
            if b"stco" in inner:
                position = int.from_bytes(read_at(file, inner[b"stco"] + 8, 4), "big")
            else:
                position = int.from_bytes(read_at(file, inner[b"co64"] + 8, 8), "big")
            yield [(position, length)]


def _units(coded: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each open bitstream unit."""
    position = 0
    while position < len(coded):
        header = coded[position]
        position += 2 if header & 4 else 1
        length = len(coded) - position
        if header & 2:
            length = shift = 0
            while position < len(coded):
                length |= (coded[position] & 127) << shift
                shift, position = shift + 7, position + 1
                if coded[position - 1] < 128 or shift > 56:
                    break
        yield header >> 3 & 15, coded[position : min(position + length, position + 1000)]
        position += length


def _sequence_size(bits: _Bits) -> tuple[int, int]:
    """The largest width and height that a sequence header, AV1 specification 5.5, announces."""
    bits.take(4)
    if bits.take(1):  # a still picture with a short header
        bits.take(5)
    else:
        delay = _timing(bits) if bits.take(1) else 0
        initial = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delay and bits.take(1):
                bits.take(2 * delay + 1)
            if initial and bits.take(1):
                bits.take(4)
    across, down = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(across) + 1, bits.take(down) + 1


def _timing(bits: _Bits) -> int:
    """Past the timing; returns the bits of a decoder's delays, 0 if none are given."""
    bits.take(64)
    if bits.take(1):  # a number after as many zeros as it has bits
        zeros = 0
        while zeros < 32 and not bits.take(1):
            zeros += 1
        bits.take(zeros)
    if not bits.take(1):
        return 0
    delay = bits.take(5) + 1
    bits.take(42)
    return delay


class _Bits:
    """Numbers of any count of bits, from the front."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._position = 0

    def take(self, count: int) -> int:
        first, last = self._position // 8, -(-(self._position + count) // 8)
        if last > len(self._content):
            raise ValueError("it ends too early")
        self._position += count
        found = int.from_bytes(self._content[first:last], "big")
        return found >> 8 * last - self._position & (1 << count) - 1


# ---------------------------------------------------------------------------------------------------
# Boxes: both


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start of the content and end of each box between two places of a file."""
    for _ in range(_MOST_PARTS):
        if start + 8 > end:
            return
        header = read_at(file, start, 16)
        length, content = int.from_bytes(header[:4], "big"), start + 8
        if length == 1:
            length, content = int.from_bytes(header[8:16], "big"), start + 16
        stop = end if length == 0 else start + length
        if not content <= stop <= end:
            stop = end  # truncated
        yield header[4:8], content, stop
        start = stop
    raise ValueError("too many parts")


def read_at(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)
