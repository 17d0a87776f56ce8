"""The advice: evidence to recipe, settings and reasons. Trains nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from advisor import backbones
from advisor.advice import looking, looks, networks, plan, rationale, rule, steps
from advisor.advice.by_hand import choose
from advisor.advice.networks import Candidate, Chosen
from advisor.advice.plan import Plan
from advisor.advice.rationale import Alternative, Factor
from advisor.advice.rule import Decision, Quadrant
from advisor.advice.settings import Options, Settings
from advisor.advice.steps import Step
from advisor.audit import findings as faults
from advisor.audit.findings import Finding
from advisor.audit.warnings import warnings
from advisor.backbones import Backbone
from advisor.choices import AUTO, DEFAULT_SAMPLE, RECIPES
from advisor.data.dataset import Dataset, Summary
from advisor.errors import InputError
from advisor.evidence import similarity
from advisor.evidence.fitting import Fit
from advisor.evidence.grouping import Grouping
from advisor.evidence.measure import Evidence, Measured, measure
from advisor.evidence.probe import Probes
from advisor.evidence.sights import SeenAs, Sights
from advisor.evidence.similarity import Similarity
from advisor.system import devices, reproduction
from advisor.system.progress import Display

SCHEMA = 1
SMALLEST_SAMPLE = 10  # images

Decide = Callable[[Quadrant, Probes, int, Mapping[str, bool | None]], Decision]


@dataclass(frozen=True)
class Recommendation:
    """The advice, and all that it rests on.

    Attributes:
        evidence: what was measured.
        quadrant: where the data set lies.
        recipe: what to do.
        frozen_recipe: the better of the two recipes that train nothing but the head.
        settings: how the recipe that was asked for, else the advised one, will be built.
        plan: what that will take.
        rationale: why, a row for each factor.
        steps: what could be done next, with its gain and its time, the better frozen recipe first.
        alternatives: what else, and when.
        warnings: what to know before trusting a result.
        device: what will train.
        seconds: that measuring took.
        reproduction: how to get the same again.
        networks: that were compared, with `--backbone auto`.
        findings: what is probably wrong with the data; `advisor audit` looks for more.
        seen_as: what each class looks like to the bundled network.
    """

    evidence: Evidence
    quadrant: Quadrant
    recipe: str
    frozen_recipe: str
    settings: Settings
    plan: Plan
    rationale: tuple[Factor, ...]
    steps: tuple[Step, ...]
    alternatives: tuple[Alternative, ...]
    warnings: tuple[str, ...]
    device: str
    seconds: float
    reproduction: reproduction.Record
    networks: tuple[Candidate, ...] = ()
    findings: tuple[Finding, ...] = ()
    seen_as: tuple[SeenAs, ...] = ()

    @property
    def data(self) -> Summary:
        """The data set in numbers."""
        return self.evidence.data

    def with_settings(self, settings: Settings) -> Recommendation:
        """The same advice with other settings, and the plan that belongs to them."""
        return replace(self, settings=settings, plan=plan.make(settings, self.evidence))

    def to_json(self) -> dict[str, Any]:
        """The object that `advisor recommend --json` prints."""
        near, place = self.evidence.similarity, self.quadrant
        return {
            "schema": SCHEMA,
            "dataset": self.data.to_json(),
            "size": {"images": self.data.images, "threshold": rule.LARGE_FROM_IMAGES, "level": place.size},
            "similarity": {
                "score": near.score,
                "interval": list(near.interval),
                "distance": near.distance,
                "deviation": near.deviation,
                "metric": similarity.METRIC,
                "threshold": rule.SIMILAR_FROM_SCORE,
                "level": place.similarity,
                "sampled": self.evidence.sampled,
                "backbone": backbones.BUNDLED,
                "reference": near.reference,
            },
            "quadrant": place.name,
            "confidence": place.confidence,
            "quadrants": dict(place.probabilities),
            "recipe": self.recipe,
            "settings": self.settings.to_json(),
            "plan": vars(self.plan),
            "rationale": [vars(row) for row in self.rationale],
            "steps": [step.to_json() for step in self.steps],
            "networks": [network.to_json() for network in self.networks],
            "evidence": {**self.evidence.to_json(), "frozen_recipe": self.frozen_recipe},
            "fit": self.evidence.fit.to_json(),
            **({"groups": self.evidence.grouping.to_json()} if self.evidence.grouping else {}),
            "alternatives": [vars(item) for item in self.alternatives],
            "seen_as": [one.to_json() for one in self.seen_as],
            "findings": [{**vars(one), "paths": list(one.paths)} for one in self.findings],
            "warnings": list(self.warnings),
            "device": self.device,
            "seconds": round(self.seconds, 3),
            "reproduction": vars(self.reproduction),
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Recommendation:
        """What `to_json` gave, as from the recommendation.json of a run of one's own."""
        told = values["similarity"]
        near = Similarity(
            score=told["score"],
            interval=(told["interval"][0], told["interval"][1]),
            distance=told["distance"],
            deviation=told["deviation"],
            reference=told["reference"],
        )
        data = Summary.from_json(values["dataset"], values["reproduction"]["data"])
        return Recommendation(
            evidence=Evidence.from_json(
                values["evidence"],
                data,
                told["sampled"],
                near,
                Grouping.from_json(values.get("groups")),
                Fit.from_json(values["fit"]),
            ),
            quadrant=Quadrant(
                values["quadrant"], values["size"]["level"], told["level"], values["quadrants"]
            ),
            recipe=values["recipe"],
            frozen_recipe=values["evidence"]["frozen_recipe"],
            settings=Settings.from_json(values["settings"]),
            plan=Plan(**values["plan"]),
            rationale=tuple(Factor(**row) for row in values["rationale"]),
            steps=tuple(Step.from_json(step) for step in values["steps"]),
            alternatives=tuple(Alternative(**item) for item in values["alternatives"]),
            warnings=tuple(values["warnings"]),
            device=values["device"],
            seconds=values["seconds"],
            reproduction=reproduction.Record(**values["reproduction"]),
            networks=tuple(Candidate.from_json(network) for network in values["networks"]),
            findings=tuple(
                Finding(one["kind"], one["text"], tuple(one["paths"])) for one in values.get("findings", ())
            ),
            seen_as=tuple(SeenAs.from_json(one) for one in values.get("seen_as", ())),
        )


