"""What is still expected of a training that is under way, and when it is stopped."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from advisor import api
from advisor.advice import rule
from advisor.report import words
from benchmarks import ci
from recipes.training import outlook
from recipes.training.outlook import Outlook


def logits_of(right: int, images: int = 100) -> np.ndarray:
    """Of a network that is right about the first so many of images, all of class 0 of two."""
    truth = np.where(np.arange(images) < right, 2.0, -2.0)
    return np.stack([truth, -truth], axis=1)


LABELS = np.zeros(100, np.int64)


def test_what_the_pool_takes_away_of_the_log_loss_is_told():
    frozen = logits_of(80)
    nothing, little, much = (outlook.taken_away(frozen, logits_of(right), LABELS) for right in (80, 85, 95))
    assert nothing == pytest.approx(0)
    assert 0 < little < much < 1
    assert outlook.taken_away(frozen, logits_of(40), LABELS) < 0


def test_the_gain_at_the_end_is_told_from_enough_epochs_and_images():
    enough, few = rule.FEWEST_TO_TELL, rule.FEWEST_TO_TELL - 1
    assert outlook.gain_at_end([0.2] * 5, 20, 0.1, enough) is None
    assert outlook.gain_at_end([0.2] * 6, 20, 0.1, few) is None
    told = outlook.gain_at_end([0.1, 0.2, -0.3, -0.3, 0.0, 0.1], 20, 0.1, enough)
    assert told == pytest.approx(rule.gain_at_end(0.1, 0.2))
    assert outlook.gain_at_end([-0.9] * 6, 20, 0.1, enough) == 0
    assert outlook.gain_at_end([0.2] * 6, 20, 0.02, enough) < rule.least_gain(0) < told


def test_a_training_whose_rest_is_not_worth_its_time_is_stopped(tmp_path, monkeypatch):
    """Nothing is ever expected here, so that it ends after three tenths of its epochs."""
    monkeypatch.setattr(rule, "FEWEST_TO_TELL", 8)
    monkeypatch.setattr(rule, "gain_at_end", lambda error, taken_away: 0.0)
    textures = str(ci.textures(tmp_path / "textures", classes=2))
    options = {"recipe": "fine_tuning", "train_from": "block_14_expand", "image_size": 32, "sample": 60}
    run = api.run(textures, output=tmp_path / "run", **options)
    trained = [row for row in run.history if row.epoch]
    assert len(trained) == 6
    assert all(row.taken_away for row in trained)
    assert run.metrics.complete
    assert "after 6 of 20 epochs" in words.ended_early(run)


@pytest.mark.parametrize(
    ("taken", "may_stop", "is_over"), [(0.0, True, True), (0.0, False, False), (0.9, True, False)]
)
def test_the_rest_is_trained_where_it_is_worth_its_time_or_asked_for(taken, may_stop, is_over):
    checkpoints = SimpleNamespace(
        history=[SimpleNamespace(epoch=epoch, taken_away=taken) for epoch in range(7)],
        epochs_done=lambda: 6,
        seconds=lambda: 60.0,
    )
    assert Outlook(checkpoints, 20, logits_of(90), LABELS, 0.1, may_stop).is_over() == is_over


@pytest.mark.slow
def test_a_training_that_lost_patience_says_so(tmp_path):
    """Steps are too small to change any answer, so that the first epoch stays the best."""
    textures = str(ci.textures(tmp_path / "textures", classes=2))
    options = {"recipe": "fine_tuning", "train_from": "block_14_expand", "image_size": 32, "sample": 60}
    by_hand = {"learning_rate": 1e-9, "watch": "accuracy", "patience": 2}
    run = api.run(textures, output=tmp_path / "run", epochs=5, settings=by_hand, **options)
    assert run.metrics.lost_patience
    assert run.history[-1].epoch == 3
    run = replace(run, metrics=replace(run.metrics, kept=None))
    assert "the best of them was too long ago; --set patience=5" in words.ended_early(run)
