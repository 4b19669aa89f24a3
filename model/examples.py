"""Examples are images with their labels, kept as the bytes they came in, for most of an image is background."""

from dataclasses import dataclass

import numpy as np

from model.arrays import Integers, Pixels


@dataclass(frozen=True, eq=False)
class Examples:
    """Images and their labels; the arrays may be memory-mapped, and are only ever read.

    Attributes:
        pixels: (images, features), contiguous in memory, columns in ink order (see `model.ink`).
        extents: (images,), the number of leading columns that hold all of an image's ink.
        labels: (images,), the right class of each image, from 0.
    """

    pixels: Pixels
    extents: Integers
    labels: Integers

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together, and pixels of which a mini-batch could only be had slowly.

        Raises:
            ValueError: they do not, or it could.
        """
        if not len(self.pixels) == len(self.extents) == len(self.labels):
            raise ValueError(f"{len(self.pixels)} images, {len(self.extents)} extents, {len(self.labels)} labels")
        if not self.pixels.flags.c_contiguous:
            raise ValueError("the pixels of an image do not follow each other in memory: see np.ascontiguousarray")

    def __len__(self) -> int:
        """Count the images."""
        return len(self.labels)

    def __getitem__(self, part: slice) -> "Examples":
        """Give a contiguous part without copying it."""
        return Examples(self.pixels[part], self.extents[part], self.labels[part])

    def batch(self, indices: Integers) -> "Examples":
        """Copy some of the images out, those that reach farthest in ink order first.

        Their order means nothing to a mean over the mini-batch, and lets `InkLinear` save work.
        """
        extents = self.extents[indices]
        farthest_first = extents.argsort()[::-1]
        indices = indices[farthest_first]
        # A memory map is seen as the plain array it is: its class would take time in each of many small operations.
        return Examples(np.asarray(self.pixels).take(indices, axis=0), extents[farthest_first], self.labels[indices])
