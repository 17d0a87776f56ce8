"""A socket and a loop for the application of `advisor serve`."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from advisor.errors import InputError
from advisor.serving.limits import Limits


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        InputError: the address is not this machine's, or the port is taken.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=128)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"cannot listen at {host}, port {port}: {reason}; choose another --port or --host"
        ) from None


def address(listening: socket.socket) -> str:
    """The address of a socket as a browser takes it."""
    host, port, *_ = listening.getsockname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def is_local(listening: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    return ipaddress.ip_address(listening.getsockname()[0]).is_loopback


def run(
    application: ASGIApp, listening: socket.socket, limits: Limits, started: Callable[[uvicorn.Server], None]
) -> None:
    """Serve until Ctrl-C, or until `should_exit` of the server is set.

    Args:
        application: from `advisor.serving.application`.
        listening: from `bound`; it is closed at the end.
        limits: of what clients may do.
        started: called with the server before it begins.
    """

    class Impatient(H11Protocol):
        """Leaves a client that has asked for nothing, or not to the end, for so long; uvicorn would wait."""

        patience: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self.patience:
                self.patience.cancel()

        def _wait(self) -> None:
            if self.patience:
                self.patience.cancel()
            self.patience = self.loop.call_later(limits.seconds, self._leave)

        def _leave(self) -> None:
            if self.cycle is None or self.cycle.response_complete:
                self.transport.abort()

    server = uvicorn.Server(
        uvicorn.Config(
            application,
            http=Impatient,
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=limits.most_connections,
            timeout_graceful_shutdown=2,
        )
    )
    started(server)
    with listening, suppress(KeyboardInterrupt):
        server.run(sockets=[listening])
