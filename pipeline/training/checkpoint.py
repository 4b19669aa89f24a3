"""The state of a training on disk, from which it goes on bit for bit after a crash.

A checkpoint is one NumPy archive without objects, written atomically. Its name carries its step and the digest of its
bytes: a damaged checkpoint is recognised by its digest, and the one before it is used.
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
    """What `Checkpoints.save` was given, read back.

    Attributes:
        arrays: the arrays by name.
        notes: the JSON values by name; floats come back to the bit.
        damaged: how many newer checkpoints were passed over because their bytes do not fit their digest.
    """

    arrays: dict[str, NDArray[Any]]
    notes: dict[str, Any]
    damaged: int


class Checkpoints:
    """The checkpoints of one run, in a folder of their own: the last two are kept.

    Example:
        >>> checkpoints = Checkpoints(Path("checkpoints/RUN"))
        >>> checkpoints.save(600, {"weight": weight}, {"epoch": 1})
        >>> checkpoints.latest().notes
        {'epoch': 1}
    """

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which is made when the first checkpoint is saved."""
        self.folder = folder

    def save(self, step: int, arrays: Mapping[str, NDArray[Any]], notes: Mapping[str, Any]) -> None:
        """Write a checkpoint durably, then remove those older than the one before it.

        Args:
            step: mini-batches seen; a later checkpoint has a larger one.
            arrays: numeric arrays by name.
            notes: JSON values by name.

        Raises:
            PipelineError: if it cannot be written; the one before it is still there.
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
        """The newest checkpoint whose bytes are whole, or None; damaged ones are removed."""
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
                path.unlink()  # or it would pass for one of the last two, and push out the one to be used
        return None

    def remove(self) -> None:
        """Remove every checkpoint of the run; also what a killed process left half-written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("*.npz"), reverse=True)


def _digest(content: bytes | memoryview) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
