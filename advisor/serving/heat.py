"""Where the model of a run looked in a picture, drawn for the page; TensorFlow is loaded when first asked."""

from __future__ import annotations

import io

import numpy as np

from advisor.report.overlay import overlay
from recipes.runs import classifier, heatmaps
from recipes.runs.heatmaps import Explainer
from recipes.runs.prediction import FinishedRun


class HeatMaps:
    """Draws heat maps, one at a time.

    Args:
        run: whose model it is.
    """

    def __init__(self, run: FinishedRun) -> None:
        self._run = run
        self._explainer: Explainer | None = None

    def png(self, pixels: np.ndarray) -> bytes:
        """What spoke for the class that the model finds in a picture, uint8 [size, size, 3], drawn over it.

        Raises:
            InputError: the head sees no feature maps.
        """
        if self._explainer is None:
            self._explainer = heatmaps.take_apart(classifier.load_model(self._run.folder), self._run.folder)
        (heat,) = heatmaps.explained(self._explainer, pixels[None])
        stream = io.BytesIO()
        overlay(heat.pixels, heat.together).save(stream, "PNG")
        return stream.getvalue()
