"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's cache out of the tests, but share one among them, for speed."""
    os.environ.setdefault("ADVISOR_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def real_data() -> Path:
    """The folder of real images that $ADVISOR_DATA names."""
    folder = os.environ.get("ADVISOR_DATA")
    if not folder:
        pytest.skip("needs real images: set ADVISOR_DATA to their folder")
    return Path(folder)
