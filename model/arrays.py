"""Names for the types of arrays that this package computes with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
"""float32 in training and serving; float64 where a test needs more precision."""

Integers = NDArray[np.integer[Any]]
"""Labels, extents, indices."""

Pixels = NDArray[np.uint8]
"""(images, features), 0 for the background up to 255 for full ink."""
