"""Processes that are pinned to cores: settings and memory of one library do not touch those of another."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def cores() -> list[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


class Process:
    """One process on some cores, alive until `close`; calls are made one after the other.

    Example:
        >>> process = Process([0])
        >>> process.run(sum, [1, 2])
        3
    """

    def __init__(self, on: Sequence[int]) -> None:
        """Start it."""
        self._pool = ProcessPoolExecutor(1, get_context("spawn"), initializer=_settle, initargs=(tuple(on),))

    def submit(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        """Have a function called there."""
        return self._pool.submit(function, *args, **kwargs)

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Have a function called there and wait for its result."""
        return self.submit(function, *args, **kwargs).result()

    def close(self) -> None:
        """End it, after the call that is under way."""
        self._pool.shutdown(cancel_futures=True)


def together(calls: Sequence[tuple[Process, Callable[..., Any], tuple[Any, ...]]]) -> list[Any]:
    """The results of calls that are made at the same time, each in a process of its own."""
    futures = [process.submit(function, *args) for process, function, args in calls]
    return [future.result() for future in futures]


def _settle(on: tuple[int, ...]) -> None:
    """Before any library is imported, say how many threads it may have and where they run."""
    for name in _THREADS:
        os.environ[name] = str(len(on))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, on)
