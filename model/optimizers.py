"""An optimizer changes the parameters of a network after each mini-batch, using the gradients of that mini-batch."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from model.arrays import Floats
from model.parameter import Parameter, overwrite


class Optimizer(ABC):
    """What `fit` needs of every optimizer.

    A new optimizer has to take into account that `InkLinear` learns other parameters than the ordinary weights. Both
    train alike only if the update is linear in the gradient.

    Attributes:
        parameters: the parameters to change, by name.
        gradient_scale: factor by which `fit` multiplies the gradient of the loss. `fit` applies the factor to the
            gradient at the scores, because a backward pass is linear and this array is the smallest.
        memory: the arrays that the optimizer keeps from step to step, by names that no parameter has.
    """

    gradient_scale = 1.0

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        """Keep the parameters to change."""
        self.parameters = parameters
        self.memory: dict[str, Floats] = {}

    @abstractmethod
    def step(self) -> None:
        """Change each parameter, using the gradient that the last backward pass wrote."""

    def state(self) -> dict[str, Floats]:
        """Give copies of `memory`, from which a training can resume bit for bit."""
        return {name: array.copy() for name, array in self.memory.items()}

    def load_state(self, state: Mapping[str, Floats]) -> None:
        """Set `memory` to the result of `state`; other names in the mapping are ignored.

        Raises:
            KeyError: an array is missing.
            ValueError: an array is of another shape or type.
        """
        for name, array in self.memory.items():
            overwrite(array, state[name], name)


class Sgd(Optimizer):
    """Stochastic gradient descent: v = momentum v + gradient + weight_decay w;  w = w - learning_rate v.

    The same holds for biases. The stored velocity is multiplied by the learning rate, because the gradients are, too.
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        learning_rate: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        """Keep the parameters and hyperparameters; without momentum, no velocities are stored."""
        super().__init__(parameters)
        self.gradient_scale = learning_rate
        self.momentum = momentum
        self.weight_decay = weight_decay
        if momentum:
            self.memory = {_velocity(name): np.zeros_like(each.value) for name, each in parameters.items()}

    def step(self) -> None:
        """Subtract its velocity from each parameter, or without momentum its gradient."""
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
