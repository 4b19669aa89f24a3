"""The artifact store: where it is, and whether it can be used, found out before the first training."""

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
    """Write an artifact of a run and remove it, before any work is done whose artifacts could not be kept.

    Raises:
        PipelineError: saying what keeps artifacts from being written, or where those of before were.
    """
    check_not_moved(store)
    uri = str(store.call("get_run", run_id).info.artifact_uri)
    store.artifact_request(uri, lambda: _write_and_remove(store, uri))


def upload(store: Store, uri: str, local: Path, folder: str | None = None) -> None:
    """Store a file, or all files of a folder, as artifacts.

    MLflow's client would first ask the tracking store where the artifacts of a run or a model are.

    Args:
        store: through whose server artifacts go, where it has one.
        uri: where the artifacts are.
        local: the file, or the folder.
        folder: among the artifacts; by default none.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository = get_artifact_repository(uri, tracking_uri=store.uri)
    if local.is_dir():
        repository.log_artifacts(str(local), folder)  # type: ignore[no-untyped-call]
    else:
        repository.log_artifact(str(local), folder)  # type: ignore[no-untyped-call]


def check_not_moved(store: Store) -> None:
    """Refuse to make a new artifact folder in the place of one that is gone.

    Raises:
        PipelineError: saying where the artifacts were and how they are found again.
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
    """Whether the files of a logged model are where MLflow has them."""
    return bool(store.call("list_logged_model_artifacts", model_id))


def _probably(store: Store, folder: Path) -> str:
    """Where the artifacts are now: beside the database, if they were there before."""
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
