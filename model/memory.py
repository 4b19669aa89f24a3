"""Memory that begins at a cache line, for a product reads and writes its arrays a cache line at a time."""

from math import prod

import numpy as np
from numpy.typing import DTypeLike

from model.arrays import Floats

_CACHE_LINE = 64
"""Bytes: a cache line of x86 and of most ARM processors, and their widest vector."""


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> Floats:
    """Make an array of numbers yet to be written."""
    size = prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + _CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def copied(array: Floats) -> Floats:
    """Copy an array."""
    copy = empty(array.shape, array.dtype)
    copy[...] = array
    return copy


class Scratch:
    """Rows that each mini-batch writes anew over those of the one before."""

    def __init__(self, columns: int, dtype: DTypeLike) -> None:
        """Make none yet: how many there have to be shows when they are asked for."""
        self._rows = empty((0, columns), dtype)

    def rows(self, count: int) -> Floats:
        """Give `count` rows, with whatever stands in them."""
        if len(self._rows) < count:
            self._rows = empty((count, self._rows.shape[1]), self._rows.dtype)
        return self._rows[:count]
