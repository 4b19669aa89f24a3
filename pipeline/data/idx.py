"""The idx format of the MNIST files: a magic number, the dimensions, then bytes; plain or compressed with gzip.

Format: http://yann.lecun.com/exdb/mnist. Nothing a file says of itself is believed before it is checked: what is read
never exceeds what the header promises, and memory is taken only for what is really there.
"""

import gzip
import hashlib
import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import PipelineError

_UNSIGNED_BYTE: Final = 0x08
_GZIP: Final = b"\x1f\x8b"
_PIECE: Final = 1 << 20
_LARGEST: Final = 1 << 36
"""Bytes of pixels beyond which a header is taken for nonsense."""


def read_idx(path: Path, dimensions: int) -> tuple[NDArray[np.uint8], str]:
    """Read an idx file of unsigned bytes.

    Args:
        path: of the file; whether it is compressed is told by its content.
        dimensions: how many it has to have: 1 for labels, 3 for images.

    Returns:
        The array, and the sha256 of the decompressed file.

    Raises:
        PipelineError: naming the file and what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == _GZIP
        with gzip.open(path) if compressed else path.open("rb") as file:
            return _read(file, path, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        raise PipelineError(f"{path} cannot be read ({error}); get a whole copy of it.") from error


def _read(file: gzip.GzipFile | BufferedReader, path: Path, dimensions: int) -> tuple[NDArray[np.uint8], str]:
    header = file.read(4 + 4 * dimensions)
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if header[:4] != magic:
        raise PipelineError(
            f"{path} begins with {header[:4].hex() or 'nothing'}; an idx file of unsigned bytes in {dimensions} "
            f"dimensions begins with {magic.hex()}."
        )
    if len(header) < 4 + 4 * dimensions:
        raise PipelineError(f"{path} ends within its header; get a whole copy of it.")
    shape = struct.unpack(f">{dimensions}I", header[4:])
    promised = math.prod(shape)
    if promised > _LARGEST:
        raise PipelineError(
            f"{path} promises {promised:,} bytes, more than any data set here has: its header is wrong."
        )
    digest = hashlib.sha256(header)
    pieces = []
    left = promised
    while left and (piece := file.read(min(left, _PIECE))):
        digest.update(piece)
        pieces.append(piece)
        left -= len(piece)
    if left:
        raise PipelineError(
            f"{path} promises {promised:,} bytes in its header and holds {promised - left:,}; get a whole copy of it."
        )
    if file.read(1):
        raise PipelineError(f"{path} goes on after the {promised:,} bytes that its header promises.")
    return np.frombuffer(b"".join(pieces), dtype=np.uint8).reshape(shape), digest.hexdigest()


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an array as an uncompressed idx file."""
    header = bytes([0, 0, _UNSIGNED_BYTE, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + np.ascontiguousarray(array).tobytes())
