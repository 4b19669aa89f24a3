"""Pruning a trial: stop its training where it is worse than the median of the trials that it may see."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pipeline.search.sampling import STARTUP_TRIALS, in_memory
from pipeline.training.task import Stop

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial


@dataclass
class Pruning:
    """Decides after every evaluation of one trial; travels to the process that trains it.

    The decision depends on the trials that this one may see and on its own values alone, so that a training and a
    replay of its recorded values stop at the same epoch.

    Attributes:
        seen: the trials to compare with.
        warmup: epochs before the first decision.
        max_epoch: of the trial; its end needs no decision.
        values: the trial's accuracies so far, by epoch.
    """

    seen: Sequence["FrozenTrial"]
    warmup: int
    max_epoch: int
    values: dict[int, float] = field(default_factory=dict)

    def __call__(self, epoch: int, accuracy: float) -> None:
        """Take note of an evaluation.

        Raises:
            Stop: if the trial is to be pruned.
        """
        self.values[epoch] = accuracy
        if epoch < self.max_epoch and self._is_hopeless():
            raise Stop(
                f"pruned after epoch {epoch}: validation accuracy {accuracy:.2%} is below the median of the others"
            )

    def replay(self, values: Iterable[tuple[int, float]]) -> "Replay":
        """Go through recorded evaluations as a training would have; returns those up to where it would have stopped."""
        recorded = sorted(values)
        afresh = replace(self, values={})
        for epoch, accuracy in recorded:
            try:
                afresh(epoch, accuracy)
            except Stop as stop:
                return Replay(afresh.values, str(stop), epoch / recorded[-1][0])
        return Replay(afresh.values, None, 1.0)

    def _is_hopeless(self) -> bool:
        from optuna.pruners import MedianPruner
        from optuna.trial import TrialState, create_trial

        pruner = MedianPruner(n_startup_trials=STARTUP_TRIALS, n_warmup_steps=self.warmup)
        trial = create_trial(state=TrialState.RUNNING, intermediate_values=self.values)
        return bool(pruner.prune(self._study, trial))

    @cached_property
    def _study(self) -> "optuna.Study":
        return in_memory(self.seen)


@dataclass(frozen=True)
class Replay:
    """What recorded evaluations come to under a pruner.

    Attributes:
        values: those that count, by epoch.
        pruned: why the trial is pruned after the last of them; None where it is not.
        share: of the recorded epochs, how many count.
    """

    values: dict[int, float]
    pruned: str | None
    share: float
