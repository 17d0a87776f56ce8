"""What people read: the table, the page, the model card and the plots, on small made-up data."""

from __future__ import annotations

import html.parser
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import numpy as np
import pytest
from PIL import Image

from advisor import results
from advisor.advice import plan
from advisor.advice.rationale import Factor
from advisor.advice.recommendation import Recommendation
from advisor.advice.settings import Options
from advisor.data import sources
from advisor.data.dataset import Dataset
from advisor.evidence.prediction_sets import Covered
from advisor.report import charts, model_card, overview, page, plots, svg, terminal, words
from advisor.system import devices, reproduction
from advisor.system.text import legible

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
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder = draw(tmp_path_factory.mktemp("pictures"), 2, 12, NAMES)
    (folder / NAMES[0] / "broken.png").write_bytes(b"no picture")
    return sources.load(str(folder))


@pytest.fixture(scope="module")
def advice(data: Dataset) -> Recommendation:
    return made_up.recommendation(data.summary())


def on_screen(parts: list, width: int) -> list[str]:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, highlight=False)
    for part in parts:
        console.print(part)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def printed(advice: Recommendation, width: int = 80) -> list[str]:
    return on_screen(terminal.recommendation_parts(advice, width), width)


def columns(lines: list[str], width: int = 80) -> list[str]:
    """The rationale as printed: the words of each column, from top to bottom."""
    rule = next(i for i, line in enumerate(lines) if line.startswith("───"))
    heading = lines[rule - 1]
    starts = [heading.index(name) for name in ("Factor", "Measured", "Threshold", "Verdict", "Because")]
    body = lines[rule + 1 : lines.index("", rule)]
    ends = [*starts[1:], width]
    return [" ".join(" ".join(line[a:b] for line in body).split()) for a, b in zip(starts, ends, strict=True)]


def in_columns(rows: list[dict[str, str]]) -> list[str]:
    return [" ".join(column) for column in zip(*(row.values() for row in rows), strict=True)]


def squeezed(text: str) -> str:
    """Without white space, which is another one where lines are shorter."""
    return re.sub(r"\s", "", text)


def test_the_printed_table_is_the_json(advice: Recommendation) -> None:
    values = advice.to_json()
    lines = printed(advice)
    assert all(len(line) <= 80 for line in lines)
    assert columns(lines) == in_columns(values["rationale"])
    text = " ".join(" ".join(lines).split())
    data = values["dataset"]
    for count, what in ((data["images"], "images"), (data["classes"], "classes")):
        assert f"{count:,} {what}" in text
    for split, count in data["splits"].items():
        assert f"{count:,} {split}" in text
    assert f"Advice: {values['recipe']}" in text
    for step in values["steps"]:
        assert step["action"] in text
    for quadrant, probability in values["quadrants"].items():
        assert re.search(
            rf"{'>> HERE << ' if quadrant == values['quadrant'] else '[|] '}{probability:.0%}", text
        )
    for name, value in words.plan_rows(advice):
        assert f"{name} {value}" in text
    for item in values["alternatives"]:
        assert f"or {item['recipe']} {item['when']}" in text
    # A warning may hold long names, which are folded anywhere.
    for warning in values["warnings"]:
        assert squeezed(legible(warning)) in squeezed(text)
    assert f"Measured {values['similarity']['sampled']} images in {values['seconds']:.1f} s" in text


LONG_FACTOR = Factor(
    "Evidence",
    "quadrant says feature_extraction",
    "probes overrule",
    "feature_extraction",
    "a measurement outweighs the rule of thumb",
)


def test_headers_are_whole_and_longest_words_too(advice: Recommendation) -> None:
    advice = replace(advice, rationale=(*advice.rationale, LONG_FACTOR))
    lines = printed(advice)
    assert all(len(line) <= 80 for line in lines)
    assert columns(lines) == in_columns(advice.to_json()["rationale"])


