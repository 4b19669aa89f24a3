"""A loss measures how far the scores of a mini-batch are from their targets; its gradient says how to change them.

A new loss is one subclass here: the gradient checks and everything that offers a choice read `LOSSES`.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from model.arrays import Floats


class Loss(ABC):
    """The mean of a loss over images.

    The gradient is right for any finite scores. The value is infinite where the float type cannot hold it. `forward`
    and `backward` do not depend on each other, because a training step needs the gradient alone.

    Attributes:
        name: the name in a configuration.
        label: the name in a table.
    """

    name: ClassVar[str]
    label: ClassVar[str]

    @abstractmethod
    def forward(self, outputs: Floats, targets: Floats) -> float:
        """Give the mean loss of the images, for scores and one-hot targets of shape (images, classes)."""

    @abstractmethod
    def backward(self, outputs: Floats, targets: Floats) -> Floats:
        """Give the derivative of `forward` with respect to the outputs, as a new array of their shape."""


class Euclidean(Loss):
    """1/2 sum_k (x_k - t_k)^2."""

    name = "euclidean"
    label = "Euclidean"

    def forward(self, outputs: Floats, targets: Floats) -> float:
        """Half the squared distance."""
        errors = outputs - targets
        return float(np.vdot(errors, errors)) / (2 * len(outputs))

    def backward(self, outputs: Floats, targets: Floats) -> Floats:
        """(x - t) / images."""
        gradient = outputs - targets
        gradient /= len(gradient)
        return gradient


class SoftmaxCrossEntropy(Loss):
    """-log p_t, with p = exp(x) / sum_k exp(x_k) and t the right class."""

    name = "softmax_cross_entropy"
    label = "Softmax cross-entropy"

    def forward(self, outputs: Floats, targets: Floats) -> float:
        """Give the mean of -log p_t."""
        scores = _classes_first(outputs)
        surprise = np.log(np.exp(scores).sum(axis=0)).sum() - np.vdot(scores, targets.T)
        return float(surprise) / len(outputs)

    def backward(self, outputs: Floats, targets: Floats) -> Floats:
        """(p - t) / images."""
        gradient = _classes_first(outputs)
        np.exp(gradient, out=gradient)
        gradient /= gradient.sum(axis=0)
        gradient -= targets.T
        gradient /= len(outputs)
        return gradient.T


def _classes_first(outputs: Floats) -> Floats:
    """Copy scores to (classes, images), because NumPy reduces the first axis twice as fast; the highest becomes 0.

    Subtracting the highest score of each image changes no probability, and no exponential of the result can overflow.
    """
    scores: Floats = outputs.T.copy()
    scores -= scores.max(axis=0)
    return scores


class Hinge(Loss):
    """The sum over wrong classes k of max(0, margin - x_t + x_k), with t the right class."""

    name = "hinge"
    label = "Hinge"

    def __init__(self, margin: float = 5.0) -> None:
        """Set the margin by which the score of the right class has to exceed the others."""
        self.margin = margin

    def forward(self, outputs: Floats, targets: Floats) -> float:
        """Add up by how much each wrong class violates the margin, and give the mean over the images."""
        lacking = outputs - self._needed(outputs, targets)[:, None]
        lacking *= 1 - targets
        np.maximum(lacking, 0, out=lacking)
        return float(lacking.sum()) / len(outputs)

    def backward(self, outputs: Floats, targets: Floats) -> Floats:
        """1 / images for each wrong class that violates the margin; for the right class, minus their sum."""
        scores = outputs.T.copy()  # classes first, for speed: see `_classes_first`
        gradient = np.greater(scores, self._needed(outputs, targets)).astype(outputs.dtype)
        gradient -= targets.T * gradient.sum(axis=0)
        gradient /= len(outputs)
        return gradient.T

    def _needed(self, outputs: Floats, targets: Floats) -> Floats:
        """Give (images,): the highest score that a wrong class may have without violating the margin."""
        needed: Floats = np.vecdot(outputs, targets) - self.margin
        return needed


LOSSES: dict[str, type[Loss]] = {loss.name: loss for loss in Loss.__subclasses__()}


def make_loss(name: str, hinge_margin: float = 5.0) -> Loss:
    """Build a loss by its name.

    Args:
        name: a key of `LOSSES`.
        hinge_margin: the margin of `Hinge`; the other losses ignore it.

    Raises:
        KeyError: there is no such loss.

    Example:
        >>> make_loss("hinge", hinge_margin=1.0).margin
        1.0
    """
    return Hinge(hinge_margin) if name == Hinge.name else LOSSES[name]()
