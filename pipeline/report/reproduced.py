"""Whether a published value is reproduced, that is, whether one more seed could give it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import mean
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.report import published
from pipeline.report.measured import Measured
from pipeline.report.networks import published_networks
from pipeline.report.reading import Reading
from pipeline.report.statistics import Spread, pooled, prediction_interval

TOO_WIDE: Final = 0.005
"""If the interval of an accuracy reaches farther than this to each side, the comparison means nothing."""
TOO_WIDE_LOSS: Final = 0.1
"""The same limit for losses, as a share of the published loss."""
REPRODUCED_METRICS: Final = ("train_accuracy", "train_loss", "test_accuracy", "test_loss")
"""The metrics that the publication states for every network, except times, which depend on the machine."""


_ROUNDING: Final = 0.00005
"""The publication gives four decimals of a loss, and two of an accuracy in percent."""


class Mark(StrEnum):
    """The result of comparing a measured with a published value."""

    REPRODUCED = "reproduced"
    OUTSIDE = "outside"
    TOO_WIDE = "too wide to tell"
    UNKNOWN = "one seed leaves its chance unknown"


@dataclass(frozen=True)
class OverSeeds:
    """A metric of a network for all its seeds.

    Attributes:
        config: the network.
        metric: the metric's name.
        values: the measured value for each seed, in the published convention.
        interval: the 95 % prediction interval of one more seed; None if it is unknown.
    """

    config: TrainingConfig
    metric: str
    values: Sequence[float]
    interval: tuple[float, float] | None

    @property
    def ends(self) -> str:
        """The ends of the interval, separated by a comma; empty if the interval is unknown."""
        return ", ".join(map(self.format, self.interval)) if self.interval else ""

    @property
    def text(self) -> str:
        """The mean and the interval, for a sentence."""
        unit = " %" if self.metric.endswith("_accuracy") else ""
        return f"{self.format(mean(self.values))}{f' [{self.ends}]' if self.ends else ''}{unit}"

    def format(self, value: float) -> str:
        """Format a value in the unit of the published tables."""
        return f"{100 * value:.2f}" if self.metric.endswith("_accuracy") else f"{value:.4f}"


@dataclass(frozen=True)
class Cell(OverSeeds):
    """A metric of a network for all its seeds, compared with the published value.

    Attributes:
        theirs: the published value.
        kind: the result of the comparison.
    """

    theirs: float
    kind: Mark

    @property
    def difference(self) -> float:
        """The measured mean minus the published value."""
        return mean(self.values) - self.theirs

    @property
    def beyond(self) -> float:
        """The signed distance of the published value from the interval; negative below the interval, 0 inside."""
        if self.interval is None or self.kind is not Mark.OUTSIDE:
            return 0.0
        low, high = self.interval
        return self.theirs - high if self.theirs > high else self.theirs - low

    @property
    def sign(self) -> str:
        """The sign of the result in tables."""
        if self.kind is Mark.OUTSIDE:
            return f"✗ by {self.format(abs(self.beyond))}"
        return {Mark.REPRODUCED: "✓", Mark.TOO_WIDE: "~"}.get(self.kind, "?")


def cell(reading: Reading, config: TrainingConfig, metric: str) -> Cell | None:
    """Compare a metric of a network with the published value; None if there is no run or no published value."""
    known = published.find(config)
    theirs = known.metrics.get(metric) if known else None
    return None if theirs is None else mark(reading, config, metric, theirs)


def mark(reading: Reading, config: TrainingConfig, metric: str, theirs: float) -> Cell | None:
    """Compare a metric of a network with the published value `theirs`; None if there is no run."""
    found = over_seeds(reading, config, metric)
    if found is None:
        return None
    return Cell(config, metric, found.values, found.interval, theirs, _kind(metric, theirs, found.interval))


def over_seeds(reading: Reading, config: TrainingConfig, metric: str) -> OverSeeds | None:
    """Return a metric of a network for all its seeds; None if there is no run."""
    runs = reading.of(config)
    if not runs:
        return None
    values = shown_values(runs, metric)
    spread = pooled_spread(reading, config, metric) if len(values) == 1 else None
    return OverSeeds(config, metric, values, prediction_interval(values, spread))


def shown_values(runs: Sequence[Measured], metric: str) -> list[float]:
    """Return a metric of each run, in the published convention."""
    return [published.in_published_convention(run.config, metric, run.metrics[metric]) for run in runs]


def pooled_spread(reading: Reading, config: TrainingConfig, metric: str) -> Spread | None:
    """Estimate the standard deviation over seeds from all networks of the grid with the same loss."""
    lender = reading.lender or reading
    networks = published_networks(replace(lender.base, loss=config.loss))
    return pooled(shown_values(lender.of(each), metric) for each in networks if each.loss == config.loss)


def _kind(metric: str, theirs: float, interval: tuple[float, float] | None) -> Mark:
    if interval is None:
        return Mark.UNKNOWN
    low, high = interval
    if not low - _ROUNDING <= theirs <= high + _ROUNDING:
        return Mark.OUTSIDE
    most = TOO_WIDE if metric.endswith("_accuracy") else TOO_WIDE_LOSS * abs(theirs)
    return Mark.TOO_WIDE if (high - low) / 2 > most else Mark.REPRODUCED


def by_accuracy(reading: Reading, networks: Sequence[TrainingConfig]) -> list[OverSeeds]:
    """Return the test accuracy of each network that has runs, the highest first."""
    found = [each for config in networks if (each := over_seeds(reading, config, "test_accuracy"))]
    return sorted(found, key=lambda each: -mean(each.values))


def cells(
    reading: Reading, networks: Sequence[TrainingConfig], metrics: Sequence[str] = REPRODUCED_METRICS
) -> list[Cell]:
    """Compare all metrics of networks for which there are both runs and a published value."""
    return [found for config in networks for metric in metrics if (found := cell(reading, config, metric))]


def sum_of_squares(found: Sequence[Cell], metric: str = "test_accuracy") -> float:
    """Add up the squared differences of an accuracy from the published values, in squared percentage points."""
    return sum((100 * each.difference) ** 2 for each in found if each.metric == metric)
