"""Errors of a store: whether a retry may succeed, and otherwise what the user can do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from pipeline.errors import first_line
from pipeline.redaction import redacted

_PACKAGES: Final = {
    "psycopg": "'psycopg[binary]'",
    "psycopg2": "psycopg2-binary",
    "MySQLdb": "mysqlclient",
    "google": "google-cloud-storage",
    "azure": "azure-storage-blob",
}
"""The name under which pip installs a module, where it is another name."""
_REFUSED_BY_DATABASE: Final = re.compile(r"authentication failed|Access denied|no password supplied|Login failed")
_NOT_WRITTEN: Final = re.compile(
    r"disk|readonly|read-only|Permission denied|No space left|unable to open database|quota"
)
_INSERTED_TWICE: Final = re.compile(r"IntegrityError|UniqueViolation|UNIQUE constraint|[Dd]uplicate (key|entry)")
"""Two processes inserted the same row at the same time, such as that of a data set; a retry finds the row."""
_DELETED: Final = re.compile(r"The (run|experiment) (\S+) must be in the 'active' state")
_MISSING_RUN: Final = re.compile(r"Run with id=(\w+) not found")
_OTHER_SCHEMA: Final = re.compile(r"database schema \(found version (\w+)")
_SERVER_FAILED: Final = re.compile("too many 500 error responses")
_PASSING_STATUS: Final = (429, 502, 503, 504)
_ARTIFACT_STORE: Final = "artifact store"
_CLOUDS: Final = ("boto", "s3transfer", "google", "azure", "requests")


@dataclass(frozen=True)
class Address:
    """The address of a store, for messages.

    Attributes:
        uri: the location.
        kind: the kind of store, such as "tracking store".
        variable: the environment variable that names the store.
    """

    uri: str
    kind: str = "tracking store"
    variable: str = "MLFLOW_TRACKING_URI"

    def __str__(self) -> str:
        """Its kind and address, without a password."""
        return f"{self.kind} {redacted(self.uri)}"

    @classmethod
    def of_artifacts(cls, location: str) -> Self:
        """Make the address of the artifact store at a location."""
        return cls(location, _ARTIFACT_STORE)

    @property
    def is_remote(self) -> bool:
        """Whether the store is a server that is reached over HTTP."""
        return self.uri.startswith("http")


@contextmanager
def translated() -> Iterator[None]:
    """Convert a database's OperationalError to an MlflowException, as MLflow does only after it opened the database."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except OperationalError as error:
        raise MlflowException(first_line(error), error_code=TEMPORARILY_UNAVAILABLE) from error


