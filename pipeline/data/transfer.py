"""Copying a prepared data set to another machine, piece by piece, through whatever carries the pieces."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.data.datasets import ARRAYS, DESCRIPTION, load_intact, move_into_place
from pipeline.errors import PipelineError

_PIECE_BYTES: Final = 16 * 2**20
"""Neither side, nor what is between them, keeps more of a data set in memory."""


def pieces(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Read the files of a prepared data set: pairs of a file's name and its next bytes."""
    for name in (DESCRIPTION, *(f"{key}.npy" for key in ARRAYS)):
        with (folder / name).open("rb") as file:
            while piece := file.read(_PIECE_BYTES):
                yield name, piece


def append(incomplete: Path, name: str, piece: bytes) -> None:
    """Write the next piece of a file to a folder that `datasets.begin_writing` created.

    Raises:
        OSError: the piece cannot be written; the temporary folder is removed.
    """
    try:
        with (incomplete / name).open("ab") as file:
            file.write(piece)
    except OSError:
        shutil.rmtree(incomplete, ignore_errors=True)
        raise


def complete(incomplete: Path, folder: Path, digest: str) -> None:
    """Verify what arrived, and move it to `folder`.

    Raises:
        PipelineError: what arrived is not the data set with this digest.
        OSError: it cannot be moved.
    """
    try:
        arrived = load_intact(incomplete)
        if arrived is None or arrived.digest != digest:
            raise PipelineError(f"what arrived in {incomplete} is not the data set that was sent")
        for file in incomplete.iterdir():
            _sync(file)
        move_into_place(incomplete, folder)
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
