"""The state of a training on disk, from which the training resumes bit for bit after a crash.

A checkpoint is one NumPy archive without objects, written atomically. Its file name holds its step and the digest of
its bytes. If the bytes of a checkpoint do not match the digest, the previous checkpoint is used.
"""

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Mapping
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
        damaged: how many newer checkpoints were skipped because their bytes do not match their digest.
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

    def latest(self) -> Checkpoint | None:
        """Read the newest intact checkpoint, or None if there is none; damaged ones are removed."""
        for damaged, path in enumerate(self._newest_first()):
            try:
                content = path.read_bytes()
            except OSError:
                continue
            if path.stem.partition("-")[2] == _digest(content):
                with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                    arrays = {name: archive[name] for name in archive.files}
                notes = json.loads(arrays.pop(_NOTES).tobytes())
                return Checkpoint(arrays, notes, damaged)
            _log.warning("damaged checkpoint passed over: %s", path)
            with suppress(OSError):
                path.unlink()  # because `save` would keep it as one of the last two and remove the intact one
        return None

    def remove(self) -> None:
        """Remove every checkpoint of the run, and incomplete files of killed processes."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("*.npz"), reverse=True)


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
