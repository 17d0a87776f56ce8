"""The first screen of a page: what there is, what to do, what that brings and costs, what to mend first."""

from __future__ import annotations

from dataclasses import dataclass

from advisor.advice import rule
from advisor.advice.recommendation import Recommendation
from advisor.advice.steps import FROZEN, step_of
from advisor.report import words
from advisor.results import Run

TO_MEND = 2  # sentences of what to mend first; all of them stand further down


@dataclass(frozen=True)
class Card:
    """One answer.

    Attributes:
        question: in a few words.
        answer: what is to be read at a glance.
        more: sentences below it.
    """

    question: str
    answer: str
    more: tuple[str, ...]


def of_advice(advice: Recommendation) -> list[Card]:
    """The cards of an advice."""
    asked, advised = advice.settings.recipe, advice.recipe
    other = (f"The advice would be {advised}: {words.what_it_does(advised)}.",) if asked != advised else ()
    return [
        _what_there_is(advice),
        Card(
            "Asked for" if other else "The advice",
            asked,
            (f"{words.what_it_does(asked).capitalize()}.", *other, f"To do it: {_command(advice)}"),
        ),
        _will_bring(advice),
        _will_cost(advice),
        _to_mend(advice),
    ]


def _command(advice: Recommendation) -> str:
    """What does what was asked for, or what is advised, with the options that the advice was made with."""
    how = "--auto" if advice.settings.recipe == advice.recipe else f"--recipe {advice.settings.recipe}"
    return f"{advice.reproduction.command.replace('advisor recommend', 'advisor run', 1)} {how}"


def of_run(run: Run, advice: Recommendation) -> list[Card]:
    """The cards of a finished run."""
    scores, seconds = run.metrics.test, run.metrics.seconds["total"]
    low, high = scores.interval
    right = f"{100 * scores.accuracy:.1f} of 100 test images right"
    sure = (
        f"Of other images of this kind between {100 * low:.0f} and {100 * high:.0f} of 100 (95 % interval), "
    )
    sure += f"as {scores.images:,} test images tell."
    weakest = min(scores.per_class.items(), key=lambda item: item[1].recall if item[1].images else 1.0)
    least = f"Weakest class: {weakest[0]}, of which {100 * weakest[1].recall:.0f} of 100 are found."
    file = run.folder / "model.keras"
    size = (f"The model has {file.stat().st_size / 1e6:.1f} MB.",) if file.exists() else ()
    return [
        _what_there_is(advice),
        Card("The model", run.recipe, (f"{words.what_it_does(run.recipe).capitalize()}.",)),
        Card("It brings", right, (sure, least)),
        Card("It cost", f"{words.duration(seconds)} on {run.metrics.device}", size),
        _to_mend(advice),
    ]


def _what_there_is(advice: Recommendation) -> Card:
    data, near, place = advice.data, advice.evidence.similarity, advice.quadrant
    each = f"{data.smallest_class:,}"
    if data.smallest_class != data.largest_class:
        each += f" to {data.largest_class:,}"
    few = "few" if place.size == "small" else "many"
    alike = "similar to" if place.similarity == "high" else "unlike"
    source = "the photographs" if advice.evidence.similarity.reference.startswith("ImageNet") else "what"
    return Card(
        "You have",
        f"{data.images:,} images in {len(data.class_names):,} classes",
        (
            f"{each} images a class; all together count as {few} (the border is {rule.LARGE_FROM_IMAGES:,}).",
            f"They are {alike} {source} that the network learned from: similarity {near.score:.2f} of 1 "
            f"(similar from {rule.SIMILAR_FROM_SCORE:.2f} on).",
        ),
    )


def _will_bring(advice: Recommendation) -> Card:
    """Of the recipe that will run: a frozen one as it was probed, a training as it was foretold."""
    question, asked = "It should bring", advice.settings.recipe
    probed = advice.evidence.probes.expected
    frozen = probed[asked if asked in FROZEN else advice.frozen_recipe]
    low, high = (f"{100 * end:.0f}" for end in frozen.interval)
    cases = f"{low} to {high} in 9 of 10 cases"
    if asked in FROZEN:
        how = "Measured on images that no head had seen, and reckoned to all that you have."
        return Card(question, _right(frozen.accuracy), (f"{cases}.", how))
    step = step_of(advice.steps, advice.settings)
    if step is None or step.gain is None or step.interval is None:
        instead = (
            f"A frozen pre-trained network should get {100 * frozen.accuracy:.1f} of 100 right ({cases})."
        )
        return Card(question, "nobody knows", ("What this training gains cannot be foretold.", instead))
    least, most = map(words.points, step.interval)
    start = f"{100 * frozen.accuracy:.1f} of 100 with the network frozen ({cases}), "
    gain = f"{words.points(step.gain)} by training ({least} to {most})."
    return Card(question, _right(min(1.0, frozen.accuracy + step.gain)), (start + gain,))


def _right(accuracy: float) -> str:
    return f"about {100 * accuracy:.1f} of 100 new images right"


def _will_cost(advice: Recommendation) -> Card:
    seconds, more = advice.plan.seconds_estimated, []
    if advice.plan.parameters_trained is not None:
        more.append(f"{advice.plan.parameters_trained:,} numbers of the model are fitted.")
    more.append(f"On {advice.device}.")
    return Card(
        "It will cost",
        "not known here yet" if seconds is None else f"about {words.duration(seconds)} of computing",
        tuple(more),
    )


def _to_mend(advice: Recommendation) -> Card:
    found = [*(finding.text for finding in advice.findings), *advice.warnings]
    if not found:
        return Card("To mend first", "nothing that was found", ("advisor audit looks for more.",))
    things = "1 thing" if len(found) == 1 else f"{len(found):,} things"
    sentences = [f"{sentence[:1].upper()}{sentence[1:].rstrip('.')}." for sentence in found[:TO_MEND]]
    if len(found) > TO_MEND:
        sentences.append("All of them stand under Why.")
    return Card("To mend first", things, tuple(sentences))
