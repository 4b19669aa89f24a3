"""The searched hyperparameters: what a trial may draw."""

from dataclasses import dataclass

from pipeline.config import TrainingConfig
from pipeline.errors import UsageError


@dataclass(frozen=True)
class Space:
    """What is searched: the learning rate log-uniformly, the epochs in steps, both ends included."""

    learning_rate: tuple[float, float] = (0.003, 0.3)
    max_epoch: tuple[int, int] = (50, 400)
    epoch_step: int = 10

    def __post_init__(self) -> None:
        """Refuse what is no range.

        Raises:
            UsageError: naming the range and what it has to be.
        """
        for name, (low, high) in (("learning_rate", self.learning_rate), ("max_epoch", self.max_epoch)):
            if not 0 < low < high:
                raise UsageError(
                    f"{name} is searched from {low} to {high}; the lower end has to be above 0 and below the upper."
                )
        low, high = self.max_epoch
        if self.epoch_step < 1 or (high - low) % self.epoch_step:
            raise UsageError(
                f"epoch_step is {self.epoch_step}; it has to divide {high} - {low}, the range of max_epoch."
            )

    def holds(self, config: TrainingConfig) -> bool:
        """Whether a configuration is one of those searched."""
        low, high = self.max_epoch
        return (
            self.learning_rate[0] <= config.learning_rate <= self.learning_rate[1]
            and low <= config.max_epoch <= high
            and (config.max_epoch - low) % self.epoch_step == 0
        )
