"""Stochastic gradient descent: each step moves the parameters a little against the gradient of a mini-batch."""

from collections.abc import Mapping

import numpy as np

from model.arrays import Floats
from model.parameter import Parameter, overwrite


class Sgd:
    """v = momentum v + gradient + weight_decay w;  w = w - learning_rate v.  Biases are no exception.

    The gradients must come multiplied by the learning rate. A backward pass is linear, so multiplying the small
    gradient that goes into it multiplies all that come out. The velocity is kept multiplied as well.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        learning_rate: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        """Take charge of parameters; there are velocities only where there is momentum."""
        self.parameters = parameters
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.velocities = {name: np.zeros_like(p.value) for name, p in parameters.items()} if momentum else {}

    def step(self) -> None:
        """Move each parameter by the gradient that the last backward pass left for it."""
        decay = self.learning_rate * self.weight_decay
        for name, parameter in self.parameters.items():
            value, gradient = parameter.value, parameter.gradient[: parameter.rows]
            if self.momentum:
                velocity = self.velocities[name]
                velocity *= self.momentum
                velocity[: parameter.rows] += gradient
                if decay:
                    velocity += decay * value
                value -= velocity
            else:
                if decay:
                    value *= 1 - decay
                value[: parameter.rows] -= gradient

    def state(self) -> dict[str, Floats]:
        """Give copies of the velocities, by names that no parameter has; nothing without momentum."""
        return {f"velocity.{name}": velocity.copy() for name, velocity in self.velocities.items()}

    def load_state(self, state: Mapping[str, Floats]) -> None:
        """Go back to what `state` gave; other names in the mapping are left alone.

        Raises:
            KeyError: a velocity is missing.
            ValueError: a velocity is of another shape or type.
        """
        for name, velocity in self.velocities.items():
            overwrite(velocity, state[f"velocity.{name}"], f"velocity.{name}")
