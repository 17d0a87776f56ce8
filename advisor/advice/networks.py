"""Which network: all that are pre-trained and ready are probed on the same images, and one of them is taken.

Fewer images come first, and networks that are far behind on them are dropped. The accuracy on ImageNet is a
prior, not a promise; a mix of it and of probes has the least regret (Renggli et al., Which model to
transfer?, CVPR 2022, arXiv 2010.06402). Networks that are not ready are told by it alone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from advisor import backbones
from advisor.advice import looks, plan, rule, times
from advisor.advice.settings import Options, Settings, choose
from advisor.backbones import Backbone
from advisor.backbones.catalogue import catalogue
from advisor.backbones.pair import JOINT
from advisor.backbones.row import Row
from advisor.data.dataset import Dataset
from advisor.errors import InputError
from advisor.evidence.gaussian import LINEAR
from advisor.evidence.measure import Evidence, Measured, Network, probe_network
from advisor.evidence.measure import measure as measure_data
from advisor.evidence.probe import NINETY, Expected
from advisor.evidence.second_look import Look
from advisor.system.progress import Display

FEW_IMAGES = 200  # that are looked at first, where the sample has twice as many
TAKEN, WITH_ANOTHER, FOR_FROZEN, BEHIND, CLOSE, SLOW, LARGE, ABSENT = (
    "taken",
    "one of two",
    "if frozen",
    "far behind",
    "not better",
    "too slow",
    "too large",
    "not ready",
)


@dataclass(frozen=True)
class Candidate:
    """A pre-trained network, and what is known of it for a data set.

    Attributes:
        name: as in `advisor backbones`.
        ready: whether it works now, without a download.
        expected_accuracy: of the better frozen recipe with it, 0..1; None where it was not probed.
        interval: 90 % interval of that.
        seconds: from the advice to the finished folder of that recipe; None where it is not ready.
        megabytes: millions of bytes of the weights of the finished frozen model, in single precision; without
            its head where it was not probed.
        top1: per cent of the ImageNet validation set that it classifies correctly, as published; None where
            nothing was.
        verdict: "taken", "one of two" (that are taken together), "if frozen" (two together, with --recipe
            shallow_features), "far behind" (on few images), "not better", "too slow", "too large" or "not
            ready".
    """

    name: str
    ready: bool
    expected_accuracy: float | None
    interval: tuple[float, float] | None
    seconds: float | None
    megabytes: float
    top1: float | None
    verdict: str

    def to_json(self) -> dict[str, Any]:
        """As in `advisor recommend --json`."""
        return asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Candidate:
        """What `to_json` gave."""
        low_high = values["interval"]
        return Candidate(**{**values, "interval": low_high and (low_high[0], low_high[1])})


@dataclass(frozen=True)
class Chosen:
    """What `measure` gives back.

    Attributes:
        measured: the data set, with the network that was taken.
        backbone: that network.
        options: as they apply to it.
        networks: all candidates, those that are ready first.
    """

    measured: Measured
    backbone: Backbone
    options: Options
    networks: tuple[Candidate, ...]


def measure(
    data: Dataset,
    options: Options,
    most_images: int,
    source: Dataset | None,
    seed: int,
    display: Display,
    began: float,
) -> Chosen:
    """Measure a data set, and choose the network.

    Args:
        data: the images.
        options: with `backbone` "auto".
        most_images: to measure.
        source: images of the networks' source domain, where it is not ImageNet.
        seed: of everything random.
        display: where progress is shown.
        began: when the command did, by `time.monotonic`; `options.minutes` count from there.

    Raises:
        InputError: no network that is ready is small enough; or too few images can be read.
    """
    bundled = backbones.load(backbones.BUNDLED, None, options.image_size)
    of = True, most_images, source, seed, display, options.fit
    measured = measure_data(data, bundled, bundled.image_size, *of)
    fit = measured.evidence.fit.chosen
    race = _Race(options, measured.evidence, began)

    def probed(name: str, images: int) -> Evidence:
        backbone = backbones.load(name, None, options.image_size)
        probes = probe_network(data, backbone, backbone.image_size, images, seed, display, fit)
        network = Network(backbone.taps, backbone.image_size, backbone.fixed_size)
        return replace(measured.evidence, network=network, probes=probes)

    race.run(probed, most_images)
    taken = race.best()
    return Chosen(
        replace(measured, evidence=race.probed[taken]),
        backbones.load(taken, None, options.image_size),
        race.options_for(taken),
        race.candidates(taken),
    )


def with_pairs(
    candidates: tuple[Candidate, ...], evidence: Evidence, settings: Settings, worth: Collection[str]
) -> tuple[Candidate, ...]:
    """The candidates and, after those that are ready, the pairs of two that were looked at.

    Args:
        candidates: of a comparison; without one there are no pairs.
        evidence: with the looks of a second network beside the taken one.
        settings: with the network or the two that are taken.
        worth: actions of the steps that are worth their time.
    """
    known = {each.name: each for each in candidates}
    first = next((each for each in candidates if each.verdict == TAKEN), None)
    pairs = [
        _pair(first, known[look.network], look, evidence, looks.action(look) in worth)
        for look in evidence.looks
        if first and look.network
    ]
    pairs = [replace(each, verdict=TAKEN) if each.name == settings.backbone else each for each in pairs]
    taken_together = {name for pair in pairs if pair.verdict == TAKEN for name in pair.name.split(JOINT)}
    told = [
        replace(each, verdict=WITH_ANOTHER) if each.name in taken_together else each for each in candidates
    ]
    ready = [each for each in told if each.ready]
    return (*ready, *pairs, *(each for each in told if not each.ready))


def _pair(first: Candidate, second: Candidate, look: Look, evidence: Evidence, worth: bool) -> Candidate:
    """Two networks side by side under one head, worth it or not."""
    gain, (low, high) = looks.gain(look, evidence)
    expected = evidence.probes.expected[rule.better_frozen(evidence.probes)]
    more = looks.seconds(look, evidence, first.name)
    return Candidate(
        name=f"{first.name}{JOINT}{second.name}",
        ready=True,
        expected_accuracy=min(1.0, expected.accuracy + gain),
        interval=(max(0.0, expected.interval[0] + low), min(1.0, expected.interval[1] + high)),
        seconds=None if first.seconds is None else first.seconds + more,
        megabytes=first.megabytes + second.megabytes,
        top1=None,
        verdict=FOR_FROZEN if worth else CLOSE,
    )


class _Race:
    """The networks that are ready, on one data set.

    Attributes:
        rows: by name, of those that take images of the size that was asked for, the fastest first.
        probed: by name, what is known of those that were probed on all images of the sample.
        dropped: by name, why the others were not.
    """

    def __init__(self, options: Options, bundled: Evidence, began: float) -> None:
        self.options, self.bundled, self.size = options, bundled, options.image_size
        self.ends = None if options.minutes is None else began + 60 * options.minutes
        ready = sorted((row for row in catalogue() if row.is_pretrained), key=lambda row: row.gflop)
        self.rows = {row.name: row for row in ready if row.minimum_size <= (self.size or row.image_size)}
        self.probed = {backbones.BUNDLED: bundled}
        self.dropped: dict[str, str] = {}

    def run(self, probe: Callable[[str, int], Evidence], most_images: int) -> None:
        """Probe what may be taken, first on few images.

        The best on ImageNet come first, for where time is short they are the most likely to be worth it.

        Args:
            probe: a network, by its name, on so many images.
            most_images: of the sample.
        """
        others = [name for name in self.rows if name != backbones.BUNDLED]
        others.sort(key=lambda name: -(self.rows[name].top1 or 0.0))
        may_be_dropped = not self._is_large(self.megabytes(backbones.BUNDLED))
        if self.bundled.sampled >= 2 * FEW_IMAGES and others and may_be_dropped:
            start = probe(backbones.BUNDLED, FEW_IMAGES)
            for name in others:
                if self._may_be_probed(name, FEW_IMAGES):
                    nats, noise = self._nats(name, probe(name, FEW_IMAGES), start)
                    if nats + NINETY * noise < 0:
                        self.dropped[name] = BEHIND
        for name in others:
            if name not in self.dropped and self._may_be_probed(name, most_images):
                self.probed[name] = probe(name, most_images)

    def best(self) -> str:
        """The network to take.

        Raises:
            InputError: none is small enough.
        """
        taken = self._best()
        if taken is None:
            needed = min(self.megabytes(name) for name in self.probed)
            raise InputError(
                f"no network that is ready fits into --max-megabytes {self.options.max_megabytes:g}; "
                f"give {math.ceil(needed)} or more"
            )
        return taken

    def _best(self) -> str | None:
        """Of those that were probed; None where all are too large."""
        small = [name for name in self.probed if not self._is_large(self.megabytes(name))]
        if not small:
            return None
        fast = [name for name in small if self._is_in_time(self.seconds(name))]
        if not fast:
            return min(small, key=self.seconds)
        return max(fast, key=lambda name: self._nats(name, self.probed[name], self.bundled)[0])

    def options_for(self, name: str) -> Options:
        """The options as they apply to a network: without a kernel where that makes the model too large, and
        with one network alone where the pool of two is."""
        options = replace(self.options, backbone=name, max_megabytes=None)
        if not self._has_room(name) and self._kernel(name):
            options = replace(options, settings={**options.settings, "kernel": LINEAR})
        if options.keep == "better" and self._is_large(2 * self.rows[name].megabytes):
            options = replace(options, keep="single")
        return options

    def candidates(self, taken: str) -> tuple[Candidate, ...]:
        """All pre-trained networks: those that are ready, and then others by their accuracy on ImageNet."""
        ready = [self._candidate(row, taken) for row in self.rows.values()]
        absent = [row for row in catalogue() if row.top1 is not None and not row.ready]
        absent.sort(key=lambda row: -(row.top1 or 0.0))
        unknown = [
            Candidate(row.name, False, None, None, None, row.megabytes, row.top1, ABSENT) for row in absent
        ]
        return (*ready, *unknown)

    def _candidate(self, row: Row, taken: str) -> Candidate:
        name, seconds, megabytes = row.name, self.seconds(row.name), self.megabytes(row.name)
        expected = _expected(self.probed[name]) if name in self.probed else None
        if name == taken:
            verdict = TAKEN
        elif self._is_large(megabytes):
            verdict = LARGE
        else:
            verdict = self.dropped.get(name, CLOSE if self._is_in_time(seconds) else SLOW)
        return Candidate(
            name=name,
            ready=True,
            expected_accuracy=expected.accuracy if expected else None,
            interval=expected.interval if expected else None,
            seconds=seconds,
            megabytes=megabytes,
            top1=row.top1,
            verdict=verdict,
        )

    def seconds(self, name: str) -> float:
        """From the advice to the finished folder of the better frozen recipe with a network."""
        evidence = self.probed.get(name, self.bundled)
        known = evidence.sampled if name in self.probed else 0
        splits = evidence.data.splits
        images = sum(splits.values())
        rest = times.run(self._frozen(evidence, backbones.BUNDLED), splits, images)
        return rest + max(0, images - known) * looks.seconds_each(name, self.size)

    def megabytes(self, name: str) -> float:
        """Of the frozen model with a network, without a kernel that does not fit; without its head where the
        network was not probed."""
        return self._without_kernel(name) + (self._kernel(name) if self._has_room(name) else 0.0)

    def _has_room(self, name: str) -> bool:
        """Whether the frozen model with a network is small enough with its kernel."""
        return not self._is_large(self._without_kernel(name) + self._kernel(name))

    def _without_kernel(self, name: str) -> float:
        """Megabytes of the frozen model with a network and, where it was probed, its head."""
        if name not in self.probed:
            return self.rows[name].megabytes
        frozen = self._frozen(self.probed[name], name)
        trained = plan.make(frozen, self.probed[name]).parameters_trained or 0
        return self.rows[name].megabytes + 4 * trained / 1e6

    def _kernel(self, name: str) -> float:
        """Megabytes of the kernel of the frozen model with a network; 0 where it was not probed."""
        evidence = self.probed.get(name)
        return plan.megabytes_of_kernel(self._frozen(evidence, name), evidence) if evidence else 0.0

    def _frozen(self, evidence: Evidence, name: str) -> Settings:
        """How the better frozen recipe is built with a network; options about training do not change it."""
        named = replace(self.options, backbone=name, max_megabytes=None)
        usual = replace(named, mode=None, augment=False, settings={})
        return choose(rule.better_frozen(evidence.probes), usual, evidence)

    def _may_be_probed(self, name: str, images: int) -> bool:
        """Whether a network is small and fast enough, and time is left to look at so many images with it."""
        if self._is_large(self.megabytes(name)):
            self.dropped[name] = LARGE
        looking, best = min(images, self.bundled.sampled) * looks.seconds_each(name, self.size), self._best()
        otherwise = looking + (self.seconds(best) if best else 0.0)  # where another one is taken in the end
        if not self._is_in_time(max(self.seconds(name), otherwise)):
            self.dropped.setdefault(name, SLOW)
        return name not in self.dropped

    def _is_large(self, megabytes: float) -> bool:
        return self.options.max_megabytes is not None and megabytes > self.options.max_megabytes

    def _is_in_time(self, seconds: float) -> bool:
        return self.ends is None or time.monotonic() + seconds <= self.ends

    def _nats(self, name: str, evidence: Evidence, start: Evidence) -> tuple[float, float]:
        """How much speaks for a network and against the bundled one, in nats, and the noise in it."""
        found, over = _expected(evidence), _expected(start)
        more = (self.rows[name].top1 or 0.0) - (self.rows[backbones.BUNDLED].top1 or 0.0)
        return rule.nats_of_network(more, found.log_loss, over.log_loss, over.curve[-1].images)


def _expected(evidence: Evidence) -> Expected:
    """What the better frozen recipe will reach."""
    return evidence.probes.expected[rule.better_frozen(evidence.probes)]
