"""What people read: the table, the page, the model card and the plots, on small made-up data."""

from __future__ import annotations

import html.parser
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import advisor
from advisor import results
from advisor.advice import plan
from advisor.advice.recommendation import Recommendation
from advisor.advice.settings import Options, choose
from advisor.data import sources
from advisor.report import model_card, page, svg, terminal
from advisor.system import reproduction
from recipes.job import Epoch
from recipes.runs.run_folder import Run, score

NAMES = ("[bold]ants & <bees>", "Käfer 🐞 " + "x" * 60)


def draw(folder: Path, classes: int, each: int, names: tuple[str, ...] | None = None) -> Path:
    """Class folders of small pictures: each class its own colour, with noise."""
    generator = np.random.default_rng(0)
    for label in range(classes):
        at = folder / (names[label] if names else f"class {label:04d}")
        at.mkdir(parents=True)
        color = generator.uniform(40, 215, 3)
        for i in range(each):
            pixels = np.clip(generator.normal(color, 25, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(at / f"[red]{i}.png")
    return folder


@pytest.fixture(scope="module")
def advice(tmp_path_factory: pytest.TempPathFactory) -> Recommendation:
    folder = draw(tmp_path_factory.mktemp("pictures"), 2, 12, NAMES)
    (folder / NAMES[0] / "broken.png").write_bytes(b"no picture")
    return advisor.recommend(str(folder))


def printed(values: dict) -> list[str]:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=80, highlight=False)
    for part in terminal.recommendation_parts(values):
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def columns(lines: list[str]) -> list[str]:
    """The rationale as printed: the words of each column, from top to bottom."""
    rule = next(i for i, line in enumerate(lines) if line.startswith("───"))
    heading = lines[rule - 1]
    starts = [heading.index(name) for name in ("Factor", "Measured", "Threshold", "Verdict", "Because")]
    body = lines[rule + 1 : lines.index("", rule)]
    ends = [*starts[1:], 80]
    return [" ".join(" ".join(line[a:b] for line in body).split()) for a, b in zip(starts, ends, strict=True)]


def in_columns(rows: list[dict[str, str]]) -> list[str]:
    return [" ".join(column) for column in zip(*(row.values() for row in rows), strict=True)]


def test_the_printed_table_is_the_json(advice: Recommendation) -> None:
    values = advice.to_json()
    lines = printed(values)
    assert all(len(line) <= 80 for line in lines)
    assert columns(lines) == in_columns(values["rationale"])
    text = " ".join(" ".join(lines).split())
    data = values["dataset"]
    for count, what in ((data["images"], "images"), (data["classes"], "classes")):
        assert f"{count:,} {what}" in text
    for split, count in data["splits"].items():
        assert f"{count:,} {split}" in text
    assert f"Advice: {values['recipe']}" in text
    assert f"Confidence in the quadrant: {values['confidence']:.0%}" in text
    for quadrant, probability in values["quadrants"].items():
        assert re.search(
            rf"{'>> HERE << ' if quadrant == values['quadrant'] else '[|] '}{probability:.0%}", text
        )
    for name, value in plan.words(values):
        assert f"{name} {value}" in text
    for item in values["alternatives"]:
        assert f"or {item['recipe']} {item['when']}" in text
    # A warning may hold long names, which are folded anywhere.
    for warning in values["warnings"]:
        assert re.sub(r"\s", "", text.legible(warning)) in re.sub(r"\s", "", text)
    assert f"Measured {values['similarity']['sampled']} images in {values['seconds']:.1f} s" in text


def test_headers_are_whole_and_longest_words_too(advice: Recommendation) -> None:
    values = advice.to_json()
    row = {
        "factor": "Evidence",
        "measured": "quadrant says feature_extraction",
        "threshold": "probes overrule",
        "verdict": "feature_extraction",
        "because": "a measurement outweighs the rule of thumb",
    }
    values["rationale"] = [*values["rationale"], row]
    lines = printed(values)
    assert all(len(line) <= 80 for line in lines)
    assert columns(lines) == in_columns(values["rationale"])


def test_hostile_names_and_a_thousand_classes_print(advice: Recommendation) -> None:
    values = advice.to_json()
    values["dataset"] |= {"source": "[bold]/\x1b[2J\udcff/" + "d" * 300, "classes": 1000, "images": 1_000_000}
    text = "".join(printed(values))
    assert "[bold]/" in text
    assert "\x1b" not in text
    assert "1,000 classes" in text
    text.encode()  # nothing that UTF-8 cannot say


@pytest.mark.parametrize(
    ("recipe", "options", "trained"),
    [
        ("feature_extraction", Options(), (7 + 1) * 3),
        ("feature_extraction", Options(head="mlp:5"), (7 + 1) * 5 + (5 + 1) * 3),
        ("shallow_features", Options(), (2 + 7 + 1) * 3),
        ("fine_tuning", Options(), plan.BUNDLED_PARAMETERS["frozen"] + (7 + 1) * 3),
        ("fine_tuning", Options(train_from="deep"), None),
    ],
)
def test_parameters_trained(recipe: str, options: Options, trained: int | None) -> None:
    widths = {"shallow": 2, "deep": 7}
    settings = choose(
        recipe, options, ("shallow", "deep"), "shallow", 224, False, np.array([9, 9, 9]), 20, (), False
    )
    assert plan.make(settings, widths, 3, 27, 20, on_gpu=False).parameters_trained == trained


def test_estimated_time_grows_with_the_work_and_is_unknown_on_a_gpu() -> None:
    def seconds(recipe: str, images: int, on_gpu: bool = False, **options: object) -> float | None:
        settings = choose(
            recipe, Options(**options), ("deep",), "deep", 224, False, np.array([9, 9]), images, (), False
        )
        return plan.make(settings, {"deep": 7}, 2, images, images, on_gpu).seconds_estimated

    frozen, few, many = (
        seconds("feature_extraction", 1000),
        seconds("fine_tuning", 1000, epochs=5),
        seconds("fine_tuning", 20000, epochs=5),
    )
    assert frozen is not None and few is not None and many is not None  # noqa: PT018
    assert 10 < frozen < few < many
    assert seconds("fine_tuning", 1000, on_gpu=True) is None
    assert seconds("fine_tuning", 1000, backbone="resnet50") is None


@pytest.mark.parametrize("batch_norm", ["frozen", "adapt"])
def test_parameters_of_the_bundled_backbone(batch_norm: str) -> None:
    from advisor import backbones
    from recipes.training.assembly import freeze

    backbone = backbones.load(backbones.BUNDLED)
    freeze(backbone, "", batch_norm)
    trained = sum(int(np.prod(w.shape)) for w in backbone.features(backbone.taps).trainable_weights)
    assert trained == plan.BUNDLED_PARAMETERS[batch_norm]


def test_durations() -> None:
    assert [plan.duration(s) for s in (3, 42, 89, 100, 5000, 9000)] == [
        "10 s", "40 s", "90 s", "2 min", "83 min", "2.5 h",
    ]  # fmt: skip


def test_a_command_survives_the_shell() -> None:
    import shlex

    line = reproduction.command("run", "my data/it's", auto=True, image_size=96, weights=None, augment=False)
    assert shlex.split(line) == ["advisor", "run", "my data/it's", "--auto", "--image-size", "96"]


def test_the_json_says_how_to_get_the_same_again(advice: Recommendation) -> None:
    record = advice.to_json()["reproduction"]
    assert record["command"].startswith("advisor recommend ")
    assert record["data"] == advice.data.fingerprint()
    assert {"python", "numpy"} <= set(record["versions"])


class _Page(html.parser.HTMLParser):
    """Checks that tags are closed in order; collects text, links and pictures."""

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text, self.sources, self.cells = "", [], []  # type: ignore[var-annotated]
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.sources += [value for name, value in attrs if name in ("src", "href")]
        assert tag != "script"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style",):
            self.text += data
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


def test_the_page_of_an_advice(advice: Recommendation, tmp_path: Path) -> None:
    page.write_recommendation(advice, tmp_path)
    values = json.loads((tmp_path / "recommendation.json").read_text())
    assert values == json.loads(json.dumps(advice.to_json()))
    read = _Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    for row in values["rationale"]:
        assert set(row.values()) <= set(read.cells)
    assert all(source.startswith("data:image/") for source in read.sources)
    assert len(read.sources) == 12  # six of each class
    assert NAMES[0] in read.text  # as text: the parser would have met a tag
    assert "not an image" in read.text
    assert values["reproduction"]["command"] in read.text
    assert (tmp_path / "report.html").stat().st_size < 2_000_000


def test_surrogates_in_a_page(advice: Recommendation, tmp_path: Path) -> None:
    page.write_recommendation(replace(advice, warnings=("bad \udcff name",)), tmp_path)
    assert "bad \ufffd name" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_notebook_shows_the_advice(advice: Recommendation) -> None:
    read = _Page(advice._repr_html_())
    assert advice.recipe in read.text
    assert "Similarity" in read.cells


def finished(advice: Recommendation, folder: Path, classes: int = 2, epochs: int = 1) -> Run:
    """A run as one might end: all images tested, every fifth taken for the next class."""
    data = advice.data
    labels = np.arange(len(data)) % classes
    probabilities = np.full((len(data), classes), 0.1 / max(1, classes - 1), np.float32)
    probabilities[np.arange(len(data)), labels] = 0.9
    probabilities[::5] = np.roll(probabilities[::5], 1, axis=1)
    names = data.class_names if classes == 2 else tuple(f"kind {i}" for i in range(classes))
    settings = {**advice.settings.to_json(), "train_from": None if epochs == 1 else "", "augmentation": ()}
    metrics = {
        "settings": settings,
        "test": score(labels, probabilities, names),
        "validation": {"accuracy": 0.75},
        "images": {"train": 20, "validation": 2, "test": len(data)},
        "seed": 0,
        "seconds": {"total": 12.0},
        "device": "a machine",
        "versions": {"python": "3"},
    }
    first = 0 if epochs > 1 else 1
    history = tuple(
        Epoch(first + n, "", 1 / (n + 1), 0.8, 1.1 / (n + 1), 0.75, 0.1, 1e-3, 1) for n in range(epochs)
    )
    return Run(folder, settings["recipe"], names, history, data.paths, labels, probabilities, metrics)


@pytest.mark.parametrize(("classes", "epochs"), [(2, 1), (2, 4), (40, 3)])
def test_the_page_of_a_run(advice: Recommendation, tmp_path: Path, classes: int, epochs: int) -> None:
    run = finished(advice, tmp_path, classes, epochs)
    terminal.write_plots(run)
    page.write_run(run, advice.to_json(), advice.data, "advisor run data --auto")
    read = _Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert f"{run.metrics['test']['accuracy']:.1%}" in read.text
    assert "advisor run data --auto" in read.text
    assert ("solved in one step" in read.text) == (epochs == 1)
    assert ("Most confused classes" in read.text) == (classes > 30)
    for i in results.worst_mistakes(run, 20):
        assert Path(run.test_paths[i]).name in read.text
    assert all(source.startswith("data:image/") for source in read.sources)
    shown = _Page(run._repr_html_())
    assert "Confusion matrix" in shown.text or classes > 30
    for name in ("curves", "confusion_matrix"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert np.asarray(image.convert("L")).std() > 5  # not an empty sheet


def test_worst_mistakes_come_first(advice: Recommendation, tmp_path: Path) -> None:
    run = finished(advice, tmp_path)
    run.test_probabilities[5] = np.roll([0.99, 0.01], 1 - run.test_labels[5])
    worst = results.worst_mistakes(run, 3)
    assert worst[0] == 5
    assert len(worst) == 3
    assert (run.test_probabilities[worst].argmax(axis=1) != run.test_labels[worst]).all()
    assert terminal.confusion_matrix(run).sum() == len(run.test_labels)
    assert (
        np.trace(terminal.confusion_matrix(run))
        == (run.test_probabilities.argmax(axis=1) == run.test_labels).sum()
    )


def test_the_augmentation_picture_shows_changed_images(advice: Recommendation, tmp_path: Path) -> None:
    from recipes.runs import preview

    settings = replace(advice.settings, augmentation=("crop", "flip", "light"), training_size=32)
    batches = preview.batches(advice.data, settings, seed=0)
    assert [batch.shape for batch in batches[1:]] == [(preview.IMAGES, 32, 32, 3)] * preview.TIMES
    assert len({batch.tobytes() for batch in batches}) == len(batches)
    terminal.write_augmentation(batches, tmp_path / "augmentation.png")
    with Image.open(tmp_path / "augmentation.png") as image:
        assert image.width > image.height > 300


def test_the_cards_five_lines_load_the_model(
    advice: Recommendation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    import keras

    run = finished(advice, tmp_path)
    model_card.write(run, advice.to_json(), "advisor run data --auto")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(lines.splitlines()) == 5
    size = run.metrics["settings"]["image_size"]
    image = keras.Input((size, size, 3))
    redness = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    head = keras.layers.Dense(2, "softmax")
    model = keras.Model(image, head(redness))
    head.set_weights([np.array([[50, -50], [0, 0], [-50, 50]]), np.zeros(2)])
    model.save(tmp_path / "model.keras")
    (tmp_path / "labels.json").write_text(json.dumps(run.class_names, ensure_ascii=False), encoding="utf-8")
    Image.new("RGB", (90, 60), "red").save(tmp_path / "image.jpg")
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    assert run.class_names[0] in capsys.readouterr().out


def test_the_card_says_what_a_reader_needs(advice: Recommendation, tmp_path: Path) -> None:
    run = finished(advice, tmp_path)
    card = model_card.text(run, advice.to_json(), "advisor run data --auto")
    front, body = card.split("---\n")[1:3]
    assert "library_name: keras" in front
    assert "pipeline_tag: image-classification" in front
    assert f"value: {run.metrics['test']['accuracy']:.4f}" in front
    assert "<bees>" not in body  # no class name becomes a tag
    assert advice.data.fingerprint() in body
    assert "## Limits" in body
    for heading in ("Use", "Metrics", "Data", "Training"):
        assert f"## {heading}" in body


@pytest.mark.parametrize("score_", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("images", [4, 1000, 3_000_000])
def test_the_map_keeps_every_data_set_inside(advice: Recommendation, score_: float, images: int) -> None:
    values = advice.to_json()
    values["similarity"] |= {"score": score_, "interval": [score_, score_]}
    values["size"] |= {"images": images}
    drawn = svg.quadrant_map(values)
    (here,) = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="7"', drawn)
    assert svg.LEFT < float(here[0]) <= svg.WIDTH - svg.RIGHT
    assert svg.TOP <= float(here[1]) <= 400 - svg.BOTTOM


def test_scales_have_round_ticks() -> None:
    assert svg.Scale(0.0, 1.0, 0, 100).ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert svg.Scale(20, 100_000, 0, 100, log=True).ticks() == pytest.approx([100, 1000, 10_000, 100_000])
    assert svg.Scale(30, 300, 0, 100, log=True).ticks() == pytest.approx([32, 64, 128, 256])


def test_wilson_interval() -> None:
    # Newcombe, Statistics in Medicine 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    assert results.wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert results.wilson_interval(1.0, 10)[1] == 1.0


@pytest.mark.slow
def test_reference_points_are_what_is_measured(real_data: Path) -> None:
    known = {name: (images, distance) for name, images, distance in svg.REFERENCE_POINTS}
    advice = advisor.recommend(str(real_data / "hymenoptera"))
    images, distance = known["ants, bees"]
    assert len(advice.data) == images
    assert advice.similarity.distance == pytest.approx(distance, abs=0.005)


def test_samples_of_unreadable_files_are_left_out(advice: Recommendation, tmp_path: Path) -> None:
    gone = sources.load(str(draw(tmp_path / "gone", 2, 4)))
    for path in gone.paths:
        Path(path).unlink()
    page.write_recommendation(replace(advice, data=gone), tmp_path)
    assert "Sample images" not in (tmp_path / "report.html").read_text(encoding="utf-8")
