"""Most of a digit is background, so a layer that reads pixels can skip the pixels without ink.

If the pixels are sorted by how often they carry ink, the leading columns of an image, up to its *extent*, hold all of
its ink. But the network sees (x - 128) / 255, in which the background is not zero, so no product can skip it.
`InkLinear` uses a change of basis in which the background is zero. The change of basis is exact.
"""

from bisect import bisect_right
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.arrays import Floats, Integers, Pixels
from model.examples import Batch
from model.memory import Scratch
from model.parameter import Parameter

BACKGROUND = 128 / 255
"""The network's input is x / 255 minus this number, so the background's input is minus this number."""

_WITHOUT_PACKING: Final = frozenset({"SkylakeX", "Cooperlake", "SapphireRapids"})
"""Kernels of OpenBLAS that multiply small matrices without packing them first."""

_LARGE_BLOCK = 256
"""Rows of a block if `block_size` multiplications do not suffice for 4 rows."""

_SLICE = 4096
"""Images read together, so that a memory-mapped file need not fit into memory."""


def block_size(kernels: str) -> int:
    """Give the multiplications in one block of a product, which decide the speed and the rounding.

    Kernels with AVX-512 multiply blocks of up to a million without packing the matrices first. All others pack the
    weights again for each block, so fewer blocks are faster. The numbers are the fastest of half a million to 8
    million, measured with the kernels SkylakeX, Haswell, Sandybridge, Nehalem and Prescott. Blocks have a multiple of 4
    rows, because processors multiply several rows at once.

    Args:
        kernels: the name of the kernels that BLAS runs, as threadpoolctl calls it; empty if it is not known.
    """
    return 1_000_000 if kernels in _WITHOUT_PACKING else 3_000_000


def ink_order(images: Pixels) -> NDArray[np.intp]:
    """Sort pixels by the number of images with ink there, the largest first; ties stay in their natural order.

    Args:
        images: (images, features), in natural order.

    Returns:
        (features,): the natural position of each column in ink order, so that `images[:, order]` is in ink order.
    """
    counts = np.zeros(images.shape[1], dtype=np.intp)
    for start in range(0, len(images), _SLICE):
        counts += np.count_nonzero(images[start : start + _SLICE], axis=0)
    return np.argsort(-counts, kind="stable")


def ink_extents(pixels: Pixels) -> NDArray[np.intp]:
    """Find how many leading columns hold all of the ink of each image.

    Args:
        pixels: (images, features), in ink order.

    Returns:
        (images,): from 0 for an empty image to the number of features.
    """
    positions = np.arange(1, pixels.shape[1] + 1)
    extents = np.zeros(len(pixels), dtype=np.intp)
    for start in range(0, len(pixels), _SLICE):
        ink = pixels[start : start + _SLICE] != 0
        extents[start : start + _SLICE] = (ink * positions).max(axis=1, initial=0)
    return extents


def pixel_sums(pixels: Pixels) -> NDArray[np.int64]:
    """Sum up the pixels of each image: (images,), from (images, features) in any order."""
    sums: NDArray[np.int64] = pixels.sum(axis=1, dtype=np.int64)
    return sums


