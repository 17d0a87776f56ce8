"""Pictures of many requests through the network at once."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from advisor.evidence.forward import BATCH
from recipes.runs.classifier import Classifier
from recipes.runs.prediction import FinishedRun


class Batches:
    """The model of a run, asked about whatever waits: a batch takes it hardly longer than one picture.

    Nobody waits for a batch to be full. While one is at work the next one gathers.

    Args:
        run: whose model it is.
        model: of the run, ready.
    """

    def __init__(self, run: FinishedRun, model: Classifier) -> None:
        self._run, self._model = run, model
        self._waiting: asyncio.Queue[tuple[np.ndarray, asyncio.Future]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)  # for the model works for one at a time

    async def ask(self, pixels: np.ndarray) -> tuple[np.ndarray, float]:
        """Probabilities float32 [classes], and the distance to the run's images, of uint8 [size, size, 3]."""
        answer = asyncio.get_running_loop().create_future()
        await self._waiting.put((pixels, answer))
        return await answer

    async def work(self) -> None:
        """Answer until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            asked = [await self._waiting.get()]
            while len(asked) < BATCH and not self._waiting.empty():
                asked.append(self._waiting.get_nowait())
            asked = [(pixels, answer) for pixels, answer in asked if not answer.done()]  # who has left
            if not asked:
                continue
            try:
                pixels = np.stack([pixels for pixels, _ in asked])
                said, distances = await loop.run_in_executor(self._thread, self._classify, pixels)
            except Exception as error:
                for _, answer in asked:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            for (_, answer), probabilities, distance in zip(asked, said, distances, strict=True):
                if not answer.done():
                    answer.set_result((probabilities, float(distance)))

    def _classify(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        features, probabilities = self._model.call(pixels)
        return probabilities, self._run.neighbours.distance(features)
