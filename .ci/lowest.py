"""Print the lowest versions that pyproject.toml admits, one requirement a line, for pip install -r."""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
for requirement in (*project["dependencies"], "pytest>=8", "hypothesis>=6.100"):
    print(requirement.replace(">=", "=="))
