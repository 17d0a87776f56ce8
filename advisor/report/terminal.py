"""What the commands print for a person."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from advisor.advice.networks import TAKEN
from advisor.advice.rationale import Factor
from advisor.advice.recommendation import Recommendation
from advisor.report import charts, evaluation_words, words
from advisor.report.layout import LEAST_PROSE, WIDTH, blocks, console, pairs, ruled, styled, tabled
from advisor.results import Comparison, Evaluation, Run, Scores
from advisor.system.text import fitting, shortened

FACTOR_WIDTHS, MOST_FACTOR_WIDTH = (10, 16, 9, 10), 18  # at least, and at most; "Because" has the rest
LEAST_CELL = 18  # columns for the longest name of a recipe
HERE = ">> HERE <<"
MOST_CLASSES = 30  # rows of the table of an evaluation
CLASS_WIDTH, LEAST_CLASS_WIDTH, SCORES_WIDTH = 32, 16, 38  # columns of the name of a class, and of its scores


def print_recommendation(advice: Recommendation) -> None:
    """Print the advice with its rationale."""
    out = console()
    for part in recommendation_parts(advice, out.width):
        out.print(part)


def recommendation_parts(advice: Recommendation, width: int = WIDTH) -> list[RenderableType]:
    """The advice as rich renderables, from top to bottom, for a screen of `width` columns."""
    data, asked, steps = advice.data, advice.settings.recipe, words.steps_of(advice)
    splits = " + ".join(f"{count:,} {split}" for split, count in data.splits.items())
    parts: list[RenderableType] = [
        styled(data.source, "bold"),
        styled(f"{data.images:,} images, {len(data.class_names):,} classes ({splits})"),
        "",
        styled("By the rule of thumb"),
        _map(charts.quadrant_map(advice), width),
        "",
        _rationale(advice.rationale, width),
        "",
        *_networks(advice, width),
        *([tabled(words.STEP_HEADS, steps, words.STEP_NUMBERS, width)] if steps else []),
        *(styled(sentence) for sentence in words.about_steps(advice)),
        "",
        Text.assemble(
            styled(f"Advice: {advice.recipe}", "bold green"), f" - {words.what_it_does(advice.recipe)}"
        ),
    ]
    if asked != advice.recipe:
        parts.append(styled(f"You asked for: {asked}"))
    parts += ["", pairs(words.plan_rows(advice), width), ""]
    parts.append(pairs([(f"or {other.recipe}", other.when) for other in advice.alternatives], width))
    parts += [""] if advice.warnings or advice.findings else []
    parts += [styled(f"Look: {finding.text}", "yellow") for finding in advice.findings]
    parts += [styled(f"Warning: {warning}", "yellow") for warning in advice.warnings]
    measured = f"Measured {advice.evidence.sampled:,} images in {advice.seconds:.1f} s"
    return [*parts, "", styled(measured, "dim")]


def _rationale(factors: Sequence[Factor], width: int) -> RenderableType:
    """A row for each factor; where a sentence has no room beside the columns, a block for each."""
    rows = [(row.factor, row.measured, row.threshold, row.verdict, row.because) for row in factors]
    columns = list(zip(*rows, strict=True))[:-1]
    longest = [max((len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    widths = [
        min(MOST_FACTOR_WIDTH, max(least, word)) for least, word in zip(FACTOR_WIDTHS, longest, strict=True)
    ]
    if width - sum(widths) - len(widths) < LEAST_PROSE:
        return blocks(words.FACTOR_HEADS, rows, width)
    table = ruled(width)
    for head, column_width in zip(words.FACTOR_HEADS[:-1], widths, strict=True):
        table.add_column(head, width=column_width, overflow="fold")
    table.add_column(words.FACTOR_HEADS[-1], ratio=1, overflow="fold")
    for row in rows:
        table.add_row(*(styled(cell) for cell in row))
    return table


def _networks(advice: Recommendation, width: int) -> list[RenderableType]:
    """The networks that were compared, the taken one in bold; nothing where there are none."""
    rows = words.networks_of(advice)
    if not rows:
        return []
    taken = [number for number, row in enumerate(rows) if row[-1] == TAKEN]
    table = tabled(words.NETWORK_HEADS, rows, words.NETWORK_NUMBERS, width, taken)
    return [table, *(styled(sentence) for sentence in words.about_networks(advice)), ""]


def _map(shown: charts.QuadrantMap, width: int) -> RenderableType:
    """The 2 x 2 with the data set's place in it; on a narrow screen the four quadrants under each other."""
    few, many = f"few\n(below {shown.many_from:,})", f"many\n(from {shown.many_from:,})"
    similar = f"similar (score from {shown.similar_from:.2f})"
    unlike = f"unlike (score below {shown.similar_from:.2f})"
    table = Table(box=box.ASCII, width=width, show_lines=True)
    cells = [_corner(corner) for corner in shown.corners]
    first = 15 if width == WIDTH else len(f"(below {shown.many_from:,})")
    if width < first + 2 * LEAST_CELL + 10:  # the lines and the spaces beside them
        table.show_header = False
        table.add_column("", ratio=1)
        table.add_column("", width=LEAST_CELL)
        for corner, cell in zip(shown.corners, cells, strict=True):
            size = " ".join((few if corner.is_few else many).split("\n"))
            table.add_row(f"{size}\n{similar if corner.is_similar else unlike}", cell)
        return table
    table.add_column("", width=first)
    table.add_column(similar, ratio=1)
    table.add_column(unlike, ratio=1)
    table.add_row(few, *cells[:2])
    table.add_row(many, *cells[2:])
    return table


