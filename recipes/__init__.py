"""The recipes that train. Each is a module with `train(job) -> Trained`; none of them decides anything.

A recipe is one file here and one row in `advisor.choices.RECIPES`, under the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recipes.job import Job, Trained


def trainer(recipe: str) -> Callable[[Job], Trained]:
    """The function that builds and trains a model by a recipe.

    Args:
        recipe: a key of `advisor.choices.RECIPES`; its module is imported now.
    """
    return import_module(f"{__name__}.{recipe}").train
