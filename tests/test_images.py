"""Files to pixels: every kind of image looks as in a viewer, or is refused with a reason."""

import threading
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from advisor import images
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
    assert images.measure(tmp_path / name) in ((60, 40), (40, 60))
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
    stored[orientation](scene).save(tmp_path / "phone.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(images.read(tmp_path / "phone.png")), np.asarray(scene))


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


def test_bilevel(tmp_path):
    image = Image.new("1", (60, 40), 1)
    image.paste(0, (0, 0, 30, 40))
    image.save(tmp_path / "fax.tif")
    left, right = colours(tmp_path / "fax.tif")
    assert (tuple(left), tuple(right)) == ((0, 0, 0), WHITE)


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


def test_large_images_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "LARGE_PIXELS", 100)
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


SEEDS = [
    "plain.png",
    "plain.jpg",
    "plain.webp",
    "plain.avif",
    "animated.gif",
    "pages.tif",
    "plain.jp2",
    "cmyk.jpg",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEDS)
def test_fuzzed_files_decode_or_are_refused(name, tmp_path):
    """Bytes changed, cut out and put in at random: pixels, or a reason; never another error."""
    file = tmp_path / name
    KINDS[name](file)
    good = file.read_bytes()
    changes = st.lists(
        st.tuples(st.integers(0, len(good)), st.integers(0, 8), st.binary(max_size=8)), min_size=1, max_size=8
    )

    @settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
    @given(changes)
    def fuzz(edits):
        content = bytearray(good)
        for place, removed, added in edits:
            content[place : place + removed] = added
        file.write_bytes(content)
        try:
            pixels = images.load_square(file, 16)
        except images.UnreadableImage:
            return
        assert pixels.shape == (16, 16, 3)

    fuzz()
