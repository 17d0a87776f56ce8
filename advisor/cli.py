"""The commands: parse, call, print."""

from __future__ import annotations

import io
import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from advisor.choices import DEFAULT_SAMPLE, FIT_OPTIONS, KEEP, RECIPES
from advisor.errors import InputError
from advisor.system import screen
from advisor.system.text import legible

if TYPE_CHECKING:
    from advisor.advice.recommendation import Recommendation
    from advisor.data.reading import Reading
    from advisor.results import Prediction, Run
    from advisor.system.progress import Bars

FORMATS = ("saved_model", "tflite", "tflite-int8", "onnx")


@screen.ours()
def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with the exit code of the contract: 0, 1, 2 or 130."""
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        code = command_line.main(arguments, prog_name="advisor", standalone_mode=False)
        sys.stdout.flush()  # here, where it may fail
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as help_text:
        with suppress(OSError):
            print(help_text.format_message(), file=sys.stderr)
        return 2
    except click.ClickException as error:
        return _fail(error.format_message(), 2)
    except InputError as error:
        return _fail(str(error), 2)
    except (KeyboardInterrupt, click.exceptions.Abort) as interrupt:
        said = str(interrupt.__cause__ or interrupt)  # click puts its own exception over ours
        return _fail(said or "interrupted; what was measured is kept in the cache", 130)
    except BrokenPipeError:  # who read us has left, as head does
        return 1
    except MemoryError:
        return _fail("out of memory; give a smaller --batch-size, --image-size or --sample", 1)
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        return _fail(f"{error.strerror or error}{name}; free some space or check the permissions", 1)


def _fail(message: str, code: int) -> int:
    screen.tell(message)
    return code


_OF_READING = ("images", "path_column", "label_column", "split_column", "group_column", "group_pattern")
_OF_TRAINING = (
    *_OF_READING,
    "backbone",
    "weights",
    "image_size",
    "fit",
    "epochs",
    "batch_size",
    "keep",
    "corrections",
    "sample",
    "source",
    "seed",
    "cluster",
    "json",
    "output",
    "overwrite",
    "resume",
)


def _options(*names: str) -> Callable[[Callable], Callable]:
    """Attach shared options to a command, in this order."""
    known = {
        "backbone": click.option(
            "--backbone",
            default="efficientnet_lite0",
            metavar="NAME|FILE|auto",
            show_default=True,
            help="See advisor backbones; NAME+NAME: two side by side; auto: the best, one or two.",
        ),
        "weights": click.option("--weights", metavar="FILE", help="Weights instead of the published ones."),
        "image_size": click.option("--image-size", type=int, metavar="N", help="Pixels of the square input."),
        "fit": click.option(
            "--fit",
            type=click.Choice(FIT_OPTIONS),
            default="auto",
            show_default=True,
            help="How images become squares; auto: the crop, or what probes prefer if most are long.",
        ),
        "sample": click.option(
            "--sample",
            type=int,
            default=DEFAULT_SAMPLE,
            metavar="N",
            show_default=True,
            help="Most images to measure.",
        ),
        "source": click.option(
            "--source", metavar="DATA", help="Images of the backbone's source domain, if not ImageNet."
        ),
        "images": click.option("--images", metavar="DIR", help="Folder of the images that a table names."),
        "path_column": click.option("--path-column", metavar="NAME", help="Column of a table: the images."),
        "label_column": click.option("--label-column", metavar="NAME", help="Column: their classes."),
        "split_column": click.option("--split-column", metavar="NAME", help="Column: train, val or test."),
        "group_column": click.option("--group-column", metavar="NAME", help="Column: what stays together."),
        "group_pattern": click.option(
            "--group-pattern", metavar="REGEX", help="The same, found in the paths of the images."
        ),
        "seed": click.option(
            "--seed", type=click.IntRange(0, 2**31 - 1), default=0, metavar="N", show_default=True
        ),
        "corrections": click.option(
            "--corrections", metavar="FILE.csv", help="Corrected suspects.csv of advisor audit."
        ),
        "json": click.option(
            "--json", "as_json", is_flag=True, help="One JSON object on standard output and nothing else."
        ),
        "epochs": click.option("--epochs", type=int, metavar="N", help="Most passes over the images."),
        "batch_size": click.option("--batch-size", type=int, metavar="N", help="Images for each step."),
        "keep": click.option(
            "--keep",
            type=click.Choice(list(KEEP)),
            default=next(iter(KEEP)),
            show_default=True,
            help="After training: the frozen and the trained network pooled; one alone; the trained one.",
        ),
        "minutes": click.option(
            "--minutes", type=float, metavar="N", help="To the finished folder; else what is worth its time."
        ),
        "max_megabytes": click.option(
            "--max-megabytes", type=float, metavar="N", help="Of the model; for --backbone auto."
        ),
        "target": click.option(
            "--target", type=float, metavar="ACCURACY", help="Say how many images would reach it, as 0.95."
        ),
        "cluster": click.option(
            "--cluster",
            metavar="local|auto|ray://HOST:PORT",
            help="Embed, and train what is compared, on Ray; see docs/scale.md.",
        ),
        "output": click.option("--output", metavar="DIR", help="Folder to write to."),
        "resume": click.option("--resume", is_flag=True, help="Go on with what is unfinished in --output."),
        "overwrite": click.option("--overwrite", is_flag=True, help="Replace an older run in --output."),
    }

    def attach(command: Callable) -> Callable:
        for name in reversed(names):
            command = known[name](command)
        return command

    return attach


_EPILOG = """
\b
Shell completion, for bash; put it into ~/.bashrc:
  eval "$(_ADVISOR_COMPLETE=bash_source advisor)"
