"""Rewrite the tables of the main README and of the benchmarks page from what was measured.

    python -m benchmarks.tables            # after results have changed
    python -m benchmarks.tables --check    # exits with 1 if a page and the results differ

A table stands in a page between the lines `<!-- table: NAME -->` and `<!-- end -->`, where NAME is a key of
`TABLES`. Everything comes from `benchmarks/results/`; nothing is measured here.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import (
    averaging,
    base_labels,
    calibration,
    correcting,
    coverage,
    frozen,
    grid,
    kept,
    kernel,
    label_noise,
    large_folder,
    large_head,
    long_images,
    networks,
    position,
    prices,
    regret,
    stopping,
    times,
    views,
)
from benchmarks.results import markdown, read

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "benchmarks" / "README.md")
TABLE = re.compile(r"^<!-- table: (\S+) -->\n[^<]*^<!-- end -->$", re.MULTILINE)

Lines = list[dict[str, Any]]

# Regret is shown for both; those who judge come first, for no threshold was set on them.
JUDGED = {"the seven, which only judge": "grid-held-out", "the eleven": "grid"}
MAIN_RULES = (
    "the advice",
    "always feature extraction",
    "always shallow features",
    "always full training",
    "the quadrant alone",
    regret.TRAINED,
    regret.AT_RANDOM,
)
FROZEN_SETS = {"the eleven": "frozen", "the seven": "frozen-held-out"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the pages, or only compare them; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="write nothing, exit with 1 if a table is outdated"
    )
    check = parser.parse_args(arguments).check
    outdated = 0
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = filled(before)
        if after == before:
            continue
        outdated += 1
        print(f"{page}: {'outdated; run python -m benchmarks.tables' if check else 'rewritten'}")
        if not check:
            page.write_text(after, encoding="utf-8")
    return 1 if check and outdated else 0


def filled(page: str) -> str:
    """A page with its tables as the results give them today.

    Raises:
        KeyError: a table that `TABLES` does not know.
        ValueError: a table that does not end.
    """
    new, found = TABLE.subn(
        lambda table: f"<!-- table: {table[1]} -->\n{TABLES[table[1]]()}\n<!-- end -->", page
    )
    if found != len(re.findall("^<!-- table: ", page, re.MULTILINE)):
        raise ValueError("a table lacks its <!-- end -->")
    return new


def lines_of(*names: str) -> Lines:
    """What was measured, from one file of `benchmarks/results/` or several."""
    return [line for name in names for line in read(RESULTS / f"{name}.jsonl")]


def rows_of(table: str) -> list[list[str]]:
    """The cells of a Markdown table, without its head."""
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in table.splitlines()[2:]]


def regret_rules() -> str:
    """Each rule with its mean and worst regret, the number of its clear losses and its share of the time."""
    return _regret(lambda cells: ", ".join(filter(None, (*cells[:3], cells[3]))))


def regret_in_short() -> str:
    """The rules that a reader of the main page wants to compare, with mean regret and share of the time."""
    return _regret(lambda cells: f"{cells[0]} in {cells[3]}", MAIN_RULES)


def _regret(cell: Callable[[Sequence[str]], str], only: Sequence[str] = ()) -> str:
    columns: list[dict[str, str]] = []
    head = ["rule"]
    for name, file in JUDGED.items():
        lines = lines_of(file)
        head.append(f"{name}: {len(lines)} tasks")
        columns.append({row[0]: cell(row[1:]) for row in rows_of(regret.rules(lines))})
    shown = only or tuple(columns[0])
    return markdown(head, [[rule, *(column[rule] for column in columns)] for rule in shown])


def regret_by_size() -> str:
    """Mean regret of the advice and of two rules between which it lies, by the number of images."""
    rules = ("the advice", "always the better frozen recipe", "always full training")
    rows = []
    for name, file in JUDGED.items():
        for size, group in by_size(lines_of(file)):
            means = [
                np.mean([regret.regret(line, regret.RULES[rule](line))[0] for line in group])
                for rule in rules
            ]
            rows.append([name, size, str(len(group)), *(f"{mean:.2f}" for mean in means)])
    return markdown(["data sets", "images", "tasks", *rules], rows)


def regret_by_budget() -> str:
    """Accuracy of the advice and of the best other rule within some minutes."""
    return regret.budgets(lines_of("grid"))


def by_size(lines: Lines) -> Iterator[tuple[str, Lines]]:
    """Lines of the same size together, from few images to whole data sets."""
    for size in sorted({line["size"] for line in lines}, key=lambda size: size or np.inf):
        yield f"{size:,}" if size else "all", [line for line in lines if line["size"] == size]


def gain_of_training() -> str:
    """Points that training adds to frozen features: their mean, its standard error, and how many tasks."""
    found = [gain for gain in calibration.gains(lines_of("grid")) if not gain.is_solved]
    kinds = {
        "similar images": [gain for gain in found if gain.similar],
        "unlike images": [gain for gain in found if not gain.similar],
        "together": found,
    }
    cells: dict[int, dict[str, str]] = {}
    for kind, gains in kinds.items():
        for step in calibration.ladder(gains):
            cell = f"{step.points:+.2f} ± {step.error:.2f} ({step.tasks})"
            cells.setdefault(step.images, {})[kind] = cell
    rows = [[f"{images:,}", *(row.get(kind, "") for kind in kinds)] for images, row in sorted(cells.items())]
    return markdown(["images", *kinds], rows)


def gain_by_expected_error() -> str:
    """The same for many images, by the error that frozen features were expected to leave."""
    return calibration.by_expected_error(calibration.gains(lines_of("grid")))


def gain_of_all_depths() -> str:
    """Points that a frozen head on all depths has over one on the last layer: mean, spread, and how often."""
    columns = [
        {row[0]: row for row in rows_of(frozen.gains(lines_of(file)))} for file in FROZEN_SETS.values()
    ]
    rows = [
        [
            size,
            *(f"{row[2]} ± {row[3]}, better in {row[5]} of {row[1]}" for row in (c[size] for c in columns)),
        ]
        for size in columns[0]
    ]
    return markdown(["images", *FROZEN_SETS], rows)


def choosing_the_depth() -> str:
    """Points lost against the better of the two frozen recipes; of the beliefs only that of the advice."""
    columns = [
        {row[0]: row[1:] for row in rows_of(frozen.beliefs(lines_of(f)))} for f in FROZEN_SETS.values()
    ]
    shown = [rule for rule in columns[0] if "expecting" not in rule or "as advised" in rule]
    rows = [[rule, *(", ".join(column[rule]) for column in columns)] for rule in shown]
    return markdown(["rule", *(f"{name}: mean, worst" for name in FROZEN_SETS)], rows)


def expected_and_reached() -> str:
    """Accuracy that was expected of the frozen recipes, and what they reached."""
    return frozen.expectations(lines_of("frozen-whole"))


def kept_after_training() -> str:
    """Points over the frozen model, by the gain on validation images that it takes to keep training."""
    lines = lines_of("grid")
    trained = [line for line in lines if "averaging" in line["recipes"]["full_training"]]
    return averaging.table(trained).split("\n\n")[-1]


@functools.cache
def _grid(lines: str = "grid") -> list[tuple[dict[str, Any], grid.Logits]]:
    """The lines of the grid with the logits beside them."""
    return grid.read(RESULTS / f"{lines}.jsonl")


def kept_by_rule() -> str:
    """Points over the frozen network by what is kept, for each task and on average."""
    return kept.table(_grid())


def kept_in_pairs(lines: str) -> str:
    """What one rule of what is kept has over another."""
    return kept.in_pairs(_grid(lines))


def foretold_gains() -> str:
    """How well what training gains can be foretold, and what follows from that."""
    return prices.table(prices.judgeable(_grid()))


def when_to_train() -> str:
    """Rules about when to train: what each loses, and its share of the time."""
    return prices.decisions(prices.judgeable(_grid()))


def told_while_training() -> str:
    """How well what training gains is told while it is under way."""
    return stopping.table(_looked_at())


def stopping_early() -> str:
    """What is kept where training is stopped."""
    return stopping.stopped(_looked_at())


def _looked_at() -> stopping.Seen:
    return [one for one in _grid() if "looks test" in one[1]]


def gain_of_cells() -> str:
    """Points over the whole picture alone of heads on cells, with several shares of the whole picture."""
    return position.heads(lines_of("position"))


def gain_of_kernel() -> str:
    """Points that a Gaussian kernel adds to a frozen head, by the nats from which it is taken."""
    return kernel.by_belief(lines_of("kernel"))


def kernel_and_training() -> str:
    """The same for what is kept after training, and what training then gains."""
    return kernel.with_training(lines_of("kernel"))


def choosing_cells() -> str:
    """The same where leave-one-out chooses, by how firmly the whole picture is believed in."""
    return position.choices(lines_of("position"))


def which_network(lines: str) -> str:
    """What rules that choose a network lose, within some minutes."""
    return networks.regrets(lines_of(lines))


def each_network() -> str:
    """What each network reaches, beside what the probes foretold."""
    return networks.gains(lines_of("networks"))


def belief_in_imagenet() -> str:
    """What the choice of the network loses, by how much ImageNet counts."""
    return networks.beliefs(lines_of("networks"))


def gain_of_views() -> str:
    """What more looks at an image gain, and what they cost."""
    return views.table(lines_of("views"))


def told_of_views() -> str:
    """What second looks take away of the errors, by what they take away of the log-loss."""
    return views.told(lines_of("views"))


def changed_labels() -> str:
    """What the audit finds of labels that were changed on purpose."""
    return label_noise.table(lines_of("label-noise"))


def very_many_files() -> str:
    """What advisor recommend costs by the number of files."""
    return large_folder.table(lines_of("large-folder"))


def rows_of_a_base() -> str:
    """Fine-tuning on some of the classes that a backbone was trained to tell."""
    return base_labels.table(lines_of("base-labels"))


def very_many_features() -> str:
    """What a head costs by the number of images."""
    return large_head.table(lines_of("large-head"))


def covered_by_data() -> str:
    """How often prediction sets hold the true class, data set by data set."""
    return coverage.by_data(lines_of("coverage"))


def covered_by_score() -> str:
    """The same by how sets are calibrated and by their score."""
    return coverage.by_score(lines_of("coverage"))


def covered_by_pools() -> str:
    """The same of pools of a frozen and a trained network."""
    return coverage.of_pools([*_grid(), *_grid("grid-held-out")])


def ways_to_find_them() -> str:
    """Heads and scores by which changed labels are found."""
    return label_noise.ways(lines_of("label-noise"))


def corrected_labels() -> str:
    """What correcting the suspects brings back."""
    return correcting.table(lines_of("correcting"))


def foretold_corrections() -> str:
    """How often the foretold gain of correcting held what was measured."""
    return correcting.foretold(lines_of("correcting"))


def foretold_times() -> str:
    """Seconds that runs took, beside those that were foretold."""
    return times.table(lines_of("times"))


def speed() -> str:
    """All that `benchmarks.speed` measured, with the unit that ends each name."""
    rows = []
    for name, value in _speeds().items():
        what, _, unit = name.rpartition(", ")
        rows.append([what, f"{_rounded(value)} {unit}"])
    return markdown(["measured", "value"], rows)


def speed_in_short() -> str:
    """What a user waits for."""
    took = {name: _rounded(value) for name, value in _speeds().items()}
    rows = [
        (
            "`advisor recommend` on 3,670 flowers; once more",
            f"{took['advisor recommend, s']} s; {took['advisor recommend, second call, s']} s",
        ),
        (
            "`advisor run --recipe feature_extraction` on them, nothing cached",
            f"{took['advisor run --recipe feature_extraction, s']} s",
        ),
        (
            "as tutorials train on them: MobileNetV2 at 128 px, 10 epochs",
            f"{took['MobileNetV2 at 128 px, 5 epochs frozen and 5 fine-tuned, s']} s",
        ),
        (
            "images a second through the frozen network: ours, with decoding; `keras.Model.predict`",
            "; ".join(took[f"{way}, images/s"] for way in ("our embedding", "keras predict")),
        ),
    ]
    return markdown(["", ""], [list(row) for row in rows])


def _speeds() -> dict[str, float]:
    measured: dict[str, float] = json.loads((RESULTS / "speed.json").read_text(encoding="utf-8"))
    return measured


def _rounded(value: float) -> str:
    """To two digits or to a whole number, whichever says more: 0.08, 3.4, 17.6, 180, 1,258."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 20 else f"{value:,.0f}"


