"""Optuna's storage: its URL without a password, and calls that retry while it is locked or unavailable."""

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pipeline.errors import PipelineError, UsageError
from pipeline.output import notice
from pipeline.redaction import redacted
from pipeline.search.sampling import quiet_optuna
from pipeline.tracking.connection import OUTAGE_SECONDS
from pipeline.tracking.faults import Address, explained

if TYPE_CHECKING:
    import optuna
    from tenacity import RetryCallState

_T = TypeVar("_T")

DEFAULT_STORAGE: Final = "sqlite:///optuna.db"
_SILENT_SECONDS: Final = 5.0
_SQLITE_SECONDS: Final = 2  # SQLite's own wait for a lock; a longer one would delay the notice about the wait
_CREATION_ATTEMPTS: Final = 20
_PASSWORDS: Final = {"password", "passwd", "pwd"}
"""What the drivers of databases call a password in the query of a URL."""
_PASSING: Final = ("OperationalError", "InterfaceError", "TimeoutError")


def storage_url(given: str | None) -> str:
    """Return the URL of the storage; a relative path in it becomes absolute, because workers may run in other folders.

    Args:
        given: the URL that the user gave; by default, OPTUNA_STORAGE or a file in the working folder.

    Raises:
        UsageError: the text contains a password, or it is not the URL of a database.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    url = given or os.environ.get("OPTUNA_STORAGE") or DEFAULT_STORAGE
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError(
            f"The Optuna storage is {redacted(url)!r}, which is no URL of a database. Set OPTUNA_STORAGE to "
            f"one, such as {DEFAULT_STORAGE}."
        ) from error
    if parsed.password or _PASSWORDS & parsed.query.keys():
        where = "storage" if given else "OPTUNA_STORAGE"
        raise UsageError(
            f"{where} is {redacted(url)!r}, with a password, which other processes would be sent. Leave it out, and "
            "give it to the database's driver: in a file that PGPASSFILE names for PostgreSQL, in an option file "
            "(?read_default_file=/ABSOLUTE/PATH) for MySQL."
        )
    if parsed.drivername.startswith("sqlite") and parsed.database:
        parsed = parsed.set(database=str(Path(parsed.database).resolve()))
    return parsed.render_as_string(hide_password=False)


class Storage:
    """An Optuna storage; calls retry while it is locked or unavailable, as for the tracking store.

    Example:
        >>> storage = Storage.open("sqlite:///optuna.db")
        >>> storage.call(lambda: storage.backend.get_all_studies())
        []
    """

    def __init__(self, url: str, backend: "optuna.storages.RDBStorage") -> None:
        """Wrap an open connection; `open` connects."""
        self.url = url
        self.backend = backend

    @classmethod
    def open(cls, url: str) -> "Storage":
        """Connect this process to a storage; missing tables are created.

        Raises:
            PipelineError: the storage cannot be used, or another version of Optuna made its tables.
        """
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError

        try:
            return cls(url, _connected(url))
        except RuntimeError as error:  # Optuna raises this for the tables of another version
            raise PipelineError(_of_other_version(url, error)) from error
        except ImportError as error:
            missing = error.__cause__ if isinstance(error.__cause__, ImportError) else error
            address = Address(url, "Optuna storage", "OPTUNA_STORAGE")
            raise PipelineError(explained(missing, address, "open")) from error
        except (SQLAlchemyError, OptunaError, ValueError, AssertionError) as error:
            raise PipelineError(
                f"The Optuna storage {redacted(url)} cannot be used ({_reason(error)}). Set OPTUNA_STORAGE to "
                f"one that can, such as {DEFAULT_STORAGE}."
            ) from error

    def call(self, operation: Callable[[], _T]) -> _T:
        """Run an operation on the storage, and retry while it is unavailable; a repeated operation must do no harm.

        Raises:
            PipelineError: the storage stays unavailable for OUTAGE_SECONDS.
        """
        from optuna.exceptions import OptunaError
        from sqlalchemy.exc import SQLAlchemyError
        from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

        attempts = Retrying(
            retry=retry_if_exception(_is_passing),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            stop=stop_after_delay(OUTAGE_SECONDS),
            before_sleep=_Notice(self.url),
            reraise=True,
        )
        try:
            return attempts(operation)
        except (SQLAlchemyError, OptunaError) as error:
            raise PipelineError(
                f"The Optuna storage {redacted(self.url)} does not answer ({_reason(error)}). Everything "
                "reached is kept: run the same command again when it does."
            ) from error


class _Notice:
    """Prints one notice about the wait for a storage, once the wait is longer than a few seconds."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._given = False

    def __call__(self, state: "RetryCallState") -> None:
        if self._given or (state.seconds_since_start or 0.0) < _SILENT_SECONDS or state.outcome is None:
            return
        self._given = True
        reason = _reason(state.outcome.exception())
        notice(
            f"The Optuna storage {redacted(self._url)} does not answer ({reason}); waits for up to "
            f"{OUTAGE_SECONDS:.0f} s."
        )


@cache
def _connected(url: str) -> "optuna.storages.RDBStorage":
    """Connect and create the tables; retry if another process creates them at the same moment."""
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_after_delay, wait_random_exponential

    quiet_optuna()
    import optuna

    def connect() -> optuna.storages.RDBStorage:
        options = {"connect_args": {"timeout": _SQLITE_SECONDS}} if url.startswith("sqlite") else None
        return optuna.storages.RDBStorage(url, engine_kwargs=options)

    def again(error: BaseException) -> bool:
        return _is_locked(error) or _is_of_creation(error)

    def enough(state: "RetryCallState") -> bool:
        error = state.outcome.exception() if state.outcome else None
        by_time, by_number = stop_after_delay(OUTAGE_SECONDS), stop_after_attempt(_CREATION_ATTEMPTS)
        return by_time(state) if error is not None and _is_locked(error) else by_number(state)

    attempts = Retrying(
        retry=retry_if_exception(again),
        wait=wait_random_exponential(multiplier=0.05, max=1),
        stop=enough,
        before_sleep=_Notice(url),
        reraise=True,
    )
    return attempts(connect)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _is_passing(error: BaseException) -> bool:
    """Whether a retry may succeed: the database is locked, or cannot be reached."""
    chain = list(_chain(error))
    known = any(type(each).__name__ in _PASSING and type(each).__module__.startswith("sqlalchemy") for each in chain)
    return known and not any("no such" in str(each) or "disk is full" in str(each) for each in chain)


def _is_locked(error: BaseException) -> bool:
    return any("locked" in str(each) for each in _chain(error))


def _is_of_creation(error: BaseException) -> bool:
    """Whether another process may have caused this error by creating the same tables at the same moment."""
    texts = " ".join(str(each) for each in _chain(error)).lower()
    return isinstance(error, AssertionError) or any(text in texts for text in ("already exists", "unique", "duplicate"))


def _of_other_version(url: str, error: BaseException) -> str:
    hidden = redacted(url)
    if "storage upgrade" in str(error):
        return (
            f"The Optuna storage {hidden} has the tables of an older Optuna. Run 'optuna storage upgrade --storage "
            f'"{hidden}"\', then the same command again.'
        )
    return (
        f"The Optuna storage {hidden} has the tables of a newer Optuna. Install that one, or set OPTUNA_STORAGE to "
        f"another storage, such as {DEFAULT_STORAGE}."
    )


def _reason(error: BaseException | None) -> str:
    """Return the database's message, without the SQL statement that failed."""
    *_, first = _chain(error)
    lines = str(getattr(first, "orig", None) or first).strip().splitlines()
    return lines[0] if lines else type(first).__name__
