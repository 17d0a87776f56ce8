"""Work on a Ray cluster: see `advisor.system.cluster` for what it is asked to do.

Plain actors and tasks of Ray's core, not Ray Data: a block here is a list of file names that comes back as a
few arrays, which `ray.wait` and a queue of blocks do in a page, without pandas and PyArrow. It also does what
Ray Data leaves to its caller: a block whose worker died goes to another worker at once, whether or not the
dead one ever comes back, and each block is on disk here before the next is waited for.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from advisor.errors import InputError, one_line
from advisor.system import cluster, devices
from advisor.system.cluster import Items, Task, Work
from advisor.system.progress import Display

LOCAL, AUTO = "local", "auto"
EXTRA = 'pip install "transfer-advisor[ray]"'
ANSWER_SECONDS = 10.0  # that a cluster may take to accept a connection
OBJECT_BYTES = 200_000_000  # of results that wait, where Ray is started here; more of them go to disk
AHEAD = 2  # blocks that a worker is given: the one that it is at, and the next
WAIT_SECONDS = 120.0  # for a worker, where there is none
STOP_SECONDS = 30.0  # that tasks have to write down where they are after Ctrl-C
MOST_DEATHS = 3  # workers that one block, or task, may take with it
SHARED = ("ADVISOR_CACHE",)  # variables of this process that tasks get, too
_HOST_PORT = re.compile(r"(\[[^\]]+\]|[^:/\s]+):(\d{1,5})")


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Have work done on a cluster in the block; Ray is started, or connected to, when there is some.

    Args:
        address: "local" for a Ray of its own on this machine, "auto" for the cluster that this process runs
            on, as in a Ray job, "ray://HOST:PORT" for one that is elsewhere; None for this process.

    Raises:
        InputError: see `check`.
    """
    if address is None:
        yield
        return
    check(address)
    ray = RayCluster(address)
    try:
        with cluster.used(ray):
            yield
    finally:
        ray.close()


def check(address: str | None) -> None:
    """Answer at once where a cluster cannot be used, without importing Ray.

    Raises:
        InputError: it is no address, Ray is not installed, or nobody answers.
    """
    if address is None:
        return
    if address not in (LOCAL, AUTO) and not re.fullmatch(rf"ray://{_HOST_PORT.pattern}", address):
        raise InputError(f"--cluster {address}: give {LOCAL}, {AUTO} or ray://HOST:PORT")
    if importlib.util.find_spec("ray") is None:
        raise InputError(f"--cluster needs Ray; run: {EXTRA}")
    if address not in (LOCAL, AUTO):
        try:
            _dial(address.removeprefix("ray://"))
        except OSError as error:
            raise InputError(
                f"{address} does not answer ({error.strerror or error}); start its head with "
                "ray start --head and its Ray Client port, 10001 unless it says otherwise"
            ) from None


def _dial(address: str) -> None:
    """See whether anybody answers at HOST:PORT: Ray itself would wait for minutes.

    Raises:
        OSError: nobody does.
    """
    named = _HOST_PORT.fullmatch(address)
    if named:
        try:
            socket.create_connection((named[1].strip("[]"), int(named[2])), ANSWER_SECONDS).close()
        except OverflowError as error:
            raise OSError(str(error)) from None


