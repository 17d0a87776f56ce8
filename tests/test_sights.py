"""What the network sees in images: names, typical and strange images, and the map of all."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import re
from pathlib import Path

import made_up
import numpy as np
import pytest
from PIL import Image

import advisor
from advisor import backbones
from advisor.backbones import imagenet_classes
from advisor.data import sources
from advisor.data.dataset import Dataset
from advisor.evidence import sights
from advisor.report import image_map, page
from advisor.report.rendering import html as filled

HOSTILE = ("</style><script>alert(1)</script>", '" onmouseover="alert(2)', "url(javascript:alert(3))")


def draw(folder: Path, classes: tuple[str, ...], each: int, size: int = 16) -> Dataset:
    generator = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = generator.integers(0, 255, (size, size, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return sources.load(str(folder))


class Tags(html.parser.HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))


def test_there_is_a_name_for_each_output() -> None:
    names = imagenet_classes.names()
    assert len(set(names)) == 1000
    assert (names[0], names[309], names[985], names[999]) == ("tench", "bee", "daisy", "toilet tissue")


def test_the_published_classifier_is_that_of_the_model() -> None:
    bundled = backbones.load(backbones.BUNDLED)
    assert bundled.classifier is not None
    for read, built in zip(
        bundled.classifier, bundled.model.get_layer("predictions").get_weights(), strict=True
    ):
        assert (read == built).all()


def test_ants_and_bees_look_like_ants_and_bees(real_data: Path) -> None:
    advice = advisor.recommend(str(real_data / "hymenoptera"), sample=60)
    found = {one.label: one for one in advice.seen_as}
    assert list(found) == ["ants", "bees"]
    for label, name in (("ants", "ant"), ("bees", "bee")):
        first = found[label].looks_like[0]
        assert first.name == name
        assert first.share > 5 * first.elsewhere
        assert all((real_data / "hymenoptera" / path).exists() for path in found[label].typical)
    told = json.loads(json.dumps(advice.to_json()))
    assert told["seen_as"][0]["looks_like"][0]["name"] == "ant"
    assert type(advice).from_json(told).seen_as == advice.seen_as


def test_typical_and_strange_images(tmp_path: Path) -> None:
    data = draw(tmp_path, ("a", "b"), 20)
    generator = np.random.default_rng(0)
    features = generator.normal((5, 0, 0, 0), 0.3, (40, 4)).astype(np.float32)
    features[20:, 1] += 5
    features[7] = (0, 0, 0, 9)  # of class a, like nothing else
    seen = sights.look(features, np.arange(40), data, None, data.labels)
    assert seen.classes[0].strange[0] == data.shown(data.paths[7])
    for one in seen.classes:
        assert len(one.typical) == len(one.strange) == sights.SHOWN
        assert not set(one.typical) & set(one.strange)
        assert one.looks_like == ()
    places, spread = seen.plane
    assert places.shape == (40, 2)
    assert 0 < spread[1] <= spread[0] <= 1


@pytest.mark.parametrize("each", [1, 2])
def test_few_images_are_looked_at(tmp_path: Path, each: int) -> None:
    data = draw(tmp_path, ("a", "b"), 2)
    rows = np.flatnonzero(np.arange(4) % 2 < each)
    features = np.random.default_rng(0).random((len(rows), 8)).astype(np.float32)
    seen = sights.look(features, rows, data, None, data.labels[rows])
    assert [len(one.typical) + len(one.strange) for one in seen.classes] == [each, each]
    assert np.isfinite(seen.plane[0]).all()


def test_the_map_marks_mistakes_and_suspects(tmp_path: Path) -> None:
    data = draw(tmp_path, ("a", "b"), 10)
    seen = made_up.sights(data)
    suspect = data.shown(data.paths[3])
    marks = image_map.marks_of_probes(seen, data, [suspect])
    assert dict(marks.mistakes) == {0: "b"}
    assert set(marks.suspects) == {3}
    shown = image_map.image_map(seen, data, marks)
    assert shown["drawing"].count("<circle") == 2
    names = [target["name"] for target in shown["targets"]]
    assert names[0] == "a, taken for b"
    assert names[3] == "a (label may be wrong)"
    assert names[19] == "b"
    tested = image_map.marks_of_tests(seen, data, [], {data.paths[19]: "a", "elsewhere": "b"})
    assert dict(tested.mistakes) == {19: "a"}


def test_each_thumbnail_is_where_the_page_says(tmp_path: Path) -> None:
    data = draw(tmp_path, ("a", "b"), 20)
    for position, path in enumerate(data.paths):
        Image.new("RGB", (16, 16), (6 * position, 250 - 6 * position, 100)).save(path)
    seen = made_up.sights(data)
    shown = image_map.image_map(seen, data, image_map.marks_of_probes(seen, data, []))
    content = base64.b64decode(shown["sprite"].partition("base64,")[2])
    with Image.open(io.BytesIO(content)) as sprite:
        for position, target in enumerate(shown["targets"]):
            across, down = target["tile"]
            middle = [image_map.THUMBNAIL * at + image_map.THUMBNAIL // 2 for at in (across, down)]
            red, green, _ = sprite.getpixel(tuple(middle))
            assert abs(red - 6 * position) < 12
            assert abs(green - 250 + 6 * position) < 12


def test_many_classes_and_images_stay_a_small_page(tmp_path: Path) -> None:
    """Of noise, which JPEG cannot make small."""
    data = draw(tmp_path / "images", tuple(f"class {number:02d}" for number in range(40)), 25, size=48)
    seen, advice = made_up.sights(data), made_up.recommendation(data.summary())
    shown = image_map.image_map(seen, data, image_map.marks_of_probes(seen, data, []))
    assert len(shown["targets"]) == 1000
    assert sum(target["tile"] is not None for target in shown["targets"]) == image_map.MOST_THUMBNAILS
    assert shown["targets"][0]["tile"] is not None  # the mistake
    assert len(shown["legend"]) == image_map.MOST_CLASSES
    assert shown["others"] == 16 * 25
    looks = re.findall(r'<path d="[^"]*?(m0.*?z|h0)M.*?" (.*?)/>', shown["drawing"])
    assert len(set(looks)) == len(looks) == image_map.MOST_CLASSES + 1
    page.write_recommendation(advice, data, seen, tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 3_000_000


def test_no_name_runs_as_a_script(tmp_path: Path) -> None:
    names = tuple(name.replace("/", "\u2215") for name in HOSTILE)
    data = draw(tmp_path / "images", names, 6)
    (tmp_path / "images" / names[0] / "0.png").rename(tmp_path / "images" / names[0] / f"{names[1]}.png")
    data = sources.load(str(tmp_path / "images"))
    seen = made_up.sights(data)
    plane = image_map.image_map(seen, data, image_map.marks_of_probes(seen, data, []))
    # With names as no file system has them, too.
    for target, name in zip(plane["targets"], HOSTILE, strict=False):
        target["name"] = target["path"] = name
    text = filled("image_map.html", plane=plane)
    page.write_recommendation(made_up.recommendation(data.summary()), data, seen, tmp_path)
    whole = (tmp_path / "report.html").read_text(encoding="utf-8")
    for tag, attributes in (*Tags(text).tags, *Tags(whole).tags):
        assert tag != "script"
        assert not any(name.startswith("on") for name in attributes)
        assert all(
            (attributes.get(name) or "data:image/").startswith("data:image/") for name in ("src", "href")
        )
    assert (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in whole
    )  # else browsers might run it
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "alert" not in styles
    shown = [attributes["data-name"] for tag, attributes in Tags(text).tags if tag == "i"]
    assert shown[: len(HOSTILE)] == list(HOSTILE)
