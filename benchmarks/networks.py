"""Which pre-trained network: what does choosing by probes lose, and what the best one on ImageNet that fits?

    python -m benchmarks.networks DATA... --sizes 200 1000 all --seeds 0 1 --output FILE
    python -m benchmarks.networks --table FILE...

For each data set, size and seed: what `advisor recommend` expects of each pre-trained network that is ready,
each at its own size, and the test accuracy that the better frozen recipe then reaches with it; and the same
of the pairs that `--backbone auto` looks at, and whether they are worth their time. One JSON line is written
as each task is done; tasks whose line is there already are skipped.

The first table has the regret of rules that choose: mean and worst points of test accuracy lost against the
best network alone that fits into the minutes; below 0 is better than any network alone. Times are those of
the machine of `speed.REFERENCE`, by the operations of each network; for who probes, looking at the other
networks counts, too, but for what a pair need not see again. The last table has the regret of other beliefs
in ImageNet, see `rule.nats_of_network`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from advisor import backbones
from advisor.advice import looks, recommendation, times
from advisor.advice.rule import NETWORK_BELIEF, nats_of_network
from advisor.advice.settings import Options, Settings
from advisor.backbones import BUNDLED
from advisor.backbones.catalogue import catalogue
from advisor.backbones.pair import JOINT
from advisor.choices import AUTO
from advisor.evidence.embedding import embed
from advisor.evidence.pooling import AVERAGE
from advisor.system.progress import Silent
from advisor.system.speed import REFERENCE
from benchmarks import results
from benchmarks.tasks import Task, not_done
from recipes.job import Job
from recipes.training.frozen import with_validation_images

Line = dict[str, Any]
Lines = Sequence[Line]
Rule = Callable[[Line, list[str], float | None], str]  # a network, of those that fit into minutes
MINUTES = (0.5, 2.0, None)
BELIEFS = (0.0, 1.0, 4.0, 8.0, 16.0, 32.0, 64.0)
ROWS = {row.name: row for row in catalogue()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="as for advisor recommend")
    parser.add_argument("--sizes", nargs="+", default=["200", "1000"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--output", type=Path, default=Path("networks.jsonl"))
    parser.add_argument("--table", type=Path, nargs="+", help="only print the tables of these files")
    arguments = parser.parse_args()
    lines = results.measured(arguments, measure)
    print(regrets(lines), gains(lines), beliefs(lines), sep="\n\n")


def measure(arguments: argparse.Namespace) -> None:
    lines = results.read(arguments.output)
    done = [(line["data"], line["size"], line["seed"]) for line in lines]
    sizes = [None if size == "all" else int(size) for size in arguments.sizes]
    for task in not_done(arguments.data, sizes, arguments.seeds, done):
        reached = {row.name: _with(task, row.name) for row in catalogue() if row.is_pretrained}
        pairs = _pairs(task)
        line = {
            "data": task.name,
            "size": task.size,
            "seed": task.seed,
            "images": len(task.held),
            "tested": len(task.judged.indices("test")),
            "networks": reached,
            "pairs": pairs,
        }
        lines.append(line)
        results.write(arguments.output, lines)
        tests = " ".join(f"{name}={of['test']:.3f}" for name, of in (reached | pairs).items())
        print(task.name, task.size, task.seed, tests, flush=True)


def _pairs(task: Task) -> dict[str, Any]:
    """What `--backbone auto` sees in a second network beside the one that it takes, and what both reach."""
    advised = recommendation.recommend(task.held, Options(backbone=AUTO), Silent(), seed=task.seed)
    worth = {step.action for step in advised.advice.steps if step.worth}
    found = {}
    for look in advised.advice.evidence.looks:
        if look.network:
            second = replace(advised, options=replace(advised.options, second=look.network))
            settings = second.with_recipe("shallow_features").settings
            right = _right(task, settings)
            found[settings.backbone] = {
                "worth": looks.action(look) in worth,
                "taken": look.taken,
                "test": float(right.mean()),
                "correct": np.packbits(right).tobytes().hex(),
            }
    return found


def _with(task: Task, name: str) -> dict[str, Any]:
    """What is expected of the better frozen recipe with a network, and what it reaches."""
    advised = recommendation.recommend(task.held, Options(backbone=name), Silent(), seed=task.seed)
    advice = advised.advice
    settings = advised.with_recipe(advice.frozen_recipe).settings
    expected = advice.evidence.probes.expected[advice.frozen_recipe]
    right = _right(task, settings)
    return {
        "recipe": advice.frozen_recipe,
        "expected": expected.accuracy,
        "log_loss": expected.log_loss,
        "left_out": expected.curve[-1].accuracy,
        "probed": expected.curve[-1].images,
        "run_seconds": times.run(settings, advice.data.splits, 0),
        "test": float(right.mean()),
        "correct": np.packbits(right).tobytes().hex(),
    }


def _right(task: Task, settings: Settings) -> np.ndarray:
    """Which of the test images a frozen recipe gets right, bool [n]."""
    data, backbone = task.judged, backbones.load(settings.backbone)
    grid = settings.pooling if settings.sees_cells else AVERAGE
    everything = np.arange(len(data))
    features = embed(backbone, data, everything, settings.image_size, pooling=grid).features
    job = Job(data, backbone, features, settings, Path(), task.seed)
    head, test = with_validation_images(job, job.head_features()), data.indices("test")
    return head.logits(job.head_features(test)).argmax(axis=1) == data.labels[test]


def regrets(lines: Lines) -> str:
    """A row for each rule: mean and worst regret in points, within minutes."""
    rows = []
    for name, rule_of in RULES.items():
        cells = []
        for minutes in MINUTES:
            lost = [_regret(line, rule_of, minutes) for line in lines]
            cells.append(f"{np.mean(lost):.2f}, {max(lost):.1f}")
        rows.append([name, *cells])
    heads = [f"--minutes {minutes:g}" if minutes else "no limit" for minutes in MINUTES]
    return results.markdown(["rule", *heads], rows)


def gains(lines: Lines) -> str:
    """A row for each network: test accuracy, and what it has over the bundled one, measured and foretold."""
    rows = []
    for name in lines[0]["networks"]:
        tested = [100 * line["networks"][name]["test"] for line in lines]
        gained = np.array([100 * _gain(line, name, "test") for line in lines])
        probed = np.array([100 * _gain(line, name, "expected") for line in lines])
        off = f"{np.std(gained - probed):.1f}"
        rows.append(
            [
                name,
                f"{np.mean(tested):.1f}",
                f"{gained.mean():+.1f} ± {gained.std():.1f}",
                f"{probed.mean():+.1f}",
                off,
            ]
        )
    return results.markdown(
        ["network", "test accuracy", "over the bundled one", "by the probes", "probes off by"], rows
    )


def beliefs(lines: Lines) -> str:
    """A row for each belief in ImageNet: mean and worst regret in points, without a limit."""
    rows = []
    for belief in BELIEFS:
        lost = [_regret(line, _believing(belief), None) for line in lines]
        today = ", as advised" if belief == NETWORK_BELIEF else ""
        rows.append([f"{belief:g} nats a point{today}", f"{np.mean(lost):.2f}", f"{max(lost):.1f}"])
    return results.markdown(["belief in ImageNet", "mean regret, points", "worst"], rows)


def _regret(line: Line, rule_of: Rule, minutes: float | None) -> float:
    """Points that a rule loses against the best network that fits into the minutes."""
    reached = {name: of["test"] for name, of in line["networks"].items()}
    fit = [name for name in reached if minutes is None or _seconds(line, name) <= 60 * minutes]
    fit = fit or [BUNDLED]
    best, taken = max(reached[name] for name in fit), rule_of(line, fit, minutes)
    return 100 * (best - (line["pairs"] if JOINT in taken else line["networks"])[taken]["test"])


def _seconds(line: Line, name: str, images: int | None = None) -> float:
    """From the command to the finished folder; or that looking at some images takes."""
    gflop = sum(ROWS[each].gflop for each in name.split(JOINT))
    each = REFERENCE["embed"] * gflop / ROWS[BUNDLED].gflop
    return times.START + times.AFTER_SOLVING + line["images"] * each if images is None else images * each


def _gain(line: Line, name: str, what: str) -> float:
    return float(line["networks"][name][what] - line["networks"][BUNDLED][what])


def _best_on_imagenet(line: Line, fit: list[str], minutes: float | None) -> str:
    return max(fit, key=lambda name: ROWS[name].top1 or 0.0)


def _believing(belief: float) -> Rule:
    """The advice, with a belief in ImageNet."""

    return lambda line, fit, minutes: _probed(line, fit, minutes, belief)[0]


def _probed(line: Line, fit: list[str], minutes: float | None, belief: float) -> list[str]:
    """The networks that there is time to look at: the bundled one, and then the best on ImageNet first.

    Returns:
        Them, the one first that is taken.
    """

    def nats(name: str) -> float:
        of, over = line["networks"][name], line["networks"][BUNDLED]
        top1 = (ROWS[name].top1 or 0.0) - (ROWS[BUNDLED].top1 or 0.0)
        return nats_of_network(top1, of["log_loss"], over["log_loss"], over["probed"], belief)[0]

    probed, looking = [BUNDLED], 0.0
    for name in sorted(set(fit) - {BUNDLED}, key=lambda name: -(ROWS[name].top1 or 0.0)):
        more = _looking(line, name)
        slowest = max(_seconds(line, name), more + _seconds(line, probed[0]))
        if minutes is None or looking + slowest <= 60 * minutes:
            probed = sorted([*probed, name], key=nats, reverse=True)
            looking += more
    return probed


def _looking(line: Line, name: str) -> float:
    return _seconds(line, name, line["networks"][name]["probed"])


def _maybe_two(line: Line, fit: list[str], minutes: float | None) -> str:
    """The advice, which takes two networks together where the second one is worth its time and both fit.

    The one that sees more pixels need not see again what it saw.
    """
    probed = _probed(line, fit, minutes, NETWORK_BELIEF)
    alone = probed[0]
    looking = sum(_looking(line, name) for name in probed if name != BUNDLED)
    found = {alone: 0.0}
    for pair, of in line["pairs"].items():
        both = pair.split(JOINT)
        spared = _looking(line, max(both, key=lambda name: ROWS[name].image_size))
        in_time = minutes is None or looking + _seconds(line, pair) - spared <= 60 * minutes
        if of["worth"] and both[0] == alone and both[1] in probed and in_time:
            found[pair] = of["taken"]
    return max(found, key=lambda name: found[name])


RULES: dict[str, Rule] = {
    "as advised, one network or two": _maybe_two,
    "by log-loss and ImageNet, as advised of one": _believing(NETWORK_BELIEF),
    "by log-loss alone": _believing(0.0),
    "by the accuracy of the probes": lambda line, fit, minutes: max(
        fit, key=lambda name: line["networks"][name]["expected"]
    ),
    "the best on ImageNet that fits": _best_on_imagenet,
    "always the bundled one": lambda line, fit, minutes: BUNDLED,
}


if __name__ == "__main__":
    main()
