"""Acquiring a run: this process creates the run, or takes it over from a process that no longer works on it."""

import getpass
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pipeline.errors import Interrupted, Lost, PipelineError
from pipeline.tracking.lease import LEASE, TAKEOVER_SECONDS, Held, Watch, holder_in, new, take
from pipeline.tracking.runs import DataLineage, OwnedRun, RunRecord
from pipeline.tracking.store import EARLY_STOP_TAG, FINGERPRINT_TAG, PARENT_TAG, Store, TrackedRun

_LOOK_SECONDS: Final = 0.5


class AlreadyFinished(PipelineError):  # noqa: N818 - a state, not a fault
    """Another process finished this network's run just before this process could train the network."""


class Busy(PipelineError):  # noqa: N818 - a state, not a fault
    """Another living process trains this network."""


def acquire(
    store: Store,
    fingerprint: str,
    *,
    name: str,
    parent_id: str | None,
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
    lineage: DataLineage,
    lock: Path,
    already_done: Callable[[], bool],
    notify: Callable[[str], None],
    stop: threading.Event,
) -> OwnedRun:
    """Make this process the only one that trains a network: take over its unfinished run, or create a run.

    Args:
        store: the store of the runs.
        fingerprint: the network's fingerprint.
        name: the name of the run if it is created here.
        parent_id: the id of the parent run, or None.
        parameters: the parameters to log.
        tags: the tags to set.
        lineage: the data set to log.
        lock: a lock file that the processes of this machine share, so that they decide one after the other.
        already_done: returns whether a finished run can be reused; called while the lock is held.
        notify: called with a line for the user when the wait for a lease begins.
        stop: once set, the wait for a lease ends.

    Returns:
        The run, whose lease this process holds.

    Raises:
        AlreadyFinished: `already_done` returned True.
        Busy: another living process trains the network.
        Interrupted: `stop` was set during the wait.
        PipelineError: the store stays unavailable.
    """
    from filelock import FileLock

    lock.parent.mkdir(parents=True, exist_ok=True)
    others = _Others(notify, stop)
    while True:
        held = None
        with FileLock(lock):
            every = _runs(store, fingerprint)
            runs = _unfinished(every)
            busy = others.at_work(runs)
            if not runs:
                if any(run.status == "FINISHED" for run in every) and already_done():
                    raise AlreadyFinished(name)
                if owned := _create_network(store, fingerprint, name, parent_id, tags):
                    with owned.stop_renewing_on_error():
                        _describe(owned, parameters, lineage)
                    return owned
            elif not busy:
                held = take_lease(store, runs[0])
        if held and (owned := settled(store, runs[0], held)):
            with owned.stop_renewing_on_error():
                _resume(owned, runs[0], parent_id, tags)
                _describe(owned, parameters, lineage)
            return owned
        others.wait(busy)


