"""A parameter is a learned array: its value, and its gradient from the last backward pass."""

from dataclasses import dataclass, field

import numpy as np

from model.arrays import Floats
from model.memory import copied


@dataclass(eq=False)
class Parameter:
    """An array and its gradient.

    Attributes:
        value: the array, copied to memory that begins at a cache line.
        gradient: an array of the same shape, written by a layer's `backward`.
        rows: how many leading rows of `gradient` are valid; the other rows count as zero, whatever their content.
    """

    value: Floats
    gradient: Floats = field(init=False)
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        """Copy the array, and allocate the gradient."""
        self.value = copied(self.value)
        self.gradient = copied(np.zeros_like(self.value))
        self.rows = len(self.value)


def overwrite(array: Floats, stored: Floats, name: str) -> None:
    """Copy a stored array into one of the same shape and type.

    Raises:
        ValueError: the stored array has another shape or type.
    """
    if (stored.shape, stored.dtype) != (array.shape, array.dtype):
        raise ValueError(f"{name} is stored as {stored.dtype} {stored.shape}, needed as {array.dtype} {array.shape}")
    array[...] = stored
