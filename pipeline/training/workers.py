"""What a worker of a cluster needs before it trains: the same version of this project, its folders, and the data set.

The worker's side of each step is a function that the command has Dask call on it. A worker that lacks the data set gets
it from the command, so that no folder has to be shared.
"""

import hashlib
import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from pipeline.data import datasets, transfer
from pipeline.errors import PipelineError, first_line
from pipeline.files import write_atomically
from pipeline.training.task import Task

if TYPE_CHECKING:
    from distributed import Client, Worker

FOLDERS: Final = {"data_dir": "PIPELINE_DATA_DIR", "checkpoint_dir": "PIPELINE_CHECKPOINT_DIR"}
"""Environment variables in which a worker of another machine names its own folders."""
_FOLDER_ID: Final = ".folder-id"
"""A file in each checkpoint folder, by which two processes know whether they share the folder."""
_ready: Final[dict[str, "Place"]] = {}
"""The jobs that this worker process has been made ready for."""


class NotReady(Exception):  # noqa: N818 - a state, not a fault
    """The worker has just joined, and got a task before the command saw it."""


@dataclass(frozen=True)
class Place:
    """The folders of a worker, for its data and its checkpoints.

    Attributes:
        host: the name of the worker's machine.
        data_dir: its data folder.
        checkpoint_dir: its checkpoint folder.
        checkpoints: the id of the checkpoint folder, the same for all workers that share the folder.
        data: the digest of the data set in its data folder; None if there is none, or a damaged one.
        fault: why the worker cannot use the folders; empty if it can.
    """

    host: str
    data_dir: Path
    checkpoint_dir: Path
    checkpoints: str = ""
    data: str | None = None
    fault: str = ""


@dataclass(frozen=True)
class Job:
    """What the tasks of one command have in common.

    Attributes:
        key: a unique id of the job.
        dataset: the name of the data set.
        digest: the digest of the data set.
        data_dir: the command's data folder.
        checkpoint_dir: the command's checkpoint folder.
    """

    key: str
    dataset: str
    digest: str
    data_dir: Path
    checkpoint_dir: Path

    @classmethod
    def of(cls, task: Task, key: str) -> "Job":
        """Make the job of a task; its other tasks train on the same data set, in the same folders."""
        digest = datasets.load(task.config.dataset, task.data_dir).digest
        return cls(key, task.config.dataset, digest, task.data_dir, task.checkpoint_dir)


def versions() -> dict[str, str]:
    """Return the versions that workers and command must share; otherwise tasks may fail or give other weights.

    A digest of the code is among them, because a worker keeps the code that it imported, even after an installation.
    """
    from importlib.metadata import version

    return {**{name: version(name) for name in ("mlp-experiments", "distributed")}, "code": _CODE}


def _digest_of_code() -> str:
    """Compute a digest of this project's source with its comments, because no program can tell which changes matter."""
    root = Path(__file__).parents[2]
    sources = sorted(path for wing in ("model", "pipeline") for path in (root / wing).rglob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:8]


_CODE: Final = _digest_of_code()
"""The digest of the code when this process began."""


def what_lacks(found: Any) -> str:
    """Say what a worker lacks, given its answer to `versions`; empty if nothing is missing."""
    if isinstance(found, BaseException):
        return f"it cannot load this project ({first_line(found)})"
    return ", ".join(
        f"it has {name} {found.get(name)}, not {version}"
        for name, version in versions().items()
        if found.get(name) != version
    )


def look(job: Job, dask_worker: "Worker | None" = None) -> Place:
    """Return the folders of this worker for the job, and whether the data set is there; Dask passes `dask_worker`."""
    scratch = Path(dask_worker.local_directory).parent if dask_worker else Path.cwd()
    place = Place(
        socket.gethostname(),
        _own_folder("data_dir", job.data_dir, scratch / "data"),
        _own_folder("checkpoint_dir", job.checkpoint_dir, scratch / "checkpoints"),
    )
    try:
        found = datasets.load_intact(place.data_dir / job.dataset)
        place = replace(place, checkpoints=folder_id(place.checkpoint_dir), data=found.digest if found else None)
    except OSError as error:
        return replace(
            place, fault=f"cannot write to {place.checkpoint_dir} ({error.strerror or error}). Allow it there"
        )
    _ready[job.key] = place
    return place


def _own_folder(name: str, of_command: Path, scratch: Path) -> Path:
    """Choose the folder that the environment names, else the command's where it exists here, else one of Dask's own."""
    if named := os.environ.get(FOLDERS[name]):
        return Path(named).expanduser().absolute()
    return of_command if of_command.is_dir() else scratch


