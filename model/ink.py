"""Most of a digit is background, so a layer that reads pixels need only look where there is ink.

Sort the pixels by how often they carry ink, and an image's ink stands in its leading columns, up to its *extent*.
But the network sees (x - 128) / 255, in which the background is not zero and takes part in every product.
`InkLinear` is the change of basis that makes it zero, and is exact.
"""

import numpy as np
from numpy.typing import NDArray

from model.arrays import Floats, Integers, Pixels
from model.examples import Examples
from model.parameter import Parameter

BACKGROUND = 128 / 255
"""What scaling subtracts from x / 255: minus this is the background's value in the network's input."""

_SLICE = 4096
"""Images looked at together, so that a memory-mapped file never has to fit into memory."""


def ink_order(images: Pixels) -> NDArray[np.intp]:
    """Sort pixels by how many of the images have ink there, most first; equals stay in their natural order.

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


class InkLinear:
    """A linear layer over images that skips their background, and moves under SGD exactly as the ordinary one does.

    Let q = x / 255 be an image (n numbers, zero in the background), r their sum, k = 128 / 255, and 1 a column of ones.
    The ordinary layer gives (q - k 1') W + b. Write its weight as W = V + 1 c', with one number c for each output:

        output = q V + r c + base,    base = b - k (1'V + n c),

    which is the row [1, r, q] times the matrix A = [base; c; V], and q may end at the image's extent. SGD moves A:

    - With G the gradient at the outputs of a mini-batch, [1, r, q]' G gives S = 1'G, R = r'G and q'G at once.
    - The ordinary weight has the gradient (q - k 1')' G = q'G - k 1 S. So let V have q'G, of which only leading rows
      are not zero, and c have -k S: together, W moves as it should.
    - base, made of b, V and c, moves with them: by S - k (1' q'G - n k S) = (1 + k^2 n) S - k R.
    - Weight decay and momentum are linear in weights and gradients: what holds for the plain step holds with them.

    Bytes go in as they are, which saves a pass over them: to the row [255, 255 r, x], 255 times as large, belongs
    A / 255, whose gradient is divided by 255^2. And as some images of a mini-batch reach much farther than the rest,
    the farthest quarter has a product of its own for the columns that only they reach.
    """

    def __init__(self, weight: Floats, bias: Floats, pixel_order: Integers) -> None:
        """Take over an ordinary layer.

        Args:
            weight: (features, outputs), rows in natural pixel order.
            bias: (outputs,).
            pixel_order: as `ink_order` gives it.
        """
        self.pixel_order = pixel_order
        self.features, self.fan_out = weight.shape
        base = bias - BACKGROUND * weight.sum(axis=0, dtype=np.float64)
        matrix = np.vstack([base, np.zeros_like(base), weight[pixel_order]]) / 255
        self.matrix = Parameter(matrix.astype(weight.dtype))
        self.parameters = {"matrix": self.matrix}
        self._memory = np.empty((0, 2 + self.features), weight.dtype)
        self._ones = np.ones(self.features, weight.dtype)

    def dense(self) -> tuple[Floats, Floats]:
        """Give the ordinary layer's weight, rows in natural pixel order, and bias."""
        base, c, *_ = matrix = self.matrix.value * 255
        weight = np.empty_like(matrix[2:])
        weight[self.pixel_order] = matrix[2:] + c
        bias = base + BACKGROUND * weight.sum(axis=0, dtype=np.float64)
        return weight, bias.astype(weight.dtype)

    def read(self, images: Pixels) -> Examples:
        """Make of images in natural pixel order what `forward` takes."""
        pixels = images.take(self.pixel_order, axis=1)
        return Examples(pixels, ink_extents(pixels), np.zeros(len(pixels), np.uint8))

    def forward(self, examples: Examples) -> Floats:
        """Give (images, outputs). Right for examples in any order, fast for those that `Examples.batch` gives."""
        farthest = len(examples) // 4
        near, far = 2 + int(examples.extents[farthest:].max()), 2 + int(examples.extents.max())
        rows = self._rows(len(examples))[:, :far]
        rows[:, 2:] = examples.pixels[:, : far - 2]
        rows[:, 1] = rows[:, 2:] @ self._ones[: far - 2]
        self._near, self._strip = rows[:, :near], rows[:farthest, near:]
        outputs = self._near @ self.matrix.value[:near]
        outputs[:farthest] += self._strip @ self.matrix.value[near:far]
        return outputs

    def backward(self, gradient: Floats) -> None:
        """Leave the gradient of the matrix; pixels do not learn, so there is none to hand on."""
        gradient /= 255**2
        near = self._near.shape[1]
        far = near + self._strip.shape[1]
        out = self.matrix.gradient
        np.matmul(self._near.T, gradient, out=out[:near])
        np.matmul(self._strip.T, gradient[: len(self._strip)], out=out[near:far])
        s, k, n = out[0].copy(), BACKGROUND, self.features
        out[0] = (1 + k * k * n) * s - k * out[1]
        out[1] = -k * s
        self.matrix.rows = far

    def _rows(self, count: int) -> Floats:
        """Give memory for the rows of a mini-batch, the same again and again, with its first column written."""
        if len(self._memory) < count:
            self._memory = np.empty((count, 2 + self.features), self._memory.dtype)
            self._memory[:, 0] = 255
        return self._memory[:count]