zsh and fish: zsh_source, fish_source
"""


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80}, epilog=_EPILOG
)
@click.version_option(package_name="transfer-advisor")
def command_line() -> None:
    """Measure labelled images, say which way of transfer learning fits, and do it.

    \b
    advisor recommend ./data         the advice and its reasons; trains nothing
    advisor run ./data --auto        the advice, then the trained model
    advisor run sklearn:digits --auto   the same on data that come along
    advisor compare ./data           all recipes on one split, and the regret
    advisor audit ./data             what is wrong with the images and labels
    advisor predict RUN photo.jpg    what a finished run says about images

    DATA is a folder with one folder of images for each class, a folder with
    train/ and any of val/ and test/, a table of images and labels (.csv .tsv
    .jsonl), an archive of one of these (.zip .tar .tar.gz .tgz), .npz, .parquet,
    sklearn:digits, tfds:NAME, or classes:FOLDER, where each folder is a class
    whatever it looks like.
    """


@command_line.command()
@click.argument("data")
@_options(
    *_OF_READING,
    *("backbone", "weights", "image_size", "fit", "minutes", "max_megabytes", "target"),
    *("corrections", "sample", "source", "seed", "cluster", "json", "output"),
)
def recommend(data: str, as_json: bool, output: str | None, **options: Any) -> None:
    """Measure DATA, decide, print the rationale. Trains nothing.

    \b
    Example: advisor recommend ./flowers
    """
    _check_data(data)
    from advisor import api
    from advisor.report import terminal
    from advisor.system.progress import Bars

    reading = _reading(options)
    _check_cluster(options)
    with Bars() as display:
        advice = api.recommend(data, output=output, reading=reading, display=display, **options)
    if as_json:
        print(json.dumps(advice.to_json()))
    else:
        terminal.print_recommendation(advice)


@command_line.command()
@click.argument("data")
@click.option("--auto", is_flag=True, help="Use the advised recipe.")
@click.option("--recipe", type=click.Choice(list(RECIPES)), help="Use this recipe.")
@click.option(
    "--mode",
    type=click.Choice(list(dict.fromkeys(mode for recipe in RECIPES.values() for mode in recipe.modes))),
    help="How the recipe works; see docs/recipes.md.",
)
@click.option("--augment", is_flag=True, help="feature_extraction: change images at random.")
@click.option("--head", default="linear", show_default=True, metavar="HEAD", help="linear, mlp:N or mlp:N,M.")
@click.option("--train-from", metavar="LAYER", help="Train this layer (number, name, block) and all above.")
@click.option("--cut-layer", metavar="LAYER", help="Keep the backbone up to this layer or block.")
@click.option(
    "--init",
    type=click.Choice(("pretrained", "random")),
    default="pretrained",
    show_default=True,
    help="full_training: start from the weights or at random.",
)
@click.option("--base-labels", metavar="FILE", help="Class names of the backbone's classifier (JSON).")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="NAME=VALUE",
    help="A setting without an option, as optimizer=sgd; see docs/settings.md. Repeatable.",
)
@click.option("--settings", "file", metavar="FILE.json", help="Settings of a run: its metrics.json.")
@click.option("--start-from", metavar="RUN", help="Train the network and head of this finished run on.")
@_options("minutes", "max_megabytes", "target", *_OF_TRAINING)
@click.pass_context
def run(
    context: click.Context,
    data: str,
    auto: bool,
    recipe: str | None,
    as_json: bool,
    output: str | None,
    resume: bool,
    overwrite: bool,
    seed: int,
    assignments: tuple[str, ...],
    file: str | None,
    **options: Any,
) -> None:
    """Build and train a model for DATA into a run folder.

    \b
    Example: advisor run ./flowers --auto
    Example: advisor run ./flowers --recipe fine_tuning --epochs 8
    Example: advisor run ./flowers --recipe fine_tuning --set optimizer=sgd
    """
    options["settings"] = _settings(context, assignments, file)
    if auto == (recipe is not None) and (auto or "recipe" not in options["settings"]):
        raise click.UsageError("give either --auto or --recipe NAME")
    _check_data(data)
    reading = _reading(options)
    _check_options(recipe, options)
    from advisor import api
    from advisor.report import terminal
    from advisor.system.progress import Bars

    folder = Path(output) if output else _free_folder(data, recipe or "auto", resume)
    models: list[Run] = []  # that the folder held so far
    advised: list[Recommendation] = []
    with _resumable(folder, models, advised), Bars() as display:
        show = _printed(display)

        def on_advice(advice: Recommendation) -> None:
            advised.append(advice)
            if not as_json:
                show(advice)

        def on_model(model: Run) -> None:
            models.append(model)
            is_frozen = model.metrics.kept is not None and model.metrics.kept.rule == "frozen"
            if is_frozen and not as_json:
                display.hide()
                terminal.print_so_far(model, advised[-1])

        finished = api.run(
            data,
            recipe=recipe,
            output=folder,
            resume=resume,
            overwrite=overwrite,
            reading=reading,
            seed=seed,
            display=display,
            on_advice=on_advice,
            on_model=on_model,
            **options,
        )
    if as_json:
        print(json.dumps({"folder": str(folder), **finished.metrics.to_json()}))
    else:
        terminal.print_run(finished)


@command_line.command()
@click.argument("data")
@click.option(
    "--minutes",
    type=float,
    default=60.0,
    show_default=True,
    metavar="N",
    help="For all recipes, from the advice on.",
)
@click.option("--baseline", is_flag=True, help="Add a plain network from random weights.")
@_options(*_OF_TRAINING)
def compare(
    data: str,
    minutes: float,
    baseline: bool,
    as_json: bool,
    output: str | None,
    resume: bool,
    overwrite: bool,
    seed: int,
    **options: Any,
) -> None:
    """Run all recipes on one split of DATA; print the leaderboard and the regret.

    Each recipe may use an equal share of the minutes, which measuring DATA is not in.
    One that runs out of time is judged at its best epoch so far, and marked; one
    that could not finish an epoch is not begun. --resume goes on with those that are
    not finished, with new minutes. All train one network: name the one that
    advisor recommend --backbone auto takes in the place of auto.

    \b
    Example: advisor compare ./flowers --minutes 30
    """
    _check_data(data)
    reading = _reading(options)
    _check_options(None, options)
    from advisor import api
    from advisor.report import terminal
    from advisor.system.progress import Bars
    from recipes.runs import comparison

    comparison.check(minutes, options["backbone"])  # before a folder is made
    folder = Path(output) if output else _free_folder(data, "compare", resume)
    with _resumable(folder), Bars() as display:
        compared = api.compare(
            data,
            output=folder,
            minutes=minutes,
            baseline=baseline,
            resume=resume,
            overwrite=overwrite,
            reading=reading,
            seed=seed,
            display=display,
            on_advice=None if as_json else _printed(display),
            **options,
        )
    if as_json:
        print(json.dumps({"folder": str(folder), **compared.to_json()}))
    else:
        terminal.print_comparison(compared)
        screen.say(f"Runs, report.html and leaderboard.png are in {folder}")
        if any(row.status in ("out of time", "not run") for row in compared.rows):
            screen.say(f"To train on, give the same command with --output {folder} --resume")


@command_line.command()
@click.argument("data")
@_options(*_OF_READING, "image_size", "target", "corrections", "seed", "json", "output")
def audit(data: str, as_json: bool, output: str | None, **options: Any) -> None:
    """Look for what is wrong with DATA: labels, copies, shortcuts.

    Changes nothing. Writes a page with pictures and suspects.csv to --output. Its
    last column is for you: keep, relabel TO, or drop. --corrections of this command
    and others applies it, without touching the images.

    \b
    Example: advisor audit ./flowers --output flowers-audit
    Example: advisor audit ./flowers --corrections flowers-audit/suspects.csv
    """
    _check_data(data)
    from advisor import api
    from advisor.report import audit_terminal, groups_table
    from advisor.system.progress import Bars

    reading = _reading(options)
    with Bars() as display:
        found = api.audit(data, output=output, reading=reading, display=display, **options)
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        audit_terminal.print_audit(found)
        if output:
            screen.say(f"report.html, with pictures, and suspects.csv, to be filled in, are in {output}")
            if groups_table.grouped(found).any():
                together = groups_table.command(found, output)
                screen.say(f"To keep together what belongs together: {together}")
        else:
            screen.say("Pictures, and a list to correct: give the same command with --output DIR")


@command_line.command()
@click.argument("run", type=click.Path())
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=click.Path(allow_dash=True))
@_options("json")
@click.option(
    "--csv",
    "csv_file",
    is_flag=False,
    flag_value="-",
    metavar="[FILE.csv]",
    help="A table for programs; without FILE on standard output.",
)
@click.option("--coverage", type=float, metavar="SHARE", help="Of prediction sets, as 0.95; else no sets.")
@click.option("--heatmaps", metavar="DIR", help="Also a PNG of each image that shows where the model looked.")
def predict(
    run: str,
    images: tuple[str, ...],
    as_json: bool,
    csv_file: str | None,
    coverage: float | None,
    heatmaps: str | None,
) -> None:
    """Classify images with the finished run in the folder RUN.

    IMAGE is a file, a folder (with all in it), or - for standard input with one
    path a line, which is also read where no IMAGE is given. Images unlike those
    that the run was trained on are marked: do not trust their classes.

    With --coverage 0.95 each image gets a set of classes, one, several or none,
    that holds the true one for 95 % of images like those of the run.

    \b
    Example: advisor predict runs/flowers-auto tulip.jpg holiday/
    Example: advisor predict runs/flowers-auto holiday/ --coverage 0.95
    Example: advisor predict runs/flowers-auto holiday/ --heatmaps holiday-seen
    Example: ls *.jpg | advisor predict runs/flowers-auto --csv out.csv
    """
    if as_json and csv_file:
        raise click.UsageError("give either --json or --csv")
    if not images and sys.stdin.isatty():
        raise click.UsageError("name an image, a folder or - for standard input")
    if csv_file not in (None, "-"):
        _check_csv(Path(csv_file))
    if heatmaps:
        _check_folder(Path(heatmaps))
    from advisor.report import prediction_tables, set_lines
    from advisor.system.progress import Bars, Silent
    from recipes.runs import prediction

    if isinstance(sys.stdin, io.TextIOWrapper) and os.name == "posix":  # names of files are bytes there
        sys.stdin.reconfigure(encoding=sys.getfilesystemencoding(), errors=sys.getfilesystemencodeerrors())
    finished = prediction.load(run)
    paths = prediction.find_images(images or ("-",), sys.stdin)
    if not paths:
        raise InputError("no images were named; give image files or folders of them")
    skipped: list[tuple[str, str]] = []
    unlike = 0

    def skip(path: str, reason: str) -> None:
        skipped.append((path, reason))

    with Bars() as bars:
        to_screen = not csv_file and sys.stdout.isatty()
        bar = (Silent() if to_screen else bars).steps("Classifying")

        def counted() -> Iterator[Prediction]:
            nonlocal unlike
            for item in prediction.predict(finished, paths, skip, bar, coverage):
                unlike += item.unlike
                yield item

        predictions = _from_the_first(counted(), paths, skipped)
        names = finished.class_names
        if as_json:
            threshold = finished.neighbours.threshold
            of_run = finished.folder, names, threshold
            prediction_tables.write_json(sys.stdout, *of_run, predictions, skipped, coverage)
        elif csv_file == "-":
            prediction_tables.write_csv_to_output(predictions)
        elif csv_file:
            prediction_tables.write_csv_file(Path(csv_file), predictions)
        else:
            to_show = prediction_tables.lines(predictions, names, paths)
            for line in to_show if coverage is None else set_lines.lines(predictions, coverage, paths):
                screen.say(line)
    _tell_skipped(skipped)
    if heatmaps:
        _draw_heatmaps(run, paths, {path for path, _ in skipped}, heatmaps)
    if unlike:
        seen = f"{unlike:,} of {len(paths) - len(skipped):,}"
        screen.tell(f"images unlike those that the run was trained on: {seen}; do not trust their classes")


def _draw_heatmaps(run: str, paths: list[str], skipped: set[str], folder: str) -> None:
    """Draw where the model looked in each image that could be read."""
    from advisor import api
    from advisor.system.progress import Bars

    readable = [path for path in paths if path not in skipped]
    with Bars() as display:
        drawn = api.heatmaps(run, readable, output=folder, on_skipped=lambda *_: None, display=display)
    screen.tell(f"{len(drawn):,} heat maps are in {folder}")


def _check_folder(folder: Path) -> None:
    """Answer at once where heat maps cannot be written."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--heatmaps {folder} is a file; give a folder")