@dataclass(frozen=True)
class Advised:
    """A recommendation with what it is about: enough to build every recipe on the same images.

    Attributes:
        advice: the recommendation.
        data: the images, without those that could not be read.
        options: what the user asked for, as it applies to the network.
        sights: what there is to see of the measured images.
    """

    advice: Recommendation
    data: Dataset
    options: Options
    sights: Sights

    def with_recipe(self, recipe: str) -> Recommendation:
        """The same advice, with settings and plan of any of the recipes."""
        settings = choose(recipe, self.options, self.advice.evidence)
        return self.advice.with_settings(settings)


def recommend(
    data: Dataset,
    options: Options,
    display: Display,
    recipe: str | None = None,
    sample: int = DEFAULT_SAMPLE,
    source: Dataset | None = None,
    seed: int = 0,
    decide: Decide = rule.decide,
) -> Advised:
    """Measure a data set and decide.

    Args:
        data: the images.
        options: what the user asked for.
        display: where progress is shown.
        recipe: the settings will be for this one, whatever is advised; None for the advised one.
        sample: most images to measure.
        source: images of the backbone's source domain, where it is not ImageNet.
        seed: of the sample, the bootstrap and the learning curves.
        decide: the rule.

    Raises:
        InputError: options or data that nothing can be done with.
    """
    began, asked = time.monotonic(), options
    options.check(recipe)
    if sample < SMALLEST_SAMPLE:
        raise InputError(f"--sample is {sample}; give {SMALLEST_SAMPLE} or more")
    if options.backbone == AUTO:
        chosen = networks.measure(data, options, sample, source, seed, display, began)
    else:
        chosen = _named(data, options, recipe, sample, source, seed, display)
    backbone, within = chosen.backbone, replace(chosen.options, max_megabytes=asked.max_megabytes)
    measured = _looked_again(chosen, within, recipe, _left(asked, began), seed, display)
    evidence, options = measured.evidence, chosen.options
    place = rule.place(evidence.data.images, evidence.similarity)
    left = _left(options, began)
    training = recipe if recipe in steps.TRAINING else rule.training_recipe(place, evidence.probes)
    judged = faults.judge(measured, seed)
    next_steps = steps.steps(
        evidence,
        possible(options, evidence),
        training,
        left,
        options.target,
        wrong_labels=judged.share if judged and len(judged.suspects) else 0.0,
    )
    worth = {step.action for step in next_steps if step.worth}
    if chosen.networks:
        options = replace(options, second=looks.best_second(evidence, worth))
    training_worth = {step.action: step.worth for step in next_steps if step.action in steps.TRAINING}
    decision = decide(place, evidence.probes, evidence.data.splits["validation"], training_worth)
    if options.second and decision.recipe in steps.FROZEN:
        decision = replace(decision, recipe="shallow_features")  # the recipe that sees both networks
    settings, overrun = choose(recipe or decision.recipe, options, evidence), []
    if left is not None:
        fitted = steps.fitting(settings, evidence, left)
        overrun = [] if fitted else [f"{settings.recipe} does not fit into --minutes {options.minutes:g}"]
        settings = fitted or settings
    if options.train_from and settings.train_from:
        settings = replace(settings, frozen=backbone.below(settings.train_from))
    advice = Recommendation(
        evidence=evidence,
        quadrant=place,
        recipe=decision.recipe,
        frozen_recipe=decision.frozen_recipe,
        settings=settings,
        plan=plan.make(settings, evidence),
        rationale=rationale.rows(evidence, place, decision, next_steps, options.minutes),
        steps=next_steps,
        alternatives=rationale.alternatives(place, decision.recipe, recipe),
        warnings=(
            *overrun,
            *rationale.suggestions(evidence, measured.data.source),
            *warnings(measured),
            *backbone.notes,
        ),
        device=devices.describe(),
        seconds=time.monotonic() - began,
        reproduction=_reproduction(measured, asked, sample, source, seed),
        networks=networks.with_pairs(chosen.networks, evidence, settings, worth),
        findings=faults.findings(measured, judged),
        seen_as=measured.sights.classes,
    )
    return Advised(advice, measured.data, options, measured.sights)


