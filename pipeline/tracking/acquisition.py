"""Becoming the one process that trains a network: its unfinished run goes on, or a new one is created."""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.errors import Interrupted, PipelineError
from pipeline.tracking.lease import LEASE_SECONDS, is_here, new_lease
from pipeline.tracking.runs import (
    Busy,
    DataLineage,
    OwnedRun,
    create_once,
    holds_living_lease,
    lease_of,
    log_parameters,
    source_tags,
)
from pipeline.tracking.store import EARLY_STOP_TAG, PARENT_TAG, Store, TrackedRun

_DYING_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.5
_UNFINISHED: Final = ("RUNNING", "KILLED", "FAILED", "SCHEDULED")


class AlreadyFinished(PipelineError):  # noqa: N818 - a state, not a fault
    """This network's run was finished while this process was about to train it."""


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
    """Become the one process that trains a network: go on with its unfinished run, or create one.

    Args:
        store: where the run is.
        fingerprint: the network's.
        name: of the run, where it is created.
        parent_id: the run to fold it under.
        parameters: logged where the run is created.
        tags: set on the run.
        lineage: logged where the run is created.
        lock: a file that the processes of this machine share.
        already_done: whether a finished run can be reused; called while the lock is held.
        notify: called with a line for the user when the wait for a lease begins.
        stop: once set, the wait for a lease ends.

    Raises:
        AlreadyFinished: if `already_done` says so.
        Busy: if another living process has it.
        Interrupted: on `stop`.
        PipelineError: if the store stays out.
    """
    from filelock import FileLock

    lock.parent.mkdir(parents=True, exist_ok=True)
    seen: Mapping[str, Any] | None = None
    patience = time.monotonic() + _DYING_SECONDS
    while True:
        with FileLock(lock):
            unfinished = _unfinished(store, fingerprint)
            if unfinished is None:
                if already_done():
                    raise AlreadyFinished(name)
                return _create(store, fingerprint, name, parent_id, parameters, tags, lineage)
            if not holds_living_lease(unfinished):
                owned = _take_over(store, unfinished, parent_id, tags)
                _describe(store, owned.run_id, parameters, lineage)
                return owned
        lease = lease_of(unfinished)
        holder = f"process {lease['pid']} on {lease['host']}"
        renewed = seen is not None and lease != seen
        if renewed or (is_here(lease) and time.monotonic() > patience):
            raise Busy(
                f"{unfinished.name} is being trained by {holder} (run {unfinished.run_id}). "
                "Run the same command again when it has finished."
            )
        if seen is None and not is_here(lease):
            notify(f"{holder} may be training it; waits up to {LEASE_SECONDS:.0f} s for a sign of life")
        seen = lease
        time.sleep(_LOOK_SECONDS)
        if stop.is_set():
            raise Interrupted(f"stopped while {holder} may be training it")


def _unfinished(store: Store, fingerprint: str) -> TrackedRun | None:
    runs = store.search(f"tags.fingerprint = '{fingerprint}' and attributes.status != 'FINISHED'")
    return next((run for run in runs if EARLY_STOP_TAG not in run.tags), None)


def _create(
    store: Store,
    fingerprint: str,
    name: str,
    parent_id: str | None,
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
    lineage: DataLineage,
) -> OwnedRun:
    every_tag = {"fingerprint": fingerprint, "lease": new_lease(), **source_tags(), **tags}
    if parent_id:
        every_tag[PARENT_TAG] = parent_id
    run_id = create_once(store, name, every_tag)
    _describe(store, run_id, parameters, lineage)
    return OwnedRun(store, run_id, set())


def _take_over(store: Store, run: TrackedRun, parent_id: str | None, tags: Mapping[str, str]) -> OwnedRun:
    lease = new_lease()
    store.call("set_tag", run.run_id, "lease", lease)
    if (before := lease_of(run)) and not is_here(before):
        time.sleep(2)  # two machines may have seen the lease end at once: the one that wrote last has it
        if store.get(run.run_id).tags.get("lease") != lease:
            raise Busy(f"{run.name} (run {run.run_id}) was taken up by another machine at the same moment.")
    store.call("update_run", run.run_id, status="RUNNING")
    for key, value in tags.items():
        store.call("set_tag", run.run_id, key, value)
    if "reason" in run.tags:
        store.call("delete_tag", run.run_id, "reason")
    if parent_id:
        reparent(store, run, parent_id)
    owned = OwnedRun(store, run.run_id, set())
    owned.logged = {(point.key, point.step) for key in run.metrics for point in store.history(run.run_id, key)}
    return owned


def _describe(store: Store, run_id: str, parameters: Mapping[str, str], lineage: DataLineage) -> None:
    log_parameters(store, run_id, parameters)
    OwnedRun(store, run_id, set()).log_dataset(lineage)


def reparent(store: Store, run: TrackedRun, parent_id: str) -> None:
    """Fold `run` under another parent, if its own is unfinished and its process is dead."""
    if run.parent_id == parent_id:
        return
    if run.parent_id is None or _given_up(store, run.parent_id):
        store.call("set_tag", run.run_id, PARENT_TAG, parent_id)


def _given_up(store: Store, run_id: str) -> bool:
    run = store.get(run_id)
    return run.status in _UNFINISHED and not holds_living_lease(run)
