"""What `advisor recommend` says, on real data sets and on generated ones."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace

import made_up
import numpy as np
import pytest

import advisor
from advisor.advice import rationale, rule, steps, times
from advisor.advice.recommendation import Recommendation
from advisor.advice.settings import Options, choose
from advisor.cli import main
from advisor.evidence import linear_head, probe, similarity
from advisor.evidence.features import Features
from advisor.evidence.probe import CurvePoint, DepthProbe, Expected, Kernel, Position, Probes
from advisor.evidence.signed_root import signed_root
from advisor.report import words
from benchmarks import ci


def recommend(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    with pytest.raises(SystemExit) as end:
        main(["recommend", "--json", *arguments])
    captured = capsys.readouterr()
    assert end.value.code == 0, captured.err
    return json.loads(captured.out)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("hymenoptera", "small-similar"),
        ("flowers", "large-similar"),
        ("malaria", "large-dissimilar"),
    ],
)
def test_real_data_sets_lie_in_their_quadrants(capsys, real_data, name, place):
    advice = recommend(capsys, str(real_data / name))
    assert advice["quadrant"] == place
    assert advice["confidence"] == max(advice["quadrants"].values())
    assert sum(advice["quadrants"].values()) == pytest.approx(1)
    assert [row["factor"] for row in advice["rationale"]][:2] == ["Size", "Similarity"]


def test_fifty_images_of_each_steel_defect_are_few_and_unlike(capsys, real_data, tmp_path):
    for folder in sorted((real_data / "neu").iterdir()):
        (tmp_path / folder.name).mkdir()
        for path in sorted(folder.iterdir())[:50]:
            (tmp_path / folder.name / path.name).symlink_to(path)
    assert recommend(capsys, str(tmp_path))["quadrant"] == "small-dissimilar"


def test_digits_are_unlike_photographs_and_the_same_seed_says_the_same(capsys):
    first, second = (recommend(capsys, "sklearn:digits", "--sample", "200", "--seed", "3") for _ in range(2))
    assert first["similarity"]["level"] == "low"
    assert first["dataset"]["images"] == 1797
    for advice in (first, second):
        del advice["seconds"], advice["plan"]["seconds_estimated"]
        for step in advice["steps"]:
            del step["seconds"]
    assert first == second


def test_a_source_of_ones_own_is_the_yardstick(capsys):
    advice = recommend(capsys, "sklearn:digits", "--sample", "100", "--source", "sklearn:digits")
    assert advice["similarity"]["reference"] == "sklearn:digits"
    assert advice["similarity"]["score"] > 0.95


def test_the_score_is_one_for_the_reference_and_falls_as_unlike_features_are_added():
    reference = similarity.reference_features()
    half, other = reference[::2], reference[1::2]
    assert similarity.measure(half, other).score > 0.9
    generator = np.random.default_rng(0)
    unlike = generator.permuted(reference, axis=1)[:500]  # the same numbers, in the wrong places
    scores = [
        similarity.measure(np.concatenate([half[: 500 - n], unlike[:n]]), other).score
        for n in (0, 100, 200, 300, 400, 500)
    ]
    assert all(more > less for more, less in itertools.pairwise(scores))


def test_a_small_sample_lies_in_the_interval_of_a_large_one():
    reference = similarity.reference_features()
    generator = np.random.default_rng(1)
    shifted = reference + generator.normal(0.1, 0.3, reference.shape[1])
    whole = similarity.measure(shifted, reference)
    inside = 0
    for seed in range(20):
        part = shifted[np.random.default_rng(seed).permutation(1000)[:100]]
        inside += whole.interval[0] <= similarity.measure(part, reference, seed).score <= whole.interval[1]
    assert inside >= 16


def test_size_and_similarity_make_the_quadrant():
    def at(images: int, distance: float) -> rule.Quadrant:
        score = similarity.score(distance)
        measured = similarity.Similarity(score, (score, score), distance, 0.01, "reference")
        return rule.place(images, measured)

    # What the source documents call few and many: 341; 4,242 and 10,015 images.
    assert at(341, 0.3).name == "small-dissimilar"
    assert at(4242, 0.1).name == "large-similar"
    assert at(10015, 0.3).name == "large-dissimilar"
    assert at(200, 0.08).confidence > at(900, 0.15).confidence
    assert at(rule.LARGE_FROM_IMAGES, 0.05).neighbour() == "small-similar"


def place_of(name: str) -> rule.Quadrant:
    size, level = name.split("-")
    likely = dict.fromkeys(rule.RECIPE, 0.0) | {name: 1.0}
    return rule.Quadrant(name, size, "high" if level == "similar" else "low", likely)


def probes_of(last: int, together: int, of: int = 200) -> Probes:
    """Probes of which the last layer's and that of all taps are right about so many images of 200."""
    difference = (np.arange(of) < together).astype(float) - (np.arange(of) < last)
    return Probes(
        by_depth=(DepthProbe("shallow", 0.5), DepthProbe("last", last / of)),
        together=DepthProbe(probe.ALL_TAPS, together / of),
        gain_of_all_depths=(float(difference.mean()), float(difference.std() / np.sqrt(of))),
        expected={
            recipe: Expected((CurvePoint(of, hits / of),), hits / of, (0.0, 1.0), 0.01, hits / of, 0.1)
            for recipe, hits in (("feature_extraction", last), ("shallow_features", together))
        },
        position={recipe: Position("average", 7) for recipe in ("feature_extraction", "shallow_features")},
        kernel={recipe: Kernel() for recipe in ("feature_extraction", "shallow_features")},
        widths={"shallow": 2, "last": 7},
    )


