"""Write docs/api.md from the docstrings of what `import advisor` gives.

python docs/make_api.py            # with --check: exit with 1 if the page is not what the docstrings say
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from griffe2md import ConfigDict, render_package_docs

PAGE = Path(__file__).parent / "api.md"
PARTS = ("api", "advice.recommendation.Recommendation", "advice.settings.Settings")
LONGEST_LINE = 80
TYPES = (
    "Run",
    "Metrics",
    "Scores",
    "ClassScores",
    "Predictions",
    "Prediction",
    "Evaluation",
    "Comparison",
    "Row",
    "Paired",
    "Export",
)
HEAD = """# Python

`import advisor` gives the functions below, the values that they give back, and `InputError`, the exception
whose one line says what is wrong and what to do. `python docs/make_api.py` makes this page from docstrings.

```python
import advisor

advice = advisor.recommend("flowers")
finished = advisor.run("flowers", recipe=advice.recipe, output="runs/flowers")
for prediction in advisor.predict("runs/flowers", ["tulip.jpg"]):
    print(prediction.path, prediction.best(1))
```
"""


def _signature(found: re.Match[str]) -> str:
    """A signature with a line for each parameter where it is long, whatever formatter is installed."""
    parameters = [each.strip().replace("'", '"') for each in found[2].split(",") if each.strip()]
    inside = ", ".join(parameters)
    if len(inside) > LONGEST_LINE:
        inside = "\n    " + ",\n    ".join(parameters) + ",\n"
    return f"```python\n{found[1]}({inside})\n```"


def text() -> str:
    """The page in Markdown."""
    config = ConfigDict(
        members_order="source",
        summary=False,
        show_root_full_path=False,
        show_object_full_path=False,
        heading_level=2,
        show_if_no_docstring=False,
        separate_signature=True,
        line_length=100,
    )
    parts = [*PARTS, *(f"results.{name}" for name in TYPES)]
    page = "\n\n".join(
        [HEAD.strip(), *(render_package_docs(f"advisor.{part}", config).strip() for part in parts)]
    )
    page = re.sub(r"^(#+) `api`$", r"\1 Functions", page, flags=re.MULTILINE)
    page = re.sub(r"^(#+) `advisor\.(?:[a-z_]+\.)*(\S+)`$", r"\1 `\2`", page, flags=re.MULTILINE)
    page = re.sub(r"^```python\n(\w+)\(([^`]*)\)\n```$", _signature, page, flags=re.MULTILINE)
    # Names of types link to places that a single page does not have.
    return re.sub(r"\[([^\[\]]+)\]\(#[^()]*\)", r"\1", page) + "\n"


if __name__ == "__main__":
    page = text()
    if "--check" in sys.argv:
        sys.exit(
            0 if PAGE.read_text(encoding="utf-8") == page else "docs/api.md: run python docs/make_api.py"
        )
    PAGE.write_text(page, encoding="utf-8")
