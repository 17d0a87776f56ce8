"""What an evaluation says of ranks, confidence, prediction sets and costs, in sentences."""

from __future__ import annotations

from advisor.results import Evaluation, wilson_interval


def sentences(evaluation: Evaluation) -> list[str]:
    """A line for each of them."""
    answers, images = evaluation.answers, len(evaluation.predictions)
    auroc = "" if answers.auroc is None else f", AUROC {answers.auroc:.3f}"
    said = [f"Balanced accuracy {answers.balanced_accuracy:.1%}{auroc}"]
    if answers.top:
        said.append("Truth among the first " + ", ".join(f"{k}: {s:.1%}" for k, s in answers.top.items()))
    surest = (f"{share:.0%}: {each:.1%}" for share, each in answers.accuracy_of_surest.items() if share < 1)
    said.append("Accuracy of the surest " + ", ".join(surest))
    for one in evaluation.covered:
        low, high = wilson_interval(one.measured, images)
        said.append(
            f"Sets for coverage {one.asked:g}: {one.measured:.1%} covered ({low:.1%} to {high:.1%}), "
            f"{one.classes:.2f} classes on average, none {one.none:.1%}, several {one.several:.1%}"
        )
    if evaluation.costs:
        paid = evaluation.costs
        said.append(
            f"Mean cost {paid.usual:.4g} of the most probable class, {paid.least:.4g} of the one that is "
            f"expected to cost least; {paid.changed:,} of {images:,} images are decided otherwise"
        )
    return said
