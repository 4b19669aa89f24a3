"""Drawing a trial only from earlier trials that it may see, so that every process draws the same parameters.

Trial n may see the finished trials 0 to n - lag. It is drawn in a study in memory that has only these trials, by a
sampler whose seed depends on the study's seed and on n. So a draw does not depend on which later trials have finished,
and `lag` trials can be trained at the same time.
"""

import warnings
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from model.randomness import rng
from pipeline.log import is_verbose
from pipeline.search.attributes import OUTSIDE
from pipeline.search.space import Space

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

STARTUP_TRIALS: Final = 5
"""The sampler and the pruner begin to use earlier trials when they see this many."""


@cache
def quiet_optuna() -> None:
    """Silence Optuna's log and its warnings about experimental features, except with `--verbose`."""
    if not is_verbose():
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", module="optuna")
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def is_ready(trials: Sequence["FrozenTrial"], number: int, lag: int) -> bool:
    """Whether all trials that trial `number` may see are finished, so that it can be drawn."""
    seen = [trial for trial in trials if trial.number <= number - lag]
    return all(trial.state.is_finished() for trial in seen) and len(seen) == max(number - lag + 1, 0)


def visible(trials: Sequence["FrozenTrial"], number: int, lag: int, space: Space) -> list["FrozenTrial"]:
    """Return copies of the trials that trial `number` may see: those with a value inside the space, by number."""
    from optuna.trial import TrialState, create_trial

    quiet_optuna()
    return [
        create_trial(
            state=trial.state,
            value=trial.value,
            params={name: trial.params[name] for name in space.values},
            distributions=space.distributions,
            intermediate_values=trial.intermediate_values,
        )
        for trial in sorted(trials, key=lambda trial: trial.number)
        if trial.number <= number - lag
        and trial.state in {TrialState.COMPLETE, TrialState.PRUNED}
        and is_inside(trial, space)
    ]


def is_inside(trial: "FrozenTrial", space: Space) -> bool:
    """Whether a trial has exactly the space's parameters, all with values of the space."""
    return OUTSIDE not in trial.user_attrs and trial.params.keys() == space.values.keys() and space.holds(trial.params)


def in_memory(trials: Sequence["FrozenTrial"], sampler: Any = None) -> "optuna.Study":
    """Make a study in memory that has only these trials."""
    import optuna

    quiet_optuna()
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(trials)
    return study


def draw(space: Space, seen: Sequence["FrozenTrial"], *, seed: int, number: int) -> dict[str, Any]:
    """Draw the parameters of a trial with Optuna's tree-structured Parzen estimator.

    Args:
        space: the searched hyperparameters.
        seen: the earlier trials to learn from.
        seed: the study's seed.
        number: the trial's number.
    """
    from optuna.samplers import TPESampler

    quiet_optuna()
    of_trial = int(rng(seed, "sampler", number).integers(2**31))
    sampler = TPESampler(seed=of_trial, n_startup_trials=STARTUP_TRIALS)
    return dict(in_memory(seen, sampler).ask(space.distributions).params)
