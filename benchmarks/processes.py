"""Processes that are pinned to cores: settings and memory of one library do not touch those of another.

None of them outlives the process that started it, however that one ends.
"""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import connection, get_context, parent_process
from types import FrameType
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

import psutil

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SIGNALS: Final = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
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
        self._id = self._pool.submit(os.getpid).result()

    def submit(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> "Future[_T]":
        """Have a function called there."""
        return self._pool.submit(function, *args, **kwargs)

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Have a function called there and wait for its result."""
        return self.submit(function, *args, **kwargs).result()

    def close(self) -> None:
        """End it and the processes below it at once; a call that is under way is given up."""
        _kill(self._id)
        self._pool.shutdown(cancel_futures=True)


def together(calls: Sequence[tuple[Process, Callable[..., Any], tuple[Any, ...]]]) -> list[Any]:
    """The results of calls that are made at the same time, each in a process of its own."""
    futures = [process.submit(function, *args) for process, function, args in calls]
    return [future.result() for future in futures]


def exit_on_signals() -> None:
    """Make a signal that ends this process an exception, so that everything it opened is closed first."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)  # a second one would interrupt the closing
        raise SystemExit(128 + number)

    for each in _SIGNALS:
        signal.signal(each, leave)


def _settle(on: tuple[int, ...]) -> None:
    """Before any library is imported, say how many threads it may have and where they run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: the first one decides
    threading.Thread(target=_end_with_parent, daemon=True, name="parent").start()
    for name in _THREADS:
        os.environ[name] = str(len(on))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, on)


def _end_with_parent() -> None:
    """End this process and those below it when its parent ends, also when the parent was killed."""
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        _kill(os.getpid())


def _kill(process_id: int) -> None:
    """Kill a process and all below it: those first, because they could not be found without it."""
    with suppress(psutil.NoSuchProcess):
        first = psutil.Process(process_id)
        for process in [*first.children(recursive=True), first]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
