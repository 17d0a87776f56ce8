"""From the folder of a run to a server that people can ask."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from advisor.errors import InputError
from advisor.serving import server
from advisor.serving.application import application
from advisor.serving.limits import Limits
from advisor.system import screen
from recipes.runs import prediction

USUAL_COVERAGE = 0.95


def serve(
    run: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    coverage: float | None = None,
    limits: Limits | None = None,
    started: Callable[[uvicorn.Server], None] = lambda server: None,
) -> None:
    """Serve a finished run until Ctrl-C.

    Args:
        run: its folder.
        host: address or name to listen at.
        port: 0 for any that is free.
        coverage: of prediction sets, where a request asks for no other one; if left out `USUAL_COVERAGE`, or
            no sets where the run cannot have these.
        limits: of what clients may do.
        started: called with the server before it begins.

    Raises:
        InputError: the run is damaged or cannot have this coverage, or the port is taken.
    """
    limits = limits or Limits()
    finished = prediction.load(run)
    if coverage is None:
        with suppress(InputError):
            finished.threshold(USUAL_COVERAGE)
            coverage = USUAL_COVERAGE
    else:
        finished.threshold(coverage)
    listening = server.bound(host, port)
    try:
        model = prediction.ready(finished)
        address = server.address(listening)
        screen.say(f"{finished.folder} is served at {address}; Ctrl-C ends it")
        sys.stdout.flush()  # for who reads it through a pipe
        if not server.is_local(listening):
            screen.tell("whoever reaches this address can use it: there is no password and no encryption")
        served = application(finished, model, coverage, limits, names=(host,))
        server.run(served, listening, limits, started)
    finally:
        listening.close()
