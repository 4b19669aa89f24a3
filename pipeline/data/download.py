"""Files from public mirrors: each is checked on arrival, and comes from the first mirror that gives the right one."""

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

TIMEOUT: Final = (5, 60)  # seconds to connect, and between two bytes: the last resort of a thread that is left behind
TRIES: Final = 3
PAUSE: Final = 0.5  # seconds before the second try; twice as long before the third
_PASSING: Final = (429, 500, 502, 503, 504)  # statuses of a server that may answer otherwise a little later
TICK: Final = 1.0  # seconds between two looks at what has come
PATIENCE: Final = 30  # ticks
SLOWEST: Final = 1000
"""Bytes a tick: a mirror that gave less during all of PATIENCE is left."""
_PIECE: Final = 1 << 12  # small, because a slow mirror is judged by the pieces that have come
_LARGEST: Final = 1 << 28
"""Bytes of a file beyond which a mirror is not believed."""


class _MirrorError(Exception):
    """What a mirror did wrong, as the rest of a sentence that begins with the mirror.

    Attributes:
        passing: another try may go well.
        for_all: the mirror is not asked for any other file either.
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
        mirrors: addresses to which a file's name is appended, in the order in which they are asked.
        files: the check of each file by its name: it raises an IdxError for a file that is not the right one.
        folder: that exists.
        quiet: show no progress.

    Raises:
        PipelineError: if no mirror gives one of them; says what each did, and what to do without a network.
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
    """Download one file from one mirror, in several tries where that may help.

    Raises:
        _MirrorError: if the right file does not come.
        PipelineError: if it cannot be written.
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
    """Download a file in a thread, and leave that thread behind where the mirror is too slow; returns the file."""
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
    """Downloads a file in a thread of its own, which can be left behind.

    A time-out of `requests` begins anew with every byte that comes, also within the header of an answer.

    Attributes:
        received: bytes so far.
        abandoned: set when nobody waits for the file any more.
        written: the file; its name is its own, because an abandoned thread may still have it open.
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
        except Exception as error:  # noqa: BLE001 - it is raised where the file is waited for
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
    """A status with its name, which is not taken from the mirror: a message holds no text from outside."""
    return f"{status} {HTTPStatus(status).phrase}" if status in {*HTTPStatus} else str(status)


def _reason(error: BaseException) -> str:
    """The operating system's word for a failed connection, which libraries wrap several times."""
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
