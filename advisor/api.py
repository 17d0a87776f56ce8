"""The two functions of `import advisor`; the command line calls them, too."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from advisor.choices import DEFAULT_SAMPLE
from advisor.system.progress import Display, Silent

if TYPE_CHECKING:
    from advisor.advice.recommendation import Recommendation
    from advisor.advice.settings import Settings
    from recipes.runs.run_folder import Run


def recommend(
    data: str,
    *,
    recipe: str | None = None,
    sample: int = DEFAULT_SAMPLE,
    source: str | None = None,
    seed: int = 0,
    display: Display | None = None,
    **options: Any,
) -> Recommendation:
    """Measure a data set, decide, train nothing.

    Args:
        data: a folder of class folders, a folder with train/ and others, a CSV file, `sklearn:digits`
            or `tfds:NAME`.
        recipe: make the settings for this one of the four, whatever is advised.
        sample: most images to measure, 10 or more.
        source: data of the backbone's source domain, where it is not ImageNet.
        seed: of everything random.
        display: where progress is shown; nowhere if left out.
        **options: fields of `advisor.advice.settings.Options`, as backbone="resnet50" or image_size=160.

    Returns:
        A `Recommendation`; a notebook shows it as its table.

    Raises:
        InputError: bad data or options; one line that says what to do.
    """
    from advisor.system import devices

    devices.quiet_tensorflow()
    from advisor.advice import recommendation
    from advisor.advice.settings import Options
    from advisor.data import dataset

    display = display or Silent()
    chosen = Options(**options)
    chosen.check(recipe)
    images = dataset.load(data, seed, display.steps("Looking at files"))
    domain = dataset.load(source, seed) if source else None
    return recommendation.recommend(images, chosen, display, recipe, sample, domain, seed)


def run(
    data: str,
    *,
    recipe: str | None = None,
    output: str | Path,
    resume: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    display: Display | None = None,
    on_advice: Callable[[Recommendation], None] | None = None,
    **options: Any,
) -> Run:
    """Build and train with the advised recipe, or with a given one, into a run folder.

    Args:
        data: see `recommend`.
        recipe: one of the four; None for the advised one.
        output: the run folder; made if it does not exist.
        resume: go on with the unfinished run in `output`.
        overwrite: replace the run in `output`.
        seed: of everything random.
        display: where progress is shown; nowhere if left out.
        on_advice: called with the recommendation before training starts.
        **options: see `recommend`, `sample` and `source` included.

    Raises:
        InputError: bad data or options, or another command is writing to `output`; one line that says what
            to do.
        KeyboardInterrupt: after Ctrl-C; what was done is in `output`, for `resume`.
    """
    from advisor.system import reproduction
    from recipes.runs import run_folder

    with run_folder.writing(Path(output), resume, overwrite) as folder:
        advice = recommend(data, recipe=recipe, seed=seed, display=display, **options)
        if on_advice:
            on_advice(advice)
        if overwrite and not resume:
            run_folder.clear(folder)
        asked = {"recipe": recipe, **_asked(options)}
        settings = run_folder.start(
            folder, advice.data, seed, advice.settings, advice.to_json(), asked, resume
        )
        finished = run_folder.run(advice.data, settings, folder, seed, display or Silent(), resume)
        how = {"recipe": recipe} if recipe else {"auto": True}
        command = reproduction.command("run", advice.data.source, **how, **options, seed=seed)
        _document(finished, advice, settings, command)
        run_folder.finish(folder)
    return finished


def _asked(options: dict[str, Any]) -> dict[str, Any]:
    """All options of the network and its training, those that were left out, too."""
    from advisor.advice.settings import Options

    names = {field.name for field in fields(Options)}
    return asdict(Options(**{name: value for name, value in options.items() if name in names}))


def _document(finished: Run, advice: Recommendation, settings: Settings, command: str) -> None:
    """Write what people read: plots, terminal.html and README.md."""
    from advisor.report import model_card, page, terminal
    from recipes.runs import preview

    terminal.write_plots(finished)
    if settings.augmentation:
        pixels = preview.batches(advice.data, settings, finished.metrics["seed"])
        if pixels:
            terminal.write_augmentation(pixels, finished.folder / "augmentation.png")
    told = {**advice.to_json(), "settings": settings.to_json()}  # a resumed run keeps its settings
    page.write_run(finished, told, advice.data, command)
    model_card.write(finished, told, command)
