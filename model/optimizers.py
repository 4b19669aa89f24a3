"""An optimizer moves the parameters of a network after each mini-batch, by the gradients of that mini-batch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from model.arrays import Floats
from model.parameter import Parameter, overwrite


class Optimizer(ABC):
    """What `fit` needs of every optimizer.

    A layer's parameters need not be the weights of the ordinary layer: `InkLinear` learns others, with which the
    ordinary weights move exactly as they should only where an update is linear in the gradient.

    Attributes:
        parameters: what it moves, by name.
        gradient_scale: the gradients that `step` finds have to be this many times those of the loss. `fit` multiplies
            the gradient at the scores, the smallest of all, because a backward pass is linear.
        memory: the arrays that it keeps from step to step, by names that no parameter has.
    """

    gradient_scale = 1.0

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        """Take charge of parameters."""
        self.parameters = parameters
        self.memory: dict[str, Floats] = {}

    @abstractmethod
    def step(self) -> None:
        """Move each parameter by the gradient that the last backward pass left for it."""

    def state(self) -> dict[str, Floats]:
        """Give copies of what it keeps from step to step: to continue from, bit for bit."""
        return {name: array.copy() for name, array in self.memory.items()}

    def load_state(self, state: Mapping[str, Floats]) -> None:
        """Return to what `state` gave; other names in the mapping are ignored.

        Raises:
            KeyError: an array is missing.
            ValueError: an array is of another shape or type.
        """
        for name, array in self.memory.items():
            overwrite(array, state[name], name)


class Sgd(Optimizer):
    """Stochastic gradient descent: v = momentum v + gradient + weight_decay w;  w = w - learning_rate v.

    Biases are no exception. The velocity is kept multiplied by the learning rate, as the gradients come.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        learning_rate: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        """Take charge of parameters; there are velocities only where there is momentum."""
        super().__init__(parameters)
        self.gradient_scale = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        if momentum:
            self.memory = {_velocity(name): np.zeros_like(each.value) for name, each in parameters.items()}

    def step(self) -> None:
        """Move each parameter against its velocity, or against its gradient where there is no momentum."""
        decay = self.gradient_scale * self.weight_decay
        for name, parameter in self.parameters.items():
            value, gradient = parameter.value, parameter.gradient[: parameter.rows]
            if self.momentum:
                velocity = self.memory[_velocity(name)]
                velocity *= self.momentum
                velocity[: parameter.rows] += gradient
                if decay:
                    velocity += decay * value
                value -= velocity
            else:
                if decay:
                    value *= 1 - decay
                value[: parameter.rows] -= gradient


def _velocity(parameter: str) -> str:
    return f"velocity.{parameter}"
