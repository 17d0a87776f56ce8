"""Where heavy work is done: in this process, or on a Ray cluster (`advisor.system.ray_cluster`).

Two kinds of work can leave this process, and no other: blocks of items that a function goes through, as
embedding does with images, and whole tasks, as the trainings of a comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeAlias

from advisor.system.progress import Display

Items: TypeAlias = Sequence[Any]
Work: TypeAlias = Callable[[Items], Iterator[Any]]  # from items to results, one for some of them each
Task: TypeAlias = Callable[[Display], Any]


class Cluster(Protocol):
    """Where work is done.

    Attributes:
        is_here: whether that is this process.
    """

    is_here: bool

    def has_gpus(self) -> bool:
        """Whether its workers compute on GPUs."""

    def blocks(self, make: Callable[[], Work], items: Items, size: int) -> Iterator[list[tuple[int, Any]]]:
        """Go through items; a block may be gone through twice, where a worker died, but is given once.

        Args:
            make: gives the function that goes through items; called once by each worker. It has to be
                picklable unless the work is done in this process.
            items: all of them.
            size: how many a worker gets at once.

        Yields:
            What there is by now: results of the function, each behind the position of its block's first item.
            This process, which has nobody to wait for, takes all items as one block, and yields each result
            by itself.

        Raises:
            InputError: no worker is left, or none can do the work.
        """

    def slots(self) -> int:
        """How many tasks run at once."""

    def tasks(self, tasks: Iterable[Task], count: int, display: Display) -> Iterator[Any]:
        """Run tasks, each on a machine or a GPU of its own.

        Args:
            tasks: picklable unless they run in this process. The next one is asked for when there is a place
                for it. A task whose machine died is begun anew on another one.
            count: how many there are at most, for the display.
            display: where progress is shown.

        Yields:
            What each of them gave, in the order in which they ended.

        Raises:
            InputError: no worker is left, or none can do the work.
            KeyboardInterrupt: after Ctrl-C, which tasks that run are told, too.
        """


class Here:
    """This process."""

    is_here = True

    def has_gpus(self) -> bool:
        from advisor.system import devices

        return bool(devices.gpus())

    def blocks(self, make: Callable[[], Work], items: Items, size: int) -> Iterator[list[tuple[int, Any]]]:
        for result in make()(items):
            yield [(0, result)]

    def slots(self) -> int:
        return 1

    def tasks(self, tasks: Iterable[Task], count: int, display: Display) -> Iterator[Any]:
        for task in tasks:
            yield task(display)


_HERE = Here()
_current: ContextVar[Cluster] = ContextVar("cluster")


def current() -> Cluster:
    """Where work is to be done: what `used` says around the call."""
    return _current.get(_HERE)


@contextmanager
def used(cluster: Cluster) -> Iterator[None]:
    """Have work done elsewhere in the block."""
    token = _current.set(cluster)
    try:
        yield
    finally:
        _current.reset(token)
