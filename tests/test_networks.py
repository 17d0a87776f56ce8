"""`--backbone auto`: all pre-trained networks that are ready are compared, and one of them is taken."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import ModuleType, SimpleNamespace

import made_up
import numpy as np
import pytest

from advisor import api, backbones
from advisor.advice import looking, looks, networks, rule, times
from advisor.advice.recommendation import Recommendation
from advisor.advice.settings import Options, choose
from advisor.backbones.backbone import Backbone, fingerprint
from advisor.backbones.catalogue import NETWORKS
from advisor.backbones.efficientnet_lite import LITE0, LITE1, LITE2
from advisor.cli import main
from advisor.evidence.measure import Evidence
from advisor.evidence.second_look import Look
from advisor.system.progress import Silent

FAMILY = [LITE0.name, LITE1.name, LITE2.name]
DIGITS = ("sklearn:digits", "--image-size", "32", "--sample", "90")  # each network takes a second


def advised(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    """What `recommend --backbone auto --json` prints."""
    with pytest.raises(SystemExit) as left:
        main(["recommend", *arguments, "--backbone", "auto", "--json"])
    assert left.value.code == 0
    return json.loads(capsys.readouterr().out)


def verdicts(advice: dict) -> dict[str, str]:
    return {network["name"]: network["verdict"] for network in advice["networks"] if network["ready"]}


def test_networks_that_are_ready_are_compared_and_one_is_taken(capsys):
    advice = advised(capsys, *DIGITS)
    ready = [network for network in advice["networks"] if network["ready"]]
    assert [network["name"] for network in ready] == FAMILY
    for network in ready:
        low, high = network["interval"]
        assert low <= network["expected_accuracy"] <= high
        assert network["seconds"] > 0
        assert network["megabytes"] > 13
    (taken,) = (name for name, verdict in verdicts(advice).items() if verdict == "taken")
    assert advice["settings"]["backbone"] == taken
    frozen = advice["evidence"]["frozen"][advice["evidence"]["frozen_recipe"]]["expected_accuracy"]
    assert frozen == next(each["expected_accuracy"] for each in ready if each["name"] == taken)
    absent = [network for network in advice["networks"] if not network["ready"]]
    assert {network["verdict"] for network in absent} == {"not ready"}
    assert all(network["expected_accuracy"] is None and network["top1"] for network in absent)


def test_similarity_stays_that_of_the_yardstick(capsys):
    advice = api.recommend("sklearn:digits", image_size=32, sample=90)
    assert advised(capsys, *DIGITS)["similarity"] == advice.to_json()["similarity"]
    assert advice.networks == ()


def test_the_comparison_is_shown_and_kept(tmp_path, capsys):
    arguments = ["recommend", *DIGITS, "--backbone", "auto", "--output", str(tmp_path)]
    with pytest.raises(SystemExit):
        main(arguments)
    shown, page = capsys.readouterr().out, (tmp_path / "report.html").read_text()
    for name in FAMILY:
        assert name in shown
        assert name in page
    assert "are not ready" in shown
    assert "Which network" in page
    kept = json.loads((tmp_path / "recommendation.json").read_text())
    assert json.loads(json.dumps(Recommendation.from_json(kept).to_json())) == kept
    assert "--backbone auto" in kept["reproduction"]["command"]


def test_a_model_has_to_be_small_enough(capsys, refused):
    advice = advised(capsys, *DIGITS, "--max-megabytes", "16")
    assert verdicts(advice) == {LITE0.name: "taken", LITE1.name: "too large", LITE2.name: "too large"}
    assert advice["networks"][1]["expected_accuracy"] is None  # it was not even looked at
    assert advice["settings"]["keep"] == "single"  # for the pool of two networks would be too large
    assert advised(capsys, *DIGITS, "--max-megabytes", "60")["settings"]["keep"] == "better"
    message = refused("recommend", *DIGITS, "--backbone", "auto", "--max-megabytes", "5")
    assert "--max-megabytes 5" in message
    assert "give 14 or more" in message


def test_options_about_training_do_not_disturb_the_comparison():
    asked = {"recipe": "fine_tuning", "mode": "everything", "settings": {"dropout": 0.2}}
    advice = api.recommend("sklearn:digits", image_size=32, sample=90, backbone="auto", **asked)
    assert (advice.settings.mode, advice.settings.dropout) == ("everything", 0.2)
    assert len([network for network in advice.networks if network.expected_accuracy]) == 3


def test_a_run_has_to_fit_into_the_minutes(capsys):
    advice = advised(capsys, *DIGITS, "--minutes", "0.01")
    assert verdicts(advice) == {LITE0.name: "taken", LITE1.name: "too slow", LITE2.name: "too slow"}
    assert any("does not fit into --minutes 0.01" in warning for warning in advice["warnings"])


def test_what_is_far_behind_on_few_images_is_seen_no_more(monkeypatch, capsys):
    """A network that averages the picture cannot tell digits."""

    def load(weights, image_size, random) -> Backbone:
        import keras

        image = keras.Input((None, None, 3))
        grey = keras.layers.AveragePooling2D(16, name="grey")(image)
        model = keras.Model(image, keras.layers.Rescaling(1 / 255, name="scaled")(grey))
        return Backbone(
            "grey", lambda: model, ("grey", "scaled"), image_size or 32, False, "ImageNet", fingerprint(model)
        )

    file = ModuleType("grey")
    file.ROW = replace(LITE0.ROW, name="grey", top1=76.0, gflop=0.01)
    file.load = load
    monkeypatch.setitem(sys.modules, "grey", file)
    monkeypatch.setattr("advisor.backbones.catalogue.NETWORKS", (NETWORKS[0], "grey"))
    seen = []
    probe = networks.probe_network

    def watched(data, backbone, size, images, *rest):
        seen.append((backbone.name, images))
        return probe(data, backbone, size, images, *rest)

    monkeypatch.setattr(networks, "probe_network", watched)
    monkeypatch.setattr(networks, "FEW_IMAGES", 40)
    advice = advised(capsys, *DIGITS)
    assert verdicts(advice) == {LITE0.name: "taken", "grey": "far behind"}
    assert seen == [(LITE0.name, 40), ("grey", 40)]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("recommend", "sklearn:digits", "--max-megabytes", "20"), "--backbone auto"),
        (
            ("recommend", "sklearn:digits", "--backbone", "auto", "--max-megabytes", "0"),
            "--max-megabytes is 0",
        ),
        (("recommend", "sklearn:digits", "--backbone", "auto", "--weights", "w.h5"), "--weights"),
        (("run", "sklearn:digits", "--auto", "--backbone", "auto", "--cut-layer", "3"), "--cut-layer"),
        (("compare", "sklearn:digits", "--backbone", "auto"), "name it"),
    ],
)
def test_what_does_not_go_together_is_refused(command, words, refused):
    assert words in refused(*command)


class Stopping(Silent):
    """Ctrl-C as soon as the head is solved."""

    def steps(self, what: str):
        if what == "Solving the head":
            raise KeyboardInterrupt
        return super().steps(what)


def test_a_run_that_goes_on_keeps_its_network(tmp_path, finished_run, monkeypatch):
    options = {"recipe": "feature_extraction", "backbone": "auto", "image_size": 32}
    data, folder = str(finished_run.parent / "images"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        api.run(data, output=folder, **options, display=Stopping())
    told = json.loads((folder / "recommendation.json").read_text())
    first = told["settings"]["backbone"]
    monkeypatch.setattr(networks, "measure", None)  # nothing is compared again
    finished = api.run(data, output=folder, **options, resume=True)
    assert first in FAMILY
    assert finished.metrics.settings.backbone == first
    again = json.loads((folder / "recommendation.json").read_text())
    assert [network["name"] for network in again["networks"] if network["ready"]] == FAMILY
    assert again["networks"] == told["networks"]


def test_the_more_images_there_are_the_less_imagenet_counts():
    few, many = (rule.nats_of_network(2.0, 0.55, 0.5, images)[0] for images in (200, 2_000))
    assert few > 0 > many
    assert rule.nats_of_network(2.0, 0.5, 0.5, 200)[0] > rule.nats_of_network(0.0, 0.5, 0.5, 200)[0] == 0


def with_look(taken: float) -> Evidence:
    """Evidence of ants and bees, with 15 % expected errors, where Lite0 looked beside Lite2."""
    known = made_up.evidence(made_up.summary(400))
    expected = {name: replace(one, accuracy=0.85) for name, one in known.probes.expected.items()}
    look = Look("one", LITE0.name, "shallow_features", images=300, gain=0.01, taken=taken, width=16)
    return replace(known, looks=(look,), probes=replace(known.probes, expected=expected))


def candidate(name: str, verdict: str, ready: bool = True) -> networks.Candidate:
    return networks.Candidate(name, ready, 0.85, (0.8, 0.9), 20.0, 15.0, 75.0, verdict)


@pytest.mark.parametrize(
    ("recipe", "taken", "backbone", "verdict"),
    [
        ("shallow_features", 0.2, f"{LITE2.name}+{LITE0.name}", "taken"),
        ("full_training", 0.2, LITE2.name, "if frozen"),
        ("feature_extraction", 0.2, LITE2.name, "if frozen"),
        ("shallow_features", -0.3, LITE2.name, "not better"),
    ],
)
def test_two_networks_are_taken_where_the_frozen_ones_together_are_worth_it(recipe, taken, backbone, verdict):
    known = with_look(taken)
    worth = [looks.action(look) for look in known.looks if looks.is_worth(look, known, LITE2.name)]
    options = Options(backbone=LITE2.name, second=looks.best_second(known, worth))
    settings = choose(recipe, options, known)
    assert settings.backbone == backbone
    if "+" in backbone:
        both = backbones.load(backbone)
        assert (settings.taps, settings.image_size) == (both.taps, both.image_size)
    compared = candidate(LITE2.name, "taken"), candidate("absent", "not ready", ready=False)
    told = networks.with_pairs((candidate(LITE0.name, "not better"), *compared), known, settings, worth)
    assert [one.name for one in told] == [LITE0.name, LITE2.name, f"{LITE2.name}+{LITE0.name}", "absent"]
    assert told[2].verdict == verdict
    assert (told[2].expected_accuracy > 0.85) == (taken > 0)
    assert told[2].megabytes == 30.0
    assert told[0].verdict == ("one of two" if verdict == "taken" else "not better")


def test_networks_that_were_compared_may_look_beside_each_other():
    lite2 = backbones.load(LITE2.name)
    compared = dict(zip(FAMILY, (14.0, 17.0, 20.0), strict=True))
    assert looking.second_networks(lite2, Options(), compared) == FAMILY[:2]
    assert looking.second_networks(lite2, Options(max_megabytes=35), compared) == [LITE0.name]
    assert looking.second_networks(lite2, Options()) == [LITE1.name]


def test_of_two_networks_the_one_with_more_pixels_need_not_see_again_what_it_saw():
    known = with_look(0.2)
    images, sampled = sum(known.data.splits.values()), known.sampled
    of = {name: looks.seconds_each(name) for name in FAMILY}
    large, small = (replace(known, network=replace(known.network, image_size=size)) for size in (260, 224))
    (beside,) = known.looks
    assert looks.seconds(beside, large, LITE2.name) == pytest.approx(images * of[LITE0.name])
    beside = replace(beside, network=LITE2.name)
    more = sampled * of[LITE0.name] + (images - beside.images) * of[LITE2.name]
    assert looks.seconds(beside, small, LITE0.name) == pytest.approx(more)
    both = choose("shallow_features", Options(backbone=LITE2.name, second=LITE0.name), large)
    fresh, rest = (times.run(both, known.data.splits, done) for done in (0, times.known(both, large)))
    assert fresh - rest == pytest.approx(sampled * of[LITE2.name])


def test_the_best_on_imagenet_is_looked_at_first(monkeypatch):
    seen = []
    monkeypatch.setattr(networks, "probe_network", lambda data, one, *rest: seen.append(one.name) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        api.recommend("sklearn:digits", image_size=32, sample=90, backbone="auto")
    assert seen == [LITE2.name]


def test_looking_at_others_leaves_time_for_the_best_one(monkeypatch):
    known, taken = made_up.evidence(made_up.summary(4000)), []
    each = dict(zip(FAMILY, (0.006, 0.010, 0.014), strict=True))
    monkeypatch.setattr(looks, "seconds_each", lambda name, size=None: each[name])
    for minutes in np.arange(0.5, 3.0, 0.05):
        clock, seen = [0.0], []

        def probe(name, images, clock=clock, seen=seen):
            clock[0] += images * each[name]
            seen.append(name)
            return known

        monkeypatch.setattr(networks, "time", SimpleNamespace(monotonic=lambda clock=clock: clock[0]))
        race = networks._Race(Options(backbone="auto", minutes=minutes), known, 0.0)
        race.run(probe, known.sampled)
        taken.append(race.best())
        assert (LITE2.name in race.probed) == (taken[-1] == LITE2.name)
    assert set(taken) == set(FAMILY)


@pytest.mark.slow
def test_a_run_may_take_two_networks(finished_run, tmp_path, monkeypatch):
    monkeypatch.setattr(rule, "SATURATED_ERROR", -1.0)
    monkeypatch.setattr(looks, "is_worth", lambda look, evidence, backbone: look.network is not None)
    options = {"recipe": "shallow_features", "backbone": "auto", "image_size": 32}
    data, folder = str(finished_run.parent / "images"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        api.run(data, output=folder, **options, display=Stopping())
    both = json.loads((folder / "recommendation.json").read_text())["settings"]["backbone"]
    run = api.run(data, output=folder, **options, resume=True)
    assert run.metrics.settings.backbone == both
    assert both.count("+") == 1
    told = json.loads((folder / "recommendation.json").read_text())
    assert told["recipe"] != "feature_extraction"
    assert verdicts(told)[both] == "taken"
    said = [one.probabilities for one in api.predict(run.folder, run.test.paths)]
    assert said == pytest.approx(run.test.probabilities, abs=2e-3)
