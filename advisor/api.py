"""The functions of `import advisor`; the command line calls them, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from advisor.advice import recommendation
from advisor.advice.recommendation import Advised, Recommendation
from advisor.advice.settings import Options
from advisor.choices import DEFAULT_SAMPLE
from advisor.data import sources
from advisor.results import Comparison, Evaluation, Export, Prediction, Run
from advisor.system import reproduction
from advisor.system.progress import Display, Silent


def recommend(
    data: str,
    *,
    recipe: str | None = None,
    backbone: str = Options.backbone,
    weights: str | None = None,
    image_size: int | None = None,
    init: str = Options.init,
    mode: str | None = None,
    augment: bool = False,
    head: str = Options.head,
    train_from: str | None = None,
    cut_layer: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    base_labels: str | None = None,
    sample: int = DEFAULT_SAMPLE,
    source: str | None = None,
    seed: int = 0,
    display: Display | None = None,
) -> Recommendation:
    """Measure a data set, decide, train nothing.

    Args:
        data: a folder of class folders, a folder with train/ and others, a CSV file, `sklearn:digits`
            or `tfds:NAME`.
        recipe: make the settings for this one, whatever is advised.
        backbone: a name of `advisor backbones`, or a model file.
        weights: a file of weights instead of the published ones.
        image_size: pixels of the square input; the backbone's own if left out.
        init: "pretrained" or "random".
        mode: how the recipe works, see `advisor.choices.RECIPES`.
        augment: feature_extraction changes images at random in each epoch.
        head: "linear", or "mlp:N" with one hidden layer of N units.
        train_from: train this layer (name or index) and all above.
        cut_layer: keep the backbone up to this layer.
        epochs: passes over the training images, at most.
        batch_size: images for each gradient step.
        base_labels: a JSON file with the class names of the backbone's own classifier.
        sample: most images to measure, 10 or more.
        source: data of the backbone's source domain, where it is not ImageNet.
        seed: of everything random.
        display: where progress is shown; nowhere if left out.

    Returns:
        A `Recommendation`; a notebook shows it as its table.

    Raises:
        InputError: bad data or options; one line that says what to do.
    """
    options = Options(
        backbone=backbone,
        weights=weights,
        image_size=image_size,
        init=init,
        mode=mode,
        augment=augment,
        head=head,
        train_from=train_from,
        cut_layer=cut_layer,
        epochs=epochs,
        batch_size=batch_size,
        base_labels=base_labels,
    )
    return advise(data, options, recipe, sample, source, seed, display or Silent()).advice


def advise(
    data: str,
    options: Options,
    recipe: str | None,
    sample: int,
    source: str | None,
    seed: int,
    display: Display,
) -> Advised:
    """As `recommend`, with the images that the advice is about."""
    options.check(recipe)
    images = sources.load(data, seed, display.steps("Looking at files"))
    domain = sources.load(source, seed) if source else None
    return recommendation.recommend(images, options, display, recipe, sample, domain, seed)
