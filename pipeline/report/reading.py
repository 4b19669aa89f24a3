"""A reading: one way to fill in what the publication leaves open, and the runs that were made so."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline.config import TrainingConfig
from pipeline.report.measured import Measured, Runs


@dataclass(frozen=True, eq=False)
class Reading:
    """The runs of the published networks under one initialisation of some of them.

    Attributes:
        name: as tables show it.
        runs: all runs of the data set.
        init_std: of the networks with `losses`; None leaves every network as the report has it.
        losses: the losses whose networks have `init_std`; the other networks are as the report has them.
        lender: the reading with several seeds whose variance a reading of one seed borrows.
    """

    name: str
    runs: Runs
    init_std: Any = None
    losses: Sequence[str] = ()
    lender: "Reading | None" = None

    @property
    def base(self) -> TrainingConfig:
        """The hyperparameters that the report is asked for."""
        return self.runs.base

    def config(self, config: TrainingConfig) -> TrainingConfig:
        """A network's configuration under this reading."""
        reinitialised = self.init_std is not None and config.loss in self.losses
        return replace(config, init_std=self.init_std) if reinitialised else config

    def of(self, config: TrainingConfig) -> list[Measured]:
        """The runs of a network under this reading, by seed."""
        return self.runs.of(self.config(config))
