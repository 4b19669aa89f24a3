"""Activations: right derivatives, right values, no number too large for them."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.activations import ACTIVATIONS, Activation, Gelu, Sigmoid

finite_float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_the_gradient_is_the_derivative(name, numeric_gradient):
    random = np.random.default_rng(0)
    inputs, weights = random.normal(0, 2, (7, 9)), random.normal(size=(7, 9))
    activation = ACTIVATIONS[name]()
    activation.forward(inputs.copy())
    analytic = activation.backward(weights.copy())
    numeric = numeric_gradient(lambda: float(np.sum(weights * ACTIVATIONS[name]().forward(inputs.copy()))), inputs)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_inputs_turn_into_outputs_and_gradients_into_gradients(name):
    activation = ACTIVATIONS[name]()
    for turn in (activation.forward, activation.backward):
        array = np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4)
        assert turn(array) is array
        assert array.dtype == np.float32


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(st.lists(finite_float32, min_size=1, max_size=20))
def test_any_finite_number_has_a_finite_output_and_derivative(name, numbers):
    activation = ACTIVATIONS[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outputs = activation.forward(np.array(numbers, dtype=np.float32))
        slopes = activation.backward(np.ones(len(numbers), dtype=np.float32))
    assert np.isfinite(outputs).all()
    assert np.isfinite(slopes).all()
    assert (np.abs(slopes) < 1.2).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_ends_of_the_float_range(dtype):
    largest = np.finfo(dtype).max
    inputs = np.array([-largest, -1e30, -200, 0, 200, 1e30, largest], dtype=dtype)
    sigmoid, gelu = Sigmoid(), Gelu()
    np.testing.assert_allclose(sigmoid.forward(inputs.copy()), [0, 0, 0, 0.5, 1, 1, 1], atol=1e-80)
    np.testing.assert_allclose(gelu.forward(inputs.copy()), np.maximum(inputs, 0))
    np.testing.assert_allclose(gelu.backward(np.ones_like(inputs)), [0, 0, 0, 0.5, 1, 1, 1], atol=1e-80)


@given(st.floats(-700, 700))
def test_sigmoid_is_its_formula(x):
    assert Sigmoid().forward(np.array([x]))[0] == pytest.approx(1 / (1 + math.exp(-x)), rel=1e-12)


@given(st.floats(-30, 30))
def test_gelu_is_the_published_tanh_form(x):
    published = 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    assert Gelu().forward(np.array([x]))[0] == pytest.approx(published, rel=1e-9, abs=1e-14)


def test_relu_values():
    relu = ACTIVATIONS["relu"]()
    np.testing.assert_array_equal(relu.forward(np.array([-2.0, 0.0, 3.0])), [0, 0, 3])
    np.testing.assert_array_equal(relu.backward(np.array([5.0, 5.0, 5.0])), [0, 0, 5])


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_against_torch(name):
    torch = pytest.importorskip("torch")
    theirs = {
        "relu": torch.relu,
        "sigmoid": torch.sigmoid,
        "gelu": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    }
    inputs = np.random.default_rng(1).normal(0, 3, (20, 30))
    tensor = torch.tensor(inputs, requires_grad=True)
    expected = theirs[name](tensor)
    expected.sum().backward()
    activation = ACTIVATIONS[name]()
    np.testing.assert_allclose(activation.forward(inputs.copy()), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(activation.backward(np.ones_like(inputs)), tensor.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_every_activation_is_offered_under_its_name():
    assert list(ACTIVATIONS) == ["relu", "sigmoid", "gelu"]
    for name, activation in ACTIVATIONS.items():
        assert issubclass(activation, Activation)
        assert activation.name == name
        assert activation.label