def _check_csv(file: Path) -> None:
    """Answer at once where a table cannot be written."""
    if file.suffix.lower() != ".csv":
        raise click.UsageError(f"--csv {file}: the file must end in .csv, so that no image is overwritten")
    if not file.absolute().parent.is_dir():
        raise InputError(f"{file.parent} does not exist; make it, or choose another --csv")
    if file.is_dir():
        raise InputError(f"{file} is a folder; choose another --csv")


def _from_the_first(
    predictions: Iterator[Prediction], paths: list[str], skipped: list[tuple[str, str]]
) -> Iterator[Prediction]:
    """The same, once the first one is there: nothing is written before there is something to say.

    Raises:
        InputError: there is none.
    """
    first = next(predictions, None)
    if first is not None:
        return itertools.chain([first], predictions)
    if len(paths) == 1:
        raise InputError(f"{paths[0]}: {skipped[0][1]}; give image files or folders")
    _tell_skipped(skipped)
    raise InputError(f"none of the {len(paths)} files is a readable image; give image files or folders")


def _tell_skipped(skipped: list[tuple[str, str]]) -> None:
    for path, reason in skipped:
        screen.tell(f"skipped {legible(path)}: {reason}")


@command_line.command()
@click.argument("run", type=click.Path())
@click.argument("data", type=click.Path())
@click.option("--costs", metavar="FILE.csv", help="What each confusion costs, the true class in rows.")
@_options(*_OF_READING[:4], "corrections", "json", "output")
def evaluate(
    run: str,
    data: str,
    costs: str | None,
    corrections: str | None,
    as_json: bool,
    output: str | None,
    **options: Any,
) -> None:
    """Measure the finished run in the folder RUN on the labelled images in DATA.

    The images of DATA's test split are used, all where it has none; of images that
    the run knows, its own test images alone. Writes evaluation.json,
    confusion_matrix.png, reliability.png and mistakes.png to --output, or to
    RUN/evaluation-NAME.

    \b
    Example: advisor evaluate runs/flowers-auto ./more-flowers
    """
    _check_data(data)
    from advisor import api
    from advisor.report import terminal
    from advisor.system.progress import Bars

    folder = Path(output) if output else Path(run) / f"evaluation-{_name_of(data)}"
    reading = _reading(options)
    with Bars() as display:
        evaluated = api.evaluate(
            run, data, corrections=corrections, costs=costs, output=folder, reading=reading, display=display
        )
    if as_json:
        print(json.dumps({"folder": str(folder), **evaluated.to_json()}))
    else:
        terminal.print_evaluation(evaluated)
        screen.say(f"Plots and metrics are in {folder}")


