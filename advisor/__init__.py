"""Transfer Advisor: measures your labelled images and says which way of transfer learning fits them.

>>> import advisor
>>> advice = advisor.recommend("sklearn:digits", sample=100)
>>> advice.quadrant.similarity
'low'
>>> finished = advisor.run("sklearn:digits", recipe="feature_extraction", image_size=64, output="runs/digits")
>>> finished.metrics.test.accuracy > 0.9
True
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING

from advisor.errors import InputError
from advisor.system.devices import quiet_tensorflow

if TYPE_CHECKING:
    from advisor.advice.recommendation import Recommendation
    from advisor.advice.settings import Settings
    from advisor.api import compare, evaluate, export, heatmaps, predict, recommend, run
    from advisor.data.reading import Reading
    from advisor.results import Comparison, Evaluation, Export, Prediction, Run

__version__ = metadata.version("transfer-advisor")

# Imported when they are asked for: the command line answers `--help` without them.
_WHERE = {
    **dict.fromkeys(
        ("recommend", "run", "compare", "predict", "heatmaps", "evaluate", "export"), "advisor.api"
    ),
    **dict.fromkeys(("Comparison", "Evaluation", "Export", "Prediction", "Run"), "advisor.results"),
    "Reading": "advisor.data.reading",
    "Recommendation": "advisor.advice.recommendation",
    "Settings": "advisor.advice.settings",
}
__all__ = [
    "Comparison",
    "Evaluation",
    "Export",
    "InputError",
    "Prediction",
    "Reading",
    "Recommendation",
    "Run",
    "Settings",
    "__version__",
    "compare",
    "evaluate",
    "export",
    "heatmaps",
    "predict",
    "recommend",
    "run",
]

quiet_tensorflow()


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
