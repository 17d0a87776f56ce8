"""A server of `advisor serve` in a thread, and requests to it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advisor.serving.limits import Limits


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Send a request; underscores in names of headers stand for hyphens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            told = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, told, answer.read())
        finally:
            connection.close()

    def classify(self, picture: bytes | Path, query: str = "", **headers: str) -> Answer:
        body = picture.read_bytes() if isinstance(picture, Path) else picture
        headers = {"Content_Type": "application/octet-stream", **headers}
        return self.ask("POST", f"/api/predict{query}", body, **headers)


@contextmanager
def served(run: Path, limits: Limits | None = None, coverage: float | None = None) -> Iterator[Served]:
    """Serve a run at a free port."""
    from advisor.serving import server
    from advisor.serving.application import application
    from recipes.runs import prediction

    finished, running = prediction.load(run), []
    limits = limits or Limits()
    model, listening = prediction.ready(finished), server.bound("127.0.0.1", 0)
    port = listening.getsockname()[1]
    of = application(finished, model, coverage, limits), listening, limits, running.append
    thread = threading.Thread(target=server.run, args=of)
    thread.start()
    try:
        yield Served(port)
    finally:
        running[0].should_exit = True
        thread.join(20)
        assert not thread.is_alive()
