"""An activation is a nonlinear function of each number; without one, several layers could compute no more than one.

A new activation is one subclass here: the gradient checks and everything that offers a choice read `ACTIVATIONS`.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from model.arrays import Floats


class Activation(ABC):
    """A function applied to each element of an array of any shape.

    Attributes:
        name: the name in a configuration.
        label: the name in a table.
    """

    name: ClassVar[str]
    label: ClassVar[str]

    @abstractmethod
    def forward(self, inputs: Floats) -> Floats:
        """Turn inputs into outputs, in place; the caller must not change the outputs before `backward`.

        A server calls this from several threads at once, so it writes attributes for `backward` but reads none.
        """

    @abstractmethod
    def backward(self, gradient: Floats) -> Floats:
        """Turn the gradient at the outputs of the last `forward` into the gradient at its inputs, in place."""


class Relu(Activation):
    """max(0, x); its derivative at 0 is taken as 0."""

    name = "relu"
    label = "ReLU"

    def forward(self, inputs: Floats) -> Floats:
        """Replace negative numbers by 0."""
        self._outputs = np.maximum(inputs, 0, out=inputs)
        return inputs

    def backward(self, gradient: Floats) -> Floats:
        """Pass the gradient where the input was positive."""
        gradient *= self._outputs > 0
        return gradient


class Sigmoid(Activation):
    """s(x) = 1 / (1 + exp(-x)), whose derivative is s (1 - s)."""

    name = "sigmoid"
    label = "Sigmoid"

    def forward(self, inputs: Floats) -> Floats:
        """Map any finite number to 0..1. An exponential that overflows to infinity gives the right limit, 0."""
        np.negative(inputs, out=inputs)
        with np.errstate(over="ignore"):
            np.exp(inputs, out=inputs)
        inputs += 1
        self._outputs = np.reciprocal(inputs, out=inputs)
        return inputs

    def backward(self, gradient: Floats) -> Floats:
        """Multiply by s (1 - s)."""
        gradient *= self._outputs
        gradient *= 1 - self._outputs
        return gradient


class Gelu(Activation):
    """x/2 (1 + tanh z), z = sqrt(2/pi) (x + 0.044715 x^3): the tanh form of Hendrycks & Gimpel (2016).

    https://arxiv.org/abs/1606.08415. With s = (1 + tanh z) / 2 the output is y = x s, and its derivative is
    s + x s' = s + 2 y (1 - s) z', where z' = LINEAR + 3 CUBIC x^2.
    """

    name = "gelu"
    label = "GELU"

    LINEAR = float(np.sqrt(2 / np.pi))
    CUBIC = LINEAR * 0.044715
    SATURATED = 1000.0
    """Where x^2 is larger, s is 0 or 1 in any float type. A cap of x^2 at this value avoids 0 * infinity below."""

    def forward(self, inputs: Floats) -> Floats:
        """Multiply each number by s: near 1 for large positive numbers, near 0 for large negative ones."""
        with np.errstate(over="ignore"):
            squares = np.square(inputs)
            if squares.max(initial=0) > self.SATURATED:
                np.minimum(squares, self.SATURATED, out=squares)
            gate = squares * self.CUBIC
            gate += self.LINEAR
            gate *= inputs
        np.tanh(gate, out=gate)
        gate *= 0.5
        gate += 0.5
        inputs *= gate
        self._squares, self._gate, self._outputs = squares, gate, inputs
        return inputs

    def backward(self, gradient: Floats) -> Floats:
        """Multiply by the derivative."""
        slope = 1 - self._gate
        slope *= self._outputs
        self._squares *= 6 * self.CUBIC
        self._squares += 2 * self.LINEAR
        slope *= self._squares
        slope += self._gate
        gradient *= slope
        return gradient


ACTIVATIONS: dict[str, type[Activation]] = {activation.name: activation for activation in Activation.__subclasses__()}
