"""What `advisor run` leaves behind, for each recipe, on real and on embedded images."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import made_up
import numpy as np
import pytest

from advisor.advice import settings
from advisor.cli import main
from advisor.errors import InputError
from advisor.evidence.head_input import HeadInput
from benchmarks import ci
from recipes.runs import run_files
from recipes.training import base_head

CONTRACT = {
    "model.keras", "labels.json", "recommendation.json", "metrics.json", "history.csv", "curves.png",
    "confusion_matrix.png",
}  # fmt: skip

# Runs where `advisor` cannot be imported: only TensorFlow's Keras and Pillow.
LOADS_WITHOUT_US = """
import json, sys
sys.modules["advisor"] = sys.modules["recipes"] = None
import keras, numpy as np
from PIL import Image
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
size = model.input_shape[1]
images = []
for path in sys.argv[2:]:
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    images.append(np.asarray(image.resize((size, size), Image.Resampling.BICUBIC, box, reducing_gap=3.0)))
print(json.dumps(np.asarray(model(np.stack(images))).tolist()))
"""


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    with pytest.raises(SystemExit) as end:
        main(["run", "--json", *arguments])
    captured = capsys.readouterr()
    assert end.value.code == 0, captured.err
    return json.loads(captured.out)


@pytest.mark.parametrize(
    ("recipe", "extra"),
    [
        ("feature_extraction", ()),
        pytest.param("feature_extraction", ("--head", "mlp:32"), marks=pytest.mark.slow),
        pytest.param("feature_extraction", ("--augment", "--epochs", "2"), marks=pytest.mark.slow),
        ("fine_tuning", ("--epochs", "2")),
        pytest.param(
            "fine_tuning", ("--epochs", "2", "--train-from", "block_12_expand"), marks=pytest.mark.slow
        ),
        ("shallow_features", ()),
        ("shallow_features", ("--cut-layer", "block_10_out")),
        pytest.param("shallow_features", ("--mode", "partial", "--epochs", "2"), marks=pytest.mark.slow),
        pytest.param("full_training", ("--epochs", "2"), marks=pytest.mark.slow),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_each_recipe_beats_the_majority_class(capsys, real_data, tmp_path, recipe, extra):
    folder = tmp_path / "run"
    data = str(real_data / "hymenoptera")
    metrics = run(capsys, data, "--recipe", recipe, "--image-size", "96", "--output", str(folder), *extra)
    assert {path.name for path in folder.iterdir()} >= CONTRACT
    assert not (folder / "checkpoints").exists()
    assert metrics["test"]["accuracy"] >= 0.7
    assert metrics["images"] == {"train": 318, "validation": 40, "test": 40}
    assert json.loads((folder / "metrics.json").read_text())["test"] == metrics["test"]
    with (folder / "history.csv").open() as file:
        assert len(list(csv.DictReader(file))) >= 1
    trained = metrics["parameters"]["trained"]
    assert trained > 3_000_000 if recipe == "full_training" else trained < 3_500_000


@pytest.mark.parametrize(("batch_norm", "moves"), [("frozen", False), ("adapt", True)])
def test_the_statistics_of_batch_norm_move_only_where_they_may(batch_norm, moves):
    from dataclasses import replace

    from advisor import backbones
    from advisor.advice.settings import Options, choose
    from recipes.training.assembly import assemble, freeze, head_layers

    backbone = backbones.load(backbones.BUNDLED)
    known = made_up.evidence(made_up.summary(100), backbone.taps, gain=-0.1, image_size=32)
    chosen = choose("fine_tuning", Options(), known)
    freeze(backbone, "", batch_norm)
    model = assemble(backbone, replace(chosen, batch_norm=batch_norm), head_layers("linear", 2), 32)
    model.compile("sgd", "categorical_crossentropy")
    layer = backbone.model.get_layer("stem_bn")
    before = np.array(layer.moving_mean)
    convolution = np.array(backbone.model.get_layer("stem_conv").kernel)
    model.fit(np.random.default_rng(0).uniform(0, 255, (8, 32, 32, 3)), np.eye(2)[[0, 1] * 4], verbose=0)
    assert np.array_equal(before, layer.moving_mean) != moves
    assert not np.array_equal(convolution, backbone.model.get_layer("stem_conv").kernel)


@pytest.mark.parametrize(
    ("recipe", "extra", "help_", "taps"),
    [
        ("fine_tuning", {}, True, ("low", "high")),
        ("fine_tuning", {}, False, ("high",)),
        ("fine_tuning", {"train_from": "high"}, True, ("high",)),
        ("full_training", {}, False, ("low", "high")),
        ("full_training", {"init": "random"}, True, ("high",)),
        ("feature_extraction", {}, True, ("high",)),
        ("shallow_features", {}, False, ("low", "high")),
    ],
)
def test_training_starts_from_the_better_frozen_head(recipe, extra, help_, taps):
    from advisor.advice.settings import Options, choose

    options = Options(**extra)
    known = made_up.evidence(made_up.summary(100), ("low", "high"), gain=0.1 if help_ else -0.1)
    chosen = choose(recipe, options, known)
    assert chosen.taps == taps


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        (0.3, 0.55, 0.8),
        (0.2, 0.5, 1.0),
        (0.5, 0.9, 0.0),
        (0.5, np.nan, 0.0),
        (0.5, np.inf, 0.0),
        (0.505, 0.5, 0.0),
    ],
    ids=["between", "trained", "ruined", "nan", "infinite", "better by no more than chance"],
)
def test_the_best_average_of_the_weights_is_found(before, after, share):
    """A model of one weight, the border between two classes, where 0.5 is right for most images."""
    import keras
    import tensorflow as tf

    from recipes.training.averaging import use_best_average

    x = keras.Input((1,))
    border = keras.layers.Dense(2, "softmax")
    model = keras.Model(x, border(x))
    slope = np.array([[-20.0, 20.0]])
    weights = [[slope, np.array([20.0, -20.0]) * at] for at in (before, after)]
    at = np.linspace(0, 1, 100)
    is_right = at > 0.5
    is_right[[40, 47, 52, 59]] ^= True  # some noise in the labels
    images = tf.data.Dataset.from_tensor_slices(at[:, None]).batch(32)
    seen = []
    border.set_weights(weights[0])
    frozen = model.predict(images, verbose=0)
    average = use_best_average(
        model, *weights, images, is_right.astype(int), frozen, lambda done, of: seen.append((done, of))
    )
    assert average.is_clear == (share > 0)
    assert average.share == share or not share
    assert seen[-1] == (6, 6)
    expected = before + average.share * (after - before) if average.share else before
    np.testing.assert_allclose(border.get_weights()[1], np.array([20.0, -20.0]) * expected, rtol=1e-6)


def test_a_few_validation_images_show_no_gain():
    from recipes.training.averaging import Average

    assert Average(0.6, np.full(40, 0.1)).is_clear
    assert not Average(0.6, np.full(10, 0.1)).is_clear


@pytest.mark.slow
def test_training_ends_with_its_last_epoch_not_the_one_that_validation_liked_best(
    capsys, tmp_path, monkeypatch
):
    from recipes.training import averaging, keeping
    from recipes.training.checkpoints import Checkpoints

    data = ci.textures(tmp_path / "textures", images_of_each=15)
    seen = []

    def watched(model, before, after, *others):
        seen.extend([model.get_weights(), after])
        return averaging.use_best_average(model, before, after, *others)

    monkeypatch.setattr(keeping, "use_best_average", watched)
    monkeypatch.setattr(Checkpoints, "best_epoch", lambda checkpoints: min(1, checkpoints.epochs_done()))
    arguments = ("--recipe", "fine_tuning", "--image-size", "32", "--epochs", "2", "--keep", "single")
    run(capsys, str(data), *arguments, "--output", str(tmp_path / "out"))
    last, after = seen
    for expected, found in zip(last, after, strict=True):
        np.testing.assert_array_equal(expected, found)


@pytest.mark.slow
def test_training_that_helps_nothing_ends_as_the_frozen_recipe(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "LEARNING_RATE", 10.0)  # ruins it
    arguments = ("sklearn:digits", "--image-size", "32", "--sample", "200", "--epochs", "1")
    metrics = {
        recipe: run(capsys, *arguments, "--recipe", recipe, "--output", str(tmp_path / recipe))
        for recipe in ("full_training", "shallow_features")
    }
    trained, frozen = metrics["full_training"], metrics["shallow_features"]
    assert trained["test"]["accuracy"] == pytest.approx(frozen["test"]["accuracy"])
    assert trained["test"]["log_loss"] == pytest.approx(frozen["test"]["log_loss"], rel=1e-3)


@pytest.mark.slow
def test_random_weights_train_too(capsys, tmp_path):
    folder = tmp_path / "run"
    arguments = ("--recipe", "full_training", "--init", "random", "--epochs", "1", "--image-size", "32")
    metrics = run(capsys, "sklearn:digits", *arguments, "--output", str(folder), "--sample", "100")
    assert metrics["settings"]["init"] == "random"
    assert {path.name for path in folder.iterdir()} >= CONTRACT


def test_the_saved_model_needs_only_keras_and_says_what_the_run_reported(capsys, tmp_path):
    from advisor import run as advise_and_run

    finished = advise_and_run(
        "sklearn:digits", recipe="shallow_features", output=tmp_path / "run", image_size=64, sample=200
    )
    paths = finished.test.paths[:20]
    process = subprocess.run(
        [sys.executable, "-c", LOADS_WITHOUT_US, str(tmp_path / "run" / "model.keras"), *paths],
        capture_output=True, text=True, check=True, cwd=tmp_path,
    )  # fmt: skip
    probabilities = json.loads(process.stdout.splitlines()[-1])
    np.testing.assert_allclose(finished.test.probabilities[:20], probabilities, atol=1e-4)


def test_the_same_seed_gives_the_same_metrics(capsys, tmp_path):
    arguments = ("sklearn:digits", "--recipe", "feature_extraction", "--image-size", "64", "--sample", "200")
    first, second = (run(capsys, *arguments, "--output", str(tmp_path / name)) for name in "ab")
    assert first["test"] == second["test"]
    assert first["test"]["accuracy"] > 0.8


@pytest.mark.slow
def test_the_same_seed_trains_on_the_same_pixels(capsys, tmp_path):
    """Augmentation runs beside training: its random numbers must not depend on who comes first."""
    data = str(ci.textures(tmp_path / "textures", images_of_each=60))
    arguments = (
        data,
        "--recipe",
        "full_training",
        "--image-size",
        "64",
        "--epochs",
        "2",
        "--batch-size",
        "4",
    )
    losses = []
    for name in "ab":
        run(capsys, *arguments, "--output", str(tmp_path / name))
        with (tmp_path / name / "history.csv").open() as file:
            losses.append([float(row["loss"]) for row in csv.DictReader(file)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_auto_on_photographs_of_insects(capsys, real_data, tmp_path):
    data, output = str(real_data / "hymenoptera"), str(tmp_path / "run")
    metrics = run(
        capsys, data, "--auto", "--minutes", "0.5", "--output", output
    )  # too few to train at 224 px
    assert metrics["test"]["accuracy"] >= 0.9
    assert Path(metrics["folder"]).is_dir()


def test_a_recipe_is_one_file_and_one_row(tmp_path, monkeypatch):
    """The smallest imaginable one: it looks at no image and takes each for the largest class."""
    from types import ModuleType

    from advisor import choices
    from advisor.advice.recommendation import recommend
    from advisor.advice.settings import Options
    from advisor.data import sources
    from advisor.system.progress import Silent
    from recipes.job import Job, Trained
    from recipes.runs import prediction
    from recipes.runs.run import run
    from recipes.runs.run_folder import RunFolder
    from recipes.training.assembly import assemble, freeze, head_layers, set_dense

    def train(job: Job) -> Trained:
        freeze(job.backbone, None, "frozen")
        shares = job.data.counts() / len(job.data)
        head = head_layers("linear", job.classes)
        set_dense(head[0], np.zeros((job.head_features().width, job.classes)), np.log(shares))
        model = assemble(job.backbone, job.settings, head, job.settings.image_size)
        return Trained(model, (), np.tile(shares, (len(job.data.indices("validation")), 1)))

    module = ModuleType("recipes.majority")
    monkeypatch.setattr(module, "train", train, raising=False)
    monkeypatch.setitem(sys.modules, "recipes.majority", module)
    last_layer = choices.Mode(trains="head", sees="last", on_images=False)
    row = choices.Recipe("take each image for the largest class", "never", {"only": last_layer})
    monkeypatch.setitem(choices.RECIPES, "majority", row)

    data = ci.textures(tmp_path / "textures", classes=3, images_of_each=15)
    for number in range(5):
        (data / "stripes 0" / f"{number:03}.png").unlink()
    options, folder = Options(image_size=32), RunFolder(tmp_path / "run")
    with folder.writing():
        advised = recommend(sources.load(str(data)), options, Silent(), "majority")
        advice = folder.start(advised.data, 0, advised.advice, {"recipe": "majority"}, resume=False)
        finished = run(advised.data, advice.settings, folder, 0, Silent())
        folder.finish()
    assert (finished.recipe, finished.metrics.settings.mode) == ("majority", "only")
    assert 0 not in finished.test.predicted
    opened = prediction.load(folder.path)
    (said,) = prediction.predict(opened, finished.test.paths[:1], lambda path, reason: None)
    np.testing.assert_allclose(said.probabilities, [10 / 40, 15 / 40, 15 / 40], atol=1e-6)


@pytest.mark.parametrize(
    "damage",
    [
        {"weight": 2},
        {"frozen": {"test": 0.9}},
        {"trained": {"test": None, "validation": 0.5}},
        {"second": {"megabytes": "many", "milliseconds": 0}},
        {"second": None},
    ],
)
def test_what_was_kept_is_refused_where_it_is_damaged(damage, finished_run, tmp_path):
    alone = {"test": 0.9, "validation": 0.8}
    kept = {"rule": "better", "weight": 0.5, "frozen": alone, "trained": alone}
    kept["second"] = {"megabytes": 13.6, "milliseconds": 3.5, "of another version": 1}
    metrics = json.loads((finished_run / "metrics.json").read_text(encoding="utf-8"))
    for folder, told in ((tmp_path / "sound", kept), (tmp_path / "damaged", kept | damage)):
        folder.mkdir()
        (folder / "metrics.json").write_text(json.dumps({**metrics, "kept": told}), encoding="utf-8")
    found = run_files.read_metrics(tmp_path / "sound").kept
    assert (found.weight, found.trained.validation, found.second.megabytes) == (0.5, 0.8, 13.6)
    with pytest.raises(InputError, match=r"is damaged: metrics\.json holds"):
        run_files.read_metrics(tmp_path / "damaged")


@pytest.mark.parametrize("text", ["[" * 100_000, "[[], {}]", "[1, 2]", "7"])
def test_base_labels_that_are_no_names_are_refused(text, tmp_path):
    (tmp_path / "names.json").write_text(text)
    job = SimpleNamespace(
        settings=SimpleNamespace(base_labels=str(tmp_path / "names.json")),
        backbone=SimpleNamespace(classifier=(np.zeros((3, 2)), np.zeros(2))),
        data=SimpleNamespace(class_names=("a", "b")),
    )
    with pytest.raises(InputError, match="JSON list"):
        base_head.from_base_labels(job)


@pytest.mark.parametrize(
    "recipe", ["feature_extraction", pytest.param("fine_tuning", marks=pytest.mark.slow)]
)
def test_base_labels_start_from_what_the_backbone_knew(recipe, finished_run, tmp_path):
    from advisor import api

    finished = api.run(
        str(finished_run.parent / "images"),
        recipe=recipe,
        backbone=str(finished_run / "model.keras"),
        base_labels=str(finished_run / "labels.json"),
        epochs=1,
        output=tmp_path / "run",
    )
    metrics = finished.metrics
    assert min(metrics.before_training.validation.accuracy, metrics.before_training.test.accuracy) > 0.9
    assert metrics.test.accuracy > 0.9
    assert run_files.read_metrics(tmp_path / "run").before_training == metrics.before_training
    if recipe == "feature_extraction":
        told = json.loads((tmp_path / "run" / "recommendation.json").read_text(encoding="utf-8"))
        assert told["plan"]["parameters_trained"] == metrics.parameters["trained"]
    for file in ("README.md", "report.html"):
        assert "Before any training" in (tmp_path / "run" / file).read_text(encoding="utf-8")
    said = list(api.predict(tmp_path / "run", finished.test.paths[:4]))
    np.testing.assert_allclose(
        [one.probabilities for one in said], finished.test.probabilities[:4], atol=1e-4
    )


@pytest.mark.parametrize(("known", "weighs"), [(1.0, True), (0.0, False)], ids=["knows all", "knows nothing"])
def test_rows_of_the_backbone_weigh_what_they_are_worth(known, weighs, tmp_path):
    """The rows see the last features, which tell the classes only if the backbone knew them."""
    from recipes.training.base_head import with_base_labels

    draw = np.random.default_rng(0)
    labels = draw.integers(0, 3, 60)
    truth = np.eye(3, dtype=np.float32)[labels]
    own = (0.7 * truth + draw.normal(0, 1, (60, 3))).astype(np.float32)
    last = (known * truth + (1 - known) * draw.normal(0, 1, (60, 3))).astype(np.float32)
    (tmp_path / "names.json").write_text('["other", "a", "b", "c"]')
    job = SimpleNamespace(
        settings=SimpleNamespace(base_labels=str(tmp_path / "names.json")),
        backbone=SimpleNamespace(classifier=(np.eye(3, 4, 1) * 8, np.zeros(4))),
        data=SimpleNamespace(class_names=("a", "b", "c")),
        classes=3,
    )
    seen = HeadInput((own, last), (1.0, 0.0))
    head = with_base_labels(job, seen, labels, np.ones(60)).head
    below, above = np.split(head.kernel, [3])
    assert bool(np.any(above)) == weighs
    assert np.any(below)


@pytest.mark.slow
def test_a_head_with_a_hidden_layer_comes_first(capsys, tmp_path):
    data = ci.textures(tmp_path / "textures", images_of_each=25)
    arguments = (
        "--recipe",
        "fine_tuning",
        "--head",
        "mlp:16",
        "--cut-layer",
        "block_12_out",
        "--epochs",
        "1",
    )
    result = run(capsys, str(data), *arguments, "--image-size", "64", "--output", str(tmp_path / "out"))
    assert result["settings"]["taps"] == ["block_12_out"]
    assert {"rule", "weight", "frozen", "trained"} <= set(result["kept"])
    with (tmp_path / "out" / "history.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["phase"], second["phase"]) == ("head", "training")
    assert float(first["validation_accuracy"]) > 0.6
    import keras

    model = keras.saving.load_model(tmp_path / "out" / "model.keras", safe_mode=True)
    assert "hidden" in {layer.name for layer in model.layers} or result["kept"]["weight"] == 0


def test_base_labels_go_with_learnt_weights(refused):
    said = refused(
        "run",
        "sklearn:digits",
        "--recipe",
        "full_training",
        "--init",
        "random",
        "--base-labels",
        "names.json",
    )
    assert "leave out --init random" in said


def test_base_labels_go_with_a_linear_head(refused):
    said = refused("run", "sklearn:digits", "--auto", "--base-labels", "names.json", "--head", "mlp:8")
    assert "--base-labels starts a linear head, not mlp:8" in said
