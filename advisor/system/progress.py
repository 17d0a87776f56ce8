"""Progress for a person at a terminal, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol


class Display(Protocol):
    """Where progress is shown."""

    def steps(self, what: str) -> Callable[[int, int], None]:
        """Start a stage; call the result with steps done and steps in all."""

    def note(self, text: str) -> None:
        """Change what stands beside the bar."""


class Silent:
    """Shows nothing."""

    def steps(self, what: str) -> Callable[[int, int], None]:
        return lambda done, total: None

    def note(self, text: str) -> None:
        pass


class Headed:
    """Shows each stage on another display, with a few words before it."""

    def __init__(self, head: str, display: Display) -> None:
        self.head, self.display = head, display

    def steps(self, what: str) -> Callable[[int, int], None]:
        return self.display.steps(f"{self.head}: {what}")

    def note(self, text: str) -> None:
        self.display.note(text)


class Bars:
    """One rich bar at a time; where stderr is no terminal, a plain line now and then."""

    FIRST_LINE = 2.0  # seconds into a stage: short ones need no words
    NEXT_LINE = 60.0  # seconds from line to line

    def __enter__(self) -> Bars:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            redirect_stdout=False,  # else what goes to a file would go to the terminal
            redirect_stderr=False,
        )
        self.task: Any = None
        self.noted = ""
        self.live = self.console.is_terminal
        return self

    def __exit__(self, *_: object) -> None:
        self.hide()

    def hide(self) -> None:
        """Take the bar away, so that something can be printed; the next stage brings it back."""
        if self.live:
            self.progress.stop()

    def steps(self, what: str) -> Callable[[int, int], None]:
        """Start the next bar; call the result with steps done and steps in all."""
        if not self.live:
            return self._lines(what)
        self.progress.start()
        if self.task is not None:
            self.progress.remove_task(self.task)
        task = self.task = self.progress.add_task(what, total=None, note="")
        return lambda done, total: self.progress.update(task, completed=done, total=total)

    def _lines(self, what: str) -> Callable[[int, int], None]:
        due, first, self.noted = time.monotonic() + self.FIRST_LINE, True, ""

        def say(done: int, total: int) -> None:
            nonlocal due, first
            if time.monotonic() < due:
                return
            reached = f"({total:,}) ..." if first else f"{done:,} of {total:,}  {self.noted}"
            print(f"{what} {reached}".rstrip(), file=sys.stderr, flush=True)
            due, first = time.monotonic() + self.NEXT_LINE, False

        return say

    def note(self, text: str) -> None:
        """Change what stands behind the bar."""
        self.noted = text
        if self.live and self.task is not None:
            self.progress.update(self.task, note=text)
