"""How well can be foretold what training gains, from what `advisor recommend` has measured anyway?

    python -m benchmarks.prices benchmarks/results/kept.jsonl

Reads what `benchmarks.kept` measured: nothing is trained. The gain of a task is the test accuracy of what a
training recipe keeps, less that of the best frozen model, in points. Each rule is fitted to all data sets but
one and asked about that one. The table: mean absolute error, mean width of the 90 % intervals (of what the
rule left unexplained on the others) and how many of them hold.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks import results
from benchmarks.kept import Logits, read

Foretell: TypeAlias = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
COVERED = 0.90
KNOWN = ("error", "log images", "log classes", "distance", "depths", "cells", "slope", "twice")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    seen = [one for file in parser.parse_args().files for one in read(file)]
    print(table(seen))


def measured(line: dict[str, Any]) -> np.ndarray:
    """What `recommend` knows of a task, float64 [8], in the order of `KNOWN`; the expected error is first."""
    told = line["recommend"]
    evidence, data = told["evidence"], told["dataset"]
    frozen = evidence["frozen"]["shallow_features"]
    curve = frozen["learning_curve"]
    sizes = [np.log(point["images"]) for point in curve]
    errors = [np.log(max(1 - point["accuracy"], 1e-3)) for point in curve]
    return np.array(
        [
            100 * (1 - frozen["expected_accuracy"]),
            np.log(data["images"]),
            np.log(data["classes"]),
            told["similarity"]["distance"],
            evidence["gain_of_all_depths"][0],
            evidence["position"]["shallow_features"]["gain"],
            np.polyfit(sizes, errors, 1)[0] if len(curve) > 1 else 0.0,
            frozen["gain_at_double"],
        ]
    )


def gain(line: dict[str, Any], said: Logits) -> float:
    """Points of test accuracy that training added to the best frozen model."""
    frozen = (said["frozen test"].argmax(axis=1) == said["labels test"]).mean()
    return 100 * (line["test"] - float(frozen))


def _nothing(known: np.ndarray, gains: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return np.zeros(len(asked))


def _constant(known: np.ndarray, gains: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return np.full(len(asked), gains.mean())


def _share(known: np.ndarray, gains: np.ndarray, asked: np.ndarray) -> np.ndarray:
    errors = known[:, 0]
    return asked[:, 0] * (errors @ gains) / (errors @ errors)


def _ridge(columns: Sequence[int]) -> Foretell:
    def foretell(known: np.ndarray, gains: np.ndarray, asked: np.ndarray) -> np.ndarray:
        from sklearn.linear_model import RidgeCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        fitted = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-1, 4, 21)))
        return fitted.fit(known[:, columns], gains).predict(asked[:, columns])

    return foretell


RULES: dict[str, Foretell] = {
    "no gain": _nothing,
    "the mean gain": _constant,
    "a share of the expected error": _share,
    "ridge on error and cells": _ridge([0, 5]),
    "ridge on error, images, cells": _ridge([0, 1, 5]),
    "ridge on everything": _ridge(range(len(KNOWN))),
}


def table(seen: Sequence[tuple[dict[str, Any], Logits]]) -> str:
    """A row for each rule, as Markdown."""
    known = np.array([measured(line) for line, _ in seen])
    gains = np.array([gain(line, said) for line, said in seen])
    names = np.array([line["data"] for line, _ in seen])
    rows = []
    for name, rule in RULES.items():
        foretold, low, high = _left_out(rule, known, gains, names)
        holds = (low <= gains) & (gains <= high)
        numbers = np.abs(foretold - gains).mean(), (high - low).mean()
        rows.append([name, *(f"{number:.2f}" for number in numbers), f"{holds.sum()} of {len(gains)}"])
    said = f"{len(gains)} tasks of {len(set(names))} data sets: {gains.mean():+.2f} points on average, "
    said += f"{gains.min():+.1f} to {gains.max():+.1f}.\n\n"
    return said + results.markdown(["foretold", "mean error", "width", "holds"], rows)


def _left_out(
    rule: Foretell, known: np.ndarray, gains: np.ndarray, names: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a rule foretells for each data set from the others, and its interval, each [n]."""
    foretold, low, high = (np.empty(len(gains)) for _ in range(3))
    for name in set(names):
        out = names == name
        foretold[out] = rule(known[~out], gains[~out], known[out])
        unexplained = gains[~out] - _crossed(rule, known[~out], gains[~out], names[~out])
        below, above = np.quantile(unexplained, [(1 - COVERED) / 2, (1 + COVERED) / 2])
        low[out], high[out] = foretold[out] + below, foretold[out] + above
    return foretold, low, high


def _crossed(rule: Foretell, known: np.ndarray, gains: np.ndarray, names: np.ndarray) -> np.ndarray:
    foretold = np.empty(len(gains))
    for name in set(names):
        out = names == name
        foretold[out] = rule(known[~out], gains[~out], known[out])
    return foretold


if __name__ == "__main__":
    main()
