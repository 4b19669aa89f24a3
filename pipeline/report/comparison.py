"""Comparing networks: differences for each seed, and for each test image where accuracies are compared."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.config import TrainingConfig
from pipeline.report.measured import SEEDS_WITH_CURVES, Curve, Measured
from pipeline.report.networks import Pair
from pipeline.report.reading import Reading
from pipeline.report.statistics import CONFIDENCE, Estimate, crossed, paired

TARGETS: Final = (0.85, 0.90, 0.95)
"""Test accuracies; the number of epochs to reach them measures convergence."""
_TINY: Final = 1e-12
"""Used in place of a loss or time of zero, which has no logarithm."""

BySeed = Mapping[int, NDArray[Any]]
"""The difference of two networks for each seed: a number, or an array with a number for each test image."""


@dataclass(frozen=True)
class Measure:
    """A quantity by which networks are compared.

    Attributes:
        name: the name of the metric.
        differences: computes the differences of two networks by seed; for a ratio, those of the logarithms.
        is_ratio: whether the difference is one of logarithms, which is shown as a ratio.
    """

    name: str
    differences: Callable[[Reading, TrainingConfig, TrainingConfig], BySeed]
    is_ratio: bool = True

    def number(self, difference: float) -> str:
        """Format a difference for a table: in percentage points, or as a ratio."""
        return f"{math.exp(difference):.2f}" if self.is_ratio else f"{100 * difference:+.2f}"

    def text(self, estimate: Estimate, level: float = CONFIDENCE) -> str:
        """Format a mean difference with its confidence interval: `+0.48 [+0.31, +0.65] points`."""
        interval = estimate.interval(level)
        ends = f" [{self.number(interval[0])}, {self.number(interval[1])}]" if interval else ""
        return f"{self.number(estimate.mean)}{ends} {'times' if self.is_ratio else 'points'}"


@dataclass(frozen=True)
class Comparison:
    """The difference between the first and the second network of a pair, or its mean over several pairs.

    Attributes:
        pairs: the pairs of networks.
        estimate: the mean difference over pairs and seeds.
        values: the difference for each seed.
    """

    pairs: Sequence[Pair]
    estimate: Estimate
    values: Sequence[float]


def compare(reading: Reading, measure: Measure, pairs: Sequence[Pair]) -> Comparison | None:
    """Compare the networks of pairs on the seeds that all of them have; None if there is no such seed.

    If there is only one seed, the variance over seeds is that of the reading's lender.
    """
    found = [measure.differences(reading, *pair) for pair in pairs]
    if not found:
        return None
    seeds = sorted(set.intersection(*(set(each) for each in found)))
    if not seeds:
        return None
    rows = [_mean([each[seed] for each in found]) for seed in seeds]
    values = [float(row.mean()) for row in rows]
    by_image = all(row.ndim for row in rows)
    estimate = crossed(np.stack(rows)) if by_image else paired(values)
    if len(seeds) == 1 and reading.lender and (lender := compare(reading.lender, measure, pairs)):
        estimate = estimate.with_variances_of(lender.estimate)
    return Comparison(pairs, estimate, values)


def _mean(differences: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Average over pairs; the result is by image if all differences are."""
    by_image = all(each.ndim for each in differences)
    return np.asarray(np.mean([each if by_image else each.mean() for each in differences], axis=0))


def _by_seed(
    reading: Reading, first: TrainingConfig, second: TrainingConfig, difference: Callable[[Measured, Measured], Any]
) -> BySeed:
    ours, theirs = ({run.config.seed: run for run in reading.of(config)} for config in (first, second))
    return {seed: np.asarray(difference(ours[seed], theirs[seed])) for seed in sorted(ours.keys() & theirs.keys())}


def _accuracies(reading: Reading, first: TrainingConfig, second: TrainingConfig) -> BySeed:
    """Return 1 for an image that only the first network classifies right, -1 if only the second does, otherwise 0."""

    def difference(one: Measured, other: Measured) -> Any:
        ours, theirs = reading.runs.correct(one), reading.runs.correct(other)
        if ours is None or theirs is None or len(ours) != len(theirs):
            return one.metrics["test_accuracy"] - other.metrics["test_accuracy"]
        return ours.astype(np.int8) - theirs.astype(np.int8)

    return _by_seed(reading, first, second, difference)


def _ratio_of(name: str) -> Measure:
    def differences(reading: Reading, first: TrainingConfig, second: TrainingConfig) -> BySeed:
        def difference(one: Measured, other: Measured) -> float:
            return math.log(max(one.metrics[name], _TINY) / max(other.metrics[name], _TINY))

        return _by_seed(reading, first, second, difference)

    return Measure(name, differences)


def _epochs(reading: Reading, first: TrainingConfig, second: TrainingConfig) -> BySeed:
    """Return the logarithm of the ratio of epochs to reach a target, averaged over the targets that a network reaches.

    If a network never reaches a target, the epoch after its last one counts. If no target is reached, the ratio is 1.
    """
    ours, theirs = (epochs_by_seed(reading, config) for config in (first, second))
    seeds = sorted(ours.keys() & theirs.keys())
    reached = [
        number
        for number in range(len(TARGETS))
        if any(min(ours[seed][number], theirs[seed][number]) <= first.max_epoch for seed in seeds)
    ]
    return {
        seed: np.asarray(np.mean([math.log(ours[seed][number] / theirs[seed][number]) for number in reached or [0]]))
        for seed in seeds
    }


def epochs_by_seed(reading: Reading, config: TrainingConfig) -> dict[int, list[float]]:
    """Return the epochs to reach each target, by seed; if a target is never reached, the epoch after the last one."""
    found = {}
    for run in reading.of(config)[:SEEDS_WITH_CURVES]:
        if curve := reading.runs.curve(run, "test/accuracy"):
            reached = [epochs_to(curve, target) for target in TARGETS]
            found[run.config.seed] = [config.max_epoch + 1.0 if epoch is None else epoch for epoch in reached]
    return found


def epochs_to(curve: Curve, accuracy: float) -> float | None:
    """Return the first evaluated epoch with at least this accuracy, or None."""
    return next((epoch for epoch, value in curve if value >= accuracy), None)


ACCURACY: Final = Measure("test_accuracy", _accuracies, is_ratio=False)
LOSS: Final = _ratio_of("test_loss")
SECONDS: Final = _ratio_of("train_seconds")
EPOCHS: Final = Measure("epochs", _epochs)
