"""The output of commands, in any encoding and without secrets; a failed picture or description fails no command."""

import os
import re
import shutil
import stat
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO

from pipeline.errors import Interrupted, Lost, PipelineError, first_line
from pipeline.redaction import redacted


def say(text: str) -> None:
    """Print to standard output; a closed pipe or a full disk is only a warning, because the store has the results."""
    try:
        _write(text, sys.stdout)
    except (OSError, ValueError) as error:
        warn(f"Standard output cannot be written ({first_line(error)}); the tracking store has the results.")
        with suppress(OSError, ValueError):  # because Python would fail when it flushes the rest at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(text: str) -> None:
    """Print a warning to standard error."""
    notice(f"Warning: {text}")


def notice(text: str) -> None:
    """Print a line to standard error, broken between words on a terminal; one that cannot be printed is dropped."""
    with suppress(OSError, ValueError):
        _write(_folded(one_line(text), sys.stderr), sys.stderr)


def leave_terminal() -> None:
    """Write nothing more to a closed terminal, because an error of such a write would end the work.

    A closed terminal is still a character device, but no longer a terminal for `os.isatty`.
    """
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode):
                os.dup2(nowhere, descriptor)
        os.close(nowhere)


@contextmanager
def decoration(name: str, warn: Callable[[str], None] = warn) -> Iterator[None]:
    """Turn an error inside the `with` into a warning, because the results are complete without this output.

    Args:
        name: name of the output: "curves.png".
        warn: called with the warning.

    Raises:
        Interrupted: raised inside the `with`, because the user wants to leave.
        Lost: raised inside the `with`, because another process now makes this output.
    """
    try:
        yield
    except (Interrupted, Lost):
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, the work before it is done
        reason = error.__cause__ if isinstance(error, PipelineError) and error.__cause__ else error
        warn(f"{name} is missing ({first_line(reason).rstrip('.')}); the results do not need it.")


def _folded(text: str, stream: TextIO) -> str:
    """Break the text into lines that fit the terminal; without a terminal, the text stays as it is."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def printable(text: str) -> str:
    r"""Escape the control characters of a text, line ends and tabs excepted, because a terminal would obey them.

    Example:
        >>> printable("a name \x1b[2J")
        'a name \\x1b[2J'
    """
    return _CONTROLS.sub(_escaped, text)


def one_line(text: str) -> str:
    """Escape control characters and line ends, so that a name with line ends in it does not pass for a message."""
    return printable(text.replace("\n", r"\n"))


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


_CONTROLS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, and those that change the direction of writing."""


def _write(text: str, stream: TextIO) -> None:
    text = printable(redacted(text))
    try:
        print(text, file=stream, flush=True)
    except UnicodeEncodeError as error:
        print(text.encode(error.encoding, "backslashreplace").decode(error.encoding), file=stream, flush=True)
