"""Initialization: the deviations of the weights are those of the rules, drawn for every layer."""

import numpy as np
import pytest

from model.activations import Relu
from model.initialization import RULES, standard_deviations
from model.network import Network

SIZES = (784, 400, 100)


@pytest.mark.parametrize(
    ("init_std", "expected"),
    [
        (0.05, [0.05, 0.05]),
        ((0.05, 0.15), [0.05, 0.15]),
        ("he", [(2 / 784) ** 0.5, (2 / 400) ** 0.5]),
        ("xavier", [(2 / 1184) ** 0.5, (2 / 500) ** 0.5]),
        ("lecun", [(1 / 784) ** 0.5, (1 / 400) ** 0.5]),
    ],
)
def test_weights_have_the_deviation_of_their_layer(init_std, expected):
    assert standard_deviations(init_std, SIZES) == pytest.approx(expected)
    network = Network.create(SIZES, Relu(), init_std=init_std, seed=0, pixel_order=np.arange(784))
    weights = network.weights()
    drawn = [float(weights[f"layer{number}.weight"].std()) for number in (1, 2)]
    assert drawn == pytest.approx(expected, rel=0.02)
    assert all(abs(weights[f"layer{number}.weight"].mean()) < 0.002 for number in (1, 2))
    for number in (1, 2):
        np.testing.assert_allclose(weights[f"layer{number}.bias"], 0, atol=1e-5)


def test_the_rules_are_those_of_torch():
    torch = pytest.importorskip("torch")
    weight = torch.empty(100, 784)
    for name, fill in {"he": torch.nn.init.kaiming_normal_, "xavier": torch.nn.init.xavier_normal_}.items():
        options = {"nonlinearity": "relu"} if name == "he" else {}
        fill(weight, **options)
        assert RULES[name](784, 100) == pytest.approx(float(weight.std()), rel=0.02)


def test_the_last_number_is_for_all_layers_after_it():
    assert standard_deviations((0.1, 0.2), (9, 8, 7, 6, 5)) == [0.1, 0.2, 0.2, 0.2]
    assert standard_deviations((0.1,), (9, 8, 7)) == [0.1, 0.1]


def test_more_numbers_than_layers_and_other_rules_are_refused():
    with pytest.raises(ValueError, match="3 standard deviations for 2 layers"):
        standard_deviations((0.1, 0.2, 0.3), SIZES)
    with pytest.raises(KeyError, match="glorot"):
        standard_deviations("glorot", SIZES)
