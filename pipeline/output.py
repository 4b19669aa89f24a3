"""What commands say: results first, in any encoding and without a secret; what only decorates them never fails them."""

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from pipeline.errors import Interrupted, Lost, PipelineError, first_line
from pipeline.redaction import redacted


def say(text: str) -> None:
    """Print to standard output; a closed pipe or a full disk is a warning, because the results are in the store."""
    try:
        _write(text, sys.stdout)
    except (OSError, ValueError) as error:
        warn(f"Standard output cannot be written ({first_line(error)}); the tracking store has the results.")
        with suppress(OSError, ValueError):  # or Python would fail when it writes, at its end, what is still waiting
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(text: str) -> None:
    """Print a warning to standard error."""
    notice(f"Warning: {text}")


def notice(text: str) -> None:
    """Print a line to standard error, broken between words on a terminal; one that cannot be printed is dropped."""
    with suppress(OSError, ValueError):
        _write(_folded(text, sys.stderr), sys.stderr)


def leave_terminal() -> None:
    """Write no more to a terminal that was closed, because what is said there would fail, and the work with it."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            if os.isatty(descriptor):
                os.dup2(nowhere, descriptor)
        os.close(nowhere)


@contextmanager
def decoration(name: str, warn: Callable[[str], None] = warn) -> Iterator[None]:
    """Make what fails inside the `with` a warning, because the results do not need it.

    Args:
        name: of what is made: "curves.png".
        warn: called with the warning.

    Raises:
        Interrupted: as it is, because the user wants to leave.
        Lost: as it is, because the results are another process's to decorate.
    """
    try:
        yield
    except (Interrupted, Lost):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the work before it is done
        reason = error.__cause__ if isinstance(error, PipelineError) and error.__cause__ else error
        warn(f"{name} is missing ({first_line(reason).rstrip('.')}); the results do not need it.")


def _folded(text: str, stream: TextIO) -> str:
    """The text in lines that a terminal does not break; as it is where there is no terminal."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def _write(text: str, stream: TextIO) -> None:
    text = redacted(text)
    try:
        print(text, file=stream, flush=True)
    except UnicodeEncodeError as error:
        print(text.encode(error.encoding, "backslashreplace").decode(error.encoding), file=stream, flush=True)