@pytest.mark.parametrize("width", [79, 70, 60, 50, 40])
def test_nothing_is_cut_on_a_narrow_terminal(advice: Recommendation, width: int) -> None:
    advice = replace(advice, rationale=(*advice.rationale, LONG_FACTOR))
    lines = printed(advice, width)
    assert all(len(line) <= width for line in lines)
    text = squeezed("".join(lines))
    if any(
        line.startswith("  Measured") for line in lines
    ):  # a block for each factor, not columns of several lines
        for row in advice.rationale:
            assert all(
                squeezed(cell) in text for cell in (row.measured, row.threshold, row.verdict, row.because)
            )
    else:
        assert columns(lines, width) == in_columns(advice.to_json()["rationale"])
    drawn = [line for line in lines if line.startswith("|")]
    for corner in charts.quadrant_map(advice).corners:
        assert any(corner.recipe in line for line in drawn)
        mark = ">> HERE << " if corner.is_here else ""
        assert any(f"{mark}{corner.probability:.0%} " in line for line in drawn)
    for name, value in (*words.plan_rows(advice), *((f"or {o.recipe}", o.when) for o in advice.alternatives)):
        assert squeezed(name) in text
        assert all(word in "".join(lines) for word in value.split() if len(word) < 20)


@pytest.mark.parametrize("width", [80, 60, 40])
def test_leaderboard_and_classes_fit_the_terminal(
    advice: Recommendation,
    data: Dataset,
    tmp_path: Path,
    width: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    from rich.console import Console

    monkeypatch.setattr(terminal, "console", lambda: Console(width=width, highlight=False))
    compared = made_up.comparison(advice)
    terminal.print_comparison(compared)
    out = capsys.readouterr().out
    assert all(len(line) <= width for line in out.splitlines())
    for row in compared.rows:
        assert all(cell in out for cell in words.leaderboard_cells(row))
    tested = made_up.run(advice, data, tmp_path).test
    terminal.print_evaluation(made_up.evaluation(tested, tmp_path))
    lines = capsys.readouterr().out.splitlines()
    head = next(line for line in lines if "precision" in line)
    assert head.split()[-4:] == ["precision", "recall", "F1", "images"]
    assert all(len(line) <= width for line in lines[lines.index(head) : lines.index("", lines.index(head))])
    scores = tested.scores().per_class[NAMES[0]]
    numbers = f"{scores.precision:.1%} {scores.recall:.1%} {scores.f1:.3f} {scores.images}"
    assert numbers in " ".join(" ".join(lines).split())


def test_hostile_names_and_a_thousand_classes_print() -> None:
    data = made_up.summary(
        1_000_000, tuple(f"{i}" for i in range(1000)), source="[bold]/\x1b[2J\udcff/" + "d" * 300
    )
    text = "".join(printed(made_up.recommendation(data)))
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
    evidence = made_up.evidence(made_up.summary(27, ("a", "b", "c")), ("shallow", "deep"))
    # The last layer is the better one by far, so that fine_tuning starts from it.
    probes = replace(evidence.probes, widths={"shallow": 2, "deep": 7}, gain_of_all_depths=(-0.5, 0.01))
    evidence = replace(evidence, probes=probes)
    assert made_up.recommendation(None, options, recipe, evidence=evidence).plan.parameters_trained == trained


def test_estimated_time_grows_with_the_work_and_is_unknown_on_a_gpu(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ADVISOR_CACHE", str(tmp_path))  # nothing is known of this machine

    def seconds(recipe: str, images: int, **options: Any) -> float | None:
        evidence = made_up.evidence(made_up.summary(images))
        advice = made_up.recommendation(None, Options(**options), recipe, evidence=evidence)
        return plan.make(advice.settings, evidence).seconds_estimated

    frozen, few, many = (
        seconds("feature_extraction", 1000),
        seconds("fine_tuning", 1000, epochs=5),
        seconds("fine_tuning", 20000, epochs=5),
    )
    assert frozen is not None and few is not None and many is not None  # noqa: PT018
    assert 5 < frozen < few < many
    assert seconds("fine_tuning", 1000, backbone="resnet50") is None
    monkeypatch.setattr(devices, "gpus", lambda: ("a GPU",))
    assert seconds("fine_tuning", 1000) is None


@pytest.mark.parametrize("batch_norm", ["frozen", "adapt"])
def test_parameters_of_the_bundled_backbone(batch_norm: str) -> None:
    from advisor import backbones
    from recipes.training.assembly import freeze

    backbone = backbones.load(backbones.BUNDLED)
    freeze(backbone, "", batch_norm)
    trained = sum(int(np.prod(w.shape)) for w in backbone.features(backbone.taps).trainable_weights)
    assert trained == plan.BUNDLED_PARAMETERS[batch_norm]


def test_durations() -> None:
    assert [words.duration(s) for s in (3, 42, 89, 100, 5000, 9000)] == [
        "10 s", "40 s", "90 s", "2 min", "83 min", "2.5 h",
    ]  # fmt: skip


def test_a_command_survives_the_shell() -> None:
    import shlex

    line = reproduction.command("run", "my data/it's", auto=True, image_size=96, weights=None, augment=False)
    assert shlex.split(line) == ["advisor", "run", "my data/it's", "--auto", "--image-size", "96"]


def test_the_json_says_how_to_get_the_same_again(advice: Recommendation) -> None:
    record = advice.to_json()["reproduction"]
    assert record["command"].startswith("advisor recommend ")
    assert record["data"] == advice.data.fingerprint
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


def test_the_page_of_an_advice(advice: Recommendation, data: Dataset, tmp_path: Path) -> None:
    page.write_recommendation(advice, data, made_up.sights(data), tmp_path)
    values = json.loads((tmp_path / "recommendation.json").read_text())
    assert values == json.loads(json.dumps(advice.to_json()))
    read = _Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    for row in values["rationale"]:
        assert set(row.values()) <= set(read.cells)
    assert all(source.startswith("data:image/") for source in read.sources)
    assert len(read.sources) == 16  # four typical and four strange ones of each class
    assert NAMES[0] in read.text  # as text: the parser would have met a tag
    assert "not an image" in read.text
    assert values["reproduction"]["command"] in read.text
    assert (tmp_path / "report.html").stat().st_size < 2_000_000


def test_the_first_screen_of_an_advice_answers_what_people_ask(
    advice: Recommendation, data: Dataset, tmp_path: Path
) -> None:
    page.write_recommendation(advice, data, made_up.sights(data), tmp_path)
    text = _Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    first = " ".join(text[: text.index("Why")].split())
    assert f"{advice.data.images:,} images in {len(advice.data.class_names)} classes" in first
    assert words.what_it_does(advice.recipe).capitalize() in first
    assert "of 100 new images right" in first
    assert "It will cost" in first
    assert "To mend first" in first
    assert f"To do it: advisor run {advice.data.source}" in first


@pytest.mark.parametrize(
    ("recipe", "options", "answer"),
    [
        ("feature_extraction", Options(), "about 90.0 of 100 new images right"),
        ("shallow_features", Options(), "about 92.0 of 100 new images right"),
        ("fine_tuning", Options(), "of 100 new images right"),
        ("full_training", Options(init="random"), "nobody knows"),
    ],
)
def test_what_is_foretold_is_of_the_recipe_that_will_run(recipe: str, options: Options, answer: str) -> None:
    advice = made_up.recommendation(made_up.summary(1000), options, recipe)
    (bring,) = [card for card in overview.of_advice(advice) if card.question == "It should bring"]
    assert answer in bring.answer
    foretold = "by training" in " ".join(bring.more)
    assert foretold == (recipe == "fine_tuning")


def test_what_is_not_augmented_is_not_called_changed(
    advice: Recommendation, data: Dataset, tmp_path: Path
) -> None:
    run = made_up.run(advice, data, tmp_path, epochs=4)
    for augmentation in ((), ("flip",)):
        settings = replace(
            run.metrics.settings, recipe="fine_tuning", mode="everything", augmentation=augmentation
        )
        assert settings.trains_on_images
        shown = page.notebook_run(replace(run, metrics=replace(run.metrics, settings=settings)))
        assert ("changed at random" in shown) == bool(augmentation)


def test_ticks_that_are_close_are_told_apart() -> None:
    for values in ((1.6086, 1.6094), (0.2, 0.9), (0.99971, 0.99992)):
        for in_percent in (False, *([True] if values[1] <= 1 else [])):
            points = tuple((float(i), value) for i, value in enumerate(values))
            series = charts.Series("one", points, "plain")
            drawn = svg.line_chart(charts.LineChart("loss", ("epoch", "loss"), (series,), in_percent))
            ticks = re.findall(r'text-anchor="end">([^<]+)</text>', drawn)
            assert len(ticks) == len(set(ticks)) >= 3


def test_surrogates_in_a_page(advice: Recommendation, data: Dataset, tmp_path: Path) -> None:
    warned = replace(advice, warnings=("bad \udcff name",))
    page.write_recommendation(warned, data, made_up.sights(data), tmp_path)
    assert "bad \ufffd name" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_notebook_shows_the_advice(advice: Recommendation) -> None:
    shown = page.notebook_recommendation(advice)
    assert ("<p>" + shown).startswith("<p><div")  # a plain string, which escapes nothing it is added to
    read = _Page(shown)
    assert advice.recipe in read.text
    assert "Similarity" in read.cells


@pytest.mark.parametrize(("classes", "epochs"), [(2, 1), (2, 4), (40, 3)])
def test_the_page_of_a_run(
    advice: Recommendation, data: Dataset, tmp_path: Path, classes: int, epochs: int
) -> None:
    run = made_up.run(advice, data, tmp_path, classes, epochs)
    plots.write_run(run)
    looked = {run.test.paths[i]: Image.new("RGB", (64, 64)) for i in run.test.worst_mistakes(1)}
    page.write_run(run, advice, data, made_up.sights(data), looked, "advisor run data --auto")
    read = _Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert f"{run.metrics.test.accuracy:.1%}" in read.text
    assert "advisor run data --auto" in read.text
    assert ("solved in one step" in read.text) == (epochs == 1)
    assert ("Most confused classes" in read.text) == (classes > 30)
    first = read.text[: read.text.index("Result")]
    assert f"{advice.data.images:,} images in {len(advice.data.class_names)} classes" in first
    assert f"{100 * run.metrics.test.accuracy:.1f} of 100 test images right" in first
    assert ("spoke for the class" in read.text) == bool(looked)
    for i in run.test.worst_mistakes(20):
        assert Path(run.test.paths[i]).name in read.text
    assert all(source.startswith("data:image/") for source in read.sources)
    shown = _Page(page.notebook_run(run))
    assert "Confusion matrix" in shown.text or classes > 30
    for name in ("curves", "confusion_matrix"):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert np.asarray(image.convert("L")).std() > 5  # not an empty sheet


@pytest.mark.parametrize("classes", [2, 40])
def test_the_page_of_a_comparison(
    advice: Recommendation, data: Dataset, tmp_path: Path, classes: int
) -> None:
    compared = made_up.comparison(advice, made_up.run(advice, data, tmp_path, classes).test)
    (tmp_path / "fine_tuning").mkdir()
    (tmp_path / "fine_tuning" / "report.html").touch()
    plots.write_leaderboard(compared, tmp_path)
    page.write_comparison(compared, data, made_up.sights(data), tmp_path, "advisor compare data --seed 7")
    written = (tmp_path / "report.html").read_text(encoding="utf-8")
    read = _Page(written)
    for row in compared.rows:
        assert set(words.leaderboard_cells(row)) <= set(read.cells)
    text = " ".join(read.text.split())
    assert text.index(words.verdict(compared)) < text.index("Leaderboard")
    for sentence in (*words.about_the_rows(compared), "advisor compare data --seed 7"):
        assert sentence in text
    for factor in advice.rationale:
        assert factor.because in read.cells
    assert '<a href="fine_tuning/report.html">fine_tuning</a>' in written
    assert "shallow_features/report.html" not in written  # it has no page
    assert ("Taken for" in read.text) == (classes == 40)
    assert sum(source.startswith("data:image/") for source in read.sources) == 16
    with Image.open(tmp_path / "leaderboard.png") as image:
        assert np.asarray(image.convert("L")).std() > 5


def test_the_pictures_of_an_evaluation(advice: Recommendation, data: Dataset, tmp_path: Path) -> None:
    evaluation = made_up.evaluation(made_up.run(advice, data, tmp_path).test, tmp_path)
    plots.write_evaluation(evaluation, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "evaluation.json").read_text()) == evaluation.to_json()
    for name in ("confusion_matrix", "reliability", "mistakes"):
        with Image.open(tmp_path / "new" / f"{name}.png") as image:
            assert np.asarray(image.convert("L")).std() > 5
    seen = evaluation.predictions
    all_right = replace(evaluation, predictions=replace(seen, labels=seen.predicted))
    plots.write_evaluation(all_right, tmp_path / "new")
    assert not (tmp_path / "new" / "mistakes.png").exists()


def test_worst_mistakes_come_first(advice: Recommendation, data: Dataset, tmp_path: Path) -> None:
    test = made_up.run(advice, data, tmp_path).test
    test.probabilities[5] = np.roll([0.99, 0.01], 1 - test.labels[5])
    worst = test.worst_mistakes(3)
    assert worst[0] == 5
    assert len(worst) == 3
    assert (test.probabilities[worst].argmax(axis=1) != test.labels[worst]).all()
    matrix = charts.confusion(test).counts
    assert matrix.sum() == len(test.labels)
    assert np.trace(matrix) == (test.probabilities.argmax(axis=1) == test.labels).sum()


def test_the_augmentation_picture_shows_changed_images(
    advice: Recommendation, data: Dataset, tmp_path: Path
) -> None:
    from recipes.runs import preview

    settings = replace(advice.settings, augmentation=("crop", "flip", "light"), training_size=32)
    batches = preview.batches(data, settings, seed=0)
    assert [batch.shape for batch in batches[1:]] == [(preview.IMAGES, 32, 32, 3)] * preview.TIMES
    assert len({batch.tobytes() for batch in batches}) == len(batches)
    plots.write_augmentation(batches, tmp_path / "augmentation.png")
    with Image.open(tmp_path / "augmentation.png") as image:
        assert image.width > image.height > 300


def test_the_cards_five_lines_load_the_model(
    advice: Recommendation,
    data: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    import keras

    run = made_up.run(advice, data, tmp_path)
    model_card.write(run, advice, "advisor run data --auto")
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    assert len(lines.splitlines()) == 5
    size = run.metrics.settings.image_size
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


def test_the_card_says_what_a_reader_needs(advice: Recommendation, data: Dataset, tmp_path: Path) -> None:
    run = made_up.run(advice, data, tmp_path)
    card = model_card.text(run, advice, "advisor run data --auto")
    front, body = card.split("---\n")[1:3]
    assert "library_name: keras" in front
    assert "pipeline_tag: image-classification" in front
    assert f"value: {run.metrics.test.accuracy:.4f}" in front
    assert "<bees>" not in body  # no class name becomes a tag
    assert advice.data.fingerprint in body
    assert "## Limits" in body
    for heading in ("Use", "Metrics", "Data", "Training"):
        assert f"## {heading}" in body


@pytest.mark.parametrize("source", ["flowers", 'a: "b" #c', "- x\n---\ny", "null", "{a}", "grün ' \\ %"])
def test_the_hugging_face_hub_reads_the_front_matter_of_the_card(
    advice: Recommendation, data: Dataset, tmp_path: Path, source: str
) -> None:
    yaml = pytest.importorskip("yaml", reason="needs pip install pyyaml")
    run = made_up.run(advice, data, tmp_path)
    sets = tuple(Covered(asked, asked + 0.01, 1.1, 0.02, 0.1, 80) for asked in (0.9, 0.95))
    run = replace(run, metrics=replace(run.metrics, prediction_sets=sets))
    known = replace(advice.evidence, data=replace(advice.data, source=source))
    card = model_card.text(run, replace(advice, evidence=known), "advisor run data --auto")
    opened, front, _ = re.split(r"^---\n", card, maxsplit=2, flags=re.MULTILINE)
    assert opened == ""
    values = yaml.safe_load(front)
    assert (values["library_name"], values["pipeline_tag"]) == ("keras", "image-classification")
    assert all(isinstance(tag, str) for tag in (*values["tags"], *values["metrics"]))
    ((result,),) = [model["results"] for model in values["model-index"]]
    assert isinstance(result["dataset"]["type"], str)
    assert set(result["dataset"]) == {"name", "type", "split"}
    told = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert told["Accuracy"] == pytest.approx(run.metrics.test.accuracy, abs=1e-4)
    assert told["Coverage of prediction sets, asked for 95%"] == pytest.approx(0.96)
    assert "| 95% | 96.0% (" in card


@pytest.mark.parametrize("score_", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("images", [4, 1000, 3_000_000])
def test_the_map_keeps_every_data_set_inside(advice: Recommendation, score_: float, images: int) -> None:
    shown = replace(charts.quadrant_map(advice), score=score_, interval=(score_, score_), images=images)
    drawn = svg.quadrant_map(shown)
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
    import advisor

    known = {name: (images, distance) for name, images, distance in charts.REFERENCE_POINTS}
    advice = advisor.recommend(str(real_data / "hymenoptera"))
    images, distance = known["ants, bees"]
    assert advice.data.images == images
    assert advice.evidence.similarity.distance == pytest.approx(distance, abs=0.005)


def test_samples_of_unreadable_files_are_left_out(advice: Recommendation, tmp_path: Path) -> None:
    gone = sources.load(str(draw(tmp_path / "gone", 2, 4)))
    for path in gone.paths:
        Path(path).unlink()
    page.write_recommendation(advice, gone, made_up.sights(gone), tmp_path)
    assert "data:image" not in (tmp_path / "report.html").read_text(encoding="utf-8")
