"""The run that stands for a whole command, under which the networks' runs are folded."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from pipeline.errors import Interrupted, PipelineError
from pipeline.tracking.lease import new_lease
from pipeline.tracking.runs import OwnedRun, create_once, holds_living_lease, log_parameters, source_tags
from pipeline.tracking.store import PARENT_TAG, Store


@contextmanager
def command_run(
    store: Store, name: str, parameters: Mapping[str, str], *, parent_id: str | None = None
) -> Iterator["OwnedRun"]:
    """The run of a command, RUNNING inside the `with` and ended after it.

    It is the run that `mlflow run` created, the unfinished run of an interrupted command with the same parameters, or
    a new one. With `parent_id` it is folded under that run.
    """
    job = hashlib.sha256(json.dumps([name, dict(parameters)], sort_keys=True).encode()).hexdigest()[:32]
    _reap(store)
    run_id = None if parent_id else os.environ.get("MLFLOW_RUN_ID")
    if run_id:
        store.call("update_run", run_id, name=name)
    else:
        run_id = _left_behind(store, job) or _new_parent(store, name, job)
        log_parameters(store, run_id, parameters)
    for key, value in {"job": job, "lease": new_lease(), **({PARENT_TAG: parent_id} if parent_id else {})}.items():
        store.call("set_tag", run_id, key, value)
    owned = OwnedRun(store, run_id, set())
    with owned.heartbeat():
        try:
            yield owned
        except (Interrupted, KeyboardInterrupt):
            with suppress(PipelineError):
                _reap(store)  # a worker that could not stop in time was killed
            raise


def _left_behind(store: Store, job: str) -> str | None:
    runs = store.search(f"tags.job = '{job}' and attributes.status != 'FINISHED'")
    run_id = next((run.run_id for run in runs if not holds_living_lease(run)), None)
    if run_id:
        store.call("update_run", run_id, status="RUNNING")
    return run_id


def _new_parent(store: Store, name: str, job: str) -> str:
    tags = {"job": job, "lease": new_lease(), **source_tags()}  # at once: killed after this, it can be found again
    return create_once(store, name, tags)


def _reap(store: Store) -> None:
    """Mark as KILLED what dead processes left RUNNING."""
    for run in list(store.search("attributes.status = 'RUNNING' and tags.lease LIKE '%'")):
        if not holds_living_lease(run):
            store.call("set_terminated", run.run_id, "KILLED")
