"""What one client may ask of `advisor serve`, so that no other one waits for it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """Of everything that a client decides.

    Attributes:
        most_bytes: of a picture.
        most_pixels: of a picture.
        most_pictures: that are received, decoded or classified at once; who comes then is told to come again.
        most_connections: that are open at once.
        seconds: from the first byte of a connection to the end of a request's head, and from there to the end
            of its body.
        rate: pictures a second that one address may send on average.
        burst: pictures that it may send at once.
    """

    most_bytes: int = 30_000_000
    most_pixels: int = 100_000_000
    most_pictures: int = 40
    most_connections: int = 200
    seconds: float = 30.0
    rate: float = 20.0
    burst: int = 60


ADDRESSES = 1000  # that are remembered; who is forgotten begins anew


@dataclass
class Rate:
    """How much each address may still send: a bucket that fills steadily (the token bucket algorithm).

    Attributes:
        limits: with `rate` and `burst`.
        now: the time in seconds.
    """

    limits: Limits
    now: Callable[[], float] = time.monotonic
    _left: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict)

    def seconds_to_wait(self, address: str) -> float:
        """0 where this address may send a picture, which is then counted; else until it may."""
        limits, now = self.limits, self.now()
        left, since = self._left.pop(address, (float(limits.burst), now))
        left = min(left + limits.rate * (now - since), float(limits.burst))
        wait = max(0.0, (1 - left) / limits.rate)
        self._left[address] = (left if wait else left - 1, now)
        if len(self._left) > ADDRESSES:
            self._left.popitem(last=False)
        return wait
