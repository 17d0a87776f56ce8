"""The functions of `import advisor`; the command line calls them, too."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from PIL import Image

from advisor.advice import by_hand, recommendation, times
from advisor.advice.recommendation import Advised, Recommendation
from advisor.advice.settings import Options
from advisor.audit import audit as audits
from advisor.audit.audit import Audit
from advisor.backbones.pair import JOINT
from advisor.choices import AUTO, DEFAULT_SAMPLE
from advisor.data import corrections as corrected
from advisor.data import sources
from advisor.data.corrections import Corrections
from advisor.data.costs import read as read_costs
from advisor.data.reading import AS_FOUND, Reading
from advisor.errors import InputError
from advisor.report import audit_page, model_card, overlay, page, plots
from advisor.results import Comparison, Evaluation, Export, Prediction, Run
from advisor.system import devices, reproduction
from advisor.system.progress import Display, Silent
from advisor.system.ray_cluster import connected
from recipes.runs import comparison, evaluation, prediction, preview, quantized, run_files, stages
from recipes.runs import export as exports
from recipes.runs import heatmaps as heat_of
from recipes.runs import run as runs
from recipes.runs.run_folder import RunFolder
from recipes.runs.stages import Start

OnAdvice = Callable[[Recommendation], None]
OnModel = Callable[[Run], None]

# A notebook shows them so. They cannot know what draws them, for that lies above them.
Recommendation._repr_html_ = lambda self: page.notebook_recommendation(self)  # type: ignore[attr-defined]
Run._repr_html_ = lambda self: page.notebook_run(self)  # type: ignore[attr-defined]


def recommend(
    data: str,
    *,
    recipe: str | None = None,
    backbone: str = "efficientnet_lite0",
    weights: str | None = None,
    image_size: int | None = None,
    fit: str = "auto",
    init: str = "pretrained",
    mode: str | None = None,
    augment: bool = False,
    head: str = "linear",
    train_from: str | None = None,
    cut_layer: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    base_labels: str | None = None,
    keep: str = "better",
    minutes: float | None = None,
    max_megabytes: float | None = None,
    target: float | None = None,
    settings: Mapping[str, Any] | None = None,
    corrections: str | None = None,
    sample: int = DEFAULT_SAMPLE,
    source: str | None = None,
    reading: Reading = AS_FOUND,
    seed: int = 0,
    output: str | Path | None = None,
    cluster: str | None = None,
    display: Display | None = None,
) -> Recommendation:
    """Measure a data set and decide; train nothing.

    Args:
        data: a folder of class folders, a folder with train/ and others, a table, an archive,
            `sklearn:digits` or `tfds:NAME`; see docs/data.md.
        recipe: make the settings for this one, whatever is advised.
        backbone: a name of `advisor backbones`, a model file, two of these with a plus sign between them for
            both side by side, or "auto" for the best of those that are pre-trained and ready, or two of them.
        weights: a file of weights instead of the published ones.
        image_size: pixels of the square input; the backbone's own if left out.
        fit: how images become squares, "crop", "pad", "squash", or "auto": what probes prefer where most
            images are long, else the crop.
        init: "pretrained" or "random".
        mode: how the recipe works, see `advisor.choices.RECIPES`.
        augment: `feature_extraction` changes images at random in each epoch.
        head: "linear", or "mlp:N" with a hidden layer of N units, "mlp:N,M" with two.
        train_from: train this layer and all above: its name or number, the beginning of a block's name, as
            "block_14", or "child:6" where people count modules, as in ResNet18; see `advisor backbones NAME`.
        cut_layer: keep the backbone up to this layer or block.
        epochs: passes over the training images, at most.
        batch_size: images for each gradient step.
        base_labels: a JSON file with the class names of the backbone's own classifier.
        keep: what is kept after training: "better", "single" or "trained"; see docs/recipes.md.
        minutes: that there are from the command to the finished folder; None for what is worth its time.
        max_megabytes: that the finished model may have, with `backbone` "auto"; None for no limit.
        target: an accuracy, 0..1: the advice says how many images would reach it.
        settings: by hand, in the place of those that the recipe would have: values by the names of the fields
            of `Settings`, see docs/settings.md, or the `settings` in the metrics.json of a run. An argument
            that is given beats its field.
        corrections: a corrected suspects.csv of `advisor audit`, see docs/audit.md; no file is changed.
        sample: most images to measure, 10 or more.
        source: data of the backbone's source domain, where it is not ImageNet.
        reading: which columns of a table say what, where its images are, and what belongs together, as
            `advisor.Reading(label_column="kind")`; what is left out is found out.
        seed: of everything random.
        output: a folder for recommendation.json and report.html; nothing is written if left out.
        cluster: where images are embedded: "local" for a Ray on this machine, "auto" for the cluster that
            this is run on, "ray://HOST:PORT" for another one; this process if left out. See docs/scale.md.
        display: where progress is shown; nowhere if left out.

    Returns:
        The advice; a notebook shows it as its table.

    Raises:
        InputError: bad data or options; one line that says what to do.
    """
    (options, recipe), display = _options(locals()), display or Silent()
    listed = _corrections(corrections)
    enough = None if listed else sources.ENOUGH
    asked = data, options, recipe, sample, source, reading, seed, display, listed
    advise = functools.partial(_advise, *asked, enough=enough)
    if output is None:
        with connected(cluster):
            return advise().advice
    with RunFolder(Path(output)).holding() as folder, connected(cluster):
        folder.check_holds_no_run()
        advised = advise()
        page.write_recommendation(advised.advice, advised.data, advised.sights, folder.path)
    return advised.advice


def run(
    data: str,
    *,
    output: str | Path,
    recipe: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    backbone: str = "efficientnet_lite0",
    weights: str | None = None,
    image_size: int | None = None,
    fit: str = "auto",
    init: str = "pretrained",
    mode: str | None = None,
    augment: bool = False,
    head: str = "linear",
    train_from: str | None = None,
    cut_layer: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    base_labels: str | None = None,
    keep: str = "better",
    minutes: float | None = None,
    max_megabytes: float | None = None,
    target: float | None = None,
    settings: Mapping[str, Any] | None = None,
    start_from: str | Path | None = None,
    corrections: str | None = None,
    sample: int = DEFAULT_SAMPLE,
    source: str | None = None,
    reading: Reading = AS_FOUND,
    seed: int = 0,
    cluster: str | None = None,
    display: Display | None = None,
    on_advice: OnAdvice | None = None,
    on_model: OnModel | None = None,
) -> Run:
    """Build and train with the advised recipe, or with a given one, into a run folder.

    Args:
        data: see `recommend`, as all that does not stand here.
        output: the run folder; made if it does not exist.
        recipe: one of `advisor.choices.RECIPES`; None for the advised one.
        resume: go on with the unfinished run in `output`.
        overwrite: replace the run in `output`.
        backbone: see `recommend`.
        weights: see `recommend`.
        image_size: see `recommend`.
        fit: see `recommend`.
        init: see `recommend`.
        mode: see `recommend`.
        augment: see `recommend`.
        head: see `recommend`.
        train_from: see `recommend`.
        cut_layer: see `recommend`.
        epochs: see `recommend`.
        batch_size: see `recommend`.
        base_labels: see `recommend`.
        keep: see `recommend`.
        minutes: see `recommend`.
        max_megabytes: see `recommend`.
        target: see `recommend`.
        settings: see `recommend`.
        start_from: the folder of a finished run of the same data: its network and its head are trained on, on
            the same splits, by `recipe`.
        corrections: see `recommend`.
        sample: see `recommend`.
        source: see `recommend`.
        reading: see `recommend`.
        seed: see `recommend`.
        cluster: see `recommend`; gradient steps are taken here.
        display: see `recommend`.
        on_advice: called with the recommendation before training starts.
        on_model: called with the frozen model before gradient steps begin, and with what there is after
            Ctrl-C: each time `output` holds it, complete.

    Returns:
        The finished run; a notebook shows its result.

    Raises:
        InputError: bad data or options, or another command is writing to `output`; one line that says what
            to do.
        KeyboardInterrupt: after Ctrl-C; what was done is in `output`, for `resume`, and the better model so
            far, if there is one.
    """
    start_from = None if start_from is None else str(start_from)
    (options, recipe), display, began = _options(locals()), display or Silent(), time.monotonic()
    start = _start(options, recipe, output)
    options = stages.with_network(start, options) if start else options
    listed = _corrections(corrections)
    with RunFolder(Path(output)).writing(resume, overwrite) as folder, connected(cluster):
        network = folder.network() if resume and options.backbone == AUTO else None
        named = _as_started(options, network) if network else options
        advised = _advise(data, named, recipe, sample, source, reading, seed, display, listed, start)
        if on_advice:
            on_advice(advised.advice)
        if overwrite and not resume:
            folder.clear()
        # Time and target may be others when the run is gone on with.
        asked = {"recipe": recipe, **asdict(replace(options, minutes=None, target=None)), **asdict(reading)}
        advice = folder.start(advised.data, seed, advised.advice, asked, resume)
        how = {"recipe": recipe} if recipe else {"auto": True}
        by_set = tuple(by_hand.assignment(name, value) for name, value in options.settings.items())
        given = {**asdict(options), "settings": None, "set": by_set}
        measured = {"corrections": corrections, "sample": sample, "source": source}
        values = {**how, **given, **measured, "seed": seed, **asdict(reading)}
        command = reproduction.command("run", advice.data.source, **values)

        def meanwhile(so_far: Run) -> None:
            _document(so_far, advice, advised, command, listed)
            if on_model:
                on_model(so_far)

        seconds = None
        if minutes is not None:
            seconds = _seconds_for_steps(minutes, began, advice, folder.path)
        of = advised.data, advice.settings, folder, seed, display, resume, seconds
        earlier = start.history if start else ()
        finished = runs.run(*of, meanwhile=meanwhile, steps=advice.steps, earlier=earlier)
        _document(finished, advice, advised, command, listed)
        if finished.metrics.complete:
            folder.finish()  # else it keeps its checkpoints, to be gone on with
    return finished


def compare(
    data: str,
    *,
    output: str | Path,
    minutes: float = 60.0,
    baseline: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    backbone: str = "efficientnet_lite0",
    weights: str | None = None,
    image_size: int | None = None,
    fit: str = "auto",
    epochs: int | None = None,
    batch_size: int | None = None,
    keep: str = "better",
    corrections: str | None = None,
    sample: int = DEFAULT_SAMPLE,
    source: str | None = None,
    reading: Reading = AS_FOUND,
    seed: int = 0,
    cluster: str | None = None,
    display: Display | None = None,
    on_advice: OnAdvice | None = None,
) -> Comparison:
    """Train all recipes on one split, each into a run folder of its own inside `output`.

    Args:
        data: see `recommend`, as all that does not stand here.
        output: the folder; made if it does not exist.
        minutes: for all recipes together, from the advice to the page of the last run; each may use an equal
            share of what is left. A training that could not even finish an epoch in it is not begun.
        baseline: add a plain convolutional network from random weights.
        resume: go on with what is not finished in `output`.
        overwrite: replace the comparison in `output`.
        backbone: see `recommend`.
        weights: see `recommend`.
        image_size: see `recommend`.
        fit: see `recommend`.
        epochs: see `recommend`.
        batch_size: see `recommend`.
        keep: see `recommend`.
        corrections: see `recommend`.
        sample: see `recommend`.
        source: see `recommend`.
        reading: see `recommend`.
        seed: see `recommend`.
        cluster: see `recommend`; each training is a task of its own there, and `output` has to be a folder
            that all of its machines see.
        display: see `recommend`.
        on_advice: called with the recommendation before training starts.

    Returns:
        The leaderboard, and what following the advice costs.

    Raises:
        InputError: see `run`.
        KeyboardInterrupt: after Ctrl-C; what was done is in `output`, for `resume`.
    """
    network = {"backbone": backbone, "weights": weights, "image_size": image_size, "fit": fit}
    training = {"epochs": epochs, "batch_size": batch_size, "keep": keep}
    measured = {"corrections": corrections, "sample": sample, "source": source, **asdict(reading)}
    listed = _corrections(corrections)
    options, display = Options(**network, **training), display or Silent()  # type: ignore[arg-type]
    comparison.check(minutes, backbone)
    with RunFolder(Path(output)).writing(resume, overwrite) as folder, connected(cluster):
        advised = _advise(data, options, None, sample, source, reading, seed, display, listed)
        if on_advice:
            on_advice(advised.advice)
        if overwrite and not resume:
            comparison.clear(folder)
        asked = {**asdict(options), **measured}
        values = {
            "minutes": f"{minutes:g}",
            "baseline": baseline,
            **network,
            **training,
            **measured,
            "seed": seed,
        }
        command = reproduction.command("compare", advised.data.source, **values)

        def document(finished: Run, advice: Recommendation) -> None:
            _document(finished, advice, advised, command, listed)

        compared = comparison.compare(
            advised, folder, minutes, baseline, seed, display, asked, resume, document
        )
        plots.write_leaderboard(compared, folder.path)
        page.write_comparison(compared, advised.data, advised.sights, folder.path, command)
    return compared


def predict(
    run: str | Path,
    images: Iterable[str | Path],
    *,
    coverage: float | None = None,
    on_skipped: Callable[[str, str], None] | None = None,
    display: Display | None = None,
) -> Iterator[Prediction]:
    """Classify images with a finished run, one by one, so that memory stays flat.

    Args:
        run: a run folder.
        images: files, and folders with all in them.
        coverage: of prediction sets, `Prediction.possible`, as 0.95: the share of images like those of the
            run whose set holds the true class; no sets if left out.
        on_skipped: called with path and reason for each file that cannot be read.
        display: where progress is shown; nowhere if left out.

    Yields:
        A prediction for each image that can be read, in order.

    Raises:
        InputError: the run folder is damaged or has too few images for this coverage, or, without
            `on_skipped`, a file cannot be read.
    """

    def refuse(path: str, reason: str) -> None:
        raise InputError(f"{path}: {reason}; give image files or folders of them")

    paths = prediction.find_images([str(image) for image in images], ())
    bar = (display or Silent()).steps("Classifying")
    yield from prediction.predict(prediction.load(run), paths, on_skipped or refuse, bar, coverage)


def heatmaps(
    run: str | Path,
    images: Iterable[str | Path],
    *,
    output: str | Path,
    on_skipped: Callable[[str, str], None] | None = None,
    display: Display | None = None,
) -> list[Path]:
    """Draw over each image what spoke for the class that a finished run finds in it.

    Args:
        run: a run folder.
        images: files, and folders with all in them.
        output: a folder for the PNG files, made if it does not exist; no file in it is overwritten.
        on_skipped: called with path and reason for each file that cannot be read.
        display: where progress is shown; nowhere if left out.

    Returns:
        The files, each named like its image.

    Raises:
        InputError: the run folder is damaged, its head sees no feature maps, `output` cannot be written to,
            or, without `on_skipped`, a file cannot be read.
    """
    finished, folder = prediction.load(run), Path(output)
    paths = prediction.find_images([str(image) for image in images], ())
    bar = (display or Silent()).steps("Drawing heat maps")

    def skip(position: int, reason: str) -> None:
        if on_skipped is None:
            raise InputError(f"{paths[position]}: {reason}; give image files or folders of them")
        on_skipped(paths[position], reason)

    of = finished.folder, finished.image_size, finished.fit, finished.grey, paths, skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return [
            overlay.save(overlay.overlay(heat.pixels, heat.together), folder, paths[heat.position])
            for heat in heat_of.look(*of, progress=bar)
        ]
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}; choose another folder") from None


def evaluate(
    run: str | Path,
    data: str,
    *,
    corrections: str | None = None,
    costs: str | None = None,
    output: str | Path | None = None,
    reading: Reading = AS_FOUND,
    display: Display | None = None,
) -> Evaluation:
    """Measure a finished run on labelled images that it was neither trained nor validated on.

    Args:
        run: a run folder.
        data: see `recommend`.
        corrections: see `recommend`; the accuracy with corrected labels stands beside the other one.
        costs: a CSV file with what each confusion costs, the true class in rows; see docs/answers.md.
        output: a folder for evaluation.json and the plots; nothing is written if left out.
        reading: see `recommend`.
        display: where progress is shown; nowhere if left out.

    Raises:
        InputError: the run folder is damaged, or nothing in `data` is new to it.
    """
    finished, display = prediction.load(run), display or Silent()
    listed = _corrections(corrections)
    paid = read_costs(costs, finished.class_names) if costs else None
    if output is None:
        return evaluation.evaluate(finished, data, display, reading, listed, paid)
    with RunFolder(Path(output)).holding() as folder:
        evaluated = evaluation.evaluate(finished, data, display, reading, listed, paid)
        plots.write_evaluation(evaluated, folder.path)
    return evaluated


def audit(
    data: str,
    *,
    corrections: str | None = None,
    image_size: int | None = None,
    target: float | None = None,
    reading: Reading = AS_FOUND,
    seed: int = 0,
    output: str | Path | None = None,
    display: Display | None = None,
) -> Audit:
    """Look for what is wrong with a data set: labels, images of no class, copies, shortcuts.

    It is `advisor.api.audit`, for `advisor.audit` is the package of what it finds.

    Args:
        data: see `recommend`.
        corrections: see `recommend`; here they count for test images, too.
        image_size: pixels at which the images are seen; 224 if left out, as `recommend` does.
        target: an accuracy, 0..1: the audit says how many images would reach it.
        reading: see `recommend`.
        seed: see `recommend`.
        output: a folder for report.html, audit.json and suspects.csv; nothing is written if left out.
        display: where progress is shown; nowhere if left out.

    Raises:
        InputError: bad data or options; one line that says what to do.
    """
    display = display or Silent()
    if output is None:
        return _audit(data, corrections, image_size, target, reading, seed, display)
    with RunFolder(Path(output)).holding() as folder:
        folder.check_holds_no_run()
        found = _audit(data, corrections, image_size, target, reading, seed, display)
        audit_page.write(found, folder.path)
    return found


def export(
    run: str | Path,
    format: str,
    *,
    data: str | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    display: Display | None = None,
) -> Export:
    """Write the model of a finished run in another format, and check that it gives the same probabilities.

    Args:
        run: a run folder.
        format: "saved_model", "tflite", "tflite-int8" or "onnx".
        data: what the run was trained on, for "tflite-int8": its training images calibrate, and its test
            images tell what is lost; see `recommend`.
        output: file or folder to write; in the run folder if left out.
        overwrite: replace what is there.
        display: where progress is shown; nowhere if left out.

    Raises:
        InputError: something is there already, the format does not take the model, or "tflite-int8" has no
            data of the run.
    """
    path = Path(output) if output is not None else None
    if format == quantized.FORMAT:
        if data is None:
            raise InputError(f"{format} is calibrated on training images; give the run's DATA with --data")
        return quantized.export_int8(prediction.load(run), data, path, overwrite, display or Silent())
    return exports.export(prediction.load(run), format, path, overwrite)


def _audit(
    data: str,
    corrections: str | None,
    image_size: int | None,
    target: float | None,
    reading: Reading,
    seed: int,
    display: Display,
) -> Audit:
    Options(image_size=image_size, target=target).check(None)
    listed = _corrections(corrections)
    images = sources.load(data, seed, display, reading)
    images = listed.apply(images).as_corrected() if listed else images
    values = {"corrections": corrections, "image_size": image_size, "target": target, "seed": seed}
    command = reproduction.command("audit", images.source, **values, **asdict(reading))
    return audits.audit(images, listed, image_size, target, seed, display, command)


def _corrections(file: str | None) -> Corrections | None:
    """What a list of corrections says, where there is one; read before anything slow.

    Raises:
        InputError: it cannot be understood.
    """
    return corrected.read(file) if file else None


def _options(values: dict[str, Any]) -> tuple[Options, str | None]:
    """Those of a function's arguments that are fields of `Options`, and the recipe, with what the settings
    that are among them say."""
    asked = {field.name: values[field.name] for field in fields(Options) if field.name in values}
    asked["settings"] = by_hand.checked(asked["settings"] or {})
    return by_hand.with_options(Options(**asked), values["recipe"])


def _advise(
    data: str,
    options: Options,
    recipe: str | None,
    sample: int,
    source: str | None,
    reading: Reading,
    seed: int,
    display: Display,
    listed: Corrections | None,
    start: Start | None = None,
    enough: int | None = None,
) -> Advised:
    options.check(recipe)
    images = sources.load(data, seed, display, reading, enough)
    images = stages.same_splits(start, images) if start else images
    images = listed.apply(images) if listed else images  # once the test images are known
    domain = sources.load(source, seed) if source else None
    return recommendation.recommend(images, options, display, recipe, sample, domain, seed)


def _as_started(options: Options, network: str) -> Options:
    """The options with the network of the run that goes on, or with the two that it looks with."""
    first, _, second = network.partition(JOINT)
    return replace(options, backbone=first, second=second or None, max_megabytes=None)


def _start(options: Options, recipe: str | None, output: str | Path) -> Start | None:
    """The run to go on from, if there is one.

    Raises:
        InputError: it cannot be gone on from.
    """
    if options.start_from is None:
        return None
    if recipe is None:
        raise InputError("--start-from goes on with a recipe of yours; give --recipe NAME")
    start = stages.read(options.start_from)
    if start.folder.resolve() == Path(output).resolve():
        raise InputError(f"{output} is the run to go on from, which is kept; choose another --output")
    return start


def _seconds_for_steps(minutes: float, began: float, advice: Recommendation, folder: Path) -> float:
    """What is left for gradient steps of the minutes of a run, after what earlier processes took of them."""
    devices.load_tensorflow()  # which takes seconds, too
    spent = time.monotonic() - began + run_files.seconds_so_far(folder)
    return 60 * minutes - spent - times.after_steps(advice.settings, advice.data.splits)


def _document(
    finished: Run, advice: Recommendation, advised: Advised, command: str, listed: Corrections | None
) -> None:
    """Write what people read into a run folder: plots, report.html, README.md and what was corrected."""
    if listed:
        listed.write(finished.folder)
    plots.write_run(finished)
    if advice.settings.augmentation:
        pixels = preview.batches(advised.data, advice.settings, finished.metrics.seed)
        if pixels:
            plots.write_augmentation(pixels, finished.folder / "augmentation.png")
    looked = _where_it_looked(finished) if finished.metrics.complete else {}
    page.write_run(finished, advice, advised.data, advised.sights, looked, command)
    model_card.write(finished, advice, command)


def _where_it_looked(finished: Run) -> dict[str, Image.Image]:
    """The worst mistakes of a run by their files, with what spoke for the class that each was taken for.

    Nothing where the head sees no feature maps.
    """
    test, settings = finished.test, finished.metrics.settings
    worst = test.worst_mistakes()
    paths = [test.paths[at] for at in worst]
    squares = settings.image_size, settings.fit, settings.grey
    of = finished.folder, *squares, paths, lambda position, reason: None
    if not paths:
        return {}
    try:
        return {
            paths[heat.position]: overlay.overlay(heat.pixels, heat.together, 0)
            for heat in heat_of.look(*of, labels=test.predicted[worst])
        }
    except InputError:
        return {}
