"""What several outputs say in the same words: the plan, the result, the leaderboard, near copies."""

from __future__ import annotations

from pathlib import Path

from advisor.advice.by_hand import assignment, without_effect
from advisor.advice.looks import WITH
from advisor.advice.networks import TAKEN, Candidate
from advisor.advice.plan import BUNDLED_PARAMETERS
from advisor.advice.recommendation import Recommendation
from advisor.advice.rule import FEWEST_VALIDATION_IMAGES, POOL_CENTRE
from advisor.advice.settings import Settings
from advisor.advice.steps import BY_HAND, TRAINING, UNTIL_TARGET, Step, step_of
from advisor.backbones import BUNDLED
from advisor.backbones.pair import JOINT
from advisor.choices import CROP, FITS, RECIPES, WATCHED
from advisor.data.deep_grey import GreyRange
from advisor.evidence.pooling import CELLS, FLATTEN, MAXIMUM
from advisor.evidence.views import MIRROR, ONE, SIZES
from advisor.results import Alone, Comparison, Corrected, Metrics, Row, Run, Scores, StepTaken

FACTOR_HEADS = ("Factor", "Measured", "Threshold", "Verdict", "Because")
STEP_HEADS = ("Next step", "Of 100 images", "9 of 10 times", "Time", "Worth it")
STEP_NUMBERS = ("Of 100 images", "9 of 10 times", "Time")  # these columns stand to the right
NETWORK_HEADS = ("Network", "Right of 100", "9 of 10 times", "Time", "MB", "Top-1", "Verdict")
NETWORK_NUMBERS = NETWORK_HEADS[1:-1]
LEADERBOARD_HEADS = ("Recipe", "Accuracy", "95 % range", "F1", "Secs", "Trained", "Status")
LEADERBOARD_NUMBERS = ("Accuracy", "F1", "Secs", "Trained")  # these columns stand to the right


def step_cells(step: Step, frozen: str, accuracy: float) -> list[str]:
    """A row of the table of next steps as text, in the order of `STEP_HEADS`.

    Args:
        step: the row.
        frozen: the better frozen recipe, which the gains are over.
        accuracy: that is expected of it, 0..1.
    """
    time = "yours" if step.action in BY_HAND else "-" if step.seconds is None else duration(step.seconds)
    if step.action == frozen:
        return [step.action, f"{100 * accuracy:.1f} right", "", time, "the start"]
    gain = interval = "nobody knows"
    if step.gain is not None and step.interval is not None:
        low, high = step.interval
        gain, interval = points(step.gain), f"{points(low)} to {points(high)}"
    worth = "try it" if step.worth is None else "yes" if step.worth else "no"
    return [step.action, gain, interval, time, "" if step.action in BY_HAND else worth]


def steps_of(advice: Recommendation) -> list[list[str]]:
    """The table of next steps as text."""
    accuracy = advice.evidence.probes.expected[advice.frozen_recipe].accuracy
    return [
        step_cells(step, advice.frozen_recipe, accuracy)
        for step in advice.steps
        if step.action != UNTIL_TARGET
    ]


def about_steps(advice: Recommendation) -> list[str]:
    """What the table of next steps has no columns for, as sentences."""
    said = [f"{step.what}." for step in advice.steps if step.action == UNTIL_TARGET]
    said += _in_balanced_accuracy(advice)
    said += [f"{step.action}: {step.what}." for step in advice.steps if step.action.startswith(WITH)]
    trains = any(step.action in TRAINING for step in advice.steps)
    if trains and advice.settings.keep == "better":
        more = ""
        if advice.settings.backbone == BUNDLED:
            more = f", {4 * BUNDLED_PARAMETERS['frozen'] / 1e6:.0f} MB more"
        said.append(
            f"A trained model holds the frozen network, too{more}, and takes twice as long for an image."
        )
    return said


def _in_balanced_accuracy(advice: Recommendation) -> list[str]:
    """The same gains where each class counts the same; nothing where classes are of about the same size."""
    gains = [
        f"{step.action} {100 * step.balanced_gain:+.1f}"
        for step in advice.steps
        if step.balanced_gain is not None and step.action != advice.frozen_recipe
    ]
    if not gains:
        return []
    start = advice.evidence.probes.expected[advice.frozen_recipe].balanced
    return [
        f"Where each class counts the same, {advice.frozen_recipe} gets {100 * start:.1f} of 100 images "
        f"right; {', '.join(gains)}."
    ]


