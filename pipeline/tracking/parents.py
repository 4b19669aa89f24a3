"""The run of a command, which is the parent of its networks' runs."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from pipeline.errors import Interrupted, PipelineError, UsageError
from pipeline.redaction import redacted
from pipeline.tracking.acquisition import create, settled, take_lease
from pipeline.tracking.lease import Watch, holder_in
from pipeline.tracking.names import is_generated
from pipeline.tracking.reaper import Reaper
from pipeline.tracking.runs import CONTINUED_TAG, OwnedRun
from pipeline.tracking.store import FINGERPRINT_TAG, JOB_TAG, PARENT_TAG, Store, TrackedRun

_HOW_TO_GO_ON: Final = "Unset MLFLOW_RUN_ID to have a new run created."


@contextmanager
def command_run(
    store: Store, name: str, parameters: Mapping[str, str], *, parent_id: str | None = None
) -> Iterator["OwnedRun"]:
    """Yield the run of a command; it is RUNNING inside the `with` and ends afterwards.

    The run is the one that `mlflow run` created, or an unfinished run of the same command with the same parameters, or
    a new one. All other unfinished runs of the same command end, and the runs of their networks move to this run.

    Args:
        store: the store of the run.
        name: the run's name: the entry point and its data set, such as "grid mnist".
        parameters: the command's parameters after parsing, because a user can type one value in several ways.
        parent_id: the id of the parent run, or None.

    Raises:
        UsageError: MLFLOW_RUN_ID names a run that this command cannot use.
    """
    job = _job(name, parameters, nested=parent_id is not None)
    given = None if parent_id else os.environ.get("MLFLOW_RUN_ID")
    owned = _given(store, given, job, name) if given else _left_behind(store, job)
    if owned is None:
        parent = {PARENT_TAG: parent_id} if parent_id else {}
        owned = create(store, name, {JOB_TAG: job, **parent})
    reaper = Reaper(store, owned.run_id, job)
    with owned.heartbeat(), reaper.at_work():
        if not store.get(owned.run_id).parameters:  # MLflow refuses to change what `mlflow run` logged as it was typed
            owned.log_parameters(parameters)
        if parent_id:
            owned.tag(PARENT_TAG, parent_id)
        try:
            yield owned
        except (Interrupted, KeyboardInterrupt):
            with suppress(PipelineError):
                reaper.look()  # a worker that could not stop in time was killed
            raise


def _job(name: str, parameters: Mapping[str, str], *, nested: bool) -> str:
    """Compute a digest of a command's entry point and parameters; it is equal for runs of the same command."""
    entry_point = name.partition(" ")[0]
    text = json.dumps([entry_point, nested, dict(parameters)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _given(store: Store, run_id: str, job: str, name: str) -> OwnedRun:
    """Acquire the run that MLFLOW_RUN_ID names.

    Raises:
        UsageError: the run is finished, in use or missing, or belongs to another command.
    """
    run = store.find(run_id)
    if run is None:
        raise UsageError(
            f"MLFLOW_RUN_ID is {run_id}; experiment {store.experiment_id} of {redacted(store.uri)} has no such "
            f"run. {_HOW_TO_GO_ON}"
        )
    if fault := _why_not(run, job):
        raise UsageError(f"MLFLOW_RUN_ID names run {run.name} ({run_id}), which {fault} {_HOW_TO_GO_ON}")
    held = take_lease(store, run)
    owned = settled(store, run, held) if held else None
    if owned is None:
        raise UsageError(
            f"MLFLOW_RUN_ID names run {run.name} ({run_id}), which another process has just taken. {_HOW_TO_GO_ON}"
        )
    with owned.stop_renewing_on_error():
        owned.tag(JOB_TAG, job)
        owned.resume()
        if is_generated(run.name):
            owned.write("update_run", run_id, name=name)
    return owned


def _why_not(run: TrackedRun, job: str) -> str:
    """Say why this command cannot use a run; empty if it can."""
    if run.status == "FINISHED":
        return "is finished: nothing is written into it any more."
    is_new = run.status in {"RUNNING", "SCHEDULED"} and not {JOB_TAG, FINGERPRINT_TAG} & run.tags.keys()
    if not is_new and run.tags.get(JOB_TAG) != job:
        return "belongs to another command, or to one with other values."
    if not Watch().is_free(run.tags):
        return f"is in use by {holder_in(run.tags)}."
    return ""


def _left_behind(store: Store, job: str) -> OwnedRun | None:
    """Acquire an unfinished run of this command that no process works on; return None if there is none."""
    for run in list(store.search(f"tags.{JOB_TAG} = '{job}' and attributes.status != 'FINISHED'")):
        if Watch().is_free(run.tags) and CONTINUED_TAG not in run.tags:
            held = take_lease(store, run)
            if held and (owned := settled(store, run, held)):
                with owned.stop_renewing_on_error():
                    owned.resume()
                return owned
    return None
