"""The examples in the docstrings do what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import advisor
import recipes

MODULES = [
    "advisor",
    *(
        found.name
        for package in (advisor, recipes)
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples():
    tried = [
        doctest.testmod(importlib.import_module(name)).attempted for name in ("advisor.system.reproduction",)
    ]
    assert all(tried)