@command_line.command()
@click.argument("run", type=click.Path())
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; 0.0.0.0 for all networks.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free.")
@click.option("--coverage", type=float, metavar="SHARE", help="Of prediction sets; 0.95 if the run can.")
def serve(run: str, host: str, port: int, coverage: float | None) -> None:
    """Let people try the finished run in the folder RUN on a page in their browser.

    They drop pictures there or use the camera, and see class, confidence and
    prediction set, and what is strange to the model. Programs POST a picture to
    /api/predict; /openapi.json describes it. Nothing that is sent is kept.

    \b
    Example: advisor serve runs/flowers-auto
    """
    try:
        from advisor.serving import serve as server
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("starlette", "uvicorn"):
            raise
        raise InputError(
            f'serving needs {package}; install it with: pip install "transfer-advisor[serve]"'
        ) from None
    server.serve(run, host, port, coverage)


@command_line.command()
@click.argument("run", type=click.Path())
@click.option(
    "--format",
    "format",
    type=click.Choice(FORMATS),
    required=True,
    help="onnx needs pip install 'transfer-advisor[onnx]'.",
)
@click.option(
    "--data", metavar="DATA", help="Of the run, for tflite-int8: it is calibrated and tested on it."
)
@click.option("--output", metavar="PATH", help="File or folder to write; in RUN if left out.")
@_options("json")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
def export(
    run: str, format: str, data: str | None, output: str | None, as_json: bool, overwrite: bool
) -> None:
    """Write the model of the finished run in the folder RUN in another format.

    The result is loaded again and must give the same probabilities; of tflite-int8
    the accuracy that is lost on the run's test images is told.

    \b
    Example: advisor export runs/flowers-auto --format tflite
    Example: advisor export runs/flowers --format tflite-int8 --data ./flowers
    """
    if data:
        _check_data(data)
    from dataclasses import asdict

    from advisor import api
    from advisor.system.progress import Bars

    with Bars() as display:
        made = api.export(run, format, data=data, output=output, overwrite=overwrite, display=display)
    lost = made.quantized
    if as_json:
        told = {"path": str(made.path), "difference": made.difference, "same": made.is_same}
        print(json.dumps({**told, **({"quantized": asdict(lost)} if lost else {})}))
    elif lost:
        screen.say(
            f"{made.path}: {lost.megabytes:.1f} MB, accuracy {lost.accuracy:.1%} on the {lost.images:,} test "
            f"images of the run, where model.keras has {lost.accuracy_before:.1%}; {lost.same_class:.1%} get "
            "the same class"
        )
    else:
        same = "the same probabilities as model.keras"
        if made.difference:
            same += f" but for {made.difference:.1e} at most"
        screen.say(f"{made.path}: {same}")
    if not made.is_same:
        screen.tell(f"{made.path} gave other answers than model.keras and was removed")
        sys.exit(1)


