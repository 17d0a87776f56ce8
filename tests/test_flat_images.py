"""Images on which there is nothing to see are told."""

from __future__ import annotations

import numpy as np
from PIL import Image

import advisor


def test_low_values_in_deep_files_are_told(tmp_path):
    """Eight bits in files of sixteen: black to who scales them by what a file could hold."""
    generator = np.random.default_rng(0)
    for number in range(20):
        folder = tmp_path / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        grey = generator.integers(0, 256, (40, 40), dtype=np.uint16)
        Image.fromarray(grey if number < 4 else (grey * 257)).save(folder / f"{number}.png")
    told = advisor.recommend(str(tmp_path), image_size=32).warnings
    assert [text for text in told if text.startswith("4 of 20 images are almost of one colour")]