class RayCluster:
    """A Ray cluster, which is connected to when it is first needed."""

    is_here = False

    def __init__(self, address: str) -> None:
        """Change nothing yet.

        Args:
            address: see `connected`.
        """
        self.address = address
        self._ray: Any = None
        self._workers: list[Any] = []  # that are kept from one call to the next

    def close(self) -> None:
        """Stop what still runs, and leave the cluster; one that was started here ends."""
        if self._ray is not None:
            with devices.muted():  # it tells of workers that it ends
                self._ray.shutdown()

    def has_gpus(self) -> bool:
        return self._resources().get("GPU", 0) >= 1

    def blocks(self, make: Callable[[], Work], items: Items, size: int) -> Iterator[list[tuple[int, Any]]]:
        self._connected()
        starts = deque(range(0, len(items), size))
        sent = self._sent(make)
        wanted = min(self._places(), len(starts))
        coming = {worker.ready.remote(): worker for worker in self._workers[:wanted]}
        coming |= self._new_workers(wanted - len(coming))
        busy: dict[Any, tuple[Any, int]] = {}
        deaths = Counter[int | None]()
        try:
            while starts or busy:
                found: list[tuple[int, Any]] = []
                for reference in self._ended([*coming, *busy], bool(busy)):
                    worker, start = (
                        busy.pop(reference) if reference in busy else (coming.pop(reference), None)
                    )
                    gone, results = self._result(reference)
                    if gone:
                        deaths[start] += 1
                        self._check_deaths(deaths[start], gone)
                        if start is not None:
                            starts.appendleft(start)
                        if worker in self._workers:  # else its other block has told of it
                            self._workers.remove(worker)
                            coming |= self._new_workers(1)
                        continue
                    if start is not None:
                        found += [(start, result) for result in results]
                    given = sum(other is worker for other, _ in busy.values())
                    for _ in range(min(AHEAD - given, len(starts))):
                        start = starts.popleft()
                        busy[worker.work.remote(sent, items[start : start + size])] = worker, start
                if found:
                    yield found
        finally:
            # If who asked has left, all are at what nobody wants; else only those that came too late are.
            self._release(self._workers if busy else list(coming.values()))

    def _ended(self, references: list[Any], some_work: bool) -> list[Any]:
        """Those of some calls that have ended, one at least.

        Raises:
            InputError: nobody works, and no worker comes.
        """
        began = time.monotonic()
        while not self._ray.wait(references, num_returns=1, timeout=1.0)[0]:
            if not some_work and time.monotonic() - began > WAIT_SECONDS:
                raise self._nobody()
        return self._ray.wait(references, num_returns=len(references), timeout=0)[0]

    def slots(self) -> int:
        return self._machines()[0]

    def tasks(self, tasks: Iterable[Task], count: int, display: Display) -> Iterator[Any]:
        ray, queue = self._connected(), iter(tasks)
        self._release(self._workers)
        slots, needs = self._machines()
        board = ray.remote(_Board).options(num_cpus=0, max_restarts=-1).remote()
        how = {**needs, "max_calls": 1, "max_retries": MOST_DEATHS - 1, "scheduling_strategy": "SPREAD"}
        run = ray.remote(**how)(_run_task)
        shared = {name: os.environ[name] for name in SHARED if name in os.environ}
        busy: list[Any] = []
        bar, ended = display.steps("Training"), 0
        try:
            while True:
                while len(busy) < slots and (task := next(queue, None)) is not None:
                    busy.append(run.remote(self._sent(task), board, os.getcwd(), shared))
                if not busy:
                    return
                bar(ended, count)
                done, busy = ray.wait(busy, num_returns=1, timeout=1.0)
                with suppress(ray.exceptions.RayError):  # its machine may have died
                    display.note(ray.get(board.said.remote(), timeout=1.0))
                for reference in done:
                    gone, result = self._result(reference)
                    if gone:
                        self._check_deaths(MOST_DEATHS, gone)
                    ended += 1
                    yield result
        except BaseException:
            for reference in busy:
                ray.cancel(reference)
            if busy:
                ray.wait(busy, num_returns=len(busy), timeout=STOP_SECONDS)
            raise

    def _connected(self) -> Any:
        """Ray's module, with a connection.

        Raises:
            InputError: there is none to be had.
        """
        if self._ray is not None:
            return self._ray
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else one that is started here calls home
        # What is the default today, said aloud: else Ray warns that it will change.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "1")
        import ray

        how: dict[str, Any] = {"address": self.address, "log_to_driver": False}
        if self.address == LOCAL:
            how |= {
                "num_cpus": devices.cpus(),
                "object_store_memory": OBJECT_BYTES,
                "include_dashboard": False,
            }
        # Whatever `log_to_driver` says, it tells of dead workers on standard output, which is ours.
        ray._private.worker.print_to_stdstream = lambda *_, **__: None
        ends = signal.getsignal(signal.SIGTERM)
        try:
            if self.address == AUTO:
                _dial(ray._private.services.canonicalize_bootstrap_address(AUTO) or "")
            ray.init(logging_level=logging.ERROR, **how)
        except Exception as error:  # of many kinds
            ray.shutdown()
            raise self._unreachable(error) from None
        finally:
            with suppress(ValueError):  # in another thread than the main one Ray has not changed it
                signal.signal(signal.SIGTERM, ends)
        self._ray = ray
        return ray

    def _unreachable(self, error: Exception) -> InputError:
        if self.address == AUTO:
            return InputError(
                f"--cluster auto finds no Ray cluster that this process runs on ({one_line(error)}); "
                "give local, or run it with ray job submit"
            )
        return InputError(
            f"--cluster {self.address}: Ray cannot be used ({one_line(error)}); see docs/scale.md"
        )

    def _resources(self) -> dict[str, float]:
        return self._connected().cluster_resources()

    def _places(self) -> int:
        """How many workers there can be: one for each GPU; without any, one for each processor core."""
        return int(self._resources()["GPU"]) if self.has_gpus() else int(self._resources().get("CPU", 0)) or 1

    def _machines(self) -> tuple[int, dict[str, float]]:
        """How many tasks run at once, and what each of them needs: a GPU, or all cores of a machine."""
        if self.has_gpus():
            return int(self._resources()["GPU"]), {"num_gpus": 1}
        cores = [int(node["Resources"].get("CPU", 0)) for node in self._connected().nodes() if node["Alive"]]
        machines = [number for number in cores if number]
        return len(machines) or 1, {"num_cpus": min(machines, default=1)}

    def _sent(self, what: Any) -> list[Any]:
        """A reference to something, in a list, so that not every call of a worker unpacks it.

        Raises:
            InputError: the cluster has not the package that it is of.
        """
        try:
            return [self._ray.put(what)]
        except ModuleNotFoundError as error:  # of Ray Client, whose server unpacks it
            self._check_package(error)
            raise

    def _new_workers(self, count: int) -> dict[Any, Any]:
        """Workers by what tells that they are ready."""
        if count < 1:
            return {}
        needs: dict[str, float] = {"num_cpus": 1}
        if self.has_gpus():
            needs = {"num_gpus": 1, "num_cpus": max(1, int(self._resources()["CPU"]) // self._places())}
        worker = self._ray.remote(_Worker).options(scheduling_strategy="SPREAD", **needs)
        made = [worker.remote(int(needs["num_cpus"])) for _ in range(count)]
        self._workers += made
        return {one.ready.remote(): one for one in made}

    def _release(self, workers: list[Any]) -> None:
        """End some of the workers, so that others can have their places."""
        for worker in workers:
            self._ray.kill(worker)
        self._workers = [worker for worker in self._workers if worker not in workers]

    def _result(self, reference: Any) -> tuple[Exception | None, Any]:
        """What a worker gave; or why it is gone.

        Raises:
            InputError: it cannot do the work.
            Exception: the work itself has a fault.
        """
        errors = self._ray.exceptions
        lost = (
            errors.RayActorError,
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
        )
        try:
            return None, self._ray.get(reference)
        except lost as error:
            self._check_package(error)
            return error, None
        except errors.TaskCancelledError:
            raise KeyboardInterrupt from None
        except errors.RayTaskError as error:
            self._refuse(error)
        except errors.RayError as error:
            self._check_package(error)
            raise

    def _refuse(self, error: Any) -> NoReturn:
        """Raise what a worker has raised, in words for the user where it is his to mend."""
        cause = error.cause
        if isinstance(cause, InputError):
            raise InputError(str(cause)) from None
        if isinstance(cause, MemoryError):
            raise InputError(f"a worker of the cluster has too little memory; {_MEMORY}") from None
        if isinstance(cause, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        self._check_package(error)
        raise error.as_instanceof_cause()

    def _check_package(self, error: Exception) -> None:
        """Refuse a cluster without this package."""
        text = str(error)
        if "ModuleNotFoundError" in text or "No module named" in text:
            name = text.partition("No module named ")[2].split("\n")[0].strip(" '\"") or "a package"
            raise InputError(
                f"the workers of the cluster have no {name}: "
                "install the same transfer-advisor on each of its machines"
            ) from None

    def _check_deaths(self, deaths: int, error: Exception) -> None:
        """Refuse to go on with what has taken too many workers with it."""
        if deaths >= MOST_DEATHS:
            raise InputError(
                f"{MOST_DEATHS} workers died at the same work, the last one so: {one_line(error)}; {_MEMORY}"
            )

    def _nobody(self) -> InputError:
        return InputError(
            f"the cluster has had no free worker for {WAIT_SECONDS:.0f} seconds; see ray status for what it "
            "is at, then give the same command again"
        )


_MEMORY = "give its machines more memory or start Ray there with fewer --num-cpus; what was done is kept"


class _Worker:
    """One process of the cluster that goes through blocks."""

    def __init__(self, cpus: int) -> None:
        """Compute nothing yet.

        Args:
            cpus: how many cores of its machine it may use.
        """
        devices.use_cpus(cpus)
        self._sent: Any = None

    def ready(self) -> None:
        """Answer: the process runs."""

    def work(self, sent: list[Any], items: Items) -> list[Any]:
        """Go through one block.

        Args:
            sent: the reference of what makes the function.
            items: the block.
        """
        if self._sent != sent:
            import ray

            self._work, self._sent = ray.get(sent[0])(), sent
        return list(self._work(items))


class _Board:
    """What a task has said last, for the process that waits for it."""

    def __init__(self) -> None:
        self._text = ""

    def say(self, text: str) -> None:
        self._text = text

    def said(self) -> str:
        return self._text


class _Told:
    """Shows on the board which stage a task is in."""

    EVERY = 1.0  # seconds

    def __init__(self, board: Any) -> None:
        self._board, self._noted, self._due = board, "", 0.0

    def steps(self, what: str) -> Callable[[int, int], None]:
        self._noted = ""

        def say(done: int, total: int) -> None:
            if time.monotonic() >= self._due:
                self._due = time.monotonic() + self.EVERY
                self._board.say.remote(f"{what} {done:,}/{total:,} {self._noted}".rstrip())

        return say

    def note(self, text: str) -> None:
        self._noted = text


def _run_task(sent: list[Any], board: Any, folder: str, shared: dict[str, str]) -> Any:
    """Run a task in a process of its own, in the folder that its names are relative to."""
    import ray

    with suppress(OSError):  # who does not see it says so by the name of what is missing
        os.chdir(folder)
    os.environ.update(shared)
    return ray.get(sent[0])(_Told(board))