def is_of_a_store(error: BaseException) -> bool:
    """Whether an error comes from a store, or from what a store uses: a database, a driver, a cloud, a file system."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    known = isinstance(error, (MlflowException, SQLAlchemyError, OSError, ImportError))
    return known or type(error).__module__.startswith(_CLOUDS)


def passes(error: BaseException, address: Address) -> bool:
    """Whether a retry may succeed, because the store is unavailable for a while but does not refuse the request."""
    from mlflow.exceptions import MlflowException

    text = str(error)
    if _status(error) in _PASSING_STATUS:
        return True
    if not isinstance(error, MlflowException) or _NOT_WRITTEN.search(text) or _REFUSED_BY_DATABASE.search(text):
        return False
    if _INSERTED_TWICE.search(text):
        return True
    return error.error_code == "TEMPORARILY_UNAVAILABLE" or (address.is_remote and error.error_code == "INTERNAL_ERROR")


def explained(error: BaseException, address: Address, request: str) -> str:
    """Explain in one line what went wrong and what the user can do.

    Args:
        error: the exception that a request to the store raised.
        address: the store's address.
        request: the request's name in MLflow, such as "log_batch".
    """
    fault = _Fault(error, address, request, first_line(error).strip().rstrip("."))
    lines = (line for meaning in _MEANINGS if (line := meaning(fault)))
    return next(lines, f"The {address} does not take {request} ({fault.reason}). --verbose shows more.")


class _Fault(NamedTuple):
    error: BaseException
    address: Address
    request: str
    reason: str


def _uninstalled(fault: _Fault) -> str:
    if not isinstance(fault.error, ImportError):
        return ""
    package = _pip(fault.error)
    return (
        f"The {fault.address} needs a package that is not installed ({fault.reason}). Install it: pip install {package}"
    )


def _unknown_scheme(fault: _Fault) -> str:
    if type(fault.error).__name__ not in {"NoSuchModuleError", "ArgumentError"}:
        return ""
    return (
        f"The {fault.address} cannot be opened ({fault.reason}). Set {fault.address.variable} to an address such as "
        "sqlite:///mlflow.db."
    )


def _of_another_mlflow(fault: _Fault) -> str:
    """Explain a database whose tables an older or a newer MLflow made; empty for other errors."""
    found = _OTHER_SCHEMA.search(fault.reason)
    if not found:
        return ""
    import mlflow

    versions = Path(mlflow.__file__).parent / "store/db_migrations/versions"
    if any(versions.glob(f"{found[1]}_*.py")):
        return (
            f"The {fault.address} was made by an older MLflow. Make a copy of the database, then run: "
            f"mlflow db upgrade {redacted(fault.address.uri)}"
        )
    return (
        f"The {fault.address} was made by a newer MLflow than this one, {mlflow.__version__}. "
        "Run: pip install --upgrade mlflow"
    )


def _refused(fault: _Fault) -> str:
    """Explain missing or wrong credentials, or a missing permission; empty for other errors."""
    error, address, request, reason = fault
    code, status = getattr(error, "error_code", None), _status(error)
    if _REFUSED_BY_DATABASE.search(reason):
        return f"The {address} refuses its user or password ({reason}). Correct them in {address.variable}."
    if status == 401 or code in {"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"}:  # noqa: PLR2004 - HTTP's
        return (
            f"The {address} refuses the credentials ({reason}). Set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD to those of a user that it knows."
        )
    if status == 403 or code == "PERMISSION_DENIED":  # noqa: PLR2004 - HTTP's
        return (
            f"The {address} does not permit {request} ({reason}). Have its administrator grant the permission, or set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to those of a user who has it."
        )
    return ""


def _gone(fault: _Fault) -> str:
    if deleted := _DELETED.search(fault.reason):
        kind, identity = deleted.groups()
        return (
            f"The {kind} {identity} was deleted while it was in use. Restore it: "
            f"mlflow {kind}s restore --{kind}-id {identity}"
        )
    if missing := _MISSING_RUN.search(fault.reason):
        return (
            f"The run {missing[1]} is no longer in the {fault.address}. Run the same command again: it makes a new one."
        )
    return ""


def _out(fault: _Fault) -> str:
    if not passes(fault.error, fault.address):
        return ""
    return (
        f"The {fault.address} does not answer ({fault.reason}). Everything reached is kept: start it, or set "
        f"{fault.address.variable} to one that answers, and run the same command again as soon as it does."
    )


def _not_written(fault: _Fault) -> str:
    if "not a database" in fault.reason:
        return f"The {fault.address} is no database ({fault.reason}). Set {fault.address.variable} to another file."
    if fault.address.kind == _ARTIFACT_STORE or _NOT_WRITTEN.search(str(fault.error)):
        reason = "the server failed; its log says why" if _SERVER_FAILED.search(fault.reason) else fault.reason
        return (
            f"The {fault.address} cannot be written ({reason}). Make room or allow writing there. "
            "Run the same command again."
        )
    return ""


_MEANINGS: Final = (_uninstalled, _unknown_scheme, _of_another_mlflow, _refused, _gone, _out, _not_written)


def _pip(error: ImportError) -> str:
    module = (error.name or "").split(".")[0]
    return _PACKAGES.get(module, module or "it")


def _status(error: BaseException) -> int | None:
    """Find the HTTP status in an error of `requests`; None in other errors."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def local_folder(uri: str) -> Path | None:
    """Return the folder at an artifact location, or None if the location is not in a file system of this machine."""
    parts = urlsplit(uri)
    if parts.scheme not in {"", "file"}:
        return None
    from urllib.request import url2pathname

    return Path(url2pathname(parts.path))
