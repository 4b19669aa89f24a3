"""Confirming a search: its best configurations are trained with new seeds, and the best of them is tested."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import Final

from pipeline.config import TrainingConfig
from pipeline.errors import PipelineError
from pipeline.report.statistics import CONFIDENCE, holm, paired
from pipeline.search.attributes import run_of
from pipeline.search.study import Study
from pipeline.training.networks import finished
from pipeline.training.task import Outcome, Status

CONFIRMING_SEEDS: Final = 3

Train = Callable[[str, Sequence[TrainingConfig]], Sequence[Outcome]]
"""Trains networks under a title, as `run_networks` does."""


@dataclass(frozen=True)
class Candidate:
    """One of the best configurations of a search.

    Attributes:
        number: the number of its trial.
        config: the network, evaluated on the validation images, with the search's seed.
        value: its accuracy in the search. This is too high on average, because it selected the configuration.
        run_id: the id of the trial's run.
        confirmed: its accuracy for each new seed with which the training did not diverge.
    """

    number: int
    config: TrainingConfig
    value: float
    run_id: str
    confirmed: Mapping[int, float] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[int, float]:
        """The sort key of candidates: the number of seeds that did not diverge, then the mean accuracy."""
        return len(self.confirmed), mean(self.confirmed.values()) if self.confirmed else self.value


@dataclass(frozen=True)
class Difference:
    """By how much a candidate is less accurate than the best one.

    Attributes:
        mean: the mean over seeds of the best one's accuracy minus this one's.
        interval: the confidence interval of the mean; None if it is unknown.
        told_apart: whether the difference is significant after a correction for the number of comparisons.
    """

    mean: float
    interval: tuple[float, float] | None
    told_apart: bool


@dataclass(frozen=True)
class Tested:
    """A configuration retrained on all training images, with the outcome for each seed."""

    config: TrainingConfig
    outcomes: Mapping[int, Outcome]

    def values(self, metric: str) -> list[float]:
        """Return a metric for each seed."""
        return [outcome.metrics[metric] for outcome in self.outcomes.values()]


def confirm(study: Study, count: int, train: Train) -> list[Candidate]:
    """Train the best configurations of a search with new seeds.

    Args:
        study: the finished search.
        count: the number of configurations; 0 trains nothing, and the best trial of the search is the result.
        train: trains networks.

    Returns:
        The candidates, the best first.

    Raises:
        PipelineError: no trial is complete.
    """
    candidates = _best(study, max(count, 1))
    if not count:
        return candidates
    first = study.definition.base.seed + 1
    seeds = range(first, first + CONFIRMING_SEEDS)
    configs = [replace(each.config, seed=seed) for each in candidates for seed in seeds]
    outcomes = {outcome.config: outcome for outcome in train("confirmation", configs)}
    confirmed = [
        replace(each, confirmed={seed: outcome.metrics["validation_accuracy"]
                                 for seed in seeds
                                 if (outcome := outcomes[replace(each.config, seed=seed)]).status == Status.FINISHED})
        for each in candidates
    ]  # fmt: skip
    return sorted(confirmed, key=lambda each: each.rank, reverse=True)


def differences(candidates: Sequence[Candidate]) -> list[Difference | None]:
    """Compare each candidate with the first one, paired by seed; None for the first, and for one that diverged."""
    best, *others = candidates
    comparable = [each for each in others if best.confirmed and each.confirmed.keys() == best.confirmed.keys()]
    estimates = {
        each.number: paired([best.confirmed[seed] - each.confirmed[seed] for seed in best.confirmed])
        for each in comparable
    }
    corrected = holm([estimate.p() for estimate in estimates.values()])
    found: dict[int, Difference] = {}
    for (number, estimate), (p, level) in zip(estimates.items(), corrected, strict=True):
        found[number] = Difference(estimate.mean, estimate.interval(level), p < 1 - CONFIDENCE)
    return [found.get(each.number) for each in candidates]


def test(best: TrainingConfig, baseline: TrainingConfig, seeds: Sequence[int], train: Train) -> list[Tested]:
    """Retrain the best configuration and the baseline with each seed on all training images, and test them."""
    configs = [replace(each, validation=False) for each in (best, baseline)]
    networks = list(dict.fromkeys(replace(config, seed=seed) for config in configs for seed in seeds))
    outcomes = {outcome.config: outcome for outcome in finished(train("best and baseline", networks))}
    return [Tested(config, {seed: outcomes[replace(config, seed=seed)] for seed in seeds}) for config in configs]


def _best(study: Study, count: int) -> list[Candidate]:
    """Return the complete trials with the highest accuracies; a configuration of several trials counts once."""
    from optuna.trial import TrialState

    complete = [trial for trial in study.trials() if trial.state == TrialState.COMPLETE and trial.value is not None]
    found: dict[TrainingConfig, Candidate] = {}
    for trial in sorted(complete, key=lambda trial: (-float(trial.value or 0.0), trial.number)):
        run_id = run_of(trial)
        if run_id and (config := study.config(trial)) is not None and config not in found:
            found[config] = Candidate(trial.number, config, float(trial.value or 0.0), run_id)
    if not found:
        raise PipelineError(f"No trial is complete. {study.summary()} Widen the space, or lower the learning rates.")
    return list(found.values())[:count]
