"""Whether a published figure is reproduced: whether it is one that a further seed could have given."""

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
"""An interval of accuracies that reaches farther to each side than half a percentage point tells nothing."""
TOO_WIDE_LOSS: Final = 0.1
"""The same for losses, as a share of the published one."""
REPRODUCED_METRICS: Final = ("train_accuracy", "train_loss", "test_accuracy", "test_loss")
"""The metrics that the publication states of every network, but for times, which are of another machine."""


class Mark(StrEnum):
    """What a cell says of its published figure."""

    REPRODUCED = "reproduced"
    OUTSIDE = "outside"
    TOO_WIDE = "too wide to tell"
    UNKNOWN = "one seed leaves its chance unknown"


@dataclass(frozen=True)
class OverSeeds:
    """A metric of a network over its seeds.

    Attributes:
        config: the network.
        metric: its name.
        values: measured, one for each seed, in the published convention.
        interval: where one more seed would lie with 95 % probability; None where that is unknown.
    """

    config: TrainingConfig
    metric: str
    values: Sequence[float]
    interval: tuple[float, float] | None

    @property
    def ends(self) -> str:
        """The ends of the interval, joined by `, `; empty where they are unknown."""
        return ", ".join(map(self.format, self.interval)) if self.interval else ""

    @property
    def text(self) -> str:
        """The mean with the interval of a further seed, as a sentence shows it."""
        unit = " %" if self.metric.endswith("_accuracy") else ""
        return f"{self.format(mean(self.values))}{f' [{self.ends}]' if self.ends else ''}{unit}"

    def format(self, value: float) -> str:
        """A value of the metric in the unit of the published tables."""
        return f"{100 * value:.2f}" if self.metric.endswith("_accuracy") else f"{value:.4f}"


@dataclass(frozen=True)
class Cell(OverSeeds):
    """A metric of a network beside the published figure.

    Attributes:
        theirs: the published figure.
        kind: the mark.
    """

    theirs: float
    kind: Mark

    @property
    def difference(self) -> float:
        """Measured minus published."""
        return mean(self.values) - self.theirs

    @property
    def beyond(self) -> float:
        """How far the published figure lies outside the interval; below zero where the interval lies above it."""
        if self.interval is None or self.kind is not Mark.OUTSIDE:
            return 0.0
        low, high = self.interval
        return self.theirs - high if self.theirs > high else self.theirs - low

    @property
    def sign(self) -> str:
        """The mark as tables show it."""
        if self.kind is Mark.OUTSIDE:
            return f"✗ by {self.format(abs(self.beyond))}"
        return {Mark.REPRODUCED: "✓", Mark.TOO_WIDE: "~"}.get(self.kind, "?")


def cell(reading: Reading, config: TrainingConfig, metric: str) -> Cell | None:
    """A cell of the published tables; None where there is no run or no published figure."""
    known = published.find(config)
    theirs = known.metrics.get(metric) if known else None
    return None if theirs is None else mark(reading, config, metric, theirs)


def mark(reading: Reading, config: TrainingConfig, metric: str, theirs: float) -> Cell | None:
    """Set a published figure beside the measured ones; None where there is no run."""
    found = over_seeds(reading, config, metric)
    if found is None:
        return None
    return Cell(config, metric, found.values, found.interval, theirs, _kind(metric, theirs, found.interval))


def over_seeds(reading: Reading, config: TrainingConfig, metric: str) -> OverSeeds | None:
    """A metric of a network over its seeds; None where there is no run."""
    runs = reading.of(config)
    if not runs:
        return None
    values = shown_values(runs, metric)
    spread = pooled_spread(reading, config, metric) if len(values) == 1 else None
    return OverSeeds(config, metric, values, prediction_interval(values, spread))


def shown_values(runs: Sequence[Measured], metric: str) -> list[float]:
    """A figure of runs in the published convention."""
    return [published.in_published_convention(run.config, metric, run.metrics[metric]) for run in runs]


def pooled_spread(reading: Reading, config: TrainingConfig, metric: str) -> Spread | None:
    """The deviation over seeds, pooled over the networks of the grid that have the same loss."""
    lender = reading.lender or reading
    networks = published_networks(replace(lender.base, loss=config.loss))
    return pooled(shown_values(lender.of(each), metric) for each in networks if each.loss == config.loss)


def _kind(metric: str, theirs: float, interval: tuple[float, float] | None) -> Mark:
    if interval is None:
        return Mark.UNKNOWN
    low, high = interval
    if not low <= theirs <= high:
        return Mark.OUTSIDE
    most = TOO_WIDE if metric.endswith("_accuracy") else TOO_WIDE_LOSS * abs(theirs)
    return Mark.TOO_WIDE if (high - low) / 2 > most else Mark.REPRODUCED


def by_accuracy(reading: Reading, networks: Sequence[TrainingConfig]) -> list[OverSeeds]:
    """The test accuracy of every network that has runs, the highest first."""
    found = [each for config in networks if (each := over_seeds(reading, config, "test_accuracy"))]
    return sorted(found, key=lambda each: -mean(each.values))


def cells(
    reading: Reading, networks: Sequence[TrainingConfig], metrics: Sequence[str] = REPRODUCED_METRICS
) -> list[Cell]:
    """Every cell of networks that has a measured and a published figure."""
    return [found for config in networks for metric in metrics if (found := cell(reading, config, metric))]


def sum_of_squares(found: Sequence[Cell], metric: str = "test_accuracy") -> float:
    """The sum of squared differences of an accuracy, in squared percentage points."""
    return sum((100 * each.difference) ** 2 for each in found if each.metric == metric)
