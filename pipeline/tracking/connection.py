"""A connection to a tracking store: one MLflow client for each process, and retries while the store is unavailable."""

import itertools
import logging
import os
import threading
import warnings
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from pipeline.errors import PipelineError
from pipeline.errors import first_line as first_line  # noqa: PLC0414 - for those that know it from here
from pipeline.log import is_verbose
from pipeline.redaction import without_secrets
from pipeline.tracking.faults import Address, explained, is_of_a_store, passes, translated
from pipeline.tracking.first_contact import announced, experiment_id, make_sqlite_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

OUTAGE_SECONDS: Final = float(os.environ.get("PIPELINE_OUTAGE_SECONDS", "180"))
"""How long requests are retried while a store is unavailable."""
_OF_RUNS_ARTIFACTS: Final = {"list_artifacts", "download_artifacts"}
_OF_MODELS_ARTIFACTS: Final = {"list_logged_model_artifacts"}
_T = TypeVar("_T")
_log: Final = logging.getLogger(__name__)
_leaving: Final = threading.Event()


def leave() -> None:
    """Stop retrying: from now on, an unreachable store raises at once, because the user wants to leave."""
    _leaving.set()
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "2"


class Connection:
    """An MLflow experiment in a tracking store; small enough to be sent to workers."""

    def __init__(self, uri: str, experiment_id: str) -> None:
        """Keep both addresses; the first request connects."""
        self.uri = uri
        self.experiment_id = experiment_id

    @classmethod
    def open(cls) -> Self:
        """Connect to the store and experiment that MLflow's environment variables name; missing tables are created.

        Raises:
            UsageError: a variable names an experiment that cannot be used.
            PipelineError: the store does not respond.
        """
        _quiet()
        import mlflow

        connection = cls(mlflow.get_tracking_uri(), "")
        with announced(connection.address, OUTAGE_SECONDS):
            connection.experiment_id = connection.patiently("open", connection._first_contact)
        return connection

    def _first_contact(self) -> str:
        make_sqlite_store(self.uri)
        return experiment_id(self.client, self.address)

    @property
    def address(self) -> Address:
        """The store's address, for messages."""
        return Address(self.uri)

    @property
    def client(self) -> "MlflowClient":
        """This process's MLflow client for the store."""
        _quiet()
        return _client(self.uri)

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call a method of MLflow's client, and retry while the store is unavailable; secrets in arguments are removed.

        Raises:
            PipelineError: the store stays unavailable for OUTAGE_SECONDS, or refuses the request.
        """
        args, kwargs = tuple(map(without_secrets, args)), without_secrets(kwargs)
        if method in _OF_RUNS_ARTIFACTS:
            return self.artifact_request(f"of run {args[0]}", lambda: getattr(self.client, method)(*args, **kwargs))
        if method in _OF_MODELS_ARTIFACTS:
            return self.artifact_request(f"of model {args[0]}", lambda: getattr(self.client, method)(*args, **kwargs))
        return self.patiently(method, lambda: getattr(self.client, method)(*args, **kwargs))

    def create(self, method: str, *args: Any, **kwargs: Any) -> tuple[Any, bool]:
        """Call a method of MLflow's client that creates something, and retry while the store is unavailable.

        Returns:
            The answer, and whether the request was made more than once. If it was, two things may have been created,
            because the answer to the first request may have been lost.

        Raises:
            PipelineError: the store stays unavailable for OUTAGE_SECONDS, or refuses the request.
        """
        args, kwargs = tuple(map(without_secrets, args)), without_secrets(kwargs)
        attempts = itertools.count()
        answer = self.patiently(method, lambda: (next(attempts), getattr(self.client, method)(*args, **kwargs))[1])
        return answer, next(attempts) > 1

    def artifact_request(self, location: str, request: Callable[[], _T]) -> _T:
        """Make a request to the artifact store, and retry as `patiently` does; errors name `location`."""
        return self.patiently("artifacts", request, Address.of_artifacts(location))

    def patiently(self, name: str, request: Callable[[], _T], address: Address | None = None) -> _T:
        """Make a request, and retry while the store is unavailable.

        Args:
            name: the request's name, for messages.
            request: makes the request.
            address: the address for errors; by default, that of the tracking store.

        Raises:
            PipelineError: the store stays unavailable for OUTAGE_SECONDS, or refuses the request.
        """
        from tenacity import (
            Retrying,
            retry_if_exception,
            sleep_using_event,
            stop_after_delay,
            stop_when_event_set,
            wait_random_exponential,
        )

        attempts = Retrying(
            retry=retry_if_exception(lambda error: passes(error, self.address)),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            stop=stop_after_delay(OUTAGE_SECONDS) | stop_when_event_set(_leaving),
            sleep=sleep_using_event(_leaving),
            before_sleep=lambda state: _log.info(
                "%s failed for the %dth time, is tried again", name, state.attempt_number
            ),
            reraise=True,
        )
        try:
            answer: _T = attempts(_translating, request)
        except PipelineError:
            raise
        except Exception as error:
            if not is_of_a_store(error):
                raise
            raise PipelineError(explained(error, address or self.address, name)) from error
        return answer


def _translating(request: Callable[[], _T]) -> _T:
    with translated():
        return request()


def load_client() -> None:
    """Import what the first request would import, which takes a second or two; no store is contacted."""
    _quiet()
    import mlflow

    if not mlflow.get_tracking_uri().startswith("http"):
        import mlflow.store.tracking.sqlalchemy_store


@cache
def _client(uri: str) -> "MlflowClient":
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


@cache
def _quiet() -> None:
    """Silence MLflow's output and telemetry, and switch off its retries, because `Connection.patiently` retries."""
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
