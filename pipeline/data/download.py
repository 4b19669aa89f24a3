"""Downloads from public mirrors: each file is verified, and comes from the first mirror that sends the right one."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from pipeline.data.idx import IdxError
from pipeline.errors import PipelineError
from pipeline.output import warn

if TYPE_CHECKING:
    import requests
    from rich.progress import Progress

TIMEOUT: Final = (5, 60)  # seconds to connect, and between two bytes; it ends abandoned threads at last
TRIES: Final = 3
PAUSE: Final = 0.5  # seconds before the second try; twice as long before the third
_PASSING: Final = (429, 500, 502, 503, 504)  # statuses after which another try may succeed
TICK: Final = 1.0  # seconds between two measurements of the progress
PATIENCE: Final = 30  # ticks
SLOWEST: Final = 1000
"""Bytes per tick; a mirror that sends less on average during PATIENCE is abandoned."""
_PIECE: Final = 1 << 12  # small, because a mirror's speed is measured in received pieces
_LARGEST: Final = 1 << 28
"""The most bytes of a file; a mirror that sends more cannot be right."""


class _MirrorError(Exception):
    """A mirror's fault; its text completes a sentence that begins with the mirror's address.

    Attributes:
        passing: another try may succeed.
        for_all: no other file is requested from this mirror.
    """

    def __init__(self, fault: str, *, passing: bool = False, for_all: bool = False) -> None:
        super().__init__(fault)
        self.passing = passing
        self.for_all = for_all


def download(
    mirrors: Sequence[str], files: Mapping[str, Callable[[Path], object]], folder: Path, *, quiet: bool
) -> None:
    """Bring files into a folder, with a progress bar on a terminal.

    Args:
        mirrors: addresses to which a file's name is appended; they are tried in this order.
        files: a check for each file, by the file's name; it raises an IdxError for a wrong file.
        folder: an existing folder.
        quiet: show no progress.

    Raises:
        PipelineError: no mirror sends one of the files; the message gives each mirror's fault and other sources.
    """
    lost: dict[str, str] = {}
    with _bars(quiet=quiet) as bars:
        for file, check in files.items():
            faults = dict(lost)
            for mirror in mirrors:
                if mirror in lost:
                    continue
                try:
                    _fetch(mirror + file, folder / file, check, bars)
                    break
                except _MirrorError as error:
                    faults[mirror] = str(error)
                    if error.for_all:
                        lost[mirror] = str(error)
                    warn(f"{mirror} {error}; {file} has to come from another mirror.")
            else:
                reasons = "; ".join(f"{mirror} {fault}" for mirror, fault in faults.items())
                raise PipelineError(
                    f"{file} cannot be downloaded: {reasons}. Get the files in another way and name their folder with "
                    "-P source=DIR, or use the bundled digits with -P dataset=digits."
                )


def _fetch(url: str, target: Path, check: Callable[[Path], object], bars: "Progress | None") -> None:
    """Download one file from one mirror, and try again after a passing fault.

    Raises:
        _MirrorError: the mirror does not send the right file.
        PipelineError: the file cannot be written.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

    line = bars.add_task(target.name, total=None) if bars else None

    def show(received: int, total: int | None) -> None:
        if bars and line is not None:
            bars.update(line, completed=received, total=total)

    tries = Retrying(
        retry=retry_if_exception(lambda error: isinstance(error, _MirrorError) and error.passing),
        stop=stop_after_attempt(TRIES),
        wait=wait_exponential(PAUSE),
        reraise=True,
    )
    written = tries(_try, url, target, show)
    try:
        check(written)
    except IdxError as error:
        raise _MirrorError(f"sent a file that {error.fault}") from error
    written.rename(target)


def _try(url: str, target: Path, show: Callable[[int, int | None], None]) -> Path:
    """Download a file in a thread, and abandon the thread if the mirror is too slow; returns the file."""
    transfer = _Transfer(url, target, show)
    transfer.start()
    received = deque([0], maxlen=PATIENCE + 1)
    while transfer.is_alive():
        transfer.join(TICK)
        received.append(transfer.received)
        if len(received) > PATIENCE and received[-1] - received[0] < PATIENCE * SLOWEST and transfer.is_alive():
            transfer.abandoned = True
            fault = f"gave less than {SLOWEST / TICK / 1000:.3g} kB/s for {PATIENCE * TICK:.3g} s"
            raise _MirrorError(fault, for_all=True)
    if transfer.error:
        raise transfer.error
    return transfer.written


class _Transfer(threading.Thread):
    """Downloads a file in its own thread, which the caller can abandon.

    A time-out of `requests` does not stop a slow mirror, because it starts again with every received byte.

    Attributes:
        received: bytes received so far.
        abandoned: set when nobody waits for the file any more.
        written: the file; its name is unique, because an abandoned thread may still write to another one.
        error: why the download failed.
    """

    def __init__(self, url: str, target: Path, show: Callable[[int, int | None], None]) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.received = 0
        self.abandoned = False
        self.written = target.with_name(f"{target.name}.{uuid4().hex}")
        self.error: Exception | None = None
        self._show = show

    def run(self) -> None:
        import requests

        try:
            with requests.get(self.url, stream=True, timeout=TIMEOUT) as response:
                self._write(response)
        except requests.RequestException as error:
            self.error = _fault(error)
        except OSError as error:
            self.error = PipelineError(
                f"{self.written} cannot be written ({error.strerror or error}); make room or allow writing there, or "
                "name another folder for temporary files in the environment variable TMPDIR."
            )
        except Exception as error:  # noqa: BLE001 - the waiting thread raises it
            self.error = error

    def _write(self, response: "requests.Response") -> None:
        status = response.status_code
        if status != HTTPStatus.OK:
            raise _MirrorError(f"answered with status {_named(status)}", passing=status in _PASSING)
        length = response.headers.get("Content-Length", "")
        total = int(length) if length.isascii() and length.isdigit() else None
        with self.written.open("wb") as file:
            for piece in response.iter_content(_PIECE):
                if self.abandoned:
                    return
                self.received += len(piece)
                if self.received > _LARGEST:
                    raise _MirrorError(f"sent more than {_LARGEST:,} bytes")
                file.write(piece)
                self._show(self.received, total)


def _fault(error: "requests.RequestException") -> _MirrorError:
    import requests

    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return _MirrorError("broke off before the end of the file", passing=True)
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        return _MirrorError(f"cannot be reached ({_reason(error)})", passing=True, for_all=True)
    return _MirrorError(f"sent an answer that cannot be read ({type(error).__name__})")


def _named(status: int) -> str:
    """Name a status in Python's words, not the mirror's, because messages must not contain text from outside."""
    return f"{status} {HTTPStatus(status).phrase}" if status in {*HTTPStatus} else str(status)


def _reason(error: BaseException) -> str:
    """Find the operating system's reason for a failed connection in the exceptions that libraries wrap around it."""
    cause = error
    while True:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        inner = cause.__cause__ or cause.__context__
        if inner is None:
            return type(cause).__name__
        cause = inner


def _bars(*, quiet: bool) -> "Progress | nullcontext[None]":
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        if not quiet:
            console.print("Downloading the data set.")
        return nullcontext()
    return Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console
    )
