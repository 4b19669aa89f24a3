"""The job that every contender does: the published one-layer networks on MNIST, from the same weights."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.activations import ACTIVATIONS
from model.network import Network
from model.randomness import rng
from pipeline.data.datasets import Dataset, load
from pipeline.training.provenance import kernels

HIDDEN = 128
BATCH = 100
LEARNING_RATE = 0.003
INIT_STD = 0.01
MARGIN = 5.0
SEED = 0

Weights = dict[str, NDArray[np.float32]]
"""weight and bias of "layer1" and "layer2", as `Network.weights` names them."""


class Kind(NamedTuple):
    """Which of the nine networks."""

    activation: str
    loss: str


NINE = [Kind(*names) for names in product(("relu", "sigmoid", "gelu"), ("euclidean", "softmax_cross_entropy", "hinge"))]
ONE = Kind("relu", "softmax_cross_entropy")
"""The one that every library has."""


@dataclass(frozen=True, eq=False)
class Data:
    """A data set as the libraries want it.

    Attributes:
        prepared: as this project has it.
        pixels: (images, features), uint8, in natural order.
        labels: (images,), int64.
        test_pixels: like `pixels`.
        test_labels: like `labels`.
    """

    prepared: Dataset
    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    test_pixels: NDArray[np.uint8]
    test_labels: NDArray[np.int64]

    @classmethod
    def open(cls, name: str, data_dir: Path) -> "Data":
        """Open a prepared data set."""
        dataset = load(name, data_dir)
        train = dataset.images("train", np.arange(len(dataset.train))).reshape(len(dataset.train), -1)
        test = dataset.images("test", np.arange(len(dataset.test))).reshape(len(dataset.test), -1)
        return cls(
            dataset, train, np.array(dataset.train.labels, np.int64), test, np.array(dataset.test.labels, np.int64)
        )

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Inputs, hidden units and classes."""
        return self.pixels.shape[1], HIDDEN, self.prepared.classes

    def inputs(self) -> NDArray[np.float32]:
        """The training images as every network sees them: (x - 128) / 255."""
        inputs = self.pixels.astype(np.float32)
        inputs -= 128
        inputs /= 255
        return inputs

    def network(self, kind: Kind) -> Network:
        """This project's network, untrained."""
        return Network.create(
            self.sizes,
            ACTIVATIONS[kind.activation](),
            init_std=INIT_STD,
            seed=SEED,
            pixel_order=self.prepared.pixel_order,
            kernels=kernels(),
        )

    def weights(self) -> Weights:
        """The weights that every network starts from."""
        return self.network(ONE).weights()

    def order(self, epoch: int) -> NDArray[np.int64]:
        """The order of the training images in an epoch, in whole mini-batches: (batches, BATCH)."""
        order = rng(SEED, "order", epoch).permutation(len(self.labels))
        return order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)

    def accuracy(self, kind: Kind, weights: Weights) -> float:
        """The share of the test images that a trained network classifies right."""
        scores = Network.from_weights(weights, ACTIVATIONS[kind.activation]()).predict(self.test_pixels)
        return float((scores.argmax(axis=1) == self.test_labels).mean())


def flops(images: int, sizes: Sequence[int]) -> float:
    """Floating-point operations of the matrix products of an epoch, counted as if all inputs were dense.

    Each layer has one product forward and one for its weight's gradient; all but the first hand a gradient back.
    """
    layers = list(pairwise(sizes))
    products = sum((2 if number == 0 else 3) * fan_in * fan_out for number, (fan_in, fan_out) in enumerate(layers))
    return 2.0 * images * products


def shares(kinds: Sequence[Kind], parts: int) -> list[list[Kind]]:
    """Networks dealt out to processes, as evenly as can be."""
    return [list(kinds[part::parts]) for part in range(parts) if kinds[part::parts]]


class Contender(ABC):
    """A library that trains networks on this data in this process; made once, it trains many times."""

    def __init__(self, data: Data, threads: int) -> None:
        """Bring the data into the form that is fastest to train on.

        Args:
            data: to train on.
            threads: to use, at most.
        """
        self.data = data
        self.threads = threads

    def warm_up(self, kinds: Sequence[Kind]) -> None:
        """Bring everything into its steady state: compile what has to be compiled, touch all memory."""
        self.train(kinds[:1], 1)

    @abstractmethod
    def train(self, kinds: Sequence[Kind], epochs: int) -> list[Weights]:
        """Train networks from the common weights; this is what is timed."""


def layers_of(*arrays: Any) -> Weights:
    """Name the arrays of a network: weight (fan_in, fan_out) and bias of each layer in turn."""
    names = ("layer1.weight", "layer1.bias", "layer2.weight", "layer2.bias")
    return dict(zip(names, map(np.asarray, arrays), strict=True))
