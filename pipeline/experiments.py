"""The published experiments as data: lists of configurations to train."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, product
from typing import Final

from pipeline.config import PUBLISHED_SIZES, TrainingConfig
from pipeline.errors import UsageError

LEARNING_RATES: Final = (0.01, 0.02, 0.03, 0.06, 0.09, 0.12)
WEAK_NETWORK: Final = TrainingConfig(hidden_sizes=(128,), activation="sigmoid", loss="euclidean")
"""The network that the published studies try to improve."""

STUDIES: Final[Mapping[str, tuple[TrainingConfig, ...]]] = {
    "max_epoch": (replace(WEAK_NETWORK, max_epoch=400),),
    "learning_rate": tuple(replace(WEAK_NETWORK, learning_rate=rate) for rate in LEARNING_RATES),
    "best_learning_rate_with_hinge": (replace(WEAK_NETWORK, loss="hinge", learning_rate=0.09),),
}
"""The published studies of the weak network, by name."""

INITIALISATIONS: Final[Sequence[float | str | tuple[float, ...]]] = (
    0.01,
    0.02,
    0.05,
    0.1,
    "he",
    "xavier",
    "lecun",
    (0.05, 0.15),
    (0.05, 0.2),
    (0.01, 0.1),
)
"""Candidates for the published initialization, which the publication does not describe."""
OPEN_STUDIES: Final[Mapping[str, tuple[TrainingConfig, ...]]] = {
    "initialisation": tuple(
        TrainingConfig(hidden_sizes=sizes, activation=activation, loss="euclidean", init_std=init_std)
        for init_std, sizes, activation in product(
            INITIALISATIONS, PUBLISHED_SIZES.values(), ("relu", "sigmoid", "gelu")
        )
    ),
}
"""Studies of what the publication leaves open, by name; they are trained only if the user names them."""


def sweep(
    base: TrainingConfig,
    *,
    study: str | None = None,
    hidden_sizes: tuple[int, ...] | None = None,
    activation: str | None = None,
    loss: str | None = None,
    learning_rates: Sequence[float] = (),
    max_epochs: Sequence[int] = (),
    seeds: Iterable[int] = (0,),
) -> list[TrainingConfig]:
    """List the configurations of the published studies, or of one study; given values replace the published ones.

    Args:
        base: the settings that the studies do not vary.
        study: one of STUDIES or OPEN_STUDIES; all STUDIES by default. Each of OPEN_STUDIES has its own `init_std`.
        hidden_sizes: replaces the study's hidden layers.
        activation: replaces the study's activation.
        loss: replaces the study's loss.
        learning_rates: replace the study's learning rate.
        max_epochs: replace the study's number of epochs.
        seeds: each network is trained once with each seed.

    Raises:
        UsageError: the study or a value is unknown.

    Example:
        >>> [each.max_epoch for each in sweep(TrainingConfig(), study="max_epoch", max_epochs=[100, 800])]
        [100, 800]
    """
    known = {**STUDIES, **OPEN_STUDIES}
    if study is not None and study not in known:
        raise UsageError(f"study is {study!r}; it has to be {' or '.join(known)}.")
    networks = [
        replace(
            base,
            hidden_sizes=hidden_sizes or published.hidden_sizes,
            activation=activation or published.activation,
            loss=loss or published.loss,
            learning_rate=learning_rate,
            max_epoch=max_epoch,
            seed=seed,
            init_std=published.init_std if study in OPEN_STUDIES else base.init_std,
        )
        for published in (known[study] if study else chain.from_iterable(STUDIES.values()))
        for learning_rate, max_epoch, seed in product(
            learning_rates or [published.learning_rate], max_epochs or [published.max_epoch], seeds
        )
    ]
    return list(dict.fromkeys(networks))


def grid(
    base: TrainingConfig,
    *,
    hidden_sizes: Iterable[tuple[int, ...]],
    activations: Iterable[str],
    losses: Iterable[str],
    seeds: Iterable[int],
) -> list[TrainingConfig]:
    """List every combination of the given values, with all other settings as in `base`.

    Raises:
        UsageError: a name is unknown, or there is no combination.
    """
    networks = [
        replace(base, hidden_sizes=sizes, activation=activation, loss=loss, seed=seed)
        for sizes, loss, activation, seed in product(hidden_sizes, losses, activations, seeds)
    ]
    if not networks:
        raise UsageError("The grid is empty; name at least one of each of hidden_sizes, activations, losses and seeds.")
    return list(dict.fromkeys(networks))