def networks_of(advice: Recommendation) -> list[list[str]]:
    """The table of networks that are ready as text, in the order of `NETWORK_HEADS`."""
    return [_network_cells(network) for network in advice.networks if network.ready]


def _network_cells(network: Candidate) -> list[str]:
    right = interval = "-"
    if network.expected_accuracy is not None and network.interval is not None:
        low, high = network.interval
        right, interval = f"{100 * network.expected_accuracy:.1f}", f"{100 * low:.0f} to {100 * high:.0f}"
    time = "-" if network.seconds is None else duration(network.seconds)
    top1 = "-" if network.top1 is None else f"{network.top1:.1f}%"
    name = network.name.replace(JOINT, f" {JOINT} ")  # so that it may stand in two lines
    return [name, right, interval, time, f"{network.megabytes:.1f}", top1, network.verdict]


def about_networks(advice: Recommendation) -> list[str]:
    """What the table of networks has no rows for, as sentences; nothing where all of them are ready."""
    absent = [network for network in advice.networks if not network.ready]
    if not absent:
        return []
    taken = next(network for network in advice.networks if network.verdict == TAKEN)
    small = [network for network in absent if network.megabytes <= 2 * taken.megabytes]
    named = ", ".join(
        f"{network.name} has {network.top1:.1f}% and {network.megabytes:,.0f} MB"
        for network in dict.fromkeys([*absent[:1], *small[:1]])
    )
    return [
        f"{len(absent)} other networks are not ready. Their accuracy on ImageNet (Top-1) is a hint and no "
        f"promise: {named}. See advisor backbones."
    ]


def what_it_does(recipe: str) -> str:
    """What a recipe does, in half a sentence."""
    return RECIPES[recipe].what


def pixel_rows(fit: str, grey: GreyRange | None) -> list[tuple[str, str]]:
    """How files become what the network sees, where it is not as usual, as pairs of a name and a value."""
    rows = [("images", FITS[fit])] if fit != CROP else []
    return [*rows, ("grey", f"{grey[0]:g} is black, {grey[1]:g} is white")] if grey else rows


def plan_rows(advice: Recommendation) -> list[tuple[str, str]]:
    """What will be built and how long it takes, as pairs of a name and a value."""
    settings, plan = advice.settings, advice.plan
    rows = [("goes on from", settings.start_from)] if settings.start_from else []
    rows += [
        ("backbone", f"{settings.backbone} at {settings.image_size} px, {_layers(settings)}"),
        *pixel_rows(settings.fit, settings.grey),
        ("features", _features(settings)),
        ("head", settings.head + (_SOLVED if settings.solves_head else _START[settings.head_start])),
    ]
    if plan.parameters_trained is not None:
        rows.append(("parameters", f"{plan.parameters_trained:,} trained"))
    if settings.epochs:
        rows += [
            ("training", _training(settings)),
            ("kept", will_be_kept(settings, advice.data.splits["validation"])),
            ("optimizer", _optimizer(settings)),
            ("augmentation", ", ".join(settings.augmentation) or "none"),
        ]
    if settings.class_weights != "none":
        rows.append(("class weights", settings.class_weights))
    if settings.by_hand:
        rows.append(("by hand", _by_hand(settings)))
    if plan.seconds_estimated is not None:
        rows.append(("time", f"about {duration(plan.seconds_estimated)} on {advice.device}"))
    return rows


_SOLVED = ", solved to its optimum"
_START = {"fitted": "", "random": ", from random weights", "run": ", as it was trained before"}
_OPTIMIZERS = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD", "rmsprop": "RMSprop"}


def _optimizer(settings: Settings) -> str:
    name = _OPTIMIZERS[settings.optimizer]
    if settings.momentum:
        name += f", {'Nesterov ' if settings.nesterov else ''}momentum {settings.momentum:g}"
    rate = f"learning rate {settings.learning_rate:g}{_schedule(settings)}"
    if settings.head_epochs:
        rate = f"learning rate {settings.head_learning_rate:g} for the head alone, then {rate[14:]}"
    decay = f"weight decay {settings.weight_decay:g}" if settings.weight_decay else "no weight decay"
    return f"{name}, {rate}, {decay}, batch norm {settings.batch_norm}"


