"""Fixtures that many tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # several processes, whose threads would wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """A shell starts what runs in the background with Ctrl-C ignored; the tests of it need it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the user's cache out of the tests, but share one among them, for speed."""
    os.environ.setdefault("ADVISOR_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must be refused, with exit code 2 and nothing but one line on standard error."""
    from advisor.cli import main

    def answer(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(list(arguments))
        out, err = capsys.readouterr()
        assert end.value.code == 2
        assert out == ""
        assert err.startswith("advisor: ")
        assert err.count("\n") == 1
        return err

    return answer


@pytest.fixture
def real_data() -> Path:
    """The folder of real images that $ADVISOR_DATA names."""
    folder = os.environ.get("ADVISOR_DATA")
    if not folder:
        pytest.skip("needs real images: set ADVISOR_DATA to their folder")
    return Path(folder)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, of three classes of striped images that lie beside it in `images/`."""
    import numpy as np
    from PIL import Image

    from advisor import api

    folder = tmp_path_factory.mktemp("stripes")
    generator = np.random.default_rng(0)
    for name, color in (("blue", (40, 60, 200)), ("green", (40, 180, 60)), ("red", (200, 50, 40))):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(20):
            pixels = np.tile(np.array(color), (48, 48, 1)) + generator.integers(-40, 40, (48, 48, 1))
            pixels[:: 3 + number % 4] //= 2
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"images/{name}/{number}.png")
    api.run(str(folder / "images"), recipe="feature_extraction", output=folder / "run", image_size=32)
    return folder / "run"
