"""Files from the public mirrors, each from the first mirror that gives it."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.errors import PipelineError

if TYPE_CHECKING:
    import requests
    from rich.progress import Progress

TIMEOUT: Final = (5, 30)  # seconds to connect, and between two pieces
PAUSE: Final = 0.5  # seconds before the second try; twice as long before the third
_PIECE: Final = 1 << 16
_LARGEST: Final = 1 << 28
"""Bytes of a file beyond which a mirror is not believed."""


def download(mirrors: Sequence[str], files: Sequence[str], folder: Path, *, quiet: bool) -> None:
    """Bring `files` into `folder`, with a progress bar on a terminal.

    Raises:
        PipelineError: if no mirror gives one of them; says what to do without a network.
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    with requests.Session() as session, _bars(quiet=quiet) as bars:
        retries = Retry(total=2, backoff_factor=PAUSE, status_forcelist=(429, 500, 502, 503, 504))
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retries))
        for file in files:
            faults = []
            for mirror in mirrors:
                try:
                    _get(session, mirror + file, folder / file, bars)
                    break
                except (requests.RequestException, OSError) as error:
                    faults.append(f"{mirror}: {type(error).__name__}")
            else:
                raise PipelineError(
                    f"{file} cannot be downloaded ({'; '.join(faults)}). Without a network, give a folder that holds "
                    "the files with -P source=DIR, or use the bundled digits with -P dataset=digits."
                )


def _get(session: "requests.Session", url: str, target: Path, bars: "Progress | None") -> None:
    with session.get(url, stream=True, timeout=TIMEOUT) as response, target.open("wb") as file:
        response.raise_for_status()
        promised = int(response.headers.get("Content-Length", 0))
        line = bars.add_task(target.name, total=promised or None) if bars else None
        for piece in response.iter_content(_PIECE):
            if file.tell() + len(piece) > _LARGEST:
                raise OSError(f"more than {_LARGEST} bytes")
            file.write(piece)
            if bars and line is not None:
                bars.update(line, advance=len(piece))


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
