"""The artifact store: uploads to it, and checks of it that come before the first training."""

import shlex
import tempfile
from pathlib import Path
from typing import Final
from uuid import uuid4

from pipeline.errors import PipelineError
from pipeline.tracking.faults import local_folder
from pipeline.tracking.store import Store

_SQLITE: Final = "sqlite:///"


def check_artifacts(store: Store, run_id: str) -> None:
    """Write an artifact of a run and remove it, because no work may begin whose artifacts cannot be stored.

    Raises:
        PipelineError: artifacts cannot be written, or the artifact folder was moved; the message says what to do.
    """
    check_not_moved(store)
    uri = str(store.call("get_run", run_id).info.artifact_uri)
    store.artifact_request(uri, lambda: _write_and_remove(store, uri))


def upload(store: Store, uri: str, local: Path, folder: str | None = None) -> None:
    """Store a file, or all files of a folder, as artifacts.

    MLflow's client would need one more request, in which it asks the tracking store for the location.

    Args:
        store: the tracking store, whose server passes artifacts on if `uri` says so.
        uri: the location of the artifacts of a run or a model.
        local: the file or the folder to store.
        folder: the folder among the artifacts; by default, their root.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(uri, tracking_uri=store.uri)
    if local.is_dir():
        repository.log_artifacts(str(local), folder)  # type: ignore[no-untyped-call]
    else:
        repository.log_artifact(str(local), folder)  # type: ignore[no-untyped-call]


def check_not_moved(store: Store) -> None:
    """Refuse to go on if the artifact folder is gone, because MLflow would create an empty one in its place.

    Raises:
        PipelineError: the folder is gone; the message says where it was and how to find its content again.
    """
    location = str(store.call("get_experiment", store.experiment_id).artifact_location)
    folder = local_folder(location)
    if folder is None or folder.exists():
        return
    if not store.call("search_logged_models", [store.experiment_id], max_results=1):
        return  # nothing was ever there
    old = shlex.quote(str(folder))
    raise PipelineError(
        f"The artifacts of this experiment were in {folder}, which is gone: has the project been moved? Let the old "
        f"path lead to them: mkdir -p {shlex.quote(str(folder.parent))} && ln -s {_probably(store, folder)} {old} "
        f"(or, if they are lost, begin anew there: mkdir -p {old})"
    )


def has_model(store: Store, model_id: str) -> bool:
    """Whether a logged model has files at its artifact location."""
    return bool(store.call("list_logged_model_artifacts", model_id))


def _probably(store: Store, folder: Path) -> str:
    """Guess the new path of the artifacts, quoted for a shell: beside the database, if they were there before."""
    if store.uri.startswith(_SQLITE):
        moved = Path(store.uri.removeprefix(_SQLITE)).resolve().parent / folder.parent.name / folder.name
        if moved.is_dir():
            return shlex.quote(str(moved))
    return "NEW_PATH"


def _write_and_remove(store: Store, uri: str) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(uri, tracking_uri=store.uri)
    name = f".write-test-{uuid4().hex}"
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary, name)
        file.write_bytes(b"")
        repository.log_artifact(str(file))  # type: ignore[no-untyped-call]
    try:
        repository.delete_artifacts(name)  # type: ignore[no-untyped-call]
    except Exception:  # noqa: BLE001 - who may write need not be allowed to delete
        return