@pytest.mark.parametrize(
    ("name", "validated_on", "last", "together", "recipe"),
    [
        ("small-similar", 10, 160, 161, "shallow_features"),
        ("small-similar", 10, 160, 160, "shallow_features"),
        ("small-similar", 10, 160, 158, "feature_extraction"),
        ("small-dissimilar", 10, 160, 160, "shallow_features"),
        ("small-dissimilar", 10, 160, 159, "feature_extraction"),
        ("small-similar", 40, 160, 170, "shallow_features"),
        ("small-dissimilar", 20, 160, 170, "full_training"),
        ("small-dissimilar", 20, 160, 150, "fine_tuning"),
        ("small-similar", 20, 196, 190, "feature_extraction"),
        ("large-similar", 100, 160, 170, "fine_tuning"),
        ("large-dissimilar", 100, 160, 170, "full_training"),
        ("large-dissimilar", 100, 160, 150, "fine_tuning"),
        ("large-similar", 100, 200, 199, "feature_extraction"),
        ("large-dissimilar", 100, 199, 200, "shallow_features"),
        ("large-dissimilar", 5, 160, 170, "shallow_features"),
    ],
)
def test_measurements_decide_where_nobody_knows_what_training_gains(
    name, validated_on, last, together, recipe
):
    place, probes = place_of(name), probes_of(last, together)
    decision = rule.decide(place, probes, validated_on, {})
    assert decision.recipe == recipe
    data = made_up.summary(splits={"train": 160, "validation": validated_on, "test": 20})
    reasons = rationale.rows(replace(made_up.evidence(data), probes=probes), place, decision, ())
    assert ("Evidence" in [row.factor for row in reasons]) == (recipe != rule.RECIPE[name])


@pytest.mark.parametrize(
    ("worth", "validated_on", "recipe"),
    [
        ({"fine_tuning": True}, 40, "fine_tuning"),
        ({"fine_tuning": False}, 40, "shallow_features"),
        ({"fine_tuning": True}, 5, "fine_tuning"),
        ({"fine_tuning": None}, 5, "shallow_features"),
        ({"fine_tuning": None}, 40, "fine_tuning"),
    ],
)
def test_training_is_advised_where_it_is_worth_its_time_or_can_be_judged(worth, validated_on, recipe):
    place = place_of("large-similar")
    assert rule.decide(place, probes_of(160, 170), validated_on, worth).recipe == recipe


