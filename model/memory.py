"""Arrays that begin at a cache line, because a product reads and writes its arrays one cache line at a time."""

from math import prod

import numpy as np
from numpy.typing import DTypeLike

from model.arrays import Floats

_CACHE_LINE = 64
"""Bytes of a cache line on x86 and most ARM processors, and of their widest vector."""


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Floats:
    """Make an array without setting its numbers."""
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + _CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def copied(array: Floats) -> Floats:
    """Copy an array to memory that begins at a cache line."""
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy


class Scratch:
    """An array that is reused: each mini-batch overwrites the rows of the previous one."""

    def __init__(self, columns: int, dtype: DTypeLike) -> None:
        """Start without rows; `rows` allocates as many as it is asked for."""
        self._rows = empty((0, columns), dtype)

    def rows(self, count: int) -> Floats:
        """Give `count` rows; their content is arbitrary."""
        if len(self._rows) < count:
            self._rows = empty((count, self._rows.shape[1]), self._rows.dtype)
        return self._rows[:count]
