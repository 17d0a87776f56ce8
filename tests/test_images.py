"""Files to pixels: every kind of image looks as in a viewer, or is refused with a reason."""

import json
import re
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import fuzzing
import image_bombs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image, ImageCms, ImageDraw, ImageOps

from advisor.data import codestreams, images, sources
from advisor.errors import InputError

RED, BLUE, WHITE, GREY = (200, 40, 30), (20, 60, 210), (255, 255, 255), (128, 128, 128)


def halves(mode: str = "RGB", size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Red on the left, blue on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image.convert(mode)


def colours(file) -> tuple[np.ndarray, np.ndarray]:
    """Of the left and the right quarter, RGB."""
    pixels = images.load_square(file, 40).astype(float)
    return pixels[:, 4:12].mean(axis=(0, 1)), pixels[:, -12:-4].mean(axis=(0, 1))


def save_animation(file):
    halves().save(file, save_all=True, append_images=[Image.new("RGB", (60, 40), WHITE)] * 2)


def save_rotated(file):
    """As a phone does that is held upright: turned pixels and a note."""
    exif = Image.Exif()
    exif[0x0112] = 6
    halves().transpose(Image.Transpose.ROTATE_90).save(file, exif=exif, quality=95)


def save_damaged_exif(file):
    halves().save(file, exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff garbage", quality=95)


def save_profile(file):
    halves().save(file, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


def save_damaged_profile(file):
    halves().save(file, icc_profile=b"no profile")


KINDS = {
    "plain.png": lambda file: halves().save(file),
    "plain.jpg": lambda file: halves().save(file, quality=95),
    "plain.bmp": lambda file: halves().save(file),
    "plain.ppm": lambda file: halves().save(file),
    "plain.jp2": lambda file: halves().save(file),
    "plain.webp": lambda file: halves().save(file, lossless=True),
    "plain.avif": lambda file: halves().save(file, quality=95),
    "wrong-ending.jpg": lambda file: halves().save(file, "PNG"),
    "no-ending": lambda file: halves().save(file, "PNG"),
    "animated.gif": save_animation,
    "animated.webp": save_animation,
    "animated.png": save_animation,
    "pages.tif": save_animation,
    "two-pictures.mpo": save_animation,
    "cmyk.jpg": lambda file: halves("CMYK").save(file, quality=95),
    "cmyk.tif": lambda file: halves("CMYK").save(file),
    "palette.png": lambda file: halves("P").save(file),
    "deflate.tif": lambda file: halves().save(file, compression="tiff_adobe_deflate"),
    "progressive.jpg": lambda file: halves().save(file, quality=95, progressive=True),
    "rotated.jpg": save_rotated,
    "damaged-exif.jpg": save_damaged_exif,
    "profile.jpg": save_profile,
    "damaged-profile.png": save_damaged_profile,
}


@pytest.mark.parametrize("name", KINDS)
def test_looks_as_in_a_viewer(name, tmp_path):
    KINDS[name](tmp_path / name)
    assert images.header(tmp_path / name).size in ((60, 40), (40, 60))
    left, right = colours(tmp_path / name)
    np.testing.assert_allclose(left, RED, atol=20)
    np.testing.assert_allclose(right, BLUE, atol=20)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation(orientation, tmp_path):
    """A viewer shows all eight alike."""
    stored = {
        1: lambda image: image,
        2: ImageOps.mirror,
        3: lambda image: image.rotate(180),
        4: ImageOps.flip,
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.transpose(Image.Transpose.ROTATE_90),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.transpose(Image.Transpose.ROTATE_270),
    }
    scene = halves()
    scene.paste(WHITE, (0, 0, 60, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("phone.png", "phone.tif"):
        stored[orientation](scene).save(tmp_path / name, exif=exif)
        np.testing.assert_array_equal(np.asarray(images.read(tmp_path / name)), np.asarray(scene))


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.full((40, 60), 128 * 257, np.uint16)),
        Image.fromarray(np.full((40, 60), 128 * 257, np.int32)),
        Image.fromarray(np.full((40, 60), 128 / 255, np.float32)),
        Image.fromarray(np.full((40, 60), 128.0, np.float32)),
        Image.new("L", (60, 40), 128),
    ],
    ids=["16 bit", "32 bit", "float 0..1", "float 0..255", "8 bit"],
)
def test_deep_grey_is_scaled(image, tmp_path):
    if image.mode in ("L", "I;16"):
        image.save(tmp_path / "grey.png")
        assert tuple(np.asarray(images.read(tmp_path / "grey.png"))[5, 5]) == GREY
    image.save(tmp_path / "grey.tif")
    assert tuple(np.asarray(images.read(tmp_path / "grey.tif"))[5, 5]) == GREY


def test_grey_of_odd_numbers_keeps_its_contrast(tmp_path):
    """Measurements outside 0..255, with a hole in them, as microscopes write them."""
    values = np.linspace(-5, 5, 40 * 60, dtype=np.float32).reshape(40, 60)
    values[0, 0] = np.nan
    Image.fromarray(values).save(tmp_path / "measured.tif")
    shown = np.asarray(images.read(tmp_path / "measured.tif"))
    assert (shown.min(), shown.max()) == (0, 255)


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("scale", [1, 255, 5000])
def test_a_pixel_that_is_no_number_changes_no_other(odd, scale, tmp_path):
    values = np.linspace(0, scale, 40 * 60, dtype=np.float32).reshape(40, 60)
    Image.fromarray(values).save(tmp_path / "whole.tif")
    values[20, 30] = odd
    Image.fromarray(values).save(tmp_path / "hole.tif")
    whole, hole = (np.asarray(images.read(tmp_path / name)).copy() for name in ("whole.tif", "hole.tif"))
    assert tuple(hole[20, 30]) == (WHITE if odd == np.inf else (0, 0, 0))
    hole[20, 30] = whole[20, 30]
    np.testing.assert_array_equal(hole, whole)


def test_grey_without_any_number(tmp_path):
    Image.fromarray(np.full((40, 60), np.nan, np.float32)).save(tmp_path / "empty.tif")
    assert not np.asarray(images.read(tmp_path / "empty.tif")).any()


@pytest.mark.parametrize(("kind", "largest"), [("P5", 100), ("P5", 4095), ("P6", 100), ("P6", 4095)])
def test_depths_that_are_no_powers_of_two(kind, largest, tmp_path):
    bands = 1 if kind == "P5" else 3
    values = np.random.default_rng(0).integers(0, largest + 1, (40, 60, bands))
    content = f"{kind} 60 40 {largest}\n".encode() + values.astype("u1" if largest < 256 else ">u2").tobytes()
    (tmp_path / "odd.ppm").write_bytes(content)
    shown = np.asarray(images.read(tmp_path / "odd.ppm"))
    np.testing.assert_array_equal(shown, np.broadcast_to((values / largest * 255).round(), shown.shape))
    (tmp_path / "odd.ppm").write_bytes(content[:-1])
    with pytest.raises(images.UnreadableImage, match="it ends too early"):
        images.read(tmp_path / "odd.ppm")


def test_bilevel(tmp_path):
    image = Image.new("1", (60, 40), 1)
    image.paste(0, (0, 0, 30, 40))
    image.save(tmp_path / "fax.tif")
    left, right = colours(tmp_path / "fax.tif")
    assert (tuple(left), tuple(right)) == ((0, 0, 0), WHITE)


def icon(mode: str = "RGBA") -> Image.Image:
    """A white disc on nothing."""
    image = Image.new(mode, (60, 60), (255,) * (len(mode) - 1) + (0,))
    ImageDraw.Draw(image).ellipse((10, 10, 50, 50), fill=(255,) * len(mode))
    return image


@pytest.mark.parametrize("size", [60, 3600])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_white_drawing_on_nothing_can_be_seen(mode, size, tmp_path):
    icon(mode).resize((size, size)).save(tmp_path / "icon.png")
    shown = np.asarray(images.read(tmp_path / "icon.png").resize((60, 60)))
    assert tuple(shown[30, 30]) == WHITE
    assert tuple(shown[2, 2]) == (0, 0, 0)


def test_nothing_at_all_stays_white(tmp_path):
    Image.new("RGBA", (20, 20), (255, 255, 255, 0)).save(tmp_path / "nothing.png")
    assert np.asarray(images.read(tmp_path / "nothing.png")).min() == 255


def test_later_pages_and_frames_are_told(tmp_path):
    pages = [halves(), halves(), halves()]
    for name in ("scan.tif", "film.gif", "film.webp", "film.png", "film.avif", "phone.mpo"):
        pages[0].save(tmp_path / name, save_all=True, append_images=[icon().convert("RGB").resize((60, 40))])
        assert images.header(tmp_path / name) == ((60, 40), True, False), name
        pages[0].save(tmp_path / f"one {name}")
        assert images.header(tmp_path / f"one {name}") == ((60, 40), False, False), name
    found = sources.unlabelled([str(tmp_path / "scan.tif"), str(tmp_path / "one scan.tif")], "scans")
    assert found.warnings[0].startswith("1 files have several pages or frames, as ")


def test_what_phones_write_is_read(tmp_path, monkeypatch):
    """HEIC by pillow-heif; without it the file is named with what to install."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    halves().save(tmp_path / "plain.heic", quality=95)
    for colour, found in zip((RED, BLUE), colours(tmp_path / "plain.heic"), strict=True):
        assert np.abs(found - colour).max() < 12
    whole = (tmp_path / "plain.heic").read_bytes()
    for cut in range(0, len(whole), 40):
        (tmp_path / "cut.heic").write_bytes(whole[:cut])
        with suppress(images.UnreadableImage):
            images.read(tmp_path / "cut.heic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(images.UnreadableImage, match=r"pip install 'transfer-advisor\[heic\]'"):
        images.header(tmp_path / "plain.heic")


@pytest.mark.parametrize(
    "name", ["palette.png", "palette.gif", "rgba.png", "grey.png", "rgba.webp", "key.png"]
)
def test_transparency_lies_on_white(name, tmp_path):
    image = halves("RGBA")
    image.paste((0, 0, 0, 0), (30, 0, 60, 40))
    if name == "palette.png":
        image = image.quantize(8)
    if name.startswith("grey"):
        image = image.convert("LA")
    if name.startswith("key"):
        solid = halves()
        solid.save(tmp_path / name, transparency=BLUE)
    else:
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    left, right = colours(tmp_path / name)
    np.testing.assert_allclose(right, WHITE, atol=3)
    assert left.max() < 210


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (3, 2), (5000, 300)])
def test_odd_shapes(size, tmp_path):
    Image.new("RGB", size, RED).save(tmp_path / "odd.png")
    square = images.load_square(tmp_path / "odd.png", 64)
    assert square.shape == (64, 64, 3)
    np.testing.assert_array_equal(square, np.broadcast_to(RED, square.shape))


def waves(mode: str, size: tuple[int, int]) -> Image.Image:
    """Soft colours that look alike however they are reduced."""
    across, down = (np.linspace(0, 2, side) for side in size)
    bands = [128 + 100 * np.sin(across[None] + down[:, None] * step) for step in (1, 2, 3)]
    image = Image.fromarray(np.stack(bands, -1).astype(np.uint8))
    if mode == "RGBA":
        image.putalpha(image.getchannel("G"))
    if mode == "P":
        return image.quantize(64)
    return image if mode == "RGBA" else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "I;16", "F"])
@pytest.mark.parametrize("size", [(901, 700), (700, 902)])
def test_large_pictures_are_reduced_strip_by_strip(mode, size, tmp_path, monkeypatch):
    if mode in ("I;16", "F"):
        grey = np.asarray(waves("L", size))
        image = Image.fromarray(
            grey.astype(np.uint16) * 257 if mode == "I;16" else grey.astype(np.float32) * 9
        )
    else:
        image = waves(mode, size)
    image.save(tmp_path / "picture.tif")
    whole = images.load_square(tmp_path / "picture.tif", 64).astype(int)
    assert images.read(tmp_path / "picture.tif", at_least=64).size == size
    monkeypatch.setattr(images, "LARGE_PIXELS", 1000)
    monkeypatch.setattr(images, "STRIP_PIXELS", 20_000)
    assert max(images.read(tmp_path / "picture.tif", at_least=64).size) == -(-max(size) // 3)
    assert np.abs(images.load_square(tmp_path / "picture.tif", 64) - whole).mean() < 1


@pytest.mark.parametrize("tile", [None, (128, 128)])
@pytest.mark.parametrize("width", range(801, 809))
def test_large_jpeg2000_is_decoded_at_a_fraction(width, tile, tmp_path, monkeypatch):
    scene = waves("RGB", (width, 640))
    scene.save(tmp_path / "scene.jp2", tile_size=tile)
    scene.save(tmp_path / "scene.png")
    assert images.header(tmp_path / "scene.jp2").size == (width, 640)
    assert images.read(tmp_path / "scene.jp2", at_least=64).size == (width, 640)
    monkeypatch.setattr(codestreams, "_MANY_PIXELS", 20_000)
    assert images.read(tmp_path / "scene.jp2", at_least=64).size == (-(-width // 8), 80)
    small, exact = (
        images.load_square(tmp_path / name, 64).astype(int) for name in ("scene.jp2", "scene.png")
    )
    assert np.abs(small - exact).max() <= 8
    assert images.read(tmp_path / "scene.jp2", at_least=400).size == (width, 640)


DECODE_ALL = """
import json, resource, sys, time
from pathlib import Path
from advisor.data import images
unit = 1e6 if sys.platform == "darwin" else 1e3
taken = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
found = {}
for file in sorted(Path(sys.argv[1]).iterdir()):
    before, began = taken(), time.perf_counter()
    try:
        images.load_square(file, 224)
        said = ""
    except images.UnreadableImage as error:
        said = str(error)
    found[file.name] = taken() - before, time.perf_counter() - began, said
print(json.dumps(found))
"""


def decode_all_in_a_process(folder: Path) -> dict[str, tuple[float, float, str]]:
    """MB of memory more than ever before, seconds, and what was said, by file name."""
    pytest.importorskip("resource")
    command = [sys.executable, "-c", DECODE_ALL, str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_bombs_take_little_memory_and_time(tmp_path):
    expected = image_bombs.write_all(tmp_path)
    found = decode_all_in_a_process(tmp_path)
    assert found.keys() == expected.keys()
    assert {name: said for name, (_, _, said) in found.items() if not re.search(expected[name], said)} == {}
    assert sum(memory for memory, _, _ in found.values()) < 1000
    assert max(seconds for _, seconds, _ in found.values()) < 10


def test_what_cameras_and_scanners_write_is_read(tmp_path):
    Image.new("RGB", (11_600, 8_700), RED).save(tmp_path / "camera.jpg", quality=50)
    Image.new("RGB", (7_800, 7_800), RED).save(tmp_path / "scanner.png", compress_level=1)
    Image.new("L", (12_000, 12_000), 90).save(tmp_path / "scanner.tif", compression="packbits")
    found = decode_all_in_a_process(tmp_path)
    assert [said for _, _, said in found.values()] == ["", "", ""]
    assert sum(memory for memory, _, _ in found.values()) < 1000


def test_a_long_header_is_read(tmp_path):
    """As panoramas and edited photographs have them."""
    comment = b"\xff\xfe" + (60_002).to_bytes(2, "big") + bytes(60_000)
    content = image_bombs.saved(halves(), "JPEG", quality=95)
    (tmp_path / "edited.jpg").write_bytes(content[:2] + comment * 50 + content[2:])
    left, right = colours(tmp_path / "edited.jpg")
    np.testing.assert_allclose(left, RED, atol=20)
    np.testing.assert_allclose(right, BLUE, atol=20)
    assert images.header(tmp_path / "edited.jpg").size == (60, 40)


@pytest.mark.parametrize("tag", ["t278", "t322"])
@pytest.mark.parametrize("length", [-1e300, 0.5])
def test_a_length_that_is_no_whole_number_is_refused(tag, length, tmp_path, monkeypatch):
    """Its price would be negative, and then no memory be left for any later image."""
    monkeypatch.setattr(images, "_memory", images._SharedMemory(1000))
    tags = {"t322": 16, "t323": 16} if tag == "t322" else {}
    content = image_bombs.tiff_file(40, 40, **{**tags, tag: (12, 1, struct.pack("<d", length))})
    (tmp_path / "odd.tif").write_bytes(content)
    with pytest.raises(images.UnreadableImage, match="where a length belongs"):
        images.read(tmp_path / "odd.tif")


def test_a_reason_is_short_and_one_line(tmp_path):
    content = image_bombs.tiff_file(40, 40, t278=(7, 3000, b"a profile\n" * 300))
    (tmp_path / "profile.tif").write_bytes(content)
    with pytest.raises(images.UnreadableImage, match=r"damaged header \(.{1,100}\)$"):
        images.read(tmp_path / "profile.tif")


def test_large_images_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_memory", images._SharedMemory(1000))
    inside, most = [], []
    upright = images._upright

    def watched(image):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()
        return upright(image)

    monkeypatch.setattr(images, "_upright", watched)
    halves().save(tmp_path / "large.png")
    threads = [threading.Thread(target=images.read, args=(tmp_path / "large.png",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1, 1]


def test_stream_leaves_out_what_cannot_be_read(tmp_path):
    for i in range(10):
        Image.new("RGB", (9, 9), (i, i, i)).save(tmp_path / f"{i}.png")
    (tmp_path / "4.png").write_bytes(b"")
    paths = [str(tmp_path / f"{i}.png") for i in range(10)]
    found: dict[int, str] = {}
    batches = list(images.stream(paths, 8, 3, found.__setitem__))
    assert np.concatenate([at for at, _ in batches]).tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert np.concatenate([pixels[:, 0, 0, 0] for _, pixels in batches]).tolist() == [
        0,
        1,
        2,
        3,
        5,
        6,
        7,
        8,
        9,
    ]
    assert found == {4: "the file is empty"}
    assert images.find_unreadable(paths, lambda done, total: None) == found


def test_decode_all(tmp_path):
    for i in range(5):
        Image.new("RGB", (9, 9), (i, i, i)).save(tmp_path / f"{i}.png")
    paths = [str(tmp_path / f"{i}.png") for i in range(5)]
    pixels = images.decode_all(paths, 8, tmp_path / "all.npy")
    assert pixels.shape == (5, 8, 8, 3)
    assert pixels[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    (tmp_path / "3.png").unlink()
    assert images.decode_all(paths, 8, tmp_path / "all.npy")[3, 0, 0, 0] == 3  # decoded already
    with pytest.raises(InputError, match=r"3\.png changed during the run .*--resume"):
        images.decode_all(paths, 8, tmp_path / "new.npy")
    assert not (tmp_path / "new.npy").exists()
    assert not list(tmp_path.glob(".*"))


NEGATIVE = b"{'descr': '|u1', 'fortran_order': False, 'shape': (-5, 8, 8, 3)}"


@pytest.mark.parametrize("header", [b"", b"{[]: 1}", b"(", NEGATIVE, None])
def test_damaged_pixels_are_decoded_again(header, tmp_path):
    content = b"PK\3\4"
    if header is not None:
        content = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    halves().save(tmp_path / "1.png")
    (tmp_path / "all.npy").write_bytes(content)
    assert images.decode_all([str(tmp_path / "1.png")], 8, tmp_path / "all.npy").shape == (1, 8, 8, 3)


SEEDS = [
    "plain.png",
    "plain.jpg",
    "plain.webp",
    "plain.avif",
    "animated.gif",
    "pages.tif",
    "plain.jp2",
    "cmyk.jpg",
    "plain.bmp",
    "plain.ppm",
    "palette.png",
    "rotated.jpg",
    "deflate.tif",
    "progressive.jpg",
    "animated.webp",
    "animated.png",
    "two-pictures.mpo",
    "profile.jpg",
]


def fuzz(name: str, examples: int, folder: Path) -> None:
    """Bytes changed, cut out and put in at random: pixels, or a reason; never another error."""
    file = folder / name
    KINDS[name](file)

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(fuzzing.changed(file.read_bytes()))
    def check(content):
        file.write_bytes(content)
        try:
            pixels = images.load_square(file, 16)
        except images.UnreadableImage:
            return
        assert pixels.shape == (16, 16, 3)

    check()


@pytest.mark.parametrize("name", SEEDS)
def test_damaged_files_decode_or_are_refused(name, tmp_path):
    fuzz(name, 40, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEDS)
def test_fuzzed_files_decode_or_are_refused(name, tmp_path):
    fuzz(name, 1000, tmp_path)
