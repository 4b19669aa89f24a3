"""Networks: gradients through all layers, weights in and out, predictions."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from model.activations import ACTIVATIONS, Gelu, Relu, Sigmoid
from model.ink import InkLinear
from model.losses import make_loss
from model.network import Linear, Network
from model.randomness import rng


@pytest.mark.parametrize("hidden", [(6,), (7, 4)])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_of_every_parameter(make_network, examples, numeric_gradient, hidden, activation):
    network, loss = make_network(hidden, activation, np.float64, plain=True), make_loss("softmax_cross_entropy")
    batch, targets = examples.batch(np.arange(4)), np.eye(5)[examples.labels[:4]]
    network.backward(loss.backward(network.forward(batch), targets))
    analytic = {name: parameter.gradient.copy() for name, parameter in network.parameters.items()}
    for name, parameter in network.parameters.items():
        numeric = numeric_gradient(lambda: loss.forward(network.forward(batch), targets), parameter.value)
        np.testing.assert_allclose(analytic[name], numeric, rtol=1e-5, atol=1e-7, err_msg=name)


def test_gradients_of_linear(numeric_gradient):
    random = np.random.default_rng(0)
    layer = Linear(random.normal(size=(4, 3)), random.normal(size=3))
    inputs, pull = random.normal(size=(5, 4)), random.normal(size=(5, 3))
    np.testing.assert_allclose(layer.forward(inputs), inputs @ layer.weight.value + layer.bias.value)

    def pulled():
        return float(np.sum(pull * layer.forward(inputs)))

    back = layer.backward(pull.copy())
    for analytic, array in (
        (back, inputs),
        (layer.weight.gradient, layer.weight.value),
        (layer.bias.gradient, layer.bias.value),
    ):
        np.testing.assert_allclose(analytic, numeric_gradient(pulled, array), rtol=1e-6, atol=1e-8)


def test_architecture(make_network):
    one, two = make_network((11,), "sigmoid"), make_network((11, 7), "sigmoid")
    assert isinstance(one.first, InkLinear)
    assert [type(layer) for layer in one.rest] == [Sigmoid, Linear]
    assert [type(layer) for layer in two.rest] == [Relu, Linear, Sigmoid, Linear]
    assert {name: weight.shape for name, weight in two.weights().items()} == {
        "layer1.weight": (36, 11),
        "layer1.bias": (11,),
        "layer2.weight": (11, 7),
        "layer2.bias": (7,),
        "layer3.weight": (7, 5),
        "layer3.bias": (5,),
    }
    assert two.classes == 5
    assert two.dtype == np.float32
    assert all(weight.dtype == np.float32 for weight in two.weights().values())


def test_start_depends_on_seed_and_sizes_alone(make_network):
    start = make_network(activation="relu", seed=3).weights()
    for name, weight in make_network(activation="gelu", seed=3).weights().items():
        np.testing.assert_array_equal(weight, start[name])
    assert np.abs(make_network(seed=4).weights()["layer1.weight"] - start["layer1.weight"]).max() > 0.01


@pytest.mark.parametrize(
    ("init_std", "first", "second"), [(0.01, 0.01, 0.01), ("he", (2 / 400) ** 0.5, (2 / 300) ** 0.5)]
)
def test_initial_weights(init_std, first, second):
    order = np.random.default_rng(0).permutation(400)
    network = Network.create((400, 300, 100), Relu(), init_std=init_std, seed=0, pixel_order=order)
    weights = network.weights()
    assert weights["layer1.weight"].std() == pytest.approx(first, rel=0.01)
    assert weights["layer2.weight"].std() == pytest.approx(second, rel=0.02)
    np.testing.assert_allclose(weights["layer1.bias"], 0, atol=1e-6)
    np.testing.assert_array_equal(weights["layer2.bias"], 0)
    natural = rng(0, "weights").normal(0, first, (400, 300))
    np.testing.assert_allclose(weights["layer1.weight"], natural, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("hidden", [(11,), (11, 7)])
def test_served_predictions_are_those_of_training(make_network, images, examples, hidden, monkeypatch):
    network = make_network(hidden)
    for parameter in network.parameters.values():
        parameter.value += np.random.default_rng(0).normal(0, 0.001, parameter.value.shape).astype(np.float32)
    served = Network.from_weights(network.weights(), Gelu())
    batch = examples.batch(np.arange(len(examples)))
    trained = network.forward(batch)
    assert trained.std() > 0.1
    whole = served.predict(images)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, trained, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(network.predict(images), trained, rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(Network, "PREDICTED_TOGETHER", 50)
    np.testing.assert_allclose(served.predict(images), whole, rtol=1e-4, atol=1e-5)
    assert served.predict(images[:0]).shape == (0, 5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_threads_predict_at_once(make_network, images, activation):
    network = make_network((300,), activation)
    served = Network.from_weights(network.weights(), ACTIVATIONS[activation]())
    questions = [images[first : first + 40] for first in range(0, 200, 5)] * 10
    answers = [served.predict(question) for question in questions]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            for answer, expected in zip(threads.map(served.predict, questions), answers, strict=True):
                np.testing.assert_array_equal(answer, expected)
    finally:
        sys.setswitchinterval(before)


def test_reading_scales_pixels():
    layer = Linear(np.zeros((3, 2), np.float32), np.zeros(2, np.float32))
    np.testing.assert_allclose(layer.preprocess(np.array([[0, 128, 255]], np.uint8)), [[-128 / 255, 0, 127 / 255]])


def test_from_weights_needs_all_of_them(make_network):
    weights = make_network().weights()
    with pytest.raises(ValueError, match=r"layer1\.weight and layer1\.bias"):
        Network.from_weights({}, Relu())
    del weights["layer1.bias"]
    with pytest.raises(ValueError, match=r"layer1\.bias"):
        Network.from_weights(weights, Relu())


def test_state_is_a_copy_and_comes_back(make_network, examples):
    network = make_network()
    batch = examples.batch(np.arange(len(examples)))
    state, before = network.state(), network.forward(batch)
    for parameter in network.parameters.values():
        parameter.value += 1
    assert not np.array_equal(network.forward(batch), before)
    network.load_state(state)
    np.testing.assert_array_equal(network.forward(batch), before)


def test_a_state_of_another_network_is_refused(make_network):
    network = make_network((11,))
    with pytest.raises(
        ValueError, match=r"layer1.matrix is stored as float32 \(38, 12\), needed as float32 \(38, 11\)"
    ):
        network.load_state(make_network((12,)).state())
    with pytest.raises(ValueError, match="float64"):
        network.load_state(make_network((11,), dtype=np.float64).state())
    deeper = make_network((11, 5))
    with pytest.raises(KeyError, match="layer3"):
        deeper.load_state({name: array for name, array in deeper.state().items() if "3" not in name})
