"""Running many tasks on the workers of a Dask cluster, whose number may change."""

import asyncio
import math
import queue
import sys
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from operator import length_hint
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import Interrupted, PipelineError
from pipeline.redaction import redacted
from pipeline.training.cluster import cluster, replace_lost_workers, stop_all
from pipeline.training.task import Event, EventKind, Outcome, Report, Status, Task
from pipeline.training.trainer import train
from pipeline.training.workers import NotReady, Workers, with_own_folders

if TYPE_CHECKING:
    from distributed import Client, Future

    from pipeline.training.cluster import Ready

_STOP_SECONDS: Final = 1.5  # to save a checkpoint, before the worker is killed
_LOOK_SECONDS: Final = 0.5  # between two checks for workers that joined
_FIRST_LINE_SECONDS: Final = 5.0  # without a worker, before a notice to the user
_LINE_SECONDS: Final = 60.0
_FETCH_SECONDS: Final = 5.0  # to fetch an outcome from its worker; a worker that died took it with it
_stops: defaultdict[str, threading.Event] = defaultdict(threading.Event)


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
    job = uuid.uuid4().hex
    with cluster(workers, length_hint(tasks, sys.maxsize), scheduler, report, starting) as client:
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
        """Return the outcome of a task that ended, or None if the task was submitted again or runs once more.

        The task of a worker that died before its outcome was fetched runs once more, and its future ends again.
        """
        if future.cancelled() or self._client.status != "running":
            raise self._lost()
        task = self.futures[future]
        try:
            not_ready = isinstance(future.exception(_FETCH_SECONDS), NotReady)
            outcome = None if not_ready else _outcome(future, task)
        except TimeoutError:
            self._ended.put(future)
            self._capacity()
            return None
        del self.futures[future]
        if not_ready:
            self._capacity()
            self._submit(task)
        return outcome

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
        else:
            replace_lost_workers(self._client)
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
        return stop_all.is_set() or _stops[self._job].is_set()


async def _request_stop(job: str) -> None:  # a coroutine, as Dask waits for the answer to anything else
    _stops[job].set()


def _outcome(future: "Future[Outcome]", task: Task) -> Outcome:
    """Fetch the outcome of a task that ended.

    Raises:
        TimeoutError: its worker does not give it, because it died.
    """
    error = future.exception(_FETCH_SECONDS)
    if error is None:
        outcome: Outcome = future.result(_FETCH_SECONDS)
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
            with suppress(TimeoutError):
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
