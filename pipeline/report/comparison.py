"""Two networks compared over the seeds that both were trained with."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.config import TrainingConfig
from pipeline.report.measured import Curve, Measured, Runs

CONFIDENCE = 0.95

Figure = Callable[[Measured], float]


@dataclass(frozen=True)
class Difference:
    """The first network's figure minus the second's.

    Attributes:
        mean: over the seeds.
        interval: of the mean, at CONFIDENCE, paired by seed; None with one seed.
    """

    mean: float
    interval: tuple[float, float] | None

    @property
    def tie(self) -> bool:
        """Whether the interval leaves open which of the two is larger."""
        if self.interval is None:
            return self.mean == 0
        return self.interval[0] <= 0 <= self.interval[1]

    @property
    def sign(self) -> int:
        """1 where the first is larger, -1 where the second is, 0 for a tie."""
        return 0 if self.tie else 1 if self.mean > 0 else -1


def compare(runs: Runs, first: TrainingConfig, second: TrainingConfig, figure: Figure) -> Difference | None:
    """The difference between two networks by a figure of their runs; None if no seed has both."""
    ours, theirs = ({run.config.seed: figure(run) for run in runs.of(config)} for config in (first, second))
    seeds = sorted(ours.keys() & theirs.keys())
    return difference([ours[seed] - theirs[seed] for seed in seeds]) if seeds else None


def difference(values: list[float]) -> Difference:
    """The mean of paired differences, and Student's interval around it."""
    from scipy.stats import ttest_1samp

    mean = float(np.mean(values))
    if len(values) == 1:
        return Difference(mean, None)
    if np.ptp(values) == 0:
        return Difference(mean, (mean, mean))
    interval = ttest_1samp(values, 0).confidence_interval(CONFIDENCE)
    return Difference(mean, (float(interval.low), float(interval.high)))


def epochs_to(curve: Curve, accuracy: float) -> float | None:
    """The first evaluated epoch at which a curve has come to an accuracy, None where it never does."""
    return next((epoch for epoch, value in curve if value >= accuracy), None)
