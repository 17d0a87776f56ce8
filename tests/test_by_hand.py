"""Settings by hand: from the command line or a file, checked, followed, and shown."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import made_up
import numpy as np
import pytest

from advisor import api
from advisor.advice import by_hand
from advisor.advice.settings import Options
from advisor.errors import InputError
from advisor.report import words
from advisor.results import Epoch
from recipes.training import optimizers
from recipes.training.checkpoints import Checkpoints

SIZE = 32  # pixels


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("optimizr=sgd", "did you mean optimizer?"),
        ("optimizer=sdg", "did you mean sgd?"),
        ("optimizer", "give NAME=VALUE"),
        ("learning_rate=-1", "the nearest is 0"),
        ("learning_rate=nan", "give a number"),
        ("momentum=3", "from 0 to 1; the nearest is 1"),
        ("head_epochs=2.5", "give a whole number"),
        ("nesterov=maybe", "give true or false"),
        ("augmentation=rotat:3,flip", "did you mean rotate?"),
        ("augmentation=rotate:999", "from 0 to 180"),
        ("augmentation=flip:2", "flip has no strength"),
        ("pooling=max", "did you mean maximum?"),
        ("epochs=3", "give --epochs 3 for it"),
        ("momentum=0.9", "momentum goes with optimizer=sgd or rmsprop"),
        ("nesterov=true", "nesterov goes with optimizer=sgd"),
    ],
)
def test_a_wrong_setting_is_told_with_the_nearest_right_one(refused, tmp_path, assignment, says):
    output = tmp_path / "run"
    said = refused("run", "sklearn:digits", "--auto", "--set", assignment, "--output", str(output))
    assert says in said
    assert not output.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "No such file"),
        ("[]", "holds no object"),
        ("{", "--settings"),
        ('{"sharpness": 1}', "no setting 'sharpness'"),
        ('{"dropout": "half"}', "holds 'half' for dropout"),
        ('{"settings": {"optimizer": "best"}}', "holds 'best' for optimizer"),
    ],
)
def test_a_wrong_file_of_settings_is_told(refused, tmp_path, content, says):
    file = tmp_path / "mine.json"
    if content is not None:
        file.write_text(content)
    assert says in refused("run", "sklearn:digits", "--auto", "--settings", str(file))


def test_the_command_line_beats_the_file_and_the_file_the_advice():
    known = made_up.evidence(made_up.summary())
    first = by_hand.choose("fine_tuning", Options(epochs=3, settings={"optimizer": "adam"}), known)
    values = by_hand.checked(first.to_json())
    asked = Options(epochs=7, settings={**values, **by_hand.parsed(["optimizer=sgd", "momentum=0.5"])})
    options, recipe = by_hand.with_options(asked, None)
    again = by_hand.choose(recipe, options, known)
    assert (recipe, again.epochs, again.optimizer, again.momentum) == ("fine_tuning", 7, "sgd", 0.5)
    assert set(again.by_hand) == {"epochs", "optimizer", "momentum", "weight_decay"}
    assert by_hand.choose("fine_tuning", Options(), known).by_hand == ()


def test_settings_of_a_run_give_the_same_settings_again():
    known = made_up.evidence(made_up.summary())
    for recipe in ("feature_extraction", "fine_tuning", "shallow_features", "full_training"):
        first = by_hand.choose(recipe, Options(), known)
        values = by_hand.checked(json.loads(json.dumps(first.to_json())))
        options, found = by_hand.with_options(Options(settings=values), None)
        assert by_hand.choose(found, options, known) == first


def test_the_plan_lists_what_was_chosen_by_hand():
    options = Options(settings={"optimizer": "rmsprop", "learning_rate": 1e-4, "head_epochs": 2})
    advice = made_up.recommendation(options=options, recipe="fine_tuning")
    ours = made_up.recommendation(recipe="fine_tuning")
    settings = by_hand.choose("fine_tuning", options, advice.evidence)
    rows = dict(words.plan_rows(advice.with_settings(settings)))
    assert "by hand" not in dict(words.plan_rows(ours))
    assert rows["by hand"] == "learning_rate=0.0001, optimizer=rmsprop, head_epochs=2"
    assert rows["optimizer"].startswith(
        "RMSprop, learning rate 0.001 for the head alone, then 0.0001, no weight"
    )
    solved = by_hand.choose("feature_extraction", options_of(optimizer="sgd"), advice.evidence)
    assert "the head is solved" in dict(words.plan_rows(advice.with_settings(solved)))["by hand"]


def options_of(**values) -> Options:
    return Options(settings=values)


@pytest.mark.parametrize(
    ("values", "rates"),
    [
        ({"schedule": "constant"}, [0.1] * 4),
        ({"schedule": "inverse time", "decay": 0.1}, [0.1 / 1.9, 0.1 / 2.9, 0.1 / 3.9, 0.1 / 4.9]),
        ({"schedule": "step", "step_epochs": 2, "step_factor": 0.5}, [0.1, 0.1, 0.05, 0.05]),
    ],
)
def test_the_learning_rate_follows_its_schedule(values, rates):
    known = made_up.evidence(made_up.summary())
    settings = by_hand.choose("fine_tuning", options_of(**values), known)
    schedule = optimizers.schedule(settings, 0.1, epochs=4, steps=10)
    found = [optimizers.rate_at(schedule, 10 * epoch - 1) for epoch in (1, 2, 3, 4)]
    np.testing.assert_allclose(found, rates, rtol=1e-5)


def history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open() as file:
        return list(csv.DictReader(file))


def images_of(finished_run: Path) -> str:
    return str(finished_run.parent / "images")


def test_a_training_by_hand_is_followed_and_goes_on_after_an_interruption(
    finished_run, tmp_path, monkeypatch
):
    values = {
        "optimizer": "sgd",
        "momentum": 0.9,
        "schedule": "constant",
        "learning_rate": 0.003,
        "head_epochs": 1,
        "head_learning_rate": 0.01,
        "save_every": 2,
        "watch": "accuracy",
        "augmentation": ["flip", "rotate:30"],
    }
    how = {"recipe": "full_training", "image_size": SIZE, "batch_size": 16, "epochs": 3, "settings": values}
    data, whole, parts = images_of(finished_run), tmp_path / "whole", tmp_path / "parts"
    run = api.run(data, output=whole, backbone="simple_cnn", **how)
    rows = history(whole)
    assert [row["phase"] for row in rows] == ["head", "training", "training"]
    np.testing.assert_allclose([float(row["learning_rate"]) for row in rows], [0.01, 0.003, 0.003])
    assert [row["frozen_layers"] for row in rows] == ["8", "0", "0"]
    assert {row["batch_size"] for row in rows} == {"16"}
    assert [path.name for path in (whole / "epochs").iterdir()] == ["epoch-002.keras"]
    assert set(run.metrics.settings.by_hand) == {"epochs", *values}
    add = Checkpoints.add

    def interrupted(checkpoints: Checkpoints, row: Epoch) -> None:
        add(checkpoints, row)
        raise KeyboardInterrupt

    for _ in range(2):
        monkeypatch.setattr(Checkpoints, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            api.run(data, output=parts, backbone="simple_cnn", resume=parts.exists(), **how)
        monkeypatch.setattr(Checkpoints, "add", add)
    api.run(data, output=parts, backbone="simple_cnn", resume=True, **how)
    for one, other in zip(rows, history(parts), strict=True):
        assert float(one["validation_loss"]) == pytest.approx(float(other["validation_loss"]), rel=1e-3)


@pytest.mark.parametrize("pooling", ["maximum", pytest.param("flatten", marks=pytest.mark.slow)])
def test_heads_see_maxima_or_whole_maps(finished_run, tmp_path, pooling):
    values = {"pooling": pooling, "roots": False, "dropout": 0.5, "learning_rate": 1e-3}
    how = {"recipe": "feature_extraction", "image_size": SIZE, "epochs": 4, "head": "mlp:8,4"}
    run = api.run(images_of(finished_run), output=tmp_path / "run", settings=values, **how)
    assert {row["phase"] for row in history(tmp_path / "run")} == {"head"}
    assert run.metrics.settings.by_hand[:1] == ("head",)
    with pytest.raises(InputError, match="taps"):
        api.run(images_of(finished_run), output=tmp_path / "other", settings={"taps": ["no"]}, **how)
