"""The published experiments as data: lists of configurations to train."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.errors import UsageError

LEARNING_RATES: Final = (0.01, 0.02, 0.03, 0.06, 0.09, 0.12)
WEAK_NETWORK: Final = TrainingConfig(hidden_layers=1, activation="sigmoid", loss="euclidean")
"""The network that the published studies try to better."""

STUDIES: Final[Mapping[str, tuple[TrainingConfig, ...]]] = {
    "max_epoch": (replace(WEAK_NETWORK, max_epoch=400),),
    "learning_rate": tuple(replace(WEAK_NETWORK, learning_rate=rate) for rate in LEARNING_RATES),
    "best_learning_rate_with_hinge": (replace(WEAK_NETWORK, loss="hinge", learning_rate=0.09),),
}
"""The published studies of the weak network, by name."""


def grid(
    base: TrainingConfig,
    *,
    hidden_layers: Iterable[int],
    activations: Iterable[str],
    losses: Iterable[str],
    seeds: Iterable[int],
) -> list[TrainingConfig]:
    """Every combination of the given networks and seeds, all else as in `base`.

    Raises:
        UsageError: for an unknown name, or where nothing is asked for.
    """
    networks = [
        replace(base, hidden_layers=depth, activation=activation, loss=loss, seed=seed)
        for depth, loss, activation, seed in product(hidden_layers, losses, activations, seeds)
    ]
    if not networks:
        raise UsageError(
            "The grid is empty; name at least one of each of hidden_layers, activations, losses and seeds."
        )
    return list(dict.fromkeys(networks))
