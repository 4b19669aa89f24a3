"""Pruning a trial: its training stops if its accuracy is below the median of the earlier trials that it may see."""

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
    """A median pruner for one trial; the process that trains the trial calls it after every evaluation.

    The decision depends only on the trial's own values and on the earlier trials in `seen`. Therefore a training and a
    replay of its recorded values stop at the same epoch.

    Attributes:
        seen: the earlier trials to compare with.
        warmup: epochs before the first decision.
        max_epoch: the epochs of the trial; after the last one, nothing has to be decided.
        values: the trial's accuracies so far, by epoch.
    """

    seen: Sequence["FrozenTrial"]
    warmup: int
    max_epoch: int
    values: dict[int, float] = field(default_factory=dict)

    def __call__(self, epoch: int, accuracy: float) -> None:
        """Record an evaluation.

        Raises:
            Stop: the trial has to be pruned.
        """
        self.values[epoch] = accuracy
        if epoch < self.max_epoch and self._is_hopeless():
            raise Stop(
                f"pruned after epoch {epoch}: validation accuracy {accuracy:.2%} is below the median of the others"
            )

    def replay(self, values: Iterable[tuple[int, float]]) -> "Replay":
        """Find out where a training with these recorded (epoch, accuracy) pairs would have been pruned."""
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
    """What a pruner decides about recorded evaluations.

    Attributes:
        values: the accuracies by epoch, up to the pruning.
        pruned: why the trial is pruned after the last of these values; None if it is not.
        share: the share of the recorded epochs that the trial needs.
    """

    values: dict[int, float]
    pruned: str | None
    share: float