class _Others:
    """Other processes that may be training the network; this process waits until it knows whether they are alive."""

    def __init__(self, notify: Callable[[str], None], stop: threading.Event) -> None:
        self._notify = notify
        self._stop = stop
        self._watches: defaultdict[str, Watch] = defaultdict(Watch)
        self._notified = False

    def at_work(self, runs: Sequence[TrackedRun]) -> list[TrackedRun]:
        """Return the runs that may not be taken over yet."""
        return [run for run in runs if not self._watches[run.run_id].is_free(run.tags)]

    def wait(self, busy: Sequence[TrackedRun]) -> None:
        """Wait a moment before the next look at the runs.

        Raises:
            Busy: a lease was renewed, so its holder is alive.
            Interrupted: this process has to stop.
        """
        for run in busy:
            holder = holder_in(run.tags)
            if self._watches[run.run_id].saw_renewal:
                raise Busy(
                    f"{run.name} is being trained by {holder} (run {run.run_id}). "
                    "Run the same command again when it has finished."
                )
            if not self._notified:
                self._notify(f"{holder} may be training it; waits up to {TAKEOVER_SECONDS:.0f} s for a sign of life")
                self._notified = True
        time.sleep(_LOOK_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - so that two do not keep step
        if self._stop.is_set():
            raise Interrupted(f"stopped while {holder_in(busy[0].tags if busy else {})} may be training it")


def _runs(store: Store, fingerprint: str) -> list[TrackedRun]:
    """Return all runs of a network."""
    return list(store.search(f"tags.{FINGERPRINT_TAG} = '{fingerprint}'"))


def _unfinished(runs: Sequence[TrackedRun]) -> list[TrackedRun]:
    """Select the runs that are neither finished nor stopped early: they can be resumed, or are in training."""
    return [run for run in runs if run.status != "FINISHED" and EARLY_STOP_TAG not in run.tags]


def unfinished_runs(store: Store, fingerprint: str) -> list[TrackedRun]:
    """Return a network's runs that are neither finished nor stopped early: they can be resumed, or are in training."""
    return _unfinished(_runs(store, fingerprint))


def create(store: Store, name: str, tags: Mapping[str, str]) -> OwnedRun:
    """Create a run that has the lease of this process from the beginning.

    If the store's answer is lost, the request is repeated, and the run that the first request created is deleted.
    """
    held = new()
    every_tag = {**_source_tags(), **tags, **held.texts()}
    created, may_be_two = store.create("create_run", store.experiment_id, run_name=name, tags=every_tag)
    run_id = str(created.info.run_id)
    for run in list(store.search(f"tags.{LEASE} LIKE '%{held.lease.holder}%'")) if may_be_two else []:
        if run.run_id != run_id:
            store.call("delete_run", run.run_id)
    held.what = _what(name, run_id)
    return OwnedRun(store, run_id, held, artifact_uri=str(created.info.artifact_uri))


def _create_network(
    store: Store, fingerprint: str, name: str, parent_id: str | None, tags: Mapping[str, str]
) -> OwnedRun | None:
    """Create a network's run; return None if a process on another machine created one at the same time.

    After creating a run, each process looks for others. A process that finds one deletes its own run, waits for a
    random time and tries again.
    """
    parent = {PARENT_TAG: parent_id} if parent_id else {}
    owned = create(store, name, {FINGERPRINT_TAG: fingerprint, **tags, **parent})
    if all(run.run_id == owned.run_id for run in unfinished_runs(store, fingerprint)):
        return owned
    store.call("delete_run", owned.run_id)
    owned.stop_renewing()
    return None


def take_lease(store: Store, run: TrackedRun) -> Held | None:
    """Write this process's lease on a run that may be taken over; return None if another process was faster."""
    try:
        return take(RunRecord(store.call, run.run_id), run.tags, _what(run.name, run.run_id))
    except Lost:
        return None


def settled(store: Store, run: TrackedRun, held: Held) -> OwnedRun | None:
    """Wait until it is certain which process has the lease; return the run, or None if another process has it."""
    try:
        held.settle()
    except Lost:
        return None
    except BaseException:
        held.stop_renewing()
        raise
    return OwnedRun(store, run.run_id, held)


def _resume(owned: OwnedRun, run: TrackedRun, parent_id: str | None, tags: Mapping[str, str]) -> None:
    owned.resume()
    for key, value in tags.items():
        owned.tag(key, value)
    if parent_id:
        reparent(owned.store, run, parent_id)
    owned.logged = {(point.key, point.step) for key in run.metrics for point in owned.history(key)}


def _describe(owned: OwnedRun, parameters: Mapping[str, str], lineage: DataLineage) -> None:
    owned.log_parameters(parameters)
    owned.log_dataset(lineage)


def reparent(store: Store, run: TrackedRun, parent_id: str) -> None:
    """Set the parent of `run` if it has none, or if its parent is deleted, or unfinished and without living process."""
    if run.parent_id == parent_id:
        return
    if run.parent_id is None or _is_given_up(store, run.parent_id):
        store.call("set_tag", run.run_id, PARENT_TAG, parent_id)


def _is_given_up(store: Store, run_id: str) -> bool:
    run = store.find(run_id)
    return run is None or (run.status != "FINISHED" and Watch().is_free(run.tags))


def _what(name: str, run_id: str) -> str:
    return f"Run {name} ({run_id})"


def _source_tags() -> dict[str, str]:
    """Return MLflow's tags for the user and the source of a run."""
    return {"mlflow.user": getpass.getuser(), "mlflow.source.name": "pipeline", "mlflow.source.type": "PROJECT"}
