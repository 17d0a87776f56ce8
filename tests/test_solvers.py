"""Small problems of linear algebra are solved side by side, each by one core."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
import threadpoolctl

from advisor.system.solvers import SMALL, solvers


def threads_of_blas() -> set[int]:
    libraries = threadpoolctl.threadpool_info()
    return {library["num_threads"] for library in libraries if library["user_api"] == "blas"}


def test_small_problems_have_a_core_each_and_give_back_the_others():
    before = threads_of_blas()
    with solvers(SMALL) as at_once:
        assert at_once.submit(threads_of_blas).result() <= {1}
    assert threads_of_blas() == before


def test_a_large_problem_has_all_cores():
    before = threads_of_blas()
    with solvers(SMALL + 1) as at_once:
        assert at_once.submit(threads_of_blas).result() == before


@pytest.mark.parametrize("cores", [1, 2, 7])
def test_the_numbers_do_not_depend_on_the_cores(cores, monkeypatch):
    generator = np.random.default_rng(0)
    matrices = [each @ each.T for each in generator.normal(size=(5, 120, 300))]
    with solvers(120) as at_once:
        expected = list(at_once.map(np.linalg.eigvalsh, matrices))
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    with solvers(120) as at_once:
        np.testing.assert_array_equal(list(at_once.map(np.linalg.eigvalsh, matrices)), expected)


def test_an_error_does_not_wait_for_what_has_not_begun():
    done = []
    with pytest.raises(KeyboardInterrupt), solvers(10) as at_once:  # noqa: PT012
        for number in range(200):
            at_once.submit(lambda number=number: (time.sleep(0.05), done.append(number)))
        raise KeyboardInterrupt
    assert len(done) < 100
