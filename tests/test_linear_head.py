"""The convex head against scikit-learn, against leaving images out one by one, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import RidgeCV

from advisor.evidence import head_input, linear_head
from advisor.evidence.features import Features
from advisor.evidence.head_input import HeadInput
from advisor.evidence.signed_root import signed_root
from advisor.evidence.spread import spread
from advisor.system import large_array


def clouds(count: int, width: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features float32 [count, width] around a mean for each class, and labels."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    means = generator.normal(0, 0.7, (classes, width))
    return (means[labels] + generator.normal(0, 1, (count, width))).astype(np.float32), labels


def relative_scores(probabilities: np.ndarray) -> np.ndarray:
    """Log-probabilities without their mean and scale: what a temperature leaves."""
    logits = np.log(probabilities)
    logits -= logits.mean(axis=1, keepdims=True)
    return logits / np.linalg.norm(logits, axis=1, keepdims=True)


@pytest.mark.parametrize(("count", "width"), [(60, 200), (300, 8)], ids=["wide", "tall"])
@pytest.mark.parametrize("weighted", [False, True])
def test_it_classifies_as_the_ridge_regression_of_scikit_learn(count, width, weighted):
    features, labels = clouds(count, width)
    weights = np.where(labels == 0, 3.0, 1.0) if weighted else np.ones(count)
    weights /= weights.mean()
    scale = spread(features) * np.sqrt(width)
    theirs = RidgeCV(alphas=linear_head.RIDGES).fit(features / scale, np.eye(3)[labels], weights)
    ours = linear_head.fit(features, labels, 3, weights).head
    new, _ = clouds(500, width, seed=1)
    agree = ours.probabilities(new).argmax(axis=1) == theirs.predict(new / scale).argmax(axis=1)
    assert agree.mean() > 0.99


@pytest.mark.parametrize(("count", "width"), [(24, 40), (40, 5)], ids=["wide", "tall"])
def test_held_out_is_what_a_head_says_that_has_not_seen_the_image(count, width, monkeypatch):
    monkeypatch.setattr(linear_head, "RIDGES", np.array([0.3]))
    monkeypatch.setattr(linear_head, "floored", lambda deviation: np.ones_like(deviation))
    features, labels = clouds(count, width)
    weights = np.random.default_rng(2).uniform(0.5, 1.5, count)
    told = relative_scores(linear_head.fit(features, labels, 3, weights).held_out)
    for i in range(count):
        others = np.arange(count) != i
        head = linear_head.fit(features[others], labels[others], 3, weights[others]).head
        assert told[i] == pytest.approx(relative_scores(head.probabilities(features[[i]]))[0], abs=1e-3)


@pytest.mark.parametrize(("count", "width"), [(60, 200), (300, 8)], ids=["wide", "tall"])
def test_images_and_features_in_several_parts_give_the_same_head(count, width, monkeypatch):
    features, labels = clouds(count, width)
    whole = linear_head.fit(features, labels, 3)
    monkeypatch.setattr(head_input, "ROWS", 70)
    monkeypatch.setattr(head_input, "COLUMNS", 7)
    parts = linear_head.fit(features, labels, 3)
    assert parts.head.kernel == pytest.approx(whole.head.kernel, rel=1e-3, abs=1e-4)
    assert parts.held_out == pytest.approx(whole.held_out, abs=1e-5)


def test_features_on_the_disk_give_the_same_head_as_in_memory(monkeypatch):
    averages, labels = clouds(300, 12)
    rows = np.flatnonzero(labels < 2)

    def told(values: np.ndarray) -> np.ndarray:
        features = Features(("low", "high"), (4, 8), values, (0, 0), np.empty((300, 0), np.float16))
        seen = features.whole_picture(("low", "high")).take(rows)
        return linear_head.fit(seen, labels[rows], 3).held_out

    monkeypatch.setattr(large_array, "IN_MEMORY", 0)
    on_disk = large_array.empty(averages.shape, np.float32)
    on_disk[:] = averages
    assert large_array.is_on_disk(on_disk)
    assert large_array.is_on_disk(large_array.take(on_disk, rows))
    assert (large_array.take(on_disk, rows) == averages[rows]).all()
    assert (told(on_disk) == told(averages)).all()


def test_a_part_with_a_small_share_hardly_counts():
    said, labels = clouds(200, 20)
    noise = np.random.default_rng(5).normal(0, 1, (200, 400)).astype(np.float32)

    def accuracy(share: float) -> float:
        seen = HeadInput((said, noise.astype(np.float16)), (share, 1 - share))
        return linear_head.judge(linear_head.fit(seen, labels, 3).held_out, labels).accuracy

    alone = linear_head.judge(linear_head.fit(said, labels, 3).held_out, labels).accuracy
    assert accuracy(0.999) == pytest.approx(alone, abs=0.02)
    assert accuracy(0.05) < alone - 0.1


def test_inner_products_give_the_same_answers_as_the_features():
    features, labels = clouds(120, 300)
    seen = HeadInput((features[:, :100], features[:, 100:].astype(np.float16)), (0.25, 0.75))
    products = linear_head.Products.of(seen)
    assert products.held_out(labels, 4) == pytest.approx(linear_head.fit(seen, labels, 4).held_out, abs=1e-4)
    part, rest = np.arange(0, 120, 2), np.arange(1, 120, 2)
    told = products.probabilities(part, rest, labels[part], 4)
    head = linear_head.fit(seen.take(part), labels[part], 4).head
    assert told == pytest.approx(head.probabilities(seen.take(rest)), abs=0.05)  # the scale is that of all
    assert (told[:, 3] == 0).all()


def test_probabilities_are_as_sure_as_the_head_is_right():
    features, labels = clouds(2_400, 12, seed=3)
    head = linear_head.fit(features[:400], labels[:400], 3).head
    probabilities = head.probabilities(features[400:])
    right = probabilities.argmax(axis=1) == labels[400:]
    assert 0.7 < right.mean() < 0.99
    assert probabilities.max(axis=1).mean() == pytest.approx(right.mean(), abs=0.03)


def test_probabilities_stay_finite_where_all_images_are_right():
    labels = np.arange(40) % 2
    head = linear_head.fit(np.eye(2, dtype=np.float32)[labels] * 9, labels, 2)
    for probabilities in (head.held_out, head.head.probabilities(np.float32([[9, 0], [0, 9]]))):
        assert np.isfinite(probabilities).all()
        assert probabilities.max() > 0.95


def test_a_class_without_images_is_never_predicted():
    features, labels = clouds(60, 10)
    head = linear_head.fit(features, labels * 2, 6).head
    probabilities = head.probabilities(np.zeros((1, 10), np.float32))
    assert probabilities[0, [1, 3, 5]].max() < 1e-6
    assert probabilities.sum() == pytest.approx(1)


def test_the_signed_root_of_arrays_and_of_keras_tensors_is_the_same():
    import keras

    x = np.float32([[-4, -1e-3, 0, 0.25, 100]])
    assert signed_root(x)[0] == pytest.approx([-2, -0.0095, 0, 0.49, 10], abs=0.01)
    image = keras.Input((5,))
    assert keras.Model(image, signed_root(image)).predict(x, verbose=0) == pytest.approx(signed_root(x))