def _schedule(settings: Settings) -> str:
    """What becomes of the learning rate, where it is not as usual."""
    if "schedule" not in settings.by_hand:
        return ""
    return {
        "cosine": " with cosine decay",
        "constant": ", constant",
        "inverse time": f" / (1 + {settings.decay:g} x steps)",
        "step": f", times {settings.step_factor:g} after each {settings.step_epochs} epochs",
    }[settings.schedule]


def _by_hand(settings: Settings) -> str:
    """What the user chose otherwise than we would have, as names and values."""
    idle = without_effect(settings)
    said = []
    for name in settings.by_hand:
        value = getattr(settings, name)
        shown = assignment(name, list(value) if isinstance(value, tuple) else value)
        said.append(f"{shown} (without effect: the head is solved)" if name in idle else shown)
    return ", ".join(said)


def _layers(settings: Settings) -> str:
    if settings.train_from is None:
        layers = "all frozen"
    elif settings.train_from == "":
        layers = "all trained" + ("" if settings.init == "pretrained" else ", from random weights")
    else:
        layers = f"frozen below {settings.train_from}, trained from there"
        if settings.frozen:
            layers = f"{settings.frozen} frozen, trained from {settings.train_from}"
    return layers + (f", cut above {settings.taps[-1]}" if settings.mode == "cut" else "")


_VIEWS = {
    ONE: "",
    MIRROR: ", averaged over each image and its mirror image",
    SIZES: ", of each image and of the same at half its size",
}


def _features(settings: Settings) -> str:
    taps = settings.taps
    features = taps[0] if len(taps) == 1 else f"{len(taps)} depths together, {taps[0]} to {taps[-1]}"
    features = f"square roots of {features}" if settings.roots else features
    features += _VIEWS[settings.views]
    if settings.pooling in (MAXIMUM, FLATTEN):
        whole = {MAXIMUM: "highest values", FLATTEN: "whole maps, flattened,"}[settings.pooling]
        return f"{features} ({whole} in the place of averages)"
    if settings.trains_on_images and settings.keep == "trained":
        return features
    more = []
    if settings.sees_cells:
        more.append(f"of up to {CELLS[settings.pooling]}x{CELLS[settings.pooling]} cells")
    if settings.sees_likeness:
        more.append("how like an image is to each known one")
    if not more:
        return features
    if settings.trains_on_images:
        return f"{features}; of the frozen network also {' and '.join(more)}"
    whole = ", of the whole picture" if settings.sees_cells else ""
    return f"{features}{whole} and {' and '.join(more)}"


def _training(settings: Settings) -> str:
    epochs = (
        f"{settings.epochs} epochs at {settings.training_size} px"
        if settings.trains_on_images
        else f"up to {settings.epochs} epochs on features"
    )
    if settings.head_epochs:
        epochs += f", the first {settings.head_epochs} of the head alone"
    return f"{epochs}, batches of {settings.batch_size}"


def will_be_kept(settings: Settings, validation_images: int) -> str:
    """What will be kept after training, as far as it is certain before it begins."""
    if settings.trains_on_images and settings.keep == "trained":
        best = f"the epoch with the best validation {WATCHED[settings.watch]}, no frozen network"
        last = "the last epoch, whatever the validation images say"
        return best if settings.epoch_kept == "best" else last
    if not settings.starts_from_frozen_head:
        return "the best epoch"
    judges = f"{validation_images:,} validation images"
    if settings.pools and validation_images < FEWEST_VALIDATION_IMAGES:
        about = f"about {POOL_CENTRE:.1f} of it the trained one"
        return f"the pool of the frozen and the trained network, {about}, for {judges} say little"
    if settings.pools:
        return f"the pool of the frozen and the trained network, weighed by {judges}"
    if validation_images < FEWEST_VALIDATION_IMAGES:
        return f"the frozen network: {judges} cannot judge what training gives; --keep trained keeps its end"
    return f"the average with the start, where {judges} show a gain; else the frozen network"


def duration(seconds: float) -> str:
    """A time rounded for people.

    >>> duration(42), duration(300), duration(9000)
    ('40 s', '5 min', '2.5 h')
    """
    if seconds < 90:
        return f"{max(10, round(seconds / 10) * 10)} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def points(gain: float) -> str:
    """A gain of accuracy, -1..1, as images of a hundred.

    >>> points(0.0123), points(-0.0001)
    ('+1.2', '+0.0')
    """
    return f"{round(100 * gain, 1) + 0.0:+.1f}"


