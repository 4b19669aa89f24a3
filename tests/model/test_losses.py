"""Losses: right values, right derivatives, no score too large for them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.losses import LOSSES, Euclidean, Hinge, Loss, SoftmaxCrossEntropy, make_loss

finite_float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
scores_of_three = arrays(np.float32, st.tuples(st.integers(1, 6), st.just(3)), elements=finite_float32)


def some_scores(images=8, classes=5, seed=0):
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=images)
    return random.normal(0, 3, (images, classes)), np.eye(classes)[labels], labels


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_the_derivative(name, numeric_gradient):
    outputs, targets, _ = some_scores()
    loss = LOSSES[name]()
    analytic = loss.backward(outputs, targets)
    numeric = numeric_gradient(lambda: LOSSES[name]().forward(outputs, targets), outputs)
    np.testing.assert_allclose(analytic, numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_it_is_a_mean_over_images(name):
    outputs, targets, _ = some_scores()
    loss = LOSSES[name]()
    single = [loss.forward(outputs[i : i + 1], targets[i : i + 1]) for i in range(len(outputs))]
    assert loss.forward(outputs, targets) == pytest.approx(np.mean(single), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_arguments_stay_as_they_are_and_gradients_are_new(name):
    outputs, targets, _ = some_scores()
    before = outputs.copy(), targets.copy()
    loss = LOSSES[name]()
    loss.forward(outputs, targets)
    first = loss.backward(outputs, targets)
    expected = first.copy()
    first *= 7
    np.testing.assert_array_equal(loss.backward(outputs, targets), expected)
    np.testing.assert_array_equal((outputs, targets), before)


@pytest.mark.parametrize("name", LOSSES)
def test_float32_stays_float32(name):
    outputs, targets, _ = some_scores()
    loss = LOSSES[name]()
    outputs, targets = outputs.astype(np.float32), targets.astype(np.float32)
    assert type(loss.forward(outputs, targets)) is float
    assert loss.backward(outputs, targets).dtype == np.float32


@pytest.mark.parametrize("name", LOSSES)
@given(scores_of_three)
def test_any_finite_scores_give_finite_gradients(name, outputs):
    targets = np.eye(3, dtype=np.float32)[np.arange(len(outputs)) % 3]
    loss = LOSSES[name]()
    with np.errstate(over="ignore", invalid="ignore"):
        value = loss.forward(outputs, targets)
        gradient = loss.backward(outputs, targets)
    assert np.isfinite(gradient).all()
    if np.abs(outputs).max() < 1e18:
        assert 0 <= value < math.inf


def test_values_by_hand():
    outputs, targets = np.array([[1.0, 4.0, -2.0]]), np.array([[0.0, 1.0, 0.0]])
    assert Euclidean().forward(outputs, targets) == pytest.approx((1 + 9 + 4) / 2)
    assert Hinge(5.0).forward(outputs, targets) == pytest.approx((5 - 4 + 1) + 0)
    probability = math.exp(4) / (math.exp(1) + math.exp(4) + math.exp(-2))
    assert SoftmaxCrossEntropy().forward(outputs, targets) == pytest.approx(-math.log(probability))


@given(st.floats(0, 50))
def test_hinge_is_its_formula(margin):
    outputs, targets, labels = some_scores(seed=4)
    total = sum(
        max(0, margin - outputs[i, labels[i]] + outputs[i, k])
        for i in range(len(outputs))
        for k in range(outputs.shape[1])
        if k != labels[i]
    )
    assert Hinge(margin).forward(outputs, targets) == pytest.approx(total / len(outputs), rel=1e-12, abs=1e-12)


def test_cross_entropy_of_far_scores():
    loss = SoftmaxCrossEntropy()
    right = np.array([[0.0, 1.0]], dtype=np.float32)
    far = np.array([[3e4, -3e4]], dtype=np.float32)
    assert loss.forward(far, right) == pytest.approx(6e4)
    np.testing.assert_array_equal(loss.backward(far, right), [[1, -1]])
    assert loss.forward(far[:, ::-1].copy(), right) == 0
    ends = np.array([[3e38, -3e38]], dtype=np.float32)
    with np.errstate(over="ignore"):
        assert not math.isfinite(loss.forward(ends, right))
        np.testing.assert_array_equal(loss.backward(ends, right), [[1, -1]])


def test_cross_entropy_does_not_depend_on_a_shift_of_all_scores():
    outputs, targets, _ = some_scores()
    loss = SoftmaxCrossEntropy()
    assert loss.forward(outputs + 1000, targets) == pytest.approx(loss.forward(outputs, targets), rel=1e-10)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", LOSSES)
def test_scores_that_are_no_numbers_show_in_the_loss(name, bad):
    outputs, targets, labels = some_scores()
    outputs[0, (labels[0] + 1) % 5] = bad
    with np.errstate(all="ignore"):
        assert not math.isfinite(LOSSES[name]().forward(outputs, targets))


@pytest.mark.parametrize("name", LOSSES)
def test_against_torch(name):
    torch = pytest.importorskip("torch")
    outputs, targets, labels = some_scores(50, 10)
    tensor, right = torch.tensor(outputs, requires_grad=True), torch.tensor(labels)
    theirs = {
        "euclidean": lambda: 5 * torch.nn.functional.mse_loss(tensor, torch.tensor(targets)),
        "softmax_cross_entropy": lambda: torch.nn.functional.cross_entropy(tensor, right),
        # Torch divides by the number of classes.
        "hinge": lambda: 10 * torch.nn.functional.multi_margin_loss(tensor, right, margin=5.0),
    }
    expected = theirs[name]()
    expected.backward()
    loss = make_loss(name, hinge_margin=5.0)
    assert loss.forward(outputs, targets) == pytest.approx(expected.item(), rel=1e-12)
    np.testing.assert_allclose(loss.backward(outputs, targets), tensor.grad.numpy(), rtol=1e-9, atol=1e-14)


def test_every_loss_is_offered_under_its_name():
    assert list(LOSSES) == ["euclidean", "softmax_cross_entropy", "hinge"]
    for name, loss in LOSSES.items():
        assert issubclass(loss, Loss)
        assert loss.name == name
        assert loss.label


def test_make_loss():
    for name, loss in LOSSES.items():
        assert type(make_loss(name, hinge_margin=2.0)) is loss
    assert make_loss("hinge", hinge_margin=2.0).margin == 2.0
    with pytest.raises(KeyError, match="absolute"):
        make_loss("absolute")
