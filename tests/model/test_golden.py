"""Golden trainings: what `model/` computes is what it computed when `ARITHMETIC` was last raised.

`python -m tests.model.test_golden` renews the stored weights.
"""

from pathlib import Path

import numpy as np
import pytest

import model
from model.activations import ACTIVATIONS
from model.examples import Examples
from model.fit import fit
from model.ink import ink_extents, ink_order, pixel_sums
from model.losses import LOSSES, make_loss
from model.network import Network
from model.optimizers import Sgd

STORED = Path(__file__).parent / "golden/trainings.npz"
FEATURES, CLASSES = 36, 5
TRAININGS = {
    f"{activation} {loss}": {"activation": activation, "loss": loss} for activation in ACTIVATIONS for loss in LOSSES
}
TRAININGS |= {
    "two layers": {"hidden": (9, 7)},
    "momentum and decay": {"momentum": 0.9, "weight_decay": 0.01, "learning_rate": 0.01},
    "one deviation": {"init_std": 0.1},
    "xavier": {"init_std": "xavier"},
    "lecun": {"init_std": "lecun"},
    "deviations by layer": {"init_std": (0.05, 0.15)},
    "margin": {"loss": "hinge", "margin": 1.0},
    "seed": {"seed": 3},
}


def examples():
    """Images with rare ink in some columns, and labels that can be learned from them."""
    random = np.random.default_rng(5)
    inked = random.random((200, FEATURES)) < np.linspace(0.9, 0.05, FEATURES)[random.permutation(FEATURES)]
    images = np.where(inked, random.integers(1, 256, inked.shape), 0).astype(np.uint8)
    order = ink_order(images)
    pixels = np.ascontiguousarray(images[:, order])
    labels = (images @ random.normal(size=(FEATURES, CLASSES))).argmax(axis=1).astype(np.uint8)
    return Examples(pixels, ink_extents(pixels), pixel_sums(pixels), labels), order


def trained(activation="gelu", loss="softmax_cross_entropy", hidden=(8,), init_std="he", seed=0, margin=5.0,
            learning_rate=0.05, momentum=0.0, weight_decay=0.0):  # fmt: skip
    """The weights after three epochs."""
    images, order = examples()
    sizes = (FEATURES, *hidden, CLASSES)
    network = Network.create(sizes, ACTIVATIONS[activation](), init_std=init_std, seed=seed, pixel_order=order)
    optimizer = Sgd(network.parameters, learning_rate, momentum, weight_decay)
    for _ in fit(network, make_loss(loss, margin), optimizer, images,
                 batch_size=15, max_epoch=3, disp_freq=4, seed=seed):  # fmt: skip
        pass
    return network.weights()


@pytest.fixture(scope="module")
def stored():
    with np.load(STORED) as archive:
        return dict(archive)


@pytest.mark.parametrize("name", TRAININGS)
def test_weights_are_those_of_this_arithmetic(stored, name):
    assert stored["arithmetic"] == model.ARITHMETIC, "renew the weights with `python -m tests.model.test_golden`"
    for key, weights in trained(**TRAININGS[name]).items():
        advice = (
            f"{name}: {key} differs from the stored weights by more than rounding. If the change is meant, raise "
            "ARITHMETIC in model/__init__.py and renew the weights with `python -m tests.model.test_golden`"
        )
        # Processors differ in the last bits of a product; a change of formula differs by much more.
        np.testing.assert_allclose(weights, stored[f"{name}/{key}"], rtol=1e-4, atol=1e-5, err_msg=advice)


def test_stored_weights_are_not_those_of_another_formula(stored):
    """The tolerance tells a learning rate apart that is off by a part in a thousand."""
    changed = trained(learning_rate=0.05 * 1.001)
    same = [
        np.allclose(weights, stored[f"gelu softmax_cross_entropy/{key}"], rtol=1e-4, atol=1e-5)
        for key, weights in changed.items()
    ]
    assert not any(same)


def main():
    arrays = {f"{name}/{key}": w for name, how in TRAININGS.items() for key, w in trained(**how).items()}
    STORED.parent.mkdir(exist_ok=True)
    np.savez_compressed(STORED, arithmetic=model.ARITHMETIC, **arrays)
    print(f"{STORED} has the weights of ARITHMETIC {model.ARITHMETIC}.")


if __name__ == "__main__":
    main()
