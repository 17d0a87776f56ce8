"""How long work would have taken, had nothing else run on the machine."""

from __future__ import annotations

import time

IDLE = 0.1  # share of the processors' time that nobody used, from which on nobody waited for them


class Stopwatch:
    """Runs from when it is made.

    What else runs makes work slower for as long as it runs, and no longer: a speed that was learnt beside it
    would be wrong by the next time.
    """

    def __init__(self) -> None:
        self._wall, self._own = time.monotonic(), time.process_time()
        self._busy, self._idle = _processors()

    def seconds(self) -> float:
        """Seconds on the clock; where the processors had no time left, only this process's share of them."""
        wall, own = time.monotonic() - self._wall, time.process_time() - self._own
        busy, idle = (now - then for now, then in zip(_processors(), (self._busy, self._idle), strict=True))
        if busy <= own or idle >= IDLE * (busy + idle):
            return wall
        return wall * own / busy


def _processors() -> tuple[float, float]:
    """Seconds that all processors together were busy, and idle, since the machine was started."""
    import psutil

    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # count as the user's, too
    return sum(times) - idle - guests, idle
