"""Threads for linear algebra: several small problems at once, or a large one by all cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import threadpoolctl

SMALL = 1_500  # rows of a matrix, of which a few need less memory together than the images around them
SMALL_FOR_TWO = 2_500  # the same of two matrices


@contextmanager
def solvers(rows: int, small: int = SMALL) -> Iterator[Executor]:
    """Threads that solve problems with matrices of so many rows and columns.

    Up to `small` rows each core solves one on its own, so that the numbers do not depend on how many cores
    there are. Threads of a BLAS that share such a matrix spend their time waiting for each other: the
    eigenvalues of 900 rows took 0.10 s of one core and 0.22 s of two, and seconds where anything else runs.
    Larger matrices would need too much memory together: one at a time has all cores.

    Args:
        rows: of the largest matrix.
        small: rows up to which all of the problems may be in memory together.
    """
    alone = rows <= small
    limit = threadpoolctl.threadpool_limits(1, user_api="blas") if alone else nullcontext()
    pool = ThreadPoolExecutor(os.cpu_count() if alone else 1)
    try:
        with limit:
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)
