"""Removing secrets from every text that leaves this process, whichever library wrote the text.

Such texts are the output of commands, errors, tags, parameters and texts in the tracking store, and the log.
"""

import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from functools import cache
from types import TracebackType
from typing import Any, Final
from urllib.parse import unquote

_MASK: Final = "***"
_SHORTEST: Final = 4
"""A password with fewer characters is masked in addresses only, because elsewhere the same letters occur by chance."""
_IN_ADDRESS: Final = re.compile(r"(://[^\s/:@'\"]*):[^\s/]*@")
_IN_QUERY: Final = re.compile(r"([?&](?:\w*password|passwd|pwd|token)=)[^&\s'\"]+", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"(?P<before>[^:]*://[^:/@]*):(?P<password>.*)@(?P<after>[^@]*)")
_SECRET_NAME: Final = re.compile(
    r"(?:MLFLOW|OPTUNA|AWS|AZURE|GOOGLE)_.*(?:PASSWORD|TOKEN|SECRET|ACCESS_KEY)$|PGPASSWORD$|MYSQL_PWD$"
)


def redacted(text: str) -> str:
    """Replace every known secret, and every password in an address, by ***.

    Example:
        >>> redacted("cannot reach postgresql://me:opensesame@host/db")
        'cannot reach postgresql://me:***@host/db'
    """
    for secret in _secrets(tuple(_candidates())):
        text = text.replace(secret, _MASK)
    return _IN_QUERY.sub(rf"\1{_MASK}", _IN_ADDRESS.sub(rf"\1:{_MASK}@", text))


def without_secrets(value: Any) -> Any:
    """Remove secrets from an argument of a request: from texts, also in lists and mappings, params and tags."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, dict):
        return {key: without_secrets(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_secrets(each) for each in value]
    if type(value).__name__ in {"Param", "RunTag"}:
        return type(value)(value.key, redacted(value.value))
    return value


@cache
def redact_log_and_tracebacks() -> None:
    """From now on, filter every record of every logger, and the traceback of an error that nobody catches."""
    make = logging.getLogRecordFactory()

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = make(*args, **kwargs)
        made.msg, made.args = redacted(made.getMessage()), ()
        if made.exc_info and made.exc_info[0]:
            made.exc_text = redacted("".join(traceback.format_exception(*made.exc_info)).rstrip())
        return made

    def excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))

    logging.setLogRecordFactory(record)
    sys.excepthook = excepthook


def _candidates() -> Iterator[str]:
    """Yield the environment's values that are secrets, or addresses that may contain one."""
    for name, value in os.environ.items():
        if _SECRET_NAME.match(name) or ("://" in value and "@" in value):
            yield value


@cache
def _secrets(values: tuple[str, ...]) -> list[str]:
    """Find the secrets in those values, the longest first, because one may be a part of another."""
    found: set[str] = set()
    for value in values:
        address = _ADDRESS.match(value)
        if not address and "://" not in value:
            found.add(value)
        elif address and not _is_known(address["password"], address["before"] + address["after"]):
            found |= {address["password"], unquote(address["password"])}
    return sorted((secret for secret in found if len(secret) >= _SHORTEST), key=len, reverse=True)


def _is_known(password: str, others: str) -> bool:
    """Whether the password is another word of its address, as in mlflow:mlflow@host/mlflow, and therefore no secret."""
    return unquote(password) in re.split(r"\W+", others)
