"""Ctrl-C, and a request to end, put off while files take the place of others."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def put_off() -> Iterator[None]:
    """Answer Ctrl-C and SIGTERM at the end of the block, as they would have been answered in it.

    Outside the main thread nothing arrives, so that nothing is put off.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    seen: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: seen.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
    if seen:
        signal.raise_signal(seen[0])