class InkLinear:
    """A linear layer that skips the background of images; SGD changes its weights exactly as those of `Linear`.

    Let q = x / 255 be an image (n numbers, zero in the background), r their sum, k = 128 / 255, and 1 a column of ones.
    The ordinary layer gives (q - k 1') W + b. Write its weight as W = V + 1 c', with one number c for each output:

        output = q V + r c + base,    base = b - k (1'V + n c),

    which is the row [1, r, q] times the matrix A = [base; c; V], and q may end at the image's extent. SGD updates A:

    - Let G be the gradient at the outputs of a mini-batch. Then [1, r, q]' G gives S = 1'G, R = r'G and q'G at once.
    - The ordinary weight has the gradient (q - k 1')' G = q'G - k 1 S. V takes the term q'G, which is zero except in
      its leading rows, and c takes the term -k S. So W = V + 1 c' changes as in the ordinary layer.
    - base depends on b, V and c, so its gradient is S - k (1' q'G - n k S) = (1 + k^2 n) S - k R.
    - Weight decay and momentum are linear in weights and gradients, so the result also holds with them.

    The layer multiplies the bytes without scaling them first, which saves a pass over the pixels: its input is the row
    [255, 255 r, x], its matrix is A / 255, and the gradient of this matrix is divided by 255^2.

    Some images of a mini-batch have much larger extents than others, so images are sorted by extent and both large
    products are computed in blocks. A block of `forward` has a few images and as many columns as the last one needs. A
    block of `backward` has a few columns and the images whose extents reach these columns.
    """

    def __init__(self, weight: Floats, bias: Floats, pixel_order: Integers, kernels: str = "") -> None:
        """Convert the weights of an ordinary layer.

        Args:
            weight: (features, outputs), rows in natural pixel order.
            bias: (outputs,).
            pixel_order: the result of `ink_order`.
            kernels: see `block_size`.
        """
        self.pixel_order = pixel_order
        self.features, self.fan_out = len(weight), len(bias)
        base = bias - BACKGROUND * weight.sum(axis=0, dtype=np.float64)
        matrix = np.vstack([base, np.zeros_like(base), weight[pixel_order]]) / 255
        self._room = block_size(kernels) // self.fan_out
        self.matrix = Parameter(matrix.astype(weight.dtype))
        self.parameters = {"matrix": self.matrix}
        n, k = self.features, BACKGROUND
        self._mixed = np.array([[1 + k * k * n, -k], [-k, 0]], weight.dtype)
        self._rows = Scratch(2 + self.features, weight.dtype)
        self._outputs = Scratch(self.fan_out, weight.dtype)

    def to_linear(self) -> tuple[Floats, Floats]:
        """Give the weight of the ordinary layer, with rows in natural pixel order, and its bias."""
        base, c, *_ = matrix = self.matrix.value * 255
        weight = np.empty_like(matrix[2:])
        weight[self.pixel_order] = matrix[2:] + c
        bias = base + BACKGROUND * weight.sum(axis=0, dtype=np.float64)
        return weight, bias.astype(weight.dtype)

    def preprocess(self, images: Pixels) -> Batch:
        """Convert images in natural pixel order to the input of `forward`."""
        pixels = images.take(self.pixel_order, axis=1)
        return Batch(pixels, ink_extents(pixels), pixel_sums(pixels))

    def forward(self, batch: Batch) -> Floats:
        """Give (images, outputs), valid until the next `forward`, which overwrites the array.

        The images may have any order; they are processed fastest in the order of their extents.
        """
        images, matrix = len(batch.pixels), self.matrix.value
        reach = self._reach = np.maximum.accumulate(batch.extents).tolist()
        far = 2 + reach[-1]
        rows = self._inputs = self._rows.rows(images)[:, :far]
        rows[:, 0] = 255
        rows[:, 1] = batch.pixel_sums
        rows[:, 2:] = batch.pixels[:, : far - 2]
        outputs = self._outputs.rows(images)
        stop = images
        while stop:
            columns = 2 + reach[stop - 1]
            start = max(0, stop - (self._room // columns // 4 * 4 or _LARGE_BLOCK))
            np.matmul(rows[start:stop, :columns], matrix[:columns], out=outputs[start:stop])
            stop = start
        return outputs

    def backward(self, gradient: Floats) -> None:
        """Write the gradient of the matrix; nothing is returned, because pixels are not learned."""
        gradient *= 1 / 255**2
        rows, reach, out = self._inputs, self._reach, self.matrix.gradient
        images, far = rows.shape
        start = 0
        while start < far:
            first = bisect_right(reach, start - 2)
            stop = min(far, start + (self._room // (images - first) // 4 * 4 or _LARGE_BLOCK))
            np.matmul(rows[first:, start:stop].T, gradient[first:], out=out[start:stop])
            start = stop
        out[:2] = self._mixed @ out[:2]
        self.matrix.rows = far
