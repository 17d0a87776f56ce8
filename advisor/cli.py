"""The commands: parse, call, print."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from advisor.errors import InputError

if TYPE_CHECKING:
    from advisor.recommendation import Recommendation

RECIPES = ("feature_extraction", "fine_tuning", "shallow_features", "full_training")
MODES = ("cached", "augmented", "everything", "partial", "all_taps", "cut")


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with the exit code of the contract: 0, 1, 2 or 130."""
    try:
        code = command_line.main(arguments, prog_name="advisor", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message(), err=True)
        code = 2
    except click.ClickException as error:
        code = _fail(error.format_message(), 2)
    except InputError as error:
        code = _fail(str(error), 2)
    except (KeyboardInterrupt, click.exceptions.Abort) as interrupt:
        said = str(interrupt.__cause__ or interrupt)  # click puts its own exception over ours
        code = _fail(said or "interrupted; what was measured is kept in the cache", 130)
    except BrokenPipeError:
        code = 1
    except MemoryError:
        code = _fail("out of memory; give a smaller --batch-size, --image-size or --sample", 1)
    except OSError as error:
        name = f" {error.filename}" if error.filename else ""
        code = _fail(f"{error.strerror or error}{name}; free some space or check the permissions", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    click.echo(f"advisor: {line}", err=True)
    return code


def _options(*names: str) -> Callable[[Callable], Callable]:
    """Attach shared options to a command, in this order."""
    known = {
        "backbone": click.option(
            "--backbone",
            default="efficientnet_lite0",
            metavar="NAME|FILE",
            show_default=True,
            help="Pre-trained network; see advisor backbones.",
        ),
        "weights": click.option("--weights", metavar="FILE", help="Weights instead of the published ones."),
        "image_size": click.option("--image-size", type=int, metavar="N", help="Pixels of the square input."),
        "sample": click.option(
            "--sample", type=int, default=1000, metavar="N", show_default=True, help="Most images to measure."
        ),
        "source": click.option(
            "--source", metavar="DATA", help="Images of the backbone's source domain, if not ImageNet."
        ),
        "seed": click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, metavar="N", show_default=True),
        "json": click.option(
            "--json", "as_json", is_flag=True, help="One JSON object on standard output and nothing else."
        ),
        "epochs": click.option("--epochs", type=int, metavar="N", help="Most passes over the images."),
        "batch_size": click.option("--batch-size", type=int, metavar="N", help="Images for each step."),
        "output": click.option("--output", metavar="DIR", help="Folder to write to."),
        "overwrite": click.option("--overwrite", is_flag=True, help="Replace an older run in --output."),
    }

    def attach(command: Callable) -> Callable:
        for name in reversed(names):
            command = known[name](command)
        return command

    return attach


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(package_name="transfer-advisor")
def command_line() -> None:
    """Measure labelled images, say which way of transfer learning fits, and do it.

    \b
    advisor recommend ./data         the advice and its reasons; trains nothing
    advisor run ./data --auto        the advice, then the trained model
    advisor run sklearn:digits --auto   the same on data that come along

    DATA is a folder with one folder of images for each class, a folder with
    train/ and any of val/ and test/, a CSV file with the columns path,label
    and optionally split, sklearn:digits, or tfds:NAME.
    """


@command_line.command()
@click.argument("data")
@_options("backbone", "weights", "image_size", "sample", "source", "seed", "json", "output")
def recommend(data: str, as_json: bool, output: str | None, **options: Any) -> None:
    """Measure DATA, decide, print the rationale. Trains nothing.

    \b
    Example: advisor recommend ./flowers
    """
    _check_data(data)
    from advisor import face, report
    from advisor.display import Bars

    with Bars() as display:
        advice = face.recommend(data, display=display, **options)
    if as_json:
        click.echo(json.dumps(advice.to_json(), ensure_ascii=False))
    else:
        report.print_recommendation(advice.to_json())
    if output:
        from advisor import html_report

        folder = Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        html_report.write_recommendation(advice, folder)


@command_line.command()
@click.argument("data")
@click.option("--auto", is_flag=True, help="Use the advised recipe.")
@click.option("--recipe", type=click.Choice(RECIPES), help="Use this recipe.")
@click.option("--mode", type=click.Choice(MODES), help="How the recipe works; see the README.")
@click.option("--augment", is_flag=True, help="feature_extraction: change images at random.")
@click.option("--head", default="linear", show_default=True, metavar="HEAD", help="linear or mlp:N.")
@click.option("--train-from", metavar="LAYER", help="Train this layer (index or name) and all above.")
@click.option("--cut-layer", metavar="LAYER", help="Keep the backbone up to this layer.")
@click.option(
    "--init",
    type=click.Choice(("pretrained", "random")),
    default="pretrained",
    show_default=True,
    help="full_training: start from the weights or at random.",
)
@click.option("--base-labels", metavar="FILE", help="Class names of the backbone's classifier (JSON).")
@_options(
    "backbone",
    "weights",
    "image_size",
    "epochs",
    "batch_size",
    "sample",
    "source",
    "seed",
    "json",
    "output",
    "overwrite",
)
@click.option("--resume", is_flag=True, help="Go on with the unfinished run in --output.")
def run(
    data: str,
    auto: bool,
    recipe: str | None,
    as_json: bool,
    output: str | None,
    resume: bool,
    overwrite: bool,
    seed: int,
    **options: Any,
) -> None:
    """Build and train a model for DATA into a run folder.

    \b
    Example: advisor run ./flowers --auto
    Example: advisor run ./flowers --recipe fine_tuning --epochs 8
    """
    if auto == (recipe is not None):
        raise click.UsageError("give either --auto or --recipe NAME")
    _check_data(data)
    _check_options(recipe, options)
    from advisor import face, report
    from advisor.display import Bars

    folder = Path(output) if output else _free_folder(data, recipe or "auto", resume)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with Bars() as display:

            def show(advice: Recommendation) -> None:
                if not as_json:
                    display.hide()
                    report.print_recommendation(advice.to_json())

            finished = face.run(
                data,
                recipe=recipe,
                output=folder,
                resume=resume,
                overwrite=overwrite,
                seed=seed,
                display=display,
                on_advice=show,
                **options,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; what was done is kept: give the same command with --output {folder} --resume"
        ) from None
    if as_json:
        click.echo(json.dumps({"folder": str(folder), **finished.metrics}, ensure_ascii=False))
    else:
        report.print_run(finished)


def _check_options(recipe: str | None, options: dict[str, Any]) -> None:
    """Answer at once where an option is wrong, before anything slow is imported."""
    from advisor.settings import Options

    Options(**{k: v for k, v in options.items() if k not in ("sample", "source")}).check(recipe)


def _check_data(data: str) -> None:
    """Answer at once where DATA is not there, before anything slow is imported."""
    try:
        missing = ":" not in data and not Path(data).expanduser().exists()
    except OSError as error:
        raise InputError(f"cannot read {data}: {error.strerror}; check its permissions") from None
    if missing:
        raise InputError(f"{data} does not exist; give a folder with one folder of images per class")


def _free_folder(data: str, recipe: str, resume: bool) -> Path:
    """runs/NAME-RECIPE, or with -2, -3 ... behind it where that is taken."""
    name = f"{Path(data.replace(':', '-')).stem or 'data'}-{recipe}"
    folder, number = Path("runs") / name, 1
    while True:
        if resume and folder.exists() and not (folder / "metrics.json").exists():
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
