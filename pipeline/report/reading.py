"""A reading is one assumption about the initial weights, because the publication does not state them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config import TrainingConfig
from pipeline.report.measured import Measured, Runs


@dataclass(frozen=True, eq=False)
class Reading:
    """The runs of the published networks under one assumption about their initial weights.

    Attributes:
        name: the name for tables.
        runs: all runs on the data set.
        init_std: the initialisation of the networks with `losses`; None if all networks have that of the report.
        losses: the losses of the networks that `init_std` applies to; all others have the report's initialisation.
        lender: a reading with several seeds, whose variance is used if this reading has only one seed.
    """

    name: str
    runs: Runs
    init_std: Any = None
    losses: Sequence[str] = ()
    lender: "Reading | None" = None

    @property
    def base(self) -> TrainingConfig:
        """The data set and the hyperparameters of the report."""
        return self.runs.base

    def config(self, config: TrainingConfig) -> TrainingConfig:
        """Return a network's configuration under this reading."""
        reinitialised = self.init_std is not None and config.loss in self.losses
        return replace(config, init_std=self.init_std) if reinitialised else config

    def of(self, config: TrainingConfig) -> list[Measured]:
        """Return the runs of a network under this reading, in the order of seeds."""
        return self.runs.of(self.config(config))
