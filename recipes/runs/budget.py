"""How the minutes of a comparison are shared, so that all of it ends when they are over."""

from __future__ import annotations

import time


class Budget:
    """What is left of the minutes for all recipes together.

    Attributes:
        seconds: that there were.
        began: when, as `time.monotonic` tells it.
        late: seconds by which the last training that ran out of time ended after its share, beyond what was
            expected of it; the next one stops so much earlier.
    """

    def __init__(self, minutes: float) -> None:
        self.seconds, self.began, self.late = 60 * minutes, time.monotonic(), 0.0

    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.began

    def share(self, needs: float, others: int) -> float | None:
        """Seconds that the next recipe may take; None where too little is left for it.

        Args:
            needs: that it takes at least.
            others: recipes that wait behind it. What is left is shared equally among as many as it is enough
                for, the first ones first.
        """
        left, needs = self.seconds - self.spent(), needs and needs + self.late
        if left <= needs:
            return None
        return left / (min(others + 1, int(left / needs)) if needs else others + 1)