def _reproduction(
    measured: Measured, asked: Options, sample: int, source: Dataset | None, seed: int
) -> reproduction.Record:
    """The command that gives the same advice, and on what; other arguments as for `recommend`."""
    data, fingerprint = measured.data, measured.evidence.data.fingerprint
    limits = {name: getattr(asked, name) for name in ("max_megabytes", "minutes")}
    options = {
        **{name: getattr(asked, name) for name in ("backbone", "weights", "image_size")},
        **{name: None if value is None else f"{value:g}" for name, value in limits.items()},
        "fit": None if asked.fit == "auto" else asked.fit,
        "corrections": data.corrected_by,
        "sample": sample,
        "source": source.source if source else None,
        "seed": seed,
    }
    command = reproduction.command("recommend", data.source, **options, **asdict(data.reading))
    return reproduction.Record(command, seed, fingerprint, reproduction.versions())


def _looked_again(
    chosen: Chosen, options: Options, recipe: str | None, left: float | None, seed: int, display: Display
) -> Measured:
    """The data set with what second looks at some of the images bring.

    Where networks were compared, all of them may look. Else the best other one does, for who named no recipe.

    Args:
        chosen: the data set as it was measured, and the network.
        options: what the user asked for.
        recipe: that was asked for; None for none.
        left: seconds from now to the finished folder; None for no limit.
        seed: of the sample.
        display: where progress is shown.
    """
    if recipe in steps.TRAINING:
        return chosen.measured
    probed = [network for network in chosen.networks if network.expected_accuracy is not None]
    compared, others = {network.name: network.megabytes for network in probed}, []
    if compared or recipe is None:
        others = looking.second_networks(chosen.backbone, options, compared)
    return looking.measure(chosen.measured, chosen.backbone, options, others, left, seed, display)


def _left(options: Options, began: float) -> float | None:
    """Seconds that are left of the user's minutes; None where there is no limit."""
    return None if options.minutes is None else 60 * options.minutes - (time.monotonic() - began)


def possible(options: Options, evidence: Evidence) -> dict[str, Settings]:
    """The settings of each recipe that the options do not rule out; of the frozen ones, of a head that is
    solved, which other options do not change, on one network."""
    found = {}
    for recipe in RECIPES:
        asked = replace(options, mode=None, augment=False, train_from=None, settings={}, second=None)
        with suppress(InputError):
            found[recipe] = choose(recipe, asked if recipe in steps.FROZEN else options, evidence)
    return found


def _named(
    data: Dataset,
    options: Options,
    recipe: str | None,
    sample: int,
    source: Dataset | None,
    seed: int,
    display: Display,
) -> Chosen:
    """Measure a data set with the network that the options name; arguments as for `recommend`."""
    backbone, options = _network(options, recipe)
    size, pretrained = options.image_size or backbone.image_size, options.init == "pretrained"
    measured = measure(data, backbone, size, pretrained, sample, source, seed, display, options.fit)
    return Chosen(measured, backbone, options, ())


def _network(options: Options, recipe: str | None) -> tuple[Backbone, Options]:
    """The backbone that the options name, and the options as they apply to it.

    Raises:
        InputError: there is none, or none that the recipe can use.
    """
    backbone = backbones.load(
        options.backbone,
        options.weights,
        options.image_size,
        options.init == "random",
        options.cut_layer,
        options.start_from,
    )
    if backbone.source == "none":
        if recipe != "full_training":
            raise InputError(f"{options.backbone} has random weights: only --recipe full_training can use it")
        options = replace(options, init="random")
    if options.train_from:
        layer = backbone.model.layers[backbone.layer_index(options.train_from)]
        options = replace(options, train_from=layer.name)
    for tap in options.settings.get("taps", ()):
        if tap not in backbone.taps:
            raise InputError(f"taps: {tap!r} is not probed; choose from {', '.join(backbone.taps)}")
    return backbone, options
