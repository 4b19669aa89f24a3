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
    """The run of a command, RUNNING inside the `with` and ended after it.

    It is the run that `mlflow run` created, the unfinished run of the same command with the same values, or a new one.
    What else the same command left unfinished ends, and its networks move to this run.

    Args:
        store: where the run is.
        name: the entry point and what it works on: "grid mnist".
        parameters: the command's values as they were parsed, so that each is written in one way only.
        parent_id: the run to fold it under.

    Raises:
        UsageError: if MLFLOW_RUN_ID names a run that is not this command's.
    """
    job = _job(name, parameters, nested=parent_id is not None)
    given = None if parent_id else os.environ.get("MLFLOW_RUN_ID")
    owned = _given(store, given, job, name) if given else _left_behind(store, job)
    if owned is None:
        parent = {PARENT_TAG: parent_id} if parent_id else {}
        owned = create(store, name, {JOB_TAG: job, **parent})
    reaper = Reaper(store, owned.run_id, job)
    with owned.heartbeat(), reaper.at_work():
        if not store.get(owned.run_id).parameters:  # the launcher logs them as they were typed, and MLflow keeps those
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
    """What tells a command from every other: its entry point and its values."""
    entry_point = name.partition(" ")[0]
    text = json.dumps([entry_point, nested, dict(parameters)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _given(store: Store, run_id: str, job: str, name: str) -> OwnedRun:
    """The run that MLFLOW_RUN_ID names.

    Raises:
        UsageError: if it is finished, in use, gone, or another command's.
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
    with owned.forgotten_on_error():
        owned.tag(JOB_TAG, job)
        owned.resume()
        if is_generated(run.name):
            owned.write("update_run", run_id, name=name)
    return owned


def _why_not(run: TrackedRun, job: str) -> str:
    """Why this command may not write into a run; empty if it may."""
    if run.status == "FINISHED":
        return "is finished: nothing is written into it any more."
    is_new = run.status in {"RUNNING", "SCHEDULED"} and not {JOB_TAG, FINGERPRINT_TAG} & run.tags.keys()
    if not is_new and run.tags.get(JOB_TAG) != job:
        return "belongs to another command, or to one with other values."
    if not Watch().is_free(run.tags):
        return f"is in use by {holder_in(run.tags)}."
    return ""


def _left_behind(store: Store, job: str) -> OwnedRun | None:
    """The unfinished run of this command that nobody works on."""
    for run in list(store.search(f"tags.{JOB_TAG} = '{job}' and attributes.status != 'FINISHED'")):
        if Watch().is_free(run.tags) and CONTINUED_TAG not in run.tags:
            held = take_lease(store, run)
            if held and (owned := settled(store, run, held)):
                with owned.forgotten_on_error():
                    owned.resume()
                return owned
    return None
