"""A parameter is an array that learns: its value, and the gradient that the last backward pass left for it."""

from dataclasses import dataclass, field

import numpy as np

from model.arrays import Floats
from model.memory import copied


@dataclass(eq=False)
class Parameter:
    """An array and its gradient.

    Attributes:
        value: the array, copied into memory that suits products.
        gradient: of the same shape, written by a layer's backward.
        rows: how many leading rows of `gradient` count; the rest of the gradient is zero, whatever stands there.
    """

    value: Floats
    gradient: Floats = field(init=False)
    rows: int = field(init=False)

    def __post_init__(self) -> None:
        """Copy the array, and make room for the gradient."""
        self.value = copied(self.value)
        self.gradient = copied(np.zeros_like(self.value))
        self.rows = len(self.value)


def overwrite(array: Floats, stored: Floats, name: str) -> None:
    """Copy what was stored into an array of the same shape and type.

    Raises:
        ValueError: what was stored is of another shape or type.
    """
    if (stored.shape, stored.dtype) != (array.shape, array.dtype):
        raise ValueError(f"{name} is stored as {stored.dtype} {stored.shape}, needed as {array.dtype} {array.shape}")
    array[...] = stored
