"""JAX: an epoch is one compiled scan over its mini-batches, of one network or of many at once."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from benchmarks.job import LEARNING_RATE, MARGIN, Contender, Data, Kind, Weights, layers_of


def _euclidean(scores: Array, targets: Array) -> Array:
    return ((scores - targets) ** 2).sum() / (2 * len(scores))


def _softmax_cross_entropy(scores: Array, targets: Array) -> Array:
    return -(jax.nn.log_softmax(scores) * targets).sum() / len(scores)


def _hinge(scores: Array, targets: Array) -> Array:
    right = (scores * targets).sum(axis=1, keepdims=True)
    return (jnp.maximum(MARGIN - right + scores, 0) * (1 - targets)).sum() / len(scores)


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "gelu": partial(jax.nn.gelu, approximate=True),
}
_LOSSES = {"euclidean": _euclidean, "softmax_cross_entropy": _softmax_cross_entropy, "hinge": _hinge}
Parameters = tuple[Array, Array, Array, Array]


def _total_loss(parameters: Parameters, inputs: Array, targets: Array, kinds: tuple[Kind, ...]) -> Array:
    """The sum of the networks' losses, whose gradient is each network's own.

    Their first layers stand side by side, (features, networks * hidden), so that one large product serves all.
    """
    weight, bias, last_weight, last_bias = parameters
    hidden = jnp.split(inputs @ weight + bias, len(kinds), axis=1)
    total = jnp.zeros(())
    for number, kind in enumerate(kinds):
        scores = _ACTIVATIONS[kind.activation](hidden[number]) @ last_weight[number] + last_bias[number]
        total += _LOSSES[kind.loss](scores, targets)
    return total


@partial(jax.jit, static_argnames="kinds", donate_argnames="parameters")
def _epoch(parameters: Parameters, images: Array, targets: Array, order: Array, kinds: tuple[Kind, ...]) -> Parameters:
    def step(parameters: Parameters, indices: Array) -> tuple[Parameters, None]:
        gradients = jax.grad(_total_loss)(parameters, images[indices], targets[indices], kinds)
        return jax.tree.map(lambda value, gradient: value - LEARNING_RATE * gradient, parameters, gradients), None

    return lax.scan(step, parameters, order)[0]


class Scan(Contender):
    """One network after the other."""

    def __init__(self, data: Data, threads: int) -> None:
        """Hold images and one-hot targets as arrays of JAX."""
        super().__init__(data, threads)
        self.images = jnp.asarray(data.inputs())
        self.targets = jnp.eye(data.sizes[2], dtype=jnp.float32)[data.labels]

    def warm_up(self, kinds: Sequence[Kind]) -> None:
        """Compile each network's epoch."""
        self.train(kinds, 1)

    def train(self, kinds: Sequence[Kind], epochs: int) -> list[Weights]:
        """Train one network after the other."""
        return [weights for kind in kinds for weights in self._trained((kind,), epochs)]

    def _trained(self, kinds: tuple[Kind, ...], epochs: int) -> list[Weights]:
        start, many = self.data.weights(), len(kinds)
        parameters: Parameters = (
            jnp.asarray(np.tile(start["layer1.weight"], many)),
            jnp.asarray(np.tile(start["layer1.bias"], many)),
            jnp.asarray(np.stack([start["layer2.weight"]] * many)),
            jnp.asarray(np.stack([start["layer2.bias"]] * many)),
        )
        for epoch in range(epochs):
            order = jnp.asarray(self.data.order(epoch), dtype=jnp.int32)
            parameters = _epoch(parameters, self.images, self.targets, order, kinds)
        weight, bias, last_weight, last_bias = map(np.asarray, parameters)
        parts = zip(np.split(weight, many, axis=1), np.split(bias, many), last_weight, last_bias, strict=True)
        return [layers_of(*arrays) for arrays in parts]


class Vectorised(Scan):
    """All networks at once."""

    def train(self, kinds: Sequence[Kind], epochs: int) -> list[Weights]:
        """Train all networks together."""
        return self._trained(tuple(kinds), epochs)