def test_the_steps_are_what_the_advice_follows_from():
    """At an expected accuracy of 80 % training is worth its minutes, at 99 % it is not."""
    for accuracy, trains in ((0.8, True), (0.99, False)):
        known = made_up.evidence(made_up.summary(400))
        expected = {name: replace(one, accuracy=accuracy) for name, one in known.probes.expected.items()}
        known = replace(known, probes=replace(known.probes, expected=expected))
        advice = made_up.recommendation(evidence=known)
        start, other, training, *_ = advice.steps
        assert (start.action, start.gain, other.worth) == (advice.frozen_recipe, 0.0, False)
        assert training.gain == pytest.approx(rule.gain_of_training(1 - accuracy))
        assert training.interval[0] < training.gain < training.interval[1]
        assert (training.worth, advice.recipe in ("fine_tuning", "full_training")) == (trains, trains)
        assert advice.steps[-1].seconds is None
        assert Recommendation.from_json(json.loads(json.dumps(advice.to_json()))) == advice


def test_gains_are_told_in_balanced_accuracy_where_classes_are_of_unlike_sizes():
    for largest, told in ((100, False), (300, True)):
        data = made_up.summary(400, smallest_class=90, largest_class=largest)
        advice = made_up.recommendation(data)
        start, _, training, *_, more_images = advice.steps
        gain = rule.gain_of_training(1 - advice.evidence.probes.expected[start.action].balanced)
        assert training.balanced_gain == (pytest.approx(gain) if told else None)
        assert start.balanced_gain == (0.0 if told else None)
        assert more_images.balanced_gain is None
        assert any("each class counts" in said for said in words.about_steps(advice)) == told


def test_nobody_knows_the_gain_of_what_was_not_measured():
    for changes in ({"image_size": 512}, {"data": made_up.summary(20_000)}):
        known = made_up.evidence(**{"data": made_up.summary(400), **changes})
        advice = made_up.recommendation(evidence=known)
        training = next(step for step in advice.steps if step.action == "fine_tuning")
        assert (training.gain, training.interval, training.worth) == (None, None, None)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (0.9, "the images that there are should do"),
        (0.93, r"takes about [\d,]+ images"),
        (0.9999, "no number"),
    ],
)
def test_a_target_tells_how_many_images_reach_it(target, says):
    advice = made_up.recommendation(made_up.summary(400), Options(target=target))
    step = advice.steps[-1]
    assert re.search(says, step.what)
    if "takes" in says:
        curve = advice.evidence.probes.expected[advice.frozen_recipe].curve
        needed = probe.images_for(curve, target)
        assert probe.images_for(curve, target + 0.01) > needed > curve[-1].images


def test_training_that_nobody_can_foretell_or_judge_is_not_advised():
    advice = made_up.recommendation(made_up.summary(40))
    training = next(step for step in advice.steps if step.action in steps.TRAINING)
    assert (training.gain, training.worth) == (None, None)
    assert advice.recipe in steps.FROZEN
    assert "too few" in [row.verdict for row in advice.rationale]


def test_minutes_choose_what_fits(monkeypatch):
    known = made_up.evidence(made_up.summary(4000))
    monkeypatch.setattr(times, "run", lambda settings, images, embedded: 10.0 + 60 * settings.epochs)
    monkeypatch.setattr(times, "epoch", lambda settings, images: 60.0)
    settings = choose("fine_tuning", Options(), known)
    assert settings.epochs == 9
    assert steps.fitting(settings, known, seconds=5.0) is None
    assert steps.fitting(settings, known, seconds=131.0) is None  # two epochs of nine are too few
    for seconds, epochs in ((211.0, 3), (1e9, 9)):
        assert steps.fitting(settings, known, seconds).epochs == epochs
    head = choose("feature_extraction", Options(), known)
    assert steps.fitting(head, known, seconds=9.0) is None
    assert steps.fitting(head, known, seconds=11.0) == head


