"""Many tasks on Dask: processes on this machine, one for each core, or any Dask cluster by its address."""

import asyncio
import atexit
import os
import signal
import sys
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice, pairwise
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import Interrupted, PipelineError
from pipeline.log import is_verbose, show_log
from pipeline.tracking.connection import leave
from pipeline.training.task import Event, EventKind, Outcome, Report, Status, Task
from pipeline.training.trainer import train

if TYPE_CHECKING:
    from distributed import Client, Future, Nanny, Worker

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_STOP_SECONDS: Final = 1.5  # for saving; after it a worker is killed, and goes on from its last checkpoint
_LOST_WORKERS: Final = 10  # a task that takes so many workers with it is given up
_stops: defaultdict[str, threading.Event] = defaultdict(threading.Event)
_stop_all = threading.Event()


def run_tasks(
    tasks: Iterable[Task], *, workers: int | None, scheduler: str | None, report: Report
) -> Generator[Outcome, None, None]:
    """Train every task's network; yields each outcome as it comes.

    Args:
        tasks: independent of each other, begun in their order; the next one is asked for when there is a worker for it,
            after the outcomes so far have been taken.
        workers: processes on this machine; by default one for each core, and never more than there are tasks.
        scheduler: address of a Dask cluster to use instead.
        report: told of progress, from a thread of its own.

    Yields:
        One outcome for each task.

    Raises:
        Interrupted: on Ctrl-C or SIGTERM, after the outcomes of what was stopped.
        PipelineError: if the cluster cannot be reached.
    """
    _quiet()
    from distributed import as_completed

    job = uuid.uuid4().hex
    with _cluster(workers, length_hint(tasks, sys.maxsize), scheduler) as client:
        client.subscribe_topic(job, _Narrator(report).hear)
        futures: dict[Future[Outcome], Task] = {}
        waiting = iter(tasks)
        running = as_completed(loop=client.loop)
        try:
            for task in islice(waiting, max(1, sum(client.nthreads().values()))):
                running.add(_submit(client, task, job, futures))
            for future in running:
                yield _outcome(future, futures.pop(future))
                for task in islice(waiting, 1):
                    running.add(_submit(client, task, job, futures))
        except KeyboardInterrupt as error:
            yield from _stopped(client, job, futures)
            raise Interrupted(f"stopped by {error}") from None
        finally:
            client.unsubscribe_topic(job)


def _submit(client: "Client", task: Task, job: str, futures: dict["Future[Outcome]", Task]) -> "Future[Outcome]":
    future = client.submit(_work, task, job, pure=False, key=f"{task.config.name} {uuid.uuid4().hex}")
    futures[future] = task
    return future


def cost(task: Task) -> int:
    """About the multiplications of a training: what its share of the whole work is."""
    sizes = task.config.layer_sizes(784, 10)
    return task.config.max_epoch * sum(a * b for a, b in pairwise(sizes))


def interruptible() -> None:
    """Make SIGTERM what Ctrl-C is, and both work once: what is under way is then given time to save its state."""

    def interrupt(number: int, _frame: object) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        leave()
        raise KeyboardInterrupt(signal.Signals(number).name)

    for each in _SIGNALS:
        signal.signal(each, interrupt)


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set inside the `with`, instead of interrupting."""
    stop = threading.Event()

    def request(*_: object) -> None:
        stop.set()
        leave()

    before = {each: signal.signal(each, request) for each in _SIGNALS}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _quiet() -> None:
    """Keep Dask's log to itself, in the workers too: it reads this when it is imported."""
    if not is_verbose():
        loggers = ("distributed", "distributed.client", "distributed.gc", "tornado.application", "asyncio")
        os.environ.setdefault("DASK_LOGGING", repr(dict.fromkeys(loggers, "critical")))


def dask_setup(_worker: "Worker") -> None:
    """Make a signal to a worker a request to stop its training; Dask calls this in each process that it starts."""
    show_log()
    for each in _SIGNALS:
        signal.signal(each, lambda *_: _stop_all.set())
    atexit.register(os._exit, 0)  # taking MLflow's modules apart, object by object, would hold the end up for seconds


@contextmanager
def _cluster(workers: int | None, tasks: int, scheduler: str | None) -> Iterator["Client"]:
    import dask.config
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster

    if scheduler:
        try:
            client = Client(scheduler, timeout="10s", set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise PipelineError(
                f"No Dask scheduler answers at {scheduler!r}; start one with 'dask scheduler', or leave --scheduler "
                "out to use this machine."
            ) from error
        with client:
            yield client
        return
    settings = {"distributed.scheduler.allowed-failures": _LOST_WORKERS, "distributed.worker.daemon": True}
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=min(workers or CPU_COUNT, tasks),
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            memory_limit=0,
            silence_logs=False,  # it would silence a process only until that begins to end
            preload=[__name__],
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        try:
            yield client
        except BaseException:
            _kill(cluster.workers.values())
            raise


def _kill(nannies: Iterable["Nanny"]) -> None:
    """End worker processes at once: those that were asked to stop have had their time."""
    for nanny in nannies:
        nanny.close_gracefully()  # or it would start another one
        if nanny.pid:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, signal.SIGKILL)


def _work(task: Task, job: str) -> Outcome:
    """Train in a worker process, telling the client of it."""
    from distributed import get_worker

    worker = get_worker()
    return train(task, report=lambda event: worker.log_event(job, event.as_message()), stop=_EitherStop(job))


class _EitherStop(threading.Event):
    """Set when this job, or the whole process, is to stop."""

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
    return Outcome(task.config, Status.FAILED, reason=f"{type(error).__name__}: {error}".splitlines()[0])


def _stopped(client: "Client", job: str, futures: dict["Future[Outcome]", Task]) -> Iterator[Outcome]:
    """Have the running tasks save their state; those not begun are dropped."""
    from distributed import wait

    def ask() -> None:
        with suppress(Exception, asyncio.CancelledError):
            client.run(_request_stop, job, wait=False)

    waiting = [future for future in futures if not future.done()]
    threading.Thread(target=ask, daemon=True).start()  # a worker that hangs would never answer
    with suppress(OSError, TimeoutError), client.as_current():
        wait(waiting, timeout=_STOP_SECONDS)
    for future in waiting:
        if future.done() and not future.cancelled():
            yield _outcome(future, futures[future])


class _Narrator:
    """Passes on the events of workers, and says so when one begins a network for the second time."""

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
