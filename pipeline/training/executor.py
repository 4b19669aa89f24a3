"""Running many tasks with Dask: on a process for each core of this machine, or on a Dask cluster at an address."""

import asyncio
import atexit
import math
import os
import queue
import signal
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pipeline.errors import Interrupted, PipelineError, UsageError
from pipeline.log import is_verbose, show_log
from pipeline.redaction import redacted
from pipeline.tracking.connection import load_client
from pipeline.training.signals import heard
from pipeline.training.task import Event, EventKind, Outcome, Report, Status, Task
from pipeline.training.trainer import train
from pipeline.training.workers import FOLDERS, NotReady, Workers, with_own_folders

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster, Nanny, Worker

    Ready = Callable[[], LocalCluster]

_SCHEMES: Final = ("tcp", "tls", "ucx", "ws", "wss")
_STOP_SECONDS: Final = 1.5  # to save a checkpoint, before the worker is killed
_LOST_WORKERS: Final = 10  # a task fails after so many of its workers have died
_LOOK_SECONDS: Final = 0.5  # between two checks for workers that joined
_FIRST_LINE_SECONDS: Final = 5.0  # without a worker, before a notice to the user
_LINE_SECONDS: Final = 60.0
_stops: defaultdict[str, threading.Event] = defaultdict(threading.Event)
_stop_all = threading.Event()


def run_tasks(
    tasks: Iterable[Task],
    *,
    workers: int | None,
    scheduler: str | None,
    report: Report,
    worker_timeout: float | None = None,
    starting: "Ready | None" = None,
) -> Generator[Outcome, None, None]:
    """Train the networks of all tasks; yield each outcome as soon as it is there.

    Args:
        tasks: tasks with the same data set and folders. They start in this order, each when a worker is free and the
            outcomes so far were taken. If the iterator ends while tasks run, it is asked again after each outcome.
        workers: the number of processes on this machine; by default, one for each core, and at most one for each task.
        scheduler: address of a Dask cluster to use instead; workers may join it at any time.
        report: called with the events of the trainings, from a thread of its own.
        worker_timeout: seconds for which a cluster may be without workers; by default, there is no limit.
        starting: workers of this machine that `local_workers` has begun to start; by default, they start now.

    Yields:
        One outcome for each task.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM, after the outcomes of the stopped tasks.
        PipelineError: the cluster cannot be reached or used, or its scheduler is lost.
    """
    _quiet()
    job = uuid.uuid4().hex
    with _cluster(workers, length_hint(tasks, sys.maxsize), scheduler, report, starting) as client:
        client.subscribe_topic(job, _Narrator(report).hear)
        crew = _Crew(client, job, report, scheduler, worker_timeout)
        try:
            yield from crew.train(iter(tasks))
        except KeyboardInterrupt as error:
            yield from _stopped(client, job, crew.futures)
            raise Interrupted(f"stopped by {error}") from None
        finally:
            with suppress(OSError):  # the scheduler is lost
                client.unsubscribe_topic(job)


class _Crew:
    """The workers of a cluster, whose number may change, and the tasks that they are working on.

    Attributes:
        futures: the running tasks.
    """

    def __init__(
        self, client: "Client", job: str, report: Report, scheduler: str | None, worker_timeout: float | None
    ) -> None:
        self.futures: dict[Future[Outcome], Task] = {}
        self._client = client
        self._job = job
        self._report = report
        self._scheduler = scheduler
        self._timeout = math.inf if worker_timeout is None else worker_timeout
        self._ended: queue.SimpleQueue[Future[Outcome]] = queue.SimpleQueue()
        self._workers = Workers(client, job, self._say)
        self._alone_since = time.monotonic()
        self._next_line = _FIRST_LINE_SECONDS

    def train(self, waiting: Iterator[Task]) -> Generator[Outcome, None, None]:
        """Keep every worker busy, including workers that join later, until the tasks are done."""
        more = True
        while more or self.futures:
            while len(self.futures) < self._capacity():
                task = next(waiting, None)
                more = task is not None
                if task is None:
                    break
                self._submit(task)
            if self.futures or more:
                with suppress(queue.Empty):
                    future = self._ended.get(timeout=_LOOK_SECONDS)
                    if (outcome := self._outcome(future)) is not None:
                        yield outcome
                        more = True  # the outcome may have made a task ready

    def _submit(self, task: Task) -> None:
        work = _work
        if self._scheduler:
            try:
                self._workers.make_ready(task)
            except (OSError, TimeoutError):
                raise self._lost() from None
            work = _work_elsewhere
        key = f"{task.name} {uuid.uuid4().hex}"
        future = self._client.submit(work, task, self._job, pure=False, key=key)
        self.futures[future] = task
        future.add_done_callback(self._ended.put)

    def _outcome(self, future: "Future[Outcome]") -> Outcome | None:
        """Return the outcome of a task that ended; if its worker was not ready, submit it again and return None."""
        if future.cancelled() or self._client.status != "running":
            raise self._lost()
        task = self.futures.pop(future)
        if isinstance(future.exception(), NotReady):
            self._capacity()
            self._submit(task)
            return None
        return _outcome(future, task)

    def _capacity(self) -> int:
        """Count the tasks that the workers can run at once; new workers are checked first.

        Raises:
            PipelineError: a worker cannot train these networks, no worker joins in time, or the scheduler is lost.
        """
        try:
            threads = self._client.nthreads()
        except (OSError, TimeoutError):
            raise self._lost() from None
        if self._client.status != "running":
            raise self._lost()
        if self._scheduler:
            self._workers.check(threads)
            self._say_whether_waiting(bool(threads))
        return sum(threads.values())

    def _lost(self) -> PipelineError:
        return PipelineError(
            f"The Dask scheduler at {self._scheduler or 'this machine'} is lost. What the networks reached is kept: "
            "start it again, then run the same command again."
        )

    def _say_whether_waiting(self, has_workers: bool) -> None:
        if has_workers:
            self._alone_since, self._next_line = time.monotonic(), _FIRST_LINE_SECONDS
            return
        waited = time.monotonic() - self._alone_since
        if waited >= self._timeout:
            raise PipelineError(
                f"No worker joined the Dask scheduler at {self._scheduler} within {self._timeout:g} s. Start some: "
                f"dask worker {self._scheduler} --nthreads 1. Then run the same command again."
            )
        if waited >= self._next_line:
            self._say(f"waits for workers at {self._scheduler}")
            self._next_line += _LINE_SECONDS

    def _say(self, text: str) -> None:
        self._report(Event(EventKind.NOTICE, "Dask", 1, text=text))


