"""The idx format of the MNIST files: a magic number, the dimensions, then values; plain or compressed with gzip.

Format: http://yann.lecun.com/exdb/mnist. A file may be malicious, so its header is checked: reading stops at the size
that the header states, and memory is allocated only for bytes that were read.
"""

import gzip
import hashlib
import math
import struct
import zlib
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import psutil
from numpy.typing import NDArray

from pipeline.errors import PipelineError

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_PIECE: Final = 1 << 20
_MOST_DIMENSIONS: Final = 4
_SHOWN: Final = 12
"""How many first bytes a message shows of an unknown file."""
_REMEDY: Final = "get a complete copy of it"


class _Type(NamedTuple):
    name: str
    dtype: np.dtype[Any]


_UNSIGNED_BYTE: Final = 0x08
_TYPES: Final = {
    _UNSIGNED_BYTE: _Type("unsigned bytes", np.dtype("u1")),
    0x09: _Type("signed bytes", np.dtype("i1")),
    0x0B: _Type("16-bit integers", np.dtype(">i2")),
    0x0C: _Type("32-bit integers", np.dtype(">i4")),
    0x0D: _Type("32-bit floats", np.dtype(">f4")),
    0x0E: _Type("64-bit floats", np.dtype(">f8")),
}
"""The types of values, by the third byte of a file."""


class IdxError(PipelineError):
    """An idx file with wrong content.

    Attributes:
        fault: what is wrong; the text completes a sentence that begins with the file's path.
    """

    def __init__(self, path: Path, fault: str, remedy: str) -> None:
        """Name the file, its fault and what to do."""
        super().__init__(f"{path} {fault}; {remedy}.")
        self.fault = fault


def read_idx(path: Path, dimensions: int) -> tuple[NDArray[np.uint8], str]:
    """Read an idx file of integers from 0 to 255.

    Args:
        path: path of the file; its content shows whether it is compressed.
        dimensions: the required number of dimensions: 1 for labels, 3 for images.

    Returns:
        The array, and the sha256 of the decompressed file.

    Raises:
        IdxError: the file is not as required; the message names the file and its fault.
    """
    values, digest = _read(path, (dimensions,))
    return _bytes(path, values), digest


def read_idx_labels(path: Path) -> tuple[NDArray[np.uint8], str]:
    """Read labels as `read_idx` does, in one dimension, or in two dimensions with the label in the first column.

    The labels of QMNIST have two dimensions, because further columns say who wrote a digit.
    """
    values, digest = _read(path, (1, 2))
    if values.ndim > 1:
        if values.shape[1] > 2 and values.size and values.max() <= 1:  # noqa: PLR2004 - two classes have one column
            raise IdxError(path, f"holds {values.shape[1]} numbers from 0 to 1 for each label", "give one, its class")
        values = values[:, 0]
    return _bytes(path, values), digest


def _bytes(path: Path, values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.size and not (values.min() >= 0 and values.max() <= 255):  # noqa: PLR2004 - a byte
        raise IdxError(path, f"holds values from {values.min()} to {values.max()}", "they have to be from 0 to 255")
    return values.astype(np.uint8, copy=False)


def _read(path: Path, dimensions: tuple[int, ...]) -> tuple[NDArray[Any], str]:
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == _GZIP
        with gzip.open(path) if compressed else path.open("rb") as file:
            return _parse(file, path, dimensions)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise IdxError(path, f"cannot be read ({reason})", _REMEDY) from error


def _parse(file: gzip.GzipFile | BufferedReader, path: Path, dimensions: tuple[int, ...]) -> tuple[NDArray[Any], str]:
    magic = file.read(4)
    kind, count = _type(magic, path)
    if count not in dimensions or kind.dtype.kind == "f":
        accepted = " or ".join(_counted(number) for number in dimensions)
        raise IdxError(
            path,
            f"holds {kind.name} in {_counted(count)}",
            f"they have to be whole numbers from 0 to 255 in {accepted}",
        )
    header = file.read(4 * count)
    if len(header) < 4 * count:
        raise IdxError(path, "ends within its header", _REMEDY)
    shape = struct.unpack(f">{count}I", header)
    promised = math.prod(shape) * kind.dtype.itemsize
    available = psutil.virtual_memory().available
    if promised > available:
        fault = f"promises {promised:,} bytes, more than this machine's {available:,} bytes of free memory"
        raise IdxError(path, fault, "its header is wrong, or a machine with more memory is needed")
    digest = hashlib.sha256(magic + header)
    pieces = []
    left = promised
    while left and (piece := file.read(min(left, _PIECE))):
        digest.update(piece)
        pieces.append(piece)
        left -= len(piece)
    if left:
        raise IdxError(path, f"promises {promised:,} bytes in its header and holds {promised - left:,}", _REMEDY)
    if file.read(1):
        raise IdxError(path, f"goes on after the {promised:,} bytes that its header promises", _REMEDY)
    try:
        values = np.frombuffer(b"".join(pieces), dtype=kind.dtype).reshape(shape)
    except ValueError:  # one dimension is 0, so nothing is stored, but the others are too large for an array
        raise IdxError(path, f"states dimensions that no array can have: {shape}", _REMEDY) from None
    return values, digest.hexdigest()


def _counted(dimensions: int) -> str:
    return f"{dimensions} dimension{'s' if dimensions > 1 else ''}"


def _type(magic: bytes, path: Path) -> tuple[_Type, int]:
    """Find the type of values and the number of dimensions from the first bytes of an idx file."""
    if len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in _TYPES and 1 <= magic[3] <= _MOST_DIMENSIONS:  # noqa: PLR2004
        return _TYPES[magic[2]], magic[3]
    with path.open("rb") as file:
        start = file.read(_SHOWN)
    if magic[:2] == start[:2] == _GZIP:
        raise IdxError(path, "is compressed with gzip twice", "decompress it once, with gunzip")
    raise IdxError(path, f"is {_content(start, magic)}", "it has to be an idx file, plain or compressed with gzip")


def _content(start: bytes, magic: bytes) -> str:
    """Describe a file that is not an idx file by its first bytes: `start` as stored, `magic` after decompression."""
    if not magic:
        return "empty"
    if start.lstrip()[:1] == b"<":
        return "an HTML or XML page"
    if start.startswith(_ZIP):
        return "a zip archive"
    return f"no idx file: its content begins with {magic.hex(' ')}"


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an array as an uncompressed idx file."""
    header = bytes([0, 0, _UNSIGNED_BYTE, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + np.ascontiguousarray(array).tobytes())