@command_line.command()
@click.argument("name", required=False, metavar="[NAME|FILE]")
@_options("image_size", "json")
def backbones(name: str | None, image_size: int | None, as_json: bool) -> None:
    """List the pre-trained networks, and which are ready without a network.

    With NAME the layers of one network: what --train-from and --cut-layer take,
    the pixels of their maps, and the parameters below each.

    \b
    Example: advisor backbones
    Example: advisor backbones resnet18
    """
    from dataclasses import asdict

    if name:
        _print_layers(name, image_size, as_json)
        return
    from advisor.backbones.catalogue import catalogue

    rows = catalogue()
    if as_json:
        print(json.dumps({"schema": 1, "backbones": [asdict(row) for row in rows]}))
    else:
        from advisor.report.backbone_table import print_backbones

        print_backbones(rows)


def _print_layers(name: str, image_size: int | None, as_json: bool) -> None:
    """The layers of one network, which needs no weights for that."""
    from dataclasses import asdict

    from advisor import backbones
    from advisor.backbones.layer_table import layers
    from advisor.report.backbone_table import print_layers
    from advisor.system import devices

    devices.load_tensorflow()
    network = backbones.load(name, None, image_size, random=True)
    found = layers(network)
    if as_json:
        rows = [asdict(layer) for layer in found]
        print(json.dumps({"schema": 1, "name": network.name, "pixels": network.image_size, "layers": rows}))
    else:
        print_layers(network, found)