def folder_id(folder: Path) -> str:
    """Give the id of a checkpoint folder; the first process that asks creates the folder and its id.

    Raises:
        OSError: the folder or the id cannot be created or read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / _FOLDER_ID
    if not target.exists():
        own = folder / f"{_FOLDER_ID}.{uuid4().hex}"
        write_atomically(own, uuid4().hex.encode())
        try:
            target.hardlink_to(own)  # unlike a rename, this replaces no id that another process has just created
        except FileExistsError:
            own.unlink()
        except OSError:  # a file system without hard links
            own.replace(target)
        else:
            own.unlink()
    return target.read_bytes()[:64].hex()


def with_own_folders(task: Task, key: str) -> Task:
    """Return the task with this worker's folders.

    Raises:
        NotReady: the worker has not been made ready for the job with this key.
    """
    if key not in _ready:
        raise NotReady
    place = _ready[key]
    return replace(task, data_dir=place.data_dir, checkpoint_dir=place.checkpoint_dir)


class Workers:
    """The workers of a cluster, which the command checks and makes ready for its job."""

    def __init__(self, client: "Client", key: str, notify: Callable[[str], None]) -> None:
        """Use the workers of `client` for the job with this key; `notify` is called with lines for the user."""
        self._client = client
        self._key = key
        self._notify = notify
        self._checked: set[str] = set()
        self._ready: set[str] = set()
        self._checkpoint_folders: set[str] = set()
        self._said_apart = False

    def check(self, present: Iterable[str]) -> None:
        """Refuse workers that do not have this version of the project, before they get a task.

        Args:
            present: the addresses of the workers that are there now.

        Raises:
            PipelineError: a worker has another version; the message names the worker and the difference.
        """
        new = [address for address in present if address not in self._checked]
        if not new:
            return
        for address, found in self._client.run(versions, workers=new, on_error="return").items():
            if isinstance(found, OSError) and address not in self._client.nthreads():
                continue  # lost just after it joined
            if lacks := what_lacks(found):
                raise PipelineError(
                    f"The Dask worker at {address} cannot train these networks: {lacks}. Install the same version "
                    "there, in the environment that the worker runs in, and start the worker again."
                )
            self._checked.add(address)

    def make_ready(self, task: Task) -> None:
        """Send the data set to the workers that lack it, once for each folder; say whether checkpoints are shared.

        Args:
            task: a task of the job; the others have the same data set and folders.

        Raises:
            PipelineError: a worker cannot be made ready; the message names its host.
        """
        new = (self._checked & self._client.nthreads().keys()) - self._ready
        if not new:
            return
        job = Job.of(task, self._key)
        with suppress(OSError):  # a command that only hands tasks out needs no folder of its own
            folder_id(job.checkpoint_dir)  # so that the workers that see the folder use it, too
        places = self._look(job, new)
        while lacking := {address: place for address, place in places.items() if place.data is None}:
            one_for_each_folder = {(place.host, place.data_dir): address for address, place in lacking.items()}
            for address in one_for_each_folder.values():
                self._send(job, address, places[address])
            complete = {address: places[address] for address in places.keys() - lacking.keys()}
            places = complete | self._look(job, lacking)
        for address, place in places.items():
            if place.data != job.digest:
                other = place.data_dir / job.dataset
                raise _unusable(address, place, f"has another data set in {other}. Remove that folder there")
        self._ready |= places.keys()
        self._say_whether_apart(place.checkpoints for place in places.values())

    def _look(self, job: Job, addresses: Iterable[str]) -> dict[str, Place]:
        """Ask workers for their folders; a worker that was lost meanwhile is left out.

        Raises:
            PipelineError: a worker that is there does not answer, or cannot work.
        """
        places: dict[str, Place] = {}
        asked = sorted(addresses)
        answers = self._client.run(look, job, workers=asked, on_error="return") if asked else {}
        for address, place in answers.items():
            if isinstance(place, BaseException):
                if address in self._client.nthreads():
                    raise PipelineError(
                        f"The Dask worker at {address} cannot work on these networks: {first_line(place)}."
                    ) from place
            elif place.fault:
                raise _unusable(address, place, place.fault)
            else:
                places[address] = place
        return places

    def _send(self, job: Job, address: str, place: Place) -> None:
        """Send the data set to a worker.

        Raises:
            PipelineError: the worker cannot store the data set.
        """
        folder = place.data_dir / job.dataset
        self._notify(f"{job.dataset} is sent to {place.host}, into {place.data_dir}")

        def on_worker(function: Callable[..., Any], *args: Any) -> Any:
            return self._client.run(function, *args, workers=[address])[address]

        try:
            incomplete = on_worker(datasets.begin_writing, folder)
            for name, piece in transfer.pieces(job.data_dir / job.dataset):
                on_worker(transfer.append, incomplete, name, piece)
            on_worker(transfer.complete, incomplete, folder, job.digest)
        except (OSError, PipelineError) as error:
            if address in self._client.nthreads():
                reason = getattr(error, "strerror", None) or first_line(error)
                fault = f"lacks the data set {job.dataset!r}, which cannot be stored in {folder} ({reason})"
                raise _unusable(address, place, f"{fault}. Make room or allow writing there") from error

    def _say_whether_apart(self, checkpoints: Iterable[str]) -> None:
        self._checkpoint_folders |= set(checkpoints)
        if len(self._checkpoint_folders) > 1 and not self._said_apart:
            self._said_apart = True
            self._notify(
                "the workers share no checkpoint folder: the network of a lost worker starts again. To have it go on, "
                "give --checkpoint-dir a folder that all of them share"
            )


def _unusable(address: str, place: Place, fault: str) -> PipelineError:
    return PipelineError(
        f"The Dask worker at {address} on {place.host} {fault}, or start the worker with other folders in "
        "PIPELINE_DATA_DIR and PIPELINE_CHECKPOINT_DIR. Then run the same command again."
    )
