"""The connection to a tracking store: one client for each process, patient while the store is out, and quiet MLflow."""

import logging
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from pipeline.errors import PipelineError
from pipeline.errors import first_line as first_line  # noqa: PLC0414 - for those that know it from here
from pipeline.log import is_verbose

if TYPE_CHECKING:
    from mlflow import MlflowClient

OUTAGE_SECONDS: Final = float(os.environ.get("PIPELINE_OUTAGE_SECONDS", "180"))
"""How long a store may be out before work on it stops."""
_log: Final = logging.getLogger(__name__)
_leaving: Final = threading.Event()


def leave() -> None:
    """Stop retrying: from now on, an unreachable store raises at once, because the user wants to leave."""
    _leaving.set()
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "2"


class Connection:
    """An MLflow experiment in a tracking store; small enough to be sent to workers."""

    def __init__(self, uri: str, experiment_id: str) -> None:
        """Name the experiment; nothing is contacted until it is used."""
        self.uri = uri
        self.experiment_id = experiment_id

    @classmethod
    def open(cls) -> Self:
        """The store and experiment that MLflow's environment variables name, its tables created where they lack.

        Raises:
            PipelineError: if the store does not answer, before any work is done.
        """
        _quiet()
        import mlflow
        from mlflow.exceptions import MlflowException

        uri = mlflow.get_tracking_uri()
        try:
            with _environment(MLFLOW_HTTP_REQUEST_TIMEOUT="5"), translated():
                experiment_id = _experiment_id(_client(uri))
        except (MlflowException, OSError) as error:
            raise PipelineError(
                f"The tracking store {without_password(uri)} cannot be used ({first_line(error)}). "
                "Start it, or set MLFLOW_TRACKING_URI to one that answers."
            ) from error
        return cls(uri, experiment_id)

    @property
    def client(self) -> "MlflowClient":
        """This process's connection to the store."""
        _quiet()
        return _client(self.uri)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of MLflow's client, trying again while the store is out.

        Raises:
            PipelineError: if it stays out for OUTAGE_SECONDS, or refuses.
        """
        from mlflow.exceptions import MlflowException
        from tenacity import (
            Retrying,
            retry_if_exception,
            sleep_using_event,
            stop_after_delay,
            stop_when_event_set,
            wait_random_exponential,
        )

        attempts = Retrying(
            retry=retry_if_exception(self._passes),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            stop=stop_after_delay(OUTAGE_SECONDS) | stop_when_event_set(_leaving),
            sleep=sleep_using_event(_leaving),
            before_sleep=lambda state: _log.info(
                "%s failed for the %dth time, is tried again", method, state.attempt_number
            ),
            reraise=True,
        )
        try:
            return attempts(self._attempt, method, *args, **kwargs)
        except (MlflowException, OSError) as error:
            raise PipelineError(
                f"The tracking store {without_password(self.uri)} does not take {method} ({first_line(error)}). "
                "Everything reached is kept: run the same command again when the store is well."
            ) from error

    def _attempt(self, method: str, *args: Any, **kwargs: Any) -> Any:
        with translated():
            return getattr(self.client, method)(*args, **kwargs)

    def _passes(self, error: BaseException) -> bool:
        from mlflow.exceptions import MlflowException

        if not isinstance(error, MlflowException) or "disk" in str(error):
            return False
        remote = self.uri.startswith("http")
        return error.error_code == "TEMPORARILY_UNAVAILABLE" or (remote and error.error_code == "INTERNAL_ERROR")


@cache
def _client(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


@contextmanager
def translated() -> Iterator[None]:
    """Make MLflow's own error of a database's, as MLflow does once it has opened it."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except OperationalError as error:
        raise MlflowException(first_line(error), error_code=TEMPORARILY_UNAVAILABLE) from error


def _experiment_id(client: "MlflowClient") -> str:
    if experiment_id := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return str(client.get_experiment(experiment_id).experiment_id)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")
    experiment = client.get_experiment_by_name(name)
    return str(experiment.experiment_id if experiment else client.create_experiment(name))


@cache
def _quiet() -> None:
    """Keep MLflow's chatter and telemetry off, and its own retries: `Store.call` tries again for all stores alike."""
    for key, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }.items():
        os.environ.setdefault(key, value)
    if not is_verbose():
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
        warnings.filterwarnings("ignore", module=r"(mlflow|sqlalchemy|alembic|pydantic)\b")
        for library in ("mlflow", "alembic", "sqlalchemy"):
            logging.getLogger(library).setLevel(logging.CRITICAL)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def without_password(uri: str) -> str:
    """A URI whose password is replaced by ***."""
    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":***@") if password else uri
