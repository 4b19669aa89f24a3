"""A loss says how far a mini-batch's scores are from their targets, and in which direction they should move.

A new loss is one subclass here: the gradient checks and everything that offers a choice find it in `LOSSES`.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from model.arrays import Floats


class Loss(ABC):
    """The mean of a loss over the images of a mini-batch.

    Its gradient is right for any finite scores. Its value is not finite where the float type cannot hold it.

    Attributes:
        name: how a configuration calls it.
        label: how a table calls it.
    """

    name: ClassVar[str]
    label: ClassVar[str]

    @abstractmethod
    def forward(self, outputs: Floats, targets: Floats) -> float:
        """Give the mean loss of the images, for scores and one-hot targets of shape (images, classes)."""

    @abstractmethod
    def backward(self) -> Floats:
        """Give the derivative of the last `forward` with respect to its outputs, as a new array of their shape."""


class Euclidean(Loss):
    """1/2 sum_k (x_k - t_k)^2."""

    name = "euclidean"
    label = "Euclidean"

    def forward(self, outputs: Floats, targets: Floats) -> float:
        """Half the squared distance."""
        self._errors = outputs - targets
        return float(np.vdot(self._errors, self._errors)) / (2 * len(outputs))

    def backward(self) -> Floats:
        """(x - t) / images."""
        return self._errors / len(self._errors)


class SoftmaxCrossEntropy(Loss):
    """-log p_t, with p = exp(x) / sum_k exp(x_k) and t the right class."""

    name = "softmax_cross_entropy"
    label = "Softmax cross-entropy"

    def forward(self, outputs: Floats, targets: Floats) -> float:
        """Surprise at the right class."""
        logs = outputs.T.copy()  # classes first, as NumPy reduces over the first axis twice as fast
        # The highest score is subtracted first: no exponential can overflow, and one of them is 1.
        logs -= logs.max(axis=0)
        self._probabilities = np.exp(logs)
        totals = self._probabilities.sum(axis=0)
        surprise = np.log(totals).sum() - np.vdot(logs, targets.T)
        self._probabilities /= totals
        self._targets = targets
        return float(surprise) / len(outputs)

    def backward(self) -> Floats:
        """(p - t) / images."""
        gradient: Floats = self._probabilities.T - self._targets
        gradient /= len(gradient)
        return gradient


class Hinge(Loss):
    """The sum over wrong classes k of max(0, margin - x_t + x_k), with t the right class."""

    name = "hinge"
    label = "Hinge"

    def __init__(self, margin: float = 5.0) -> None:
        """Set by how much the right class shall win."""
        self.margin = margin

    def forward(self, outputs: Floats, targets: Floats) -> float:
        """What each wrong class lacks of losing by the margin."""
        right = np.vecdot(outputs, targets)[:, None]
        lacking = outputs - (right - self.margin)
        lacking *= 1 - targets
        np.maximum(lacking, 0, out=lacking)
        self._violated = lacking > 0
        self._targets = targets
        return float(lacking.sum()) / len(outputs)

    def backward(self) -> Floats:
        """1 / images for each class that violates the margin, and minus their number for the right one."""
        gradient: Floats = self._targets * -self._violated.sum(axis=1, keepdims=True, dtype=self._targets.dtype)
        gradient += self._violated
        gradient /= len(gradient)
        return gradient


LOSSES: dict[str, type[Loss]] = {loss.name: loss for loss in Loss.__subclasses__()}


def make_loss(name: str, hinge_margin: float = 5.0) -> Loss:
    """Build a loss by its name.

    Args:
        name: a key of `LOSSES`.
        hinge_margin: the margin of `Hinge`; the others have no use for it.

    Raises:
        KeyError: there is no such loss.

    Example:
        >>> make_loss("hinge", hinge_margin=1.0).margin
        1.0
    """
    return Hinge(hinge_margin) if name == Hinge.name else LOSSES[name]()
