"""Small images with ink in the middle, and the ordinary network that the fast one must agree with."""

import numpy as np
import pytest

from model.activations import ACTIVATIONS
from model.examples import Examples
from model.ink import ink_extents, ink_order, pixel_sums
from model.network import Linear, Network

FEATURES, CLASSES = 36, 5


class PlainFirst(Linear):
    """An ordinary layer that takes what an ink layer takes."""

    def __init__(self, weight, bias, pixel_order):
        super().__init__(weight, bias)
        self.natural = np.argsort(pixel_order)

    def forward(self, examples):
        return super().forward(self.preprocess(examples.pixels[:, self.natural]))


@pytest.fixture(scope="session")
def images():
    """237 images: a number that no batch size used here divides. Ink gets rarer from a corner outwards."""
    random = np.random.default_rng(5)
    inked = random.random((237, FEATURES)) < np.linspace(0.9, 0.005, FEATURES)[random.permutation(FEATURES)]
    images = np.where(inked, random.integers(1, 256, inked.shape), 0).astype(np.uint8)
    images[7] = 0
    return images


@pytest.fixture(scope="session")
def pixel_order(images):
    return ink_order(images)


@pytest.fixture(scope="session")
def examples(images, pixel_order):
    pixels = np.ascontiguousarray(images[:, pixel_order])
    # Something that can be learned.
    labels = (images @ np.random.default_rng(6).normal(size=(FEATURES, CLASSES))).argmax(axis=1)
    return Examples(pixels, ink_extents(pixels), pixel_sums(pixels), labels.astype(np.uint8))


@pytest.fixture(scope="session")
def make_network(pixel_order):
    """Give a network; `plain` gives the ordinary one, from the same weights."""

    def make(hidden=(11,), activation="gelu", dtype=np.float32, seed=0, plain=False):
        sizes = (FEATURES, *hidden, CLASSES)
        network = Network.create(
            sizes, ACTIVATIONS[activation](), init_std="he", seed=seed, pixel_order=pixel_order, dtype=dtype
        )
        if not plain:
            return network
        return Network(PlainFirst(*network.first.to_linear(), pixel_order), *network.rest)

    return make


@pytest.fixture(scope="session")
def numeric_gradient():
    """Give central differences of a function of no arguments with respect to an array that it depends on."""

    def gradient(function, array, step=1e-6):
        result = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + step
            above = function()
            array[index] = value - step
            below = function()
            array[index] = value
            result[index] = (above - below) / (2 * step)
        return result

    return gradient
