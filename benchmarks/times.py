"""How long do runs take, beside what was foretold?

    python -m benchmarks.times neu rosetulip --recipe shallow_features --image-size 96 --output times.jsonl

Runs `advisor run` on each DATA as a user would, and tells the seconds from the advice to the end of the
command beside those that the plan foretold. One line is added for each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from advisor.choices import RECIPES
from advisor.system.json_file import read_json
from benchmarks import results

WITHIN = 1.5  # times what was foretold, or a part of it as small


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", nargs="*", help="see advisor run; none for the table alone")
    parser.add_argument("--recipe", choices=RECIPES, default="shallow_features")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--output", type=Path, default=Path("times.jsonl"))
    arguments = parser.parse_args()
    lines = results.read(arguments.output)
    for data in arguments.data:
        lines.append(_measured(data, arguments.recipe, arguments.image_size, arguments.epochs))
        results.write(arguments.output, lines)
    print(table(lines))


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Each run as Markdown, then how many took as long as foretold within a factor of `WITHIN`."""
    head = ["data", "recipe", "px", "epochs", "foretold", "took", "ratio"]
    rows, held = [], 0
    for line in lines:
        ratio = line["took"] / line["foretold"]
        held += 1 / WITHIN <= ratio <= WITHIN
        what = [line["data"], line["recipe"], str(line["image_size"]), str(line["epochs"] or "")]
        rows.append([*what, f"{line['foretold']:.0f} s", f"{line['took']:.0f} s", f"{ratio:.2f}"])
    return f"{results.markdown(head, rows)}\n\nWithin a factor of {WITHIN}: {held} of {len(lines)}."


def _measured(data: str, recipe: str, image_size: int, epochs: int | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "advisor.cli", "run", data, "--recipe", recipe]
        command += ["--image-size", str(image_size), "--output", str(run), "--json"]
        command += ["--epochs", str(epochs)] if epochs else []
        began = time.monotonic()
        subprocess.run(command, check=True, capture_output=True)
        whole, advice = time.monotonic() - began, read_json(run / "recommendation.json")
    return {
        "data": Path(data.replace(":", "-")).name,
        "recipe": recipe,
        "image_size": image_size,
        "epochs": epochs,
        "foretold": round(advice["plan"]["seconds_estimated"], 1),
        "took": round(whole - advice["seconds"], 1),
    }


if __name__ == "__main__":
    main()
