"""Stochastic gradient descent: the usual semantics, step by step."""

import numpy as np
import pytest

from model.optimizers import Sgd
from model.parameter import Parameter


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0, 0), (0.9, 0), (0, 0.1), (0.9, 0.1)])
def test_steps_are_the_formula(momentum, weight_decay):
    random = np.random.default_rng(0)
    parameter = Parameter(random.normal(size=(4, 3)))
    w, v = parameter.value.copy(), np.zeros((4, 3))
    sgd = Sgd({"w": parameter}, 0.1, momentum, weight_decay)
    for rows in (4, 2, 3, 4):
        gradient = random.normal(size=(4, 3))
        parameter.gradient[...] = 0.1 * gradient
        parameter.rows = rows
        gradient[rows:] = 0
        sgd.step()
        v = momentum * v + gradient + weight_decay * w
        w -= 0.1 * v
        np.testing.assert_allclose(parameter.value, w, rtol=1e-12)


def test_no_momentum_no_velocities():
    sgd = Sgd({"w": Parameter(np.ones(3))}, 0.1)
    assert sgd.state() == {}
    sgd.load_state({})


def test_state_is_a_copy_and_comes_back():
    parameter = Parameter(np.ones(3))
    parameter.gradient[...] = [1, 2, 3]
    sgd = Sgd({"w": parameter}, 0.1, momentum=0.5)
    sgd.step()
    state = sgd.state()
    np.testing.assert_array_equal(state["velocity.w"], [1, 2, 3])
    sgd.step()
    np.testing.assert_array_equal(state["velocity.w"], [1, 2, 3])
    sgd.load_state({"w": np.zeros(3), **state})
    np.testing.assert_array_equal(sgd.state()["velocity.w"], [1, 2, 3])
    with pytest.raises(ValueError, match=r"velocity.w is stored as float64 \(2,\)"):
        sgd.load_state({"velocity.w": np.zeros(2)})
    with pytest.raises(KeyError, match=r"velocity.w"):
        sgd.load_state({})


@pytest.mark.parametrize(("momentum", "weight_decay"), [(0, 0), (0.9, 0), (0, 0.1), (0.9, 0.1)])
def test_against_torch(momentum, weight_decay):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    parameter = Parameter(random.normal(size=(4, 3)))
    theirs = torch.nn.Parameter(torch.tensor(parameter.value))
    sgd = Sgd({"w": parameter}, 0.1, momentum, weight_decay)
    their_sgd = torch.optim.SGD([theirs], lr=0.1, momentum=momentum, weight_decay=weight_decay)
    for _ in range(5):
        gradient = random.normal(size=(4, 3))
        parameter.gradient[...] = 0.1 * gradient
        theirs.grad = torch.tensor(gradient)
        sgd.step()
        their_sgd.step()
        np.testing.assert_allclose(parameter.value, theirs.detach().numpy(), rtol=1e-12)