def worker_count(workers: int | None) -> int:
    """Give the number of local workers: `workers`, or by default one for each core."""
    _quiet()
    from dask.system import CPU_COUNT

    return workers or int(CPU_COUNT)


def _quiet() -> None:
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
        signal.signal(each, lambda *_: _stop_all.set())
    load_client()  # while there is no task yet
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
    _quiet()
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
def _cluster(
    workers: int | None, tasks: int, scheduler: str | None, report: Report, starting: "Ready | None"
) -> Iterator["Client"]:
    if scheduler:
        with _connected(scheduler) as client:
            yield client
        return
    count = _count(workers, tasks)
    report(Event(EventKind.WORKERS, "", 0, text=f"starting {count} worker{'s' if count > 1 else ''}"))
    from distributed import Client

    with nullcontext(starting) if starting else local_workers(workers, tasks) as ready:
        cluster = ready()
        with Client(cluster, set_as_default=False) as client:
            try:
                yield client
            except BaseException:
                _kill(cluster.workers.values())
                raise


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
    """Kill worker processes; `_stopped` has given them time to save before."""
    for nanny in nannies:
        nanny.close_gracefully()  # because otherwise it would start another process
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)


def _work(task: Task, job: str) -> Outcome:
    """Train in a worker process, and send the events to the client."""
    from distributed import get_worker

    worker = get_worker()
    return train(task, report=lambda event: worker.log_event(job, event.as_message()), stop=_EitherStop(job))


def _work_elsewhere(task: Task, job: str) -> Outcome:
    """Train in a worker process that this command did not start, in the worker's own folders."""
    return _work(with_own_folders(task, job), job)


class _EitherStop(threading.Event):
    """An event that is set when this job or all work of this process has to stop."""

    def __init__(self, job: str) -> None:
        super().__init__()
        self._job = job

    def is_set(self) -> bool:
        return _stop_all.is_set() or _stops[self._job].is_set()


async def _request_stop(job: str) -> None:  # a coroutine, as Dask waits for the answer to anything else
    _stops[job].set()


def _outcome(future: "Future[Outcome]", task: Task) -> Outcome:
    error = future.exception()
    if error is None:
        outcome: Outcome = future.result()
        return outcome
    return Outcome(task.config, Status.FAILED, reason=redacted(f"{type(error).__name__}: {error}".splitlines()[0]))


def _stopped(client: "Client", job: str, futures: dict["Future[Outcome]", Task]) -> Iterator[Outcome]:
    """Ask running tasks to save their state, and yield the outcomes of those that do; the other tasks are dropped."""
    from distributed import wait

    def ask() -> None:
        with suppress(Exception, asyncio.CancelledError):
            client.run(_request_stop, job, wait=False)

    waiting = [future for future in futures if not future.done()]
    threading.Thread(target=ask, daemon=True).start()  # in a thread, because a worker that hangs never answers
    with suppress(OSError, TimeoutError), client.as_current():
        wait(waiting, timeout=_STOP_SECONDS)
    for future in waiting:
        if future.done() and not future.cancelled():
            yield _outcome(future, futures[future])


class _Narrator:
    """Passes the events of workers on, and adds a notice when a network is begun for the second time."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._begun: Counter[str] = Counter()

    def hear(self, message: tuple[float, tuple[Any, ...]]) -> None:
        event = Event.from_message(message[1])
        if event.kind == EventKind.STARTED:
            self._begun[event.name] += 1
            if self._begun[event.name] > 1:
                text = f"its worker process died; another one {event.text or 'trains it from the start'}"
                self._report(Event(EventKind.NOTICE, event.name, event.max_epoch, event.epoch, text=text))
        self._report(event)
