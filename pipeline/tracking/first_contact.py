"""The first contact of a process with a tracking store: create its tables, find its experiment."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from pipeline.errors import UsageError
from pipeline.output import notice
from pipeline.tracking.faults import Address

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

_SQLITE: Final = "sqlite:///"
_SILENT_SECONDS: Final = 3.0
"""How long a wait may be before it is announced."""


@contextmanager
def announced(address: Address, seconds: float) -> Iterator[None]:
    """Tell the user about the wait if a store on a server takes more than a few seconds to respond inside the `with`.

    Args:
        address: the store's address.
        seconds: the longest possible wait, for the message.
    """
    if address.uri.startswith(_SQLITE):  # no server to wait for
        yield
        return
    text = f"Waiting for the {address} to answer, for up to {seconds:.0f} s; Ctrl-C stops."
    timer = threading.Timer(_SILENT_SECONDS, notice, [text])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def make_sqlite_store(uri: str) -> None:
    """Create a SQLite store with all its tables; do nothing if the file exists, or if `uri` names another database.

    MLflow creates the tables one by one, so another process could find half of them. Therefore they are created in a
    temporary file, which then gets the store's name, unless another process was faster.

    Raises:
        OSError: the file cannot be written.
    """
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path = Path(uri.removeprefix(_SQLITE))
    if not uri.startswith(_SQLITE) or not path.name or set(uri) & set("?%") or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    made = path.with_name(f".{path.name}.{uuid4().hex}.partial")
    try:
        store = SqlAlchemyStore(f"{_SQLITE}{made}", DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)  # type: ignore[no-untyped-call]
        store.engine.dispose()
        with suppress(FileExistsError):  # another process was first, and its tables are complete, too
            _give_name(made, path)
    finally:
        made.unlink(missing_ok=True)


def _give_name(made: Path, path: Path) -> None:
    """Give a file its name if the name is still free."""
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if not path.exists():
            made.rename(path)


def experiment_id(client: "MlflowClient", address: Address) -> str:
    """Return the id of the experiment that MLflow's environment variables name; one with a new name is created.

    Raises:
        UsageError: a variable names an experiment that cannot be used; the message names the variable.
    """
    for variable in ("MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        if os.environ.get(variable) == "":
            raise UsageError(f"{variable} is empty; unset it, or set it to an experiment of the {address}.")
    if identity := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return _active(_with_id(client, identity, address), "MLFLOW_EXPERIMENT_ID")
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")
    return _active(_with_name(client, name), "MLFLOW_EXPERIMENT_NAME")


def _with_id(client: "MlflowClient", identity: str, address: Address) -> "Experiment":
    from mlflow.exceptions import MlflowException

    try:
        return client.get_experiment(identity)
    except MlflowException as error:
        if error.error_code not in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise
        raise UsageError(
            f"MLFLOW_EXPERIMENT_ID is {identity!r}, which the {address} does not have; unset it, or set it to one of "
            "those that 'mlflow experiments search' lists."
        ) from error


def _with_name(client: "MlflowClient", name: str) -> "Experiment":
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.get_experiment(client.create_experiment(name))
        except MlflowException as error:
            found = client.get_experiment_by_name(name)  # another process may have made it meanwhile
            if found is None and error.error_code == "INVALID_PARAMETER_VALUE":
                raise UsageError(
                    f"MLFLOW_EXPERIMENT_NAME is {name!r}, which MLflow refuses ({error.message})."
                ) from error
            if found is None:
                raise
    return found


def _active(experiment: "Experiment", variable: str) -> str:
    if experiment.lifecycle_stage == "deleted":
        raise UsageError(
            f"The experiment {experiment.name!r} was deleted. Restore it: mlflow experiments restore --experiment-id "
            f"{experiment.experiment_id} - or set {variable} to another one."
        )
    return str(experiment.experiment_id)
