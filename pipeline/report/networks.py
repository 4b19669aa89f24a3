"""The published networks with the hyperparameters of the report, and the pairs of them that are compared."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Final

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import PUBLISHED_SIZES, TrainingConfig

DEPTHS: Final = (1, 2)
PUBLISHED_ACTIVATIONS: Final = ("relu", "sigmoid", "gelu")
PUBLISHED_LOSSES: Final = ("euclidean", "softmax_cross_entropy", "hinge")
SHOWN: Final = {
    "relu": "ReLU",
    "sigmoid": "Sigmoid",
    "gelu": "GELU",
    "euclidean": "Euclidean",
    "softmax_cross_entropy": "cross-entropy",
    "hinge": "hinge",
}
"""Names of activations and losses in sentences."""
_VARIED: Final = ("hidden_sizes", "activation", "loss", "learning_rate", "max_epoch")
"""The hyperparameters that the published studies vary."""

Pair = tuple[TrainingConfig, TrainingConfig]


def network(base: TrainingConfig, depth: int, activation: str, loss: str) -> TrainingConfig:
    """Return a network of the published grid; everything else is as in `base`."""
    return replace(base, hidden_sizes=PUBLISHED_SIZES[depth], activation=activation, loss=loss)


def published_networks(base: TrainingConfig, depths: Sequence[int] = DEPTHS) -> list[TrainingConfig]:
    """Return the published networks: nine for each depth."""
    return [network(base, *each) for each in product(depths, PUBLISHED_ACTIVATIONS, PUBLISHED_LOSSES)]


def all_networks(base: TrainingConfig) -> list[TrainingConfig]:
    """Return the networks of every depth, activation and loss, including those that were never published."""
    return [network(base, depth, activation, loss) for depth, loss, activation in product(DEPTHS, LOSSES, ACTIVATIONS)]


def of_base(base: TrainingConfig, published: TrainingConfig) -> TrainingConfig:
    """Return `base` with those hyperparameters of a published network that the published studies vary."""
    return replace(base, **{name: getattr(published, name) for name in _VARIED})


def twins(base: TrainingConfig, pair: tuple[str, str], depths: Sequence[int] = DEPTHS) -> list[Pair]:
    """Return all pairs of published networks that differ only in the two activations, or losses, of `pair`."""
    return list(_twins(base, pair, depths))


def _twins(base: TrainingConfig, pair: tuple[str, str], depths: Sequence[int]) -> Iterator[Pair]:
    is_activation = pair[0] in ACTIVATIONS
    for layers, other in product(depths, PUBLISHED_LOSSES if is_activation else PUBLISHED_ACTIVATIONS):
        first, second = (network(base, layers, *((name, other) if is_activation else (other, name))) for name in pair)
        yield first, second


def depth_twins(base: TrainingConfig) -> list[Pair]:
    """Pair each published network of two hidden layers with that of one."""
    return [
        (network(base, 2, activation, loss), network(base, 1, activation, loss))
        for activation, loss in product(PUBLISHED_ACTIVATIONS, PUBLISHED_LOSSES)
    ]


def label(config: TrainingConfig) -> str:
    """Return a short name that distinguishes a network from the others of the grid: `gelu-hinge-2h`."""
    return config.name.split(" ")[0]


def shown(name: str) -> str:
    """Return the name of an activation or a loss for sentences."""
    return SHOWN.get(name, name)
