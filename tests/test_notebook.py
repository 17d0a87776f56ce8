"""The example notebook runs from top to bottom, and docs/ says what the code does."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up
import pytest

from advisor.advice.rule import RECIPE
from advisor.choices import RECIPES
from advisor.data.listing import Skipped
from advisor.data.names import SPLITS
from advisor.evidence.grouping import Grouping
from recipes.runs.run_folder import FILES

ROOT = Path(__file__).parent.parent


def execute(notebook: Path) -> list[Any]:
    """Run the code cells in one namespace; the value of the last expression of each."""
    names: dict[str, Any] = {}
    values = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            *body, last = ast.parse("".join(cell["source"])).body
            assert isinstance(last, ast.Expr)
            exec(compile(ast.Module(body, []), str(notebook), "exec"), names)
            values.append(eval(compile(ast.Expression(last.value), str(notebook), "eval"), names))
    return values


@pytest.mark.slow
def test_the_quickstart_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    advice, (recipe, _, probabilities), run, (_, truth) = execute(ROOT / "examples" / "quickstart.ipynb")
    assert "<svg" in advice._repr_html_()
    assert recipe in RECIPE.values()
    assert sum(probabilities.values()) == pytest.approx(1)
    assert run.metrics.test.accuracy > 0.85
    assert "Confusion matrix" in run._repr_html_()
    assert truth in run.class_names
    report = (tmp_path / "runs" / "digits" / "report.html").read_text(encoding="utf-8")
    assert len(report) < 2_000_000
    assert "advisor run sklearn:digits --recipe feature_extraction" in report


def test_the_notebook_is_committed_without_output() -> None:
    cells = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text(encoding="utf-8"))["cells"]
    assert all(cell["outputs"] == [] for cell in cells if cell["cell_type"] == "code")


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def table_keys(text: str, heading: str) -> set[str]:
    """What stands in backquotes in the first column of the first table under a heading."""
    rows = re.findall(r"^\| (.*?) \|", text.split(f"## {heading}\n")[1].split("\n## ")[0], re.MULTILINE)
    return set(re.findall(r"`([^`]+)`", " ".join(rows)))


def test_the_run_folder_page_names_every_file() -> None:
    assert table_keys(page("run-folder.md"), "A run folder") == set(FILES)


NAMES = {*RECIPE, *RECIPES, *SPLITS}  # of quadrants, recipes and splits, which are keys, too
NAMED_ELSEWHERE = ("settings", "versions", "widths")  # fields of Settings, packages, layers


def keys(value: Any) -> set[str]:
    """Of an object and of all objects in it."""
    if isinstance(value, list | tuple):
        return set().union(*map(keys, value))
    if not isinstance(value, dict):
        return set()
    inner = (keys(held) for key, held in value.items() if key not in NAMED_ELSEWHERE)
    return (set(value) - NAMES).union(*inner)


def test_the_run_folder_page_names_every_key() -> None:
    """A new one must be documented."""
    known = made_up.evidence(made_up.summary(skipped=(Skipped("a.png", "not an image"),)))
    grouping = Grouping(True, "", "", 20, 3, leave_one_out=0.94, leave_group_out=0.93, error=0.002)
    values = made_up.recommendation(evidence=replace(known, grouping=grouping)).to_json()
    text = page("run-folder.md")
    assert table_keys(text, "recommendation.json") == set(values)
    for key in keys(values):
        assert f"`{key}`" in text, key


def test_the_recipes_page_names_every_mode() -> None:
    rows = re.findall(r"^\| `(\w+)` \| .*? \| (.*?) \|$", page("recipes.md"), re.MULTILINE)
    assert {recipe: tuple(re.findall(r"`(\w+)`", modes)) for recipe, modes in rows} == {
        name: tuple(recipe.modes) for name, recipe in RECIPES.items()
    }


def test_the_readme_draws_the_quadrants() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"^\| \*\*(few|many) images\*\* \| (.*) \|$", text, re.MULTILINE))
    for word, size in (("few", "small"), ("many", "large")):
        drawn = re.findall(r"`(\w+)`", found[word])
        assert drawn == [RECIPE[f"{size}-similar"], RECIPE[f"{size}-dissimilar"]]


def test_links_in_the_docs_lead_somewhere() -> None:
    for file in (ROOT / "docs").glob("*.md"):
        for target in re.findall(r"\]\((?!https://)([^)#]+)", file.read_text(encoding="utf-8")):
            assert (file.parent / target).exists(), f"{file.name}: {target}"


def test_the_page_of_python_functions_is_what_the_docstrings_say() -> None:
    made = subprocess.run([sys.executable, ROOT / "docs" / "make_api.py", "--check"], cwd=ROOT, check=False)
    assert made.returncode == 0