def percent(share: float) -> str:
    """A share as per cent with one decimal, which is left out where it is zero.

    >>> percent(0.125), percent(0.5)
    ('12.5%', '50%')
    """
    return f"{share:.1%}".replace(".0%", "%")


def interval(scores: Scores) -> str:
    """How far the accuracy can be trusted, for brackets behind it."""
    low, high = scores.interval
    return f"95 % interval {low:.1%} to {high:.1%}"


def caption(recipe: str, scores: Scores) -> str:
    """What stands over the plots of a model."""
    return f"{recipe}: test accuracy {scores.accuracy:.1%}"


def near_copies(metrics: Metrics) -> str:
    """A sentence without full stop about test images that training has nearly seen, where there are any."""
    copies = metrics.near_copies
    if copies is None:
        return ""
    return (
        f"{copies.test_images:,} of the test images are nearly the same as images in training; without "
        f"them the accuracy is {copies.accuracy_without:.1%}"
    )


def corrected(found: Corrected | None) -> str:
    """A sentence about the accuracy by corrected labels, where there is one."""
    if found is None:
        return ""
    return (
        f"By corrected labels, where {found.changed:,} of the test images have others or are left out, the "
        f"accuracy is {found.accuracy:.1%}, {found.images:,} images."
    )


def about_training(metrics: Metrics) -> str:
    """Sentences about what there was before training, and what was kept after it; empty where neither says
    anything."""
    said = (_before_training(metrics), _kept(metrics), *map(_taken, metrics.steps))
    return " ".join(sentence for sentence in said if sentence)


def _taken(step: StepTaken) -> str:
    """What was foretold beside what came."""
    came = f"{100 * step.measured_gain:+.1f} of 100 test images in {step.measured_seconds:.0f} s"
    if step.gain is None or step.interval is None:
        return f"Over the frozen network: {came}; nothing was foretold."
    low, high = step.interval
    time = "" if step.seconds is None else f" in {duration(step.seconds)}"
    return (
        f"Over the frozen network: {came}; foretold were {100 * step.gain:+.1f} "
        f"({100 * low:+.1f} to {100 * high:+.1f}){time}."
    )


def _before_training(metrics: Metrics) -> str:
    before = metrics.before_training
    if before is None:
        return ""
    test, validation = before.test.accuracy, before.validation.accuracy
    return (
        f"Before any training the backbone's own classifier had a test accuracy of {test:.1%}, validation "
        f"{validation:.1%}."
    )


def _kept(metrics: Metrics) -> str:
    """What was kept after training, where there was something to choose from."""
    choice = metrics.kept
    if choice is None:
        return ""
    frozen = _network("frozen", choice.frozen)
    if choice.trained is None:
        return f"Kept so far, before any training: {frozen}."
    trained = _network("trained", choice.trained)
    if choice.rule == "trained":
        return f"Kept, as asked: {trained}. Without training: {frozen}."
    judges = f"{metrics.images['validation']:,} validation images"
    if choice.weight == 0:
        return f"Kept: {frozen}. Training brought no clear gain on the {judges}: {trained}."
    if choice.weight == 1:
        share = metrics.trained_share
        averaged = "" if share is None else f", averaged with its start (share {share:.1f})"
        return f"Kept, by the {judges}: {trained}{averaged}. Without training: {frozen}."
    pooled = f"Kept: the pool of {frozen} and {trained}, which weighs {choice.weight:.2f} by the {judges}."
    if not choice.second.megabytes:
        return pooled
    return (
        f"{pooled} The second network costs {choice.second.megabytes:.1f} MB and "
        f"{choice.second.milliseconds:.1f} ms an image; --keep single keeps one."
    )


def _network(name: str, alone: Alone) -> str:
    return f"the {name} network (test accuracy {alone.test:.1%}, validation {alone.validation:.1%})"


def training_ahead(advice: Recommendation) -> str:
    """What training is expected to bring, as the end of a sentence; empty where it was not foretold."""
    step = step_of(advice.steps, advice.settings)
    if step is None or step.gain is None or step.interval is None:
        return ""
    low, high = (100 * end for end in step.interval)
    return (
        f"all of training should bring {100 * step.gain:+.1f} of 100 images over the frozen network "
        f"({low:+.1f} to {high:+.1f})"
    )


