"""A network is a sequence of layers: outputs go from each layer to the next one, and gradients go back."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from model.activations import Activation, Relu
from model.arrays import Floats, Integers, Pixels
from model.initialization import standard_deviations
from model.ink import InkLinear
from model.memory import Scratch
from model.parameter import Parameter, overwrite
from model.randomness import rng


class Linear:
    """Inputs (images, fan_in) times a weight (fan_in, fan_out), plus a bias (fan_out,)."""

    def __init__(self, weight: Floats, bias: Floats) -> None:
        """Copy the arrays."""
        self.weight = Parameter(weight)
        self.bias = Parameter(bias)
        self.parameters = {"weight": self.weight, "bias": self.bias}
        self.fan_out = len(bias)
        self._input_gradient = Scratch(len(weight), weight.dtype)

    def to_linear(self) -> tuple[Floats, Floats]:
        """Give copies of weight and bias."""
        return self.weight.value.copy(), self.bias.value.copy()

    def preprocess(self, images: Pixels) -> Floats:
        """Convert images in natural pixel order to the input of `forward`: (x - 128) / 255."""
        inputs = images.astype(self.weight.value.dtype)
        inputs -= 128
        inputs /= 255
        return inputs

    def forward(self, inputs: Floats) -> Floats:
        """Multiply the inputs by the weight and add the bias."""
        self._inputs = inputs
        outputs = inputs @ self.weight.value
        outputs += self.bias.value
        return outputs

    def backward(self, gradient: Floats) -> Floats:
        """With inputs X and gradient G: X'G for the weight W, the column sums of G for the bias, GW' for the inputs.

        The returned GW' is valid until the next `backward`, which overwrites the array.
        """
        np.matmul(self._inputs.T, gradient, out=self.weight.gradient)
        gradient.sum(axis=0, out=self.bias.gradient)
        return np.matmul(gradient, self.weight.value.T, out=self._input_gradient.rows(len(gradient)))


class Network:
    """A sequence of layers.

    Attributes:
        first: the layer that reads the images.
        rest: all further layers; the last one gives the scores.
        parameters: the learned arrays, by names such as "layer1.matrix" and "layer2.bias".
    """

    PREDICTED_TOGETHER = 256
    """Images in a slice of `predict`: enough for a fast product, few enough to fit into the cache."""

    def __init__(self, first: InkLinear | Linear, *rest: Linear | Activation) -> None:
        """Connect layers in this order."""
        self.first = first
        self.rest = rest
        self._learning = [first, *(layer for layer in rest if isinstance(layer, Linear))]
        self.parameters: dict[str, Parameter] = {
            f"layer{number}.{name}": parameter
            for number, layer in enumerate(self._learning, start=1)
            for name, parameter in layer.parameters.items()
        }

    @classmethod
    def create(
        cls,
        sizes: Sequence[int],
        activation: Activation,
        *,
        init_std: float | str | Sequence[float],
        seed: int,
        pixel_order: Integers,
        kernels: str = "",
        dtype: DTypeLike = np.float32,
    ) -> "Network":
        """Make an untrained network with random weights and biases of zero.

        Args:
            sizes: features, outputs of each hidden layer, classes: (784, 128, 10) or (784, 256, 64, 10).
            activation: the activation after the last hidden layer; ReLU follows the other hidden layers.
            init_std: standard deviation of the weights, as `standard_deviations` takes it.
            seed: networks with equal seeds and sizes start from equal weights.
            pixel_order: (features,), the order of the columns in the examples that the network will be trained on.
            kernels: what BLAS runs on this processor; see `ink.block_size`.
            dtype: type of all numbers in the network.
        """
        random = rng(seed, "weights")
        layers = []
        deviations = standard_deviations(init_std, sizes)
        for (fan_in, fan_out), std in zip(pairwise(sizes), deviations, strict=True):
            weight = random.normal(0, std, (fan_in, fan_out)).astype(dtype)
            layers.append(Linear(weight, np.zeros(fan_out, dtype)))
        first = InkLinear(*layers[0].to_linear(), pixel_order, kernels)
        return cls(first, *_interleave(layers[1:], activation))

    @classmethod
    def from_weights(cls, weights: Mapping[str, Floats], activation: Activation) -> "Network":
        """Make a network of ordinary layers from the result of `weights`.

        Raises:
            ValueError: a layer is missing.
        """
        count = sum(name.endswith(".weight") for name in weights)
        try:
            layers = [Linear(weights[f"layer{i}.weight"], weights[f"layer{i}.bias"]) for i in range(1, count + 1)]
        except KeyError as missing:
            raise ValueError(f"{missing} is missing from the weights of a network: {sorted(weights)}") from None
        if not layers:
            raise ValueError("no weights of a network: there must be layer1.weight and layer1.bias")
        return cls(layers[0], *_interleave(layers[1:], activation))

    @property
    def classes(self) -> int:
        """The number of classes, which is the number of scores of an image."""
        return self._learning[-1].fan_out

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of all numbers in the network."""
        return next(iter(self.parameters.values())).value.dtype

    def forward(self, inputs: Any) -> Floats:
        """Give the scores (images, classes); the input is that of the first layer, a `Batch` after `create`."""
        outputs = self.first.forward(inputs)
        for layer in self.rest:
            outputs = layer.forward(outputs)
        return outputs

    def backward(self, gradient: Floats) -> None:
        """Write the gradient of each parameter, given the gradient at the scores of the last `forward`."""
        for layer in reversed(self.rest):
            gradient = layer.backward(gradient)
        self.first.backward(gradient)

    def predict(self, images: Pixels) -> Floats:
        """Give the scores (images, classes) of images (images, features) as bytes, in natural pixel order."""
        scores = np.empty((len(images), self.classes), self.dtype)
        for start in range(0, len(images), self.PREDICTED_TOGETHER):
            rows = slice(start, start + self.PREDICTED_TOGETHER)
            scores[rows] = self.forward(self.first.preprocess(images[rows]))
        return scores

    def weights(self) -> dict[str, Floats]:
        """Give copies of the weights as ordinary layers have them, for storing and serving.

        Returns:
            "layer1.weight" (features, outputs), with rows in natural pixel order; "layer1.bias" (outputs,); and so on.
        """
        named = {}
        for number, layer in enumerate(self._learning, start=1):
            named[f"layer{number}.weight"], named[f"layer{number}.bias"] = layer.to_linear()
        return named

    def state(self) -> dict[str, Floats]:
        """Give copies of the parameters, from which a training can resume bit for bit."""
        return {name: parameter.value.copy() for name, parameter in self.parameters.items()}

    def load_state(self, state: Mapping[str, Floats]) -> None:
        """Set the parameters to the result of `state`.

        Raises:
            KeyError: the state is from a network of another depth.
            ValueError: the state is from a network of other sizes.
        """
        for name, parameter in self.parameters.items():
            overwrite(parameter.value, state[name], name)


def _interleave(layers: Sequence[Linear], activation: Activation) -> Iterator[Linear | Activation]:
    """Put an activation before each layer: the given one before the last layer, ReLU before the others."""
    for layer in layers[:-1]:
        yield Relu()
        yield layer
    yield activation
    yield layers[-1]
