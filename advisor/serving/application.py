"""The page and the endpoints of `advisor serve`, without the socket."""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from advisor.errors import InputError
from advisor.report.prediction_tables import as_json
from advisor.serving.batches import Batches
from advisor.serving.description import openapi
from advisor.serving.guards import Guards
from advisor.serving.heat import HeatMaps
from advisor.serving.limits import Limits, Rate
from advisor.serving.uploads import decoded, received
from recipes.runs.classifier import Classifier
from recipes.runs.prediction import FinishedRun, said

PAGE = {"": "index.html", "page.js": "page.js", "page.css": "page.css"}
KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
AGAIN = 1  # seconds after which to come again where too many are here


@dataclass
class _Desk:
    """What the endpoints work with.

    Attributes:
        run: that is served.
        batches: its model.
        coverage: of prediction sets, where nothing else is asked for; None for no sets.
        limits: of what clients may do.
        rate: how much each address may still send.
        folder: for pictures while they are received and decoded.
        decoders: threads.
        heat: draws where the model looked.
        artist: its thread.
        pictures: that are here now.
    """

    run: FinishedRun
    batches: Batches
    coverage: float | None
    limits: Limits
    rate: Rate
    folder: Path
    decoders: ThreadPoolExecutor
    heat: HeatMaps
    artist: ThreadPoolExecutor
    pictures: int = 0

    async def page(self, request: Request) -> Response:
        """A file of the page."""
        name = PAGE[request.url.path.removeprefix("/")]
        content = (files("advisor.serving") / "page" / name).read_bytes()
        return Response(content, media_type=KINDS[Path(name).suffix])

    async def described(self, request: Request) -> Response:
        """GET /openapi.json."""
        return JSONResponse(openapi(version("transfer-advisor"), self.limits))

    async def about(self, request: Request) -> Response:
        """GET /api/run."""
        return JSONResponse(
            {
                "name": self.run.folder.resolve().name,
                "recipe": self.run.recipe,
                "classes": list(self.run.class_names),
                "coverage": self.coverage,
                "most_bytes": self.limits.most_bytes,
                "most_pixels": self.limits.most_pixels,
            }
        )

    async def predict(self, request: Request) -> Response:
        """POST /api/predict."""
        coverage, least = self._asked(request)
        async with self._picture(request) as pixels:
            probabilities, distance = await self.batches.ask(pixels)
        told = as_json(said(self.run, "", probabilities, distance, least))
        return JSONResponse({"set": None, **told, "coverage": coverage})

    async def heatmap(self, request: Request) -> Response:
        """POST /api/heatmap."""
        async with self._picture(request) as pixels:
            loop = asyncio.get_running_loop()
            try:
                drawn = await loop.run_in_executor(self.artist, self.heat.png, pixels)
            except InputError as error:
                raise HTTPException(422, str(error).replace(str(self.run.folder), "the run")) from None
        return Response(drawn, media_type="image/png")

    @asynccontextmanager
    async def _picture(self, request: Request) -> AsyncIterator[np.ndarray]:
        """The picture of a request as the model takes it, as long as its client has a place."""
        wait = self.rate.seconds_to_wait(request.client.host if request.client else "")
        if wait:
            again = {"Retry-After": str(math.ceil(wait)), "Connection": "close"}
            raise HTTPException(429, "that are too many pictures; come again in a moment", again)
        if self.pictures >= self.limits.most_pictures:
            again = {"Retry-After": str(AGAIN), "Connection": "close"}
            raise HTTPException(503, "others are sending pictures; come again in a moment", again)
        self.pictures += 1
        try:
            async with received(request, self.folder, self.limits) as file:
                of = file, self.run.image_size, self.run.fit, self.run.grey, self.limits
                pixels = await asyncio.get_running_loop().run_in_executor(self.decoders, decoded, *of)
            yield pixels
        finally:
            self.pictures -= 1

    def _asked(self, request: Request) -> tuple[float | None, float | None]:
        """The coverage that a request is about, and the probability that a class in its set has at least."""
        given = request.query_params.getlist("coverage")
        try:
            coverage = float(given[-1]) if given else self.coverage
            return coverage, None if coverage is None else self.run.threshold(coverage)
        except InputError as error:
            raise HTTPException(422, str(error).replace(str(self.run.folder), "the run")) from None
        except ValueError:
            raise HTTPException(422, "coverage has to be a number, as 0.95") from None


def application(
    run: FinishedRun,
    model: Classifier,
    coverage: float | None = None,
    limits: Limits | None = None,
    names: Iterable[str] = (),
) -> ASGIApp:
    """The server as an ASGI application.

    Args:
        run: to serve.
        model: of the run, from `recipes.runs.prediction.ready`.
        coverage: of prediction sets, where a request asks for no other one; None for no sets.
        limits: of what clients may do.
        names: host names under which it may be asked, beside addresses and localhost.
    """
    limits = limits or Limits()
    folder = tempfile.TemporaryDirectory(prefix="advisor-serve-")
    batches, decoders = Batches(run, model), ThreadPoolExecutor(os.cpu_count())
    heat, artist = HeatMaps(run), ThreadPoolExecutor(1)
    desk = _Desk(run, batches, coverage, limits, Rate(limits), Path(folder.name), decoders, heat, artist)

    @asynccontextmanager
    async def open_desk(_: Starlette) -> AsyncIterator[None]:
        work = asyncio.create_task(batches.work())
        try:
            yield
        finally:
            work.cancel()
            for threads in (decoders, artist):
                threads.shutdown(cancel_futures=True)
            folder.cleanup()

    routes = [
        *(Route(f"/{path}", desk.page) for path in PAGE),
        Route("/openapi.json", desk.described),
        Route("/api/run", desk.about),
        Route("/api/predict", desk.predict, methods=["POST"]),
        Route("/api/heatmap", desk.heatmap, methods=["POST"]),
    ]
    told: dict[Any, Any] = {HTTPException: _refusal, Exception: _failure}
    return Guards(Starlette(routes=routes, exception_handlers=told, lifespan=open_desk), names)


async def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _failure(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the server could not do that"}, 500)