def so_far(folder: Path, metrics: Metrics) -> str:
    """What the folder of a run holds before it is finished, as a sentence without full stop."""
    reached = metrics.test
    model = f"the model in {folder} has a test accuracy of {reached.accuracy:.1%} ({interval(reached)})"
    is_frozen = metrics.kept is not None and metrics.kept.rule == "frozen"
    return f"{model}; it is the frozen network" if is_frozen else model


def ended_early(run: Run) -> str:
    """A sentence about a training that ended before its last epoch; empty for others and meanwhile."""
    settings, kept = run.metrics.settings, run.metrics.kept
    if kept is not None and kept.rule == "frozen":
        return ""
    last, all_of_them = run.history[-1], settings.epochs
    done = last.epoch - max((row.epoch for row in run.history if row.stage < last.stage), default=0)
    if run.metrics.complete:
        if not settings.trains_on_images or done == all_of_them:
            return ""
        ended = f"Training ended after {done} of {all_of_them} epochs: "
        if run.metrics.lost_patience:
            return f"{ended}the best of them was too long ago; --set patience={all_of_them} trains them all."
        why = "by the validation images, the rest was not worth its time"
        return f"{ended}{why}; --set stop_early=false trains them all."
    return (
        f"Time was over after {done} of {all_of_them} epochs; to train on, give the same command with "
        f"--output {run.folder} --resume, and without --minutes or with more of them."
    )


def training_of(run: Run) -> str:
    """What the epochs after epoch 0 do, in which the head alone was solved."""
    return "training of the head" if run.metrics.settings.train_from is None else "fine-tuning"


def leaderboard_name(row: Row) -> str:
    """The name of a recipe; the advised one has a star."""
    return row.name + (" *" if row.advised else "")


def leaderboard_cells(row: Row) -> list[str]:
    """A row of the leaderboard as text, in the order of `LEADERBOARD_HEADS`."""
    accuracy = span = macro_f1 = parameters = "-"
    if row.accuracy is not None and row.interval is not None:
        accuracy, span = f"{row.accuracy:.1%}", f"{row.interval[0]:.1%}-{row.interval[1]:.1%}"
        macro_f1, parameters = f"{row.macro_f1:.3f}", f"{row.parameters:,}"
    status = f"as {row.same_as}" if row.same_as else row.status
    return [leaderboard_name(row), accuracy, span, macro_f1, f"{row.seconds:.0f}", parameters, status]


def verdict(compared: Comparison) -> str:
    """In one sentence, what following the advice costs, as far as the test images can tell."""
    advised, paired, regret = compared.advice.recipe, compared.paired, compared.regret
    if regret is None:
        return f"The advised recipe, {advised}, did not come to run."
    if paired is None:
        return (
            f"The advice, {advised}, is the only one that came to run: there is nothing to compare it with."
        )
    other, apart = paired.name, f"{100 * compared.lead:.1f} points"
    if paired.is_clear:
        alone = f"where only one of them is right, it is the advice {_times(paired.only_advised)} and "
        alone += f"{other} {_times(paired.only_other)}"
        if regret:
            return f"The advice, {advised}, loses {100 * regret:.1f} points against {other}: {alone}."
        return f"The advice, {advised}, was the best, {apart} before {other}: {alone}."
    seen = f"On {paired.images:,} test images the advice, {advised}, and {other} cannot be told apart"
    if not compared.lead:
        return f"{seen}: both get equally many of them right."
    return (
        f"{seen}: {other if regret else advised} is {apart} better, but they differ on too few images "
        f"(only the advice is right on {paired.only_advised:,}, only {other} on {paired.only_other:,})."
    )


def _times(count: int) -> str:
    return f"{count:,} time{'' if count == 1 else 's'}"


def about_the_rows(compared: Comparison) -> list[str]:
    """Sentences about what the leaderboard alone does not tell: trainings that are one, and want of time."""
    said = [
        f"{row.name} is the same training as {row.same_as} on these data: it is done once."
        for row in compared.rows
        if row.same_as
    ]
    said += [
        f"{row.name} was not begun: it takes at least about {duration(row.needs)}, more than was left."
        for row in compared.rows
        if row.needs is not None and not row.same_as
    ]
    spent = f"From the advice to the last model it took {compared.seconds:.0f} s"
    return [*said, f"{spent}; --minutes gave {compared.budget:.0f} s."]
