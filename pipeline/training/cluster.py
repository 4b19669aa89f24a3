"""The Dask cluster that trains: a process for each core of this machine, or the workers of a scheduler elsewhere."""

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import psutil

from pipeline.errors import PipelineError, UsageError
from pipeline.log import is_verbose, show_log
from pipeline.tracking.connection import load_client
from pipeline.training.signals import heard
from pipeline.training.task import Event, EventKind, Report
from pipeline.training.workers import FOLDERS

if TYPE_CHECKING:
    from distributed import Client, LocalCluster, Nanny, Worker

    Ready = Callable[[], LocalCluster]

_SCHEMES: Final = ("tcp", "tls", "ucx", "ws", "wss")
_LOST_WORKERS: Final = 10  # a task fails after so many of its workers have died
_DEATH_SECONDS: Final = 5.0  # that a killed process may take on a busy machine; the runs of the dead are ended then
stop_all: Final = threading.Event()
"""Set in a worker process that is asked to end, so that its training saves its state and stops."""


def worker_count(workers: int | None) -> int:
    """Give the number of local workers: `workers`, or by default one for each core."""
    _silence_dask()
    from dask.system import CPU_COUNT

    return workers or int(CPU_COUNT)


def _silence_dask() -> None:
    """Silence Dask's log, in the workers too; this works only before Dask is imported, because Dask reads it then."""
    if not is_verbose():
        loggers = ("distributed", "distributed.client", "distributed.gc", "tornado.application", "asyncio")
        os.environ.setdefault("DASK_LOGGING", repr(dict.fromkeys(loggers, "critical")))


def dask_setup(_worker: "Worker") -> None:
    """Let a signal to a worker request a stop of its training; Dask calls this function in each worker process."""
    show_log()
    for variable in FOLDERS.values():
        os.environ.pop(variable, None)  # the command's own processes work in the command's folders
    for each in heard():
        signal.signal(each, lambda *_: stop_all.set())
    # What a task needs is imported while there is none.
    import pipeline.training.trainer  # noqa: F401

    load_client()
    atexit.register(os._exit, 0)  # because freeing MLflow's modules object by object would take seconds


@contextmanager
def local_workers(workers: int | None, tasks: int) -> Iterator["Ready"]:
    """Have worker processes start in a thread while the command prepares their work; they end with the `with`.

    Args:
        workers: how many; by default one for each core.
        tasks: the most tasks that they may get; there are never more workers than that.

    Yields:
        A function that waits until the workers are ready.
    """
    _silence_dask()
    import dask.config
    from distributed import LocalCluster

    settings = {"distributed.scheduler.allowed-failures": _LOST_WORKERS, "distributed.worker.daemon": True}
    with dask.config.set(settings), ThreadPoolExecutor(1) as starter:
        start = starter.submit(
            LocalCluster,
            n_workers=_count(workers, tasks),
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=False,  # True would silence a process only until it begins to end
            preload=[__name__],
        )
        try:
            yield start.result
        except BaseException:
            with suppress(Exception):  # a start that failed says so to those who wait for it
                _kill(start.result().workers.values())
            raise
        finally:
            with suppress(Exception):
                start.result().close()


def _count(workers: int | None, tasks: int) -> int:
    return max(1, min(worker_count(workers), tasks))


@contextmanager
def cluster(
    workers: int | None, tasks: int, scheduler: str | None, report: Report, starting: "Ready | None"
) -> Iterator["Client"]:
    """Connect to workers, and end those of this machine with the `with`.

    Args:
        workers: see `executor.run_tasks`.
        tasks: the most tasks that workers of this machine may get.
        scheduler: address of a Dask cluster to use instead of this machine.
        report: called with the event that workers start.
        starting: workers of this machine that `local_workers` has begun to start.

    Raises:
        UsageError: the text is not the address of a scheduler.
        PipelineError: the cluster cannot be reached.
    """
    _silence_dask()
    if scheduler:
        with _connected(scheduler) as client:
            yield client
        return
    count = _count(workers, tasks)
    report(Event(EventKind.WORKERS, "", 0, text=f"starting {count} worker{'s' if count > 1 else ''}"))
    from distributed import Client

    with nullcontext(starting) if starting else local_workers(workers, tasks) as ready:
        local = ready()
        with Client(local, set_as_default=False) as client:
            try:
                yield client
            except BaseException:
                _kill(local.workers.values())
                raise


def replace_lost_workers(client: "Client") -> None:
    """Start a worker of this machine for each that Dask gave up: it restarts none that dies while it starts."""
    local: Any = client.cluster
    if len(local.workers) < len(local.worker_spec):
        local.scale(len(local.worker_spec))


def _connected(scheduler: str) -> "Client":
    """Connect to the scheduler at an address.

    Raises:
        UsageError: the text is not the address of a scheduler.
        PipelineError: no scheduler answers at the address, or TLS is not set up.
    """
    from distributed import Client, Security

    if "://" in scheduler and urlsplit(scheduler).scheme not in _SCHEMES:
        raise UsageError(
            f"scheduler is {scheduler!r}; it has to be tcp://HOST:PORT, or tls://HOST:PORT with the certificates that "
            "Dask's configuration names. (The http:// address is that of the scheduler's dashboard.)"
        )
    if scheduler.startswith("tls://") and Security().get_connection_args("client")["ssl_context"] is None:
        raise PipelineError(
            f"scheduler is {scheduler!r}, and Dask's configuration names no certificates: set "
            "distributed.comm.tls.ca-file, distributed.comm.tls.client.cert and distributed.comm.tls.client.key."
        )
    try:
        return Client(scheduler, timeout="10s", set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise PipelineError(
            f"No Dask scheduler answers at {scheduler!r}; start one with 'dask scheduler', or leave --scheduler "
            "out to use this machine."
        ) from error


def _kill(nannies: Iterable["Nanny"]) -> None:
    """Kill worker processes, which `executor` has given time to save; return when they are dead."""
    killed = []
    for nanny in nannies:
        nanny.close_gracefully()  # because otherwise it would start another process
        if pid := nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
    deadline = time.monotonic() + _DEATH_SECONDS
    # psutil.wait_procs would take the exit codes, for which Dask waits as well.
    while any(map(_is_alive, killed)) and time.monotonic() < deadline:
        time.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
