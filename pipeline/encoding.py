"""Arguments, variables and folders that are not text in the locale's encoding are refused, because no store keeps them.

Python reads the bytes that it cannot decode as surrogates, which fail much later, in a database or a file.
"""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from pipeline.errors import UsageError

_OWN_VARIABLES: Final = ("MLFLOW_", "OPTUNA_", "PIPELINE_", "MNIST_")


def readable(text: str) -> str:
    """Read as UTF-8 the bytes that the locale's encoding could not decode."""
    return os.fsencode(text).decode("utf-8", "replace") if _has_bytes(text) else text


def refuse_unreadable(arguments: list[str]) -> None:
    """Check the arguments of a command, the variables that it reads, and the current folder.

    Raises:
        UsageError: one of them is not text.
    """
    found = [("argument", text) for text in arguments]
    found += [(f"value of {name}", text) for name, text in os.environ.items() if name.startswith(_OWN_VARIABLES)]
    with suppress(FileNotFoundError):
        found.append(("name of the current folder", str(Path.cwd())))
    encoding = sys.getfilesystemencoding()
    remedy = "give it in UTF-8" if encoding == "utf-8" else "set PYTHONUTF8=1"
    for what, text in found:
        if _has_bytes(text):
            raise UsageError(f"The {what}, {readable(text)!r}, is not text in the encoding {encoding}; {remedy}.")


def _has_bytes(text: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in text)