def test_the_labels_of_test_images_choose_nothing(capsys, tmp_path):
    """With the labels of the test split in the wrong places, evidence and advice are the same."""
    made = ci.textures(tmp_path / "textures", classes=2, images_of_each=60)
    told = []
    for name, order in (("right", (0, 1)), ("wrong", (1, 0))):
        for label, tested_as in enumerate(order):
            for number, image in enumerate(sorted((made / f"stripes {label}").iterdir())):
                test = number >= 40
                folder = tmp_path / name / f"{'test' if test else 'train'}/{tested_as if test else label}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{label}-{image.name}").symlink_to(image)
        told.append(recommend(capsys, str(tmp_path / name), "--image-size", "64"))
    assert told[0]["dataset"]["splits"]["test"] == 40
    for key in ("evidence", "recipe", "settings"):
        assert told[0][key] == told[1][key]


def test_near_a_border_the_next_quadrant_is_named_and_nowhere_else(capsys):
    def told(images: int, distance: float) -> list[str]:
        measured = similarity.Similarity(similarity.score(distance), (0.0, 1.0), distance, 0.01, "reference")
        place = rule.place(images, measured)
        found = rationale.alternatives(place, rule.RECIPE[place.name])
        return [item.recipe for item in found if "run advisor compare" in item.when]

    border = -similarity.SCALE * math.log(rule.SIMILAR_FROM_SCORE)
    assert told(rule.LARGE_FROM_IMAGES, 0.3) == ["shallow_features"]
    assert len(told(rule.LARGE_FROM_IMAGES, border)) == 1
    assert told(50, 0.3) == []


def test_frozen_heads_reach_what_was_expected_of_them():
    """On made-up features of two depths, of which both know something."""
    inside = {"feature_extraction": 0, "shallow_features": 0}
    surplus = dict.fromkeys(inside, 0.0)
    for seed in range(10):
        generator = np.random.default_rng(seed)
        labels = generator.integers(0, 4, 1300)
        means = generator.normal(0, 0.5, (4, 48))
        values = (means[labels] + generator.normal(0, 1, (1300, 48))).astype(np.float32)
        features = Features(("low", "last"), (24, 24), values, (0, 0), np.empty((1300, 0), np.float16))
        told = probe.gather(features.take(np.arange(300)), "average", labels[:300], 4, 900, 400, seed)
        assert rule.better_frozen(told) == "shallow_features"
        for recipe, seen in (("feature_extraction", features.last()), ("shallow_features", values)):
            head = linear_head.fit(signed_root(seen[:900]), labels[:900], 4).head
            probabilities = head.probabilities(signed_root(seen[900:]))
            reached = linear_head.judge(probabilities, labels[900:]).accuracy
            low, high = told.expected[recipe].interval
            inside[recipe] += low <= reached <= high
            surplus[recipe] += (told.expected[recipe].accuracy - reached) / 10
            assert high - low < 0.2
    assert min(inside.values()) >= 7
    assert all(abs(points) < 0.012 for points in surplus.values())  # -0.015 and less without the curve


def test_images_may_be_mirrored_where_that_changes_no_class():
    generator = np.random.default_rng(0)
    labels = np.arange(300) % 3
    features = generator.normal(0, 1, (300, 16)).astype(np.float32)
    features[np.arange(300), labels] += 4
    rows = np.arange(100)
    swapped = features[rows][:, [1, 0, *range(2, 16)]]  # as b and d, and an o that stays an o
    noisy = features[rows] + generator.normal(0, 0.3, (100, 16)).astype(np.float32)
    losses = [probe.mirror_loss(features, labels, turned, rows, 3) for turned in (noisy, swapped)]
    assert [rule.mirrors_are_harmless(loss) for loss in losses] == [True, False]


def test_the_advice_comes_back_from_json_as_it_was():
    advice = advisor.recommend("sklearn:digits", sample=60)
    values = json.loads(json.dumps(advice.to_json()))
    again = Recommendation.from_json(values)
    assert again.to_json() == advice.to_json()
    assert replace(again, seconds=advice.seconds) == advice