@command_line.command()
@click.argument("action", type=click.Choice(("clear",)), required=False, metavar="[clear]")
@_options("json")
def cache(action: str | None, as_json: bool) -> None:
    """Tell where the cache is, how large it is and what it holds; or clear it.

    What a running command uses stays. $ADVISOR_CACHE puts the cache elsewhere.

    \b
    Example: advisor cache
    Example: advisor cache clear
    """
    from advisor.system import cache

    if action == "clear":
        cache.clear()
    told = cache.summary()
    if as_json:
        print(json.dumps(told))
        return
    screen.say(f"The cache is {told['folder']}")
    screen.say(f"It holds {told['bytes'] / 1e6:,.1f} MB and may hold {told['most_bytes'] / 1e6:,.0f} MB.\n")
    screen.say(f"{'':20}{'number':>8}{'MB':>12}  last used")
    for row in told["kinds"]:
        used = "-" if row["last_used"] is None else row["last_used"].replace("T", " ")[:16]
        screen.say(f"{row['kind']:20}{row['number']:>8,}{row['bytes'] / 1e6:>12,.1f}  {used}")
    if action == "clear" and told["bytes"]:
        screen.tell("what is left is used by a command that is running")


def _printed(display: Bars) -> Callable[[Recommendation], None]:
    """What prints the advice in the middle of a command, without the bar of progress."""
    from advisor.report import terminal

    def show(advice: Recommendation) -> None:
        display.hide()
        terminal.print_recommendation(advice)

    return show


