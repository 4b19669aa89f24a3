"""The state of a training on disk, from which the training resumes bit for bit after a crash.

A checkpoint is one NumPy archive without objects, written atomically. Its file name holds its step and the digest of
its bytes. If the bytes of a checkpoint do not match the digest, or are not those of a checkpoint, the previous
checkpoint is used: others may write to a shared folder.
"""

import hashlib
import io
import json
import logging
import shutil
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError
from pipeline.files import write_atomically

_KEPT = 2
_log = logging.getLogger(__name__)
_NOTES = "notes"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as `Checkpoints.latest` reads it.

    Attributes:
        arrays: the arrays by name.
        notes: the JSON values by name; floats are exactly those that were saved.
        damaged: how many newer checkpoints were passed over because they cannot be used.
    """

    arrays: dict[str, NDArray[Any]]
    notes: dict[str, Any]
    damaged: int


class Checkpoints:
    """The last two checkpoints of one run, in the run's own folder.

    Example:
        >>> checkpoints = Checkpoints(Path("checkpoints/RUN"))
        >>> checkpoints.save(600, {"weight": weight}, {"epoch": 1})
        >>> checkpoints.latest().notes
        {'epoch': 1}
    """

    def __init__(self, folder: Path) -> None:
        """Use `folder`; the first `save` creates the folder."""
        self.folder = folder

    def save(self, step: int, arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, Any]) -> None:
        """Write a checkpoint durably, then remove all but the last two.

        Args:
            step: mini-batches seen; a later checkpoint has a larger step.
            arrays: numeric arrays by name.
            notes: JSON values by name.

        Raises:
            PipelineError: the checkpoint cannot be written; the previous checkpoint is kept.
        """
        archive = io.BytesIO()
        text = np.frombuffer(json.dumps(dict(notes)).encode(), dtype=np.uint8)
        np.savez(archive, allow_pickle=False, **{_NOTES: text, **arrays})
        content = archive.getbuffer()
        target = self.folder / f"{step:012d}-{_digest(content)}.npz"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(target, content)
            _log.debug("checkpoint written: %s", target)
            for old in self._newest_first()[_KEPT:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise PipelineError(
                f"The checkpoint {target} cannot be written ({error.strerror or error}); "
                "the one before it is kept. Make room or allow writing there, then run the same command again."
            ) from error

    def latest(self, check: Callable[[Checkpoint], object] = lambda _checkpoint: None) -> Checkpoint | None:
        """Read the newest intact checkpoint, or None if there is none; damaged ones are removed.

        Args:
            check: called with each checkpoint; if it raises, the checkpoint counts as damaged.
        """
        for damaged, path in enumerate(self._newest_first()):
            try:
                content = path.read_bytes()
            except OSError:
                continue
            try:
                checkpoint = _read(content, path.stem.partition("-")[2], damaged)
                check(checkpoint)
            except Exception as error:  # noqa: BLE001 - whatever the bytes of a stranger make NumPy raise
                _log.warning("damaged checkpoint passed over: %s (%r)", path, error)
                with suppress(OSError):
                    path.unlink()  # because `save` would keep it as one of the last two and remove the intact one
            else:
                return checkpoint
        return None

    def remove(self) -> None:
        """Remove every checkpoint of the run, and incomplete files of killed processes."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("*.npz"), reverse=True)


def _read(content: bytes, digest: str, damaged: int) -> Checkpoint:
    """Read the bytes of a checkpoint.

    Raises:
        Exception: of many kinds, if `Checkpoints.save` cannot have written these bytes.
    """
    if digest != _digest(content):
        raise ValueError("its bytes do not match its digest")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > len(content):
            raise ValueError("it is compressed")  # a small file could fill the memory
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    notes = json.loads(arrays.pop(_NOTES).tobytes())
    if not isinstance(notes, dict):
        raise TypeError("its notes have no names")
    return Checkpoint(arrays, notes, damaged)


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