def _corner(corner: charts.Corner) -> Text:
    mark, style = (f"{HERE} ", "bold") if corner.is_here else ("", "")
    return styled(f"{mark}{corner.probability:.0%}", style) + "\n" + styled(corner.recipe, style)


def print_run(run: Run) -> None:
    """Print how well a finished run does and where it lies."""
    test, copies, training = (
        run.metrics.test,
        words.near_copies(run.metrics),
        words.about_training(run.metrics),
    )
    lines = [
        f"Test accuracy {test.accuracy:.1%} ({words.interval(test)}), "
        f"macro F1 {test.macro_f1:.3f}, {len(run.test)} images",
        *([copies] if copies else []),
        *filter(None, [words.corrected(run.metrics.corrected)]),
    ]
    lines += [said for said in (training, words.ended_early(run)) if said]
    where = f"model, plots and metrics are in {run.folder}"
    lines.append(f"{run.recipe} took {run.metrics.seconds['total']:.0f} s; {where}")
    out = console()
    for line in lines:
        out.print(styled(line))


def print_so_far(run: Run, advice: Recommendation) -> None:
    """Print which model a run has while it still trains, and what is to be expected of that."""
    ahead = words.training_ahead(advice)
    goes_on = f"Training goes on: {ahead}" if ahead else "Training goes on"
    said = f"Ready: {words.so_far(run.folder, run.metrics)}. {goes_on}; Ctrl-C keeps the better model."
    console().print(styled(said))


def print_comparison(compared: Comparison) -> None:
    """Print the leaderboard, and what the advice cost."""
    out = console()
    cells = [words.leaderboard_cells(row) for row in compared.rows]
    advised = [number for number, row in enumerate(compared.rows) if row.advised]
    out.print(tabled(words.LEADERBOARD_HEADS, cells, words.LEADERBOARD_NUMBERS, out.width, advised))
    for sentence in (f"* {words.verdict(compared)}", *words.about_the_rows(compared)):
        out.print(styled(sentence))


def print_evaluation(evaluation: Evaluation) -> None:
    """Print how well a run does on labelled images, class by class."""
    out = console()
    scores, unlike = evaluation.predictions.scores(), int(evaluation.unlike.sum())
    lines = [
        f"{evaluation.source}: {len(evaluation.predictions):,} images ({evaluation.used})",
        f"Accuracy {scores.accuracy:.1%} ({words.interval(scores)}), macro F1 {scores.macro_f1:.3f}",
        f"Log-loss {scores.log_loss:.3f}, expected calibration error {evaluation.calibration_error:.3f}",
        *evaluation_words.sentences(evaluation),
        *filter(None, [words.corrected(evaluation.corrected)]),
        *(f"{name.capitalize()}: {how}" for name, how in words.pixel_rows(evaluation.fit, evaluation.grey)),
        "",
        *_classes(scores, out.width),
    ]
    if unlike:
        lines += ["", f"Images unlike those that the run was trained on: {unlike:,}"]
    if evaluation.skipped:
        first = evaluation.skipped[0]
        lines += ["", f"Left out: {len(evaluation.skipped)}; the first: {first.path}: {first.reason}"]
    for line in [*lines, *(f"Warning: {warning}" for warning in evaluation.warnings)]:
        out.print(styled(line), soft_wrap=not out.is_terminal)  # whole lines for who reads a pipe


def _classes(scores: Scores, width: int) -> list[str]:
    """The weakest classes with their scores, beside the names or, on a narrow screen, under them."""
    rows = [(name, row) for name, row in scores.per_class.items() if row.images]
    rows.sort(key=lambda item: item[1].f1)
    names = min(CLASS_WIDTH, width - SCORES_WIDTH)
    under = names < LEAST_CLASS_WIDTH
    head = f"{'precision':>11}{'recall':>9}{'F1':>9}{'images':>9}"
    lines = ["class", head] if under else [f"{'class':{names}}{head}"]
    for name, row in rows[:MOST_CLASSES]:
        shown = shortened(fitting(name), (width if under else names) - 1)
        numbers = f"{row.precision:>11.1%}{row.recall:>9.1%}{row.f1:>9.3f}{row.images:>9,}"
        lines += [shown, numbers] if under else [f"{shown:{names}}{numbers}"]
    if len(rows) > MOST_CLASSES:
        lines.append(f"... and {len(rows) - MOST_CLASSES} classes that do better")
    return lines