def _settings(context: click.Context, assignments: Sequence[str], file: str | None) -> dict[str, Any]:
    """What was set by hand; an option that was given beats the file, whatever it says."""
    from advisor.advice import by_hand

    given = [
        name
        for name in context.params
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    ]
    read = by_hand.read_file(file) if file else {}
    kept = {name: value for name, value in read.items() if name not in given}
    return {**kept, **by_hand.parsed(assignments)}


def _reading(options: dict[str, Any]) -> Reading:
    """How DATA is to be read; taken out of the options."""
    from advisor.data.reading import Reading

    reading = Reading(**{name: options.pop(name, None) for name in _OF_READING})
    reading.check()
    return reading


def _check_options(recipe: str | None, options: dict[str, Any]) -> None:
    """Answer at once where an option is wrong, before anything slow is imported."""
    from advisor.advice import by_hand
    from advisor.advice.settings import Options

    apart = ("corrections", "sample", "source", "cluster")
    asked = Options(**{k: v for k, v in options.items() if k not in apart})
    filled, recipe = by_hand.with_options(asked, recipe)
    filled.check(recipe)
    _check_cluster(options)


def _check_cluster(options: dict[str, Any]) -> None:
    """The same of the cluster."""
    from advisor.system import ray_cluster

    ray_cluster.check(options["cluster"])


def _check_data(data: str) -> None:
    """Answer at once where DATA is not there, before anything slow is imported."""
    try:
        folder = data.removeprefix("classes:")
        path = Path(folder).expanduser()
        in_archive = any(above.is_file() for above in path.parents)
        missing = ":" not in folder and not path.exists() and not in_archive
    except RuntimeError:  # of an unknown ~user
        missing = True
    except OSError as error:
        raise InputError(f"cannot read {data}: {error.strerror}; check its permissions") from None
    if missing:
        raise InputError(f"{data} does not exist; give a folder with one folder of images per class")


@contextmanager
def _resumable(
    folder: Path, models: Sequence[Run] = (), advised: Sequence[Recommendation] = ()
) -> Iterator[None]:
    """Say what there is and how to go on where Ctrl-C, or a request to end, comes in between.

    Args:
        folder: that is written to.
        models: that it held so far, the last one at the end.
        advised: the advice, once there is one.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        from advisor.report import words
        from recipes.runs import run_files

        there = "what was done is kept"
        if models:
            ahead = words.training_ahead(advised[-1])
            held = words.so_far(folder, run_files.read_metrics(folder))
            there = "; ".join(part for part in (held, ahead, "to train on") if part)
        raise KeyboardInterrupt(
            f"interrupted; {there}: give the same command with --output {folder} --resume"
        ) from None


def _name_of(data: str) -> str:
    """DATA as part of a folder's name."""
    return Path(data.replace(":", "-")).stem.removesuffix(".tar") or "data"


def _free_folder(data: str, recipe: str, resume: bool) -> Path:
    """runs/NAME-RECIPE, or with -2, -3 ... behind it where that is taken."""
    from recipes.runs.run_folder import is_unfinished

    name = f"{_name_of(data)}-{recipe}"
    folder, number = Path("runs") / name, 1
    while True:
        if resume and is_unfinished(folder):
            return folder
        try:
            folder.mkdir(parents=True)  # at once, lest a second command takes it, too
            return folder
        except FileExistsError:
            number += 1
            folder = Path("runs") / f"{name}-{number}"
        except OSError as error:
            raise InputError(f"cannot write to {folder}: {error.strerror}; give --output") from None


if __name__ == "__main__":
    main()
