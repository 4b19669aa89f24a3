"""The values of the published study, as it printed them."""

import csv
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Final

from pipeline.config import PUBLISHED_SIZES, TrainingConfig

DATASET: Final = "mnist"
"""The data set of all published values."""
_CLASSES: Final = 10


@dataclass(frozen=True)
class PublishedRun:
    """A network of the published study; a metric that it did not print is missing.

    Attributes:
        study: the published study that the network belongs to, or "networks".
        config: the network's hyperparameters.
        metrics: values by metric: accuracies from 0 to 1, losses in the published convention, seconds.
    """

    study: str
    config: TrainingConfig
    metrics: dict[str, float]


@cache
def networks() -> tuple[PublishedRun, ...]:
    """Return the 18 networks of the grid."""
    return tuple(_run("networks", row) for row in _rows("networks.csv"))


@cache
def studies() -> tuple[PublishedRun, ...]:
    """Return the networks of the studies of Sigmoid + Euclidean and Sigmoid + hinge."""
    return tuple(_run(row.pop("study"), row) for row in _rows("sweeps.csv"))


@cache
def best_learning_rate() -> PublishedRun:
    """Return the most accurate network of the study of learning rates."""
    return max((run for run in studies() if run.study == "learning_rate"), key=lambda run: run.metrics["test_accuracy"])


@cache
def find(config: TrainingConfig) -> PublishedRun | None:
    """Return the published network of a configuration, or None; what the publication does not state is ignored."""
    known = {each.config: each for each in (*networks(), *studies())}
    return known.get(_as_published(config))


def covers(config: TrainingConfig) -> bool:
    """Whether the publication is about the data set of a configuration."""
    return config.dataset == DATASET


def in_published_convention(config: TrainingConfig, metric: str, value: float) -> float:
    """Convert a measured value to the published convention; on other data sets, it stays as it is.

    The published cross-entropy is the mean over images and classes. For MNIST's 10 classes, this is a tenth of the mean
    over images.
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
