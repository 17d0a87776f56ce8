"""A picture that somebody sends: received with limits, and decoded by the same reader as all images."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from advisor.data import images
from advisor.data.deep_grey import GreyRange
from advisor.serving.limits import Limits

KINDS = ("image/", "application/octet-stream")  # none that a form of another site can send
DRAINED = 10  # times as many bytes as are allowed are let pass, so that a browser hears what was wrong


@asynccontextmanager
async def received(request: Request, folder: Path, limits: Limits) -> AsyncIterator[Path]:
    """The body of a request as a file, which has a name of ours and is removed again.

    Args:
        request: whose body it is.
        folder: for the file.
        limits: of its bytes, and of the seconds that it may take.

    Raises:
        HTTPException: it is too large, too slow, empty or of another kind.
    """
    if not request.headers.get("content-type", "").lower().startswith(KINDS):
        raise HTTPException(415, "send a picture as it is, with its own Content-Type, as image/jpeg")
    handle, name = tempfile.mkstemp(dir=folder)
    try:
        with open(handle, "wb") as file:
            size = await _written(request, file.write, limits)
        if not size:
            raise HTTPException(422, "the picture is empty")
        yield Path(name)
    finally:
        os.unlink(name)


async def _written(request: Request, write, limits: Limits) -> int:
    """Write a body as it comes; returns its bytes."""
    size, claimed = 0, request.headers.get("content-length", "0")
    most = limits.most_bytes
    told = f"the picture has more than {most / 1e6:.0f} MB; send a smaller one"
    if not claimed.isdecimal() or int(claimed) > DRAINED * most:
        raise HTTPException(413, told, {"Connection": "close"})
    try:
        async with asyncio.timeout(limits.seconds):
            async for piece in request.stream():
                size += len(piece)
                if size > DRAINED * most:
                    break
                if size <= most:
                    write(piece)
    except TimeoutError:
        told = f"the picture did not come within {limits.seconds:g} s"
        raise HTTPException(408, told, {"Connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400, "the picture did not come whole") from None
    if size > most:
        raise HTTPException(413, told, {"Connection": "close"})
    return size


def decoded(path: Path, image_size: int, fit: str, grey: GreyRange | None, limits: Limits) -> np.ndarray:
    """The picture in a file as the model takes it, uint8 [size, size, 3].

    Raises:
        HTTPException: it is no picture, or has too many pixels.
    """
    try:
        width, height = images.header(path).size
        if width * height > limits.most_pixels:
            most = f"{limits.most_pixels / 1e6:.0f} megapixels"
            raise HTTPException(413, f"{width} x {height} are more than {most}; send a smaller picture")
        return images.load_square(path, image_size, fit, grey)
    except images.UnreadableImage as error:
        raise HTTPException(422, str(error)) from None
