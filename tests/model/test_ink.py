"""The ink layer: the order of pixels, the extents, and that it is the ordinary layer in everything but its speed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import model.ink
from model.examples import Batch
from model.fit import fit
from model.ink import InkLinear, block_size, ink_extents, ink_order
from model.losses import make_loss
from model.network import Linear
from model.optimizers import Sgd


@pytest.fixture(params=[(0, 4), (2000, 256), (10**6, 256)])
def parts(request, monkeypatch):
    """Compute products in the smallest blocks, in blocks of different sizes, and in one block."""
    product, large = request.param
    monkeypatch.setattr(model.ink, "block_size", lambda _: product)
    monkeypatch.setattr(model.ink, "_LARGE_BLOCK", large)


small_images = arrays(
    np.uint8, st.tuples(st.integers(0, 12), st.integers(1, 9)), elements=st.sampled_from([0, 0, 1, 255])
)


@given(small_images, st.integers(1, 5))
def test_order_and_extents_are_their_definitions(images, together):
    whole = model.ink._SLICE
    model.ink._SLICE = together
    try:
        order = ink_order(images)
        extents = ink_extents(images[:, order])
    finally:
        model.ink._SLICE = whole
    counts = [int((images[:, pixel] > 0).sum()) for pixel in range(images.shape[1])]
    assert list(order) == sorted(range(images.shape[1]), key=lambda pixel: -counts[pixel])
    for row, extent in zip(images[:, order], extents, strict=True):
        assert not row[extent:].any()
        assert extent == 0 or row[extent - 1] > 0


@pytest.mark.parametrize(("kernels", "size"), [("SkylakeX", 10**6), ("Haswell", 3 * 10**6), ("", 3 * 10**6)])
def test_the_size_of_blocks_follows_the_kernels(monkeypatch, kernels, size):
    asked = []
    monkeypatch.setattr(model.ink, "block_size", lambda name: asked.append(name) or block_size(name))
    InkLinear(np.zeros((4, 2)), np.zeros(2), np.arange(4), kernels)
    assert asked == [kernels]
    assert block_size(kernels) == size


def both_layers(outputs=7, features=20, images=13, dtype=np.float64):
    random = np.random.default_rng(3)
    pixels = np.where(random.random((images, features)) < 0.3, random.integers(0, 256, (images, features)), 0)
    pixels = pixels.astype(np.uint8)
    weight = random.normal(size=(features, outputs)).astype(dtype)
    bias = random.normal(size=outputs).astype(dtype)
    order = ink_order(pixels)
    return InkLinear(weight, bias, order), Linear(weight, bias), pixels


def test_dense_gives_back_what_it_was_made_of():
    ink, plain, _ = both_layers()
    for ours, theirs in zip(ink.to_linear(), plain.to_linear(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("images", [1, 2, 3, 4, 13])
def test_forward_is_that_of_the_ordinary_layer(images):
    ink, plain, pixels = both_layers()
    pixels = pixels[:images]
    expected = plain.forward(plain.preprocess(pixels))
    np.testing.assert_allclose(ink.forward(ink.preprocess(pixels)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("parts")
def test_forward_needs_no_order_of_the_images():
    ink, plain, pixels = both_layers()
    batch = ink.preprocess(pixels)
    farthest_first = np.argsort(-batch.extents)
    batch = Batch(*(array[farthest_first] for array in batch))
    expected = plain.forward(plain.preprocess(pixels[farthest_first]))
    np.testing.assert_allclose(ink.forward(batch), expected, rtol=1e-12, atol=1e-12)


def test_blank_images():
    ink, plain, pixels = both_layers()
    blank = np.zeros_like(pixels)
    np.testing.assert_allclose(
        ink.forward(ink.preprocess(blank)), plain.forward(plain.preprocess(blank)), rtol=1e-12, atol=1e-12
    )
    plain.backward(np.ones((len(blank), 7)))
    ink.backward(np.ones((len(blank), 7)))
    assert ink.matrix.rows == 2
    for layer in (ink, plain):
        Sgd(layer.parameters, learning_rate=1.0).step()
    for ours, theirs in zip(ink.to_linear(), plain.to_linear(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_what_an_earlier_batch_left_behind_does_not_matter():
    ink, _, pixels = both_layers()
    one, other = ink.preprocess(pixels[:9]), ink.preprocess(pixels[9:])
    first = ink.forward(other).copy()
    ink.forward(one)
    np.testing.assert_array_equal(ink.forward(other), first)


@pytest.mark.usefixtures("parts")
def test_a_step_is_minus_the_derivative(numeric_gradient):
    ink, plain, pixels = both_layers()
    pull = np.random.default_rng(4).normal(size=(len(pixels), 7))
    inputs = plain.preprocess(pixels)
    expected = [
        numeric_gradient(lambda: float(np.sum(pull * plain.forward(inputs))), parameter.value)
        for parameter in (plain.weight, plain.bias)
    ]
    before = ink.to_linear()
    ink.forward(ink.preprocess(pixels))
    ink.backward(pull.copy())
    Sgd(ink.parameters, learning_rate=1.0).step()
    for start, end, gradient in zip(before, ink.to_linear(), expected, strict=True):
        np.testing.assert_allclose(start - end, gradient, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("parts")
@pytest.mark.parametrize("hidden", [(11,), (9, 6)])
@pytest.mark.parametrize("batch_size", [1, 3, 50, 1000])
@pytest.mark.parametrize("decays", [(0, 0), (0.9, 0), (0, 0.01), (0.8, 0.003)])
def test_training_moves_as_the_ordinary_network(make_network, examples, hidden, batch_size, decays):
    trained = []
    for plain in (False, True):
        network = make_network(hidden, dtype=np.float64, plain=plain)
        sgd = Sgd(network.parameters, 0.02, *decays)
        start = network.weights()
        for _ in fit(
            network,
            make_loss("softmax_cross_entropy"),
            sgd,
            examples,
            batch_size=batch_size,
            max_epoch=2,
            disp_freq=7,
            seed=1,
        ):
            pass
        trained.append(network.weights())
    for name, weight in trained[0].items():
        assert np.abs(weight - start[name]).max() > 1e-3
        np.testing.assert_allclose(weight, trained[1][name], rtol=0, atol=1e-12)


def test_float32_stays_close_to_the_ordinary_network(make_network, examples):
    trained = []
    for plain in (False, True):
        network = make_network((16,), plain=plain)
        sgd = Sgd(network.parameters, 0.02)
        for _ in fit(network, make_loss("hinge"), sgd, examples, batch_size=10, max_epoch=20, disp_freq=7, seed=1):
            pass
        trained.append(network.weights())
    for name, weight in trained[0].items():
        assert weight.dtype == np.float32
        np.testing.assert_allclose(weight, trained[1][name], rtol=0, atol=1e-4)
