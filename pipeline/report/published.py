"""The figures of the published study, as it printed them."""

import csv
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Final

from pipeline.config import PUBLISHED_SIZES, TrainingConfig

DATASET: Final = "mnist"
"""The data set that every published figure is of."""
_CLASSES: Final = 10


@dataclass(frozen=True)
class PublishedRun:
    """A network of the published study; a figure it did not print is absent.

    Attributes:
        study: the published study it belongs to, or "networks".
        config: its hyperparameters.
        metrics: by name: accuracies from 0 to 1, losses in the published convention, seconds.
    """

    study: str
    config: TrainingConfig
    metrics: dict[str, float]


@cache
def networks() -> tuple[PublishedRun, ...]:
    """The 18 networks."""
    return tuple(_run("networks", row) for row in _rows("networks.csv"))


@cache
def studies() -> tuple[PublishedRun, ...]:
    """The studies of the weak network."""
    return tuple(_run(row.pop("study"), row) for row in _rows("sweeps.csv"))


@cache
def best_learning_rate() -> PublishedRun:
    """The best of the published learning rates."""
    return max((run for run in studies() if run.study == "learning_rate"), key=lambda run: run.metrics["test_accuracy"])


@cache
def find(config: TrainingConfig) -> PublishedRun | None:
    """The published run of a configuration, whatever that has for what the publication left open, or None."""
    known = {each.config: each for each in (*networks(), *studies())}
    return known.get(_as_published(config))


def covers(config: TrainingConfig) -> bool:
    """Whether the publication is about the data set of a network."""
    return config.dataset == DATASET


def in_published_convention(config: TrainingConfig, metric: str, value: float) -> float:
    """A measured figure as the publication would have printed it, where it is of the publication's data.

    Its cross-entropy is the mean over all elements of a batch, a tenth of the usual batch mean with MNIST's 10 classes.
    """
    if not covers(config):
        return value
    mean_over_elements = metric.endswith("_loss") and config.loss == "softmax_cross_entropy"
    return value / _CLASSES if mean_over_elements else value


def _as_published(config: TrainingConfig) -> TrainingConfig:
    left_open = ("init_std", "hinge_margin", "seed", "disp_freq", "test_epoch")
    return replace(config, **{name: getattr(TrainingConfig, name) for name in left_open})


def _rows(name: str) -> list[dict[str, str]]:
    with files("pipeline.report").joinpath(name).open() as file:
        return list(csv.DictReader(file))


def _run(study: str, row: dict[str, str]) -> PublishedRun:
    config = TrainingConfig(
        dataset=DATASET,
        hidden_sizes=PUBLISHED_SIZES[int(row.pop("hidden_layers"))],
        activation=row.pop("activation"),
        loss=row.pop("loss"),
        learning_rate=float(row.pop("learning_rate", TrainingConfig.learning_rate)),
        max_epoch=int(row.pop("max_epoch", TrainingConfig.max_epoch)),
    )
    return PublishedRun(study, config, {key: float(value) for key, value in row.items() if value})