TABLES: dict[str, Callable[[], str]] = {
    "regret": regret_rules,
    "regret-in-short": regret_in_short,
    "regret-by-size": regret_by_size,
    "regret-by-budget": regret_by_budget,
    "gain-of-training": gain_of_training,
    "gain-by-expected-error": gain_by_expected_error,
    "gain-of-all-depths": gain_of_all_depths,
    "choosing-the-depth": choosing_the_depth,
    "expected-and-reached": expected_and_reached,
    "kept-after-training": kept_after_training,
    "kept-by-rule": kept_by_rule,
    "kept-in-pairs": lambda: kept_in_pairs("grid"),
    "kept-in-pairs-held-out": lambda: kept_in_pairs("grid-held-out"),
    "kept-in-pairs-few": lambda: kept_in_pairs("grid-few"),
    "foretold-gains": foretold_gains,
    "when-to-train": when_to_train,
    "told-while-training": told_while_training,
    "stopping": stopping_early,
    "gain-of-cells": gain_of_cells,
    "choosing-cells": choosing_cells,
    "gain-of-kernel": gain_of_kernel,
    "kernel-and-training": kernel_and_training,
    "which-network": lambda: which_network("networks"),
    "one-network-or-two": lambda: which_network("networks-1000"),
    "each-network": each_network,
    "belief-in-imagenet": belief_in_imagenet,
    "gain-of-views": gain_of_views,
    "told-of-views": told_of_views,
    "changed-labels": changed_labels,
    "very-many-files": very_many_files,
    "very-many-features": very_many_features,
    "rows-of-a-base": rows_of_a_base,
    "covered-by-data": covered_by_data,
    "covered-by-score": covered_by_score,
    "covered-by-pools": covered_by_pools,
    "ways-to-find-them": ways_to_find_them,
    "corrected-labels": corrected_labels,
    "foretold-corrections": foretold_corrections,
    "foretold-times": foretold_times,
    "long-images": lambda: long_images.table(read(RESULTS / "long-images.jsonl")),
    "speed": speed,
    "speed-in-short": speed_in_short,
}


if __name__ == "__main__":
    sys.exit(main())
