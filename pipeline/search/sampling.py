"""Drawing a trial: from the trials that it may see alone, so that the draw is the same whoever makes it.

Trial n sees the finished trials 0 to n - lag, in a study in memory; its sampler is seeded by the study's seed and n. So
the draw does not depend on what else has finished meanwhile, and with a lag of L, L trials can be trained at once.
"""

import warnings
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from model.randomness import rng
from pipeline.log import is_verbose
from pipeline.search.space import Space

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

OUTSIDE: Final = "outside_space"
"""The attribute of a trial whose user enqueued values that the space does not have; it holds those values."""
STARTUP_TRIALS: Final = 5
"""Finished trials that a draw, and a pruning, needs to see before it learns from them."""


@cache
def quiet_optuna() -> None:
    """Silence Optuna's log and its warnings of experimental features, except with `--verbose`."""
    if not is_verbose():
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", module="optuna")
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def is_ready(trials: Sequence["FrozenTrial"], number: int, lag: int) -> bool:
    """Whether the trials that trial `number` may see are all finished."""
    seen = [trial for trial in trials if trial.number <= number - lag]
    return all(trial.state.is_finished() for trial in seen) and len(seen) == max(number - lag + 1, 0)


def visible(trials: Sequence["FrozenTrial"], number: int, lag: int, space: Space) -> list["FrozenTrial"]:
    """What trial `number` may see: copies of the earlier trials that have a value and lie in the space, by number."""
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
    """Whether a trial has a value of the space for each name, and nothing else."""
    return OUTSIDE not in trial.user_attrs and trial.params.keys() == space.values.keys() and space.holds(trial.params)


def in_memory(trials: Sequence["FrozenTrial"], sampler: Any = None) -> "optuna.Study":
    """A study of these trials alone, in memory."""
    import optuna

    quiet_optuna()
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials(trials)
    return study


def draw(space: Space, seen: Sequence["FrozenTrial"], *, seed: int, number: int) -> dict[str, Any]:
    """Draw the parameters of a trial with Optuna's tree-structured Parzen estimator.

    Args:
        space: what to draw.
        seen: the trials to learn from.
        seed: of the study's draws.
        number: of the trial.
    """
    from optuna.samplers import TPESampler

    quiet_optuna()
    of_trial = int(rng(seed, "sampler", number).integers(2**31))
    sampler = TPESampler(seed=of_trial, n_startup_trials=STARTUP_TRIALS)
    return dict(in_memory(seen, sampler).ask(space.distributions).params)
