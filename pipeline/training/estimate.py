"""How long a training takes: estimated by the seconds of earlier runs, or else by relative costs alone."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice, pairwise
from statistics import median
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.errors import UsageError
from pipeline.tracking.store import Store, TrackedRun

_LOOKED_AT: Final = 500
"""How many of the latest finished runs are used."""
_ACTIVATIONS: Final[Mapping[str, float]] = {"relu": 1.0, "sigmoid": 1.1, "gelu": 1.15}
_LOSSES: Final[Mapping[str, float]] = {"euclidean": 1.0, "softmax_cross_entropy": 1.07, "hinge": 1.07}
"""About the training time of published one-layer networks, relative to the first of its kind; others count as 1."""
_BATCH: Final = 30
"""About what a mini-batch costs beside its images, in images; it matters only where batch sizes differ."""


def relative_cost(config: TrainingConfig) -> float:
    """Estimate the time of a training in units that all networks on one data set share.

    Example:
        >>> quick, slow = TrainingConfig(activation="relu"), TrainingConfig(activation="gelu")
        >>> relative_cost(quick) < relative_cost(slow)
        True
    """
    multiplications = sum(fan_in * fan_out for fan_in, fan_out in pairwise(config.layer_sizes(784, 10)))
    kind = _ACTIVATIONS.get(config.activation, 1.0) * _LOSSES.get(config.loss, 1.0)
    images = 5 / 6 if config.validation else 1.0
    return config.max_epoch * images * multiplications * kind * (1 + _BATCH / config.batch_size)


class Estimate:
    """Seconds for each unit of relative cost, as earlier runs took them.

    Attributes:
        is_measured: whether there is an earlier run; without one, `of` gives relative costs instead of seconds.
    """

    def __init__(self, runs: Iterable[TrackedRun] = ()) -> None:
        """Learn from finished runs; those that are not of this project's networks are passed over."""
        self._rates: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
        for run in runs:
            try:
                config = TrainingConfig.from_parameters(run.parameters)
            except (KeyError, ValueError, UsageError):
                continue
            for likeness in _likenesses(config):
                self._rates[likeness].append(run.metrics["train_seconds"] / relative_cost(config))
        self.is_measured = bool(self._rates)

    @classmethod
    def from_store(cls, store: Store) -> "Estimate":
        """Learn from the latest finished runs of a store."""
        finished = "attributes.status = 'FINISHED' and metrics.train_seconds > 0"
        return cls(islice(store.search(finished, ("attributes.end_time DESC",), page_size=_LOOKED_AT), _LOOKED_AT))

    def of(self, config: TrainingConfig) -> float:
        """Estimate the seconds of a training, by the runs that are most like it."""
        rates = next((self._rates[each] for each in _likenesses(config) if each in self._rates), [1.0])
        return median(rates) * relative_cost(config)


def _likenesses(config: TrainingConfig) -> Sequence[tuple[str, ...]]:
    """What runs may have in common with a network, the most telling first: data and network, data, nothing."""
    return (config.dataset, config.network), (config.dataset,), ()
