"""Examples are images with their labels; pixels stay bytes, because floats would take four times the memory."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model.arrays import Integers, Pixels


class Batch(NamedTuple):
    """Images that the network processes together.

    Attributes:
        pixels: (images, features), as in `Examples`.
        extents: (images,), as in `Examples`.
        pixel_sums: (images,), as in `Examples`.
    """

    pixels: Pixels
    extents: Integers
    pixel_sums: Integers


@dataclass(frozen=True, eq=False)
class Examples:
    """Images and their labels; the arrays may be memory-mapped, because nothing writes to them.

    Attributes:
        pixels: (images, features), contiguous in memory, columns in ink order (see `model.ink`).
        extents: (images,), the number of leading columns that hold all of an image's ink.
        pixel_sums: (images,), the sum of an image's pixels.
        labels: (images,), the right class of each image, from 0.
    """

    pixels: Pixels
    extents: Integers
    pixel_sums: Integers
    labels: Integers

    def __post_init__(self) -> None:
        """Refuse arrays of different lengths, and pixels in a memory layout that makes copying a mini-batch slow.

        Raises:
            ValueError: the lengths differ, or the pixels are not contiguous.
        """
        if not len(self.pixels) == len(self.extents) == len(self.pixel_sums) == len(self.labels):
            arrays = (self.pixels, self.extents, self.pixel_sums, self.labels)
            raise ValueError("{} images, {} extents, {} pixel_sums, {} labels".format(*map(len, arrays)))
        if not self.pixels.flags.c_contiguous:
            raise ValueError("the pixels of an image do not follow each other in memory: see np.ascontiguousarray")

    def __len__(self) -> int:
        """Count the images."""
        return len(self.labels)

    def __getitem__(self, rows: slice) -> "Examples":
        """Give some consecutive examples as views, without copying."""
        return Examples(self.pixels[rows], self.extents[rows], self.pixel_sums[rows], self.labels[rows])

    def nearest_first(self, order: Integers, batch_size: int) -> Integers:
        """Sort the images of each mini-batch by their extents.

        A mean over the mini-batch does not depend on the order, and `InkLinear` computes less in this order.

        Args:
            order: (images,), indices of images, mini-batch after mini-batch.
            batch_size: images in a mini-batch; the last one may be smaller.

        Returns:
            The indices of the same mini-batches, each in its new order.
        """
        mini_batches = np.arange(len(order)) // batch_size
        ranking = (mini_batches * (self.pixels.shape[1] + 1) + self.extents[order]).argsort()
        arranged: Integers = order[ranking]
        return arranged

    def batch(self, indices: Integers) -> Batch:
        """Copy the images with these indices."""
        return Batch(self.pixels.take(indices, axis=0), self.extents[indices], self.pixel_sums[indices])
