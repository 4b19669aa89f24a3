"""The attributes of a trial, read with care: whoever has access to a shared study may write anything to it.

An attribute of another type than the search writes counts as missing.
"""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

OUTSIDE: Final = "outside_space"
"""The attribute of a trial whose user enqueued values that the space does not have; it holds those values."""
OWNER: Final = "search_run"
"""The attribute of a trial that says who trains it: the run of that command."""
_FIXED: Final = "fixed_params"  # under which Optuna keeps what the user enqueued


def outside(trial: "FrozenTrial") -> Mapping[str, Any]:
    """The values that the user enqueued outside the space, by hyperparameter."""
    return _mapping(trial.user_attrs.get(OUTSIDE))


def enqueued(trial: "FrozenTrial") -> Mapping[str, Any]:
    """The values that the user enqueued, by hyperparameter."""
    return _mapping(trial.system_attrs.get(_FIXED))


def owner(trial: "FrozenTrial") -> str | None:
    """The run of the command that trains the trial."""
    return _text(trial.user_attrs.get(OWNER)) or None


def run_of(trial: "FrozenTrial") -> str:
    """The run of the trial's network; empty where there is none, as for a trial that the user added with its value."""
    return _text(trial.user_attrs.get("run_id"))


def train_seconds(trial: "FrozenTrial") -> float | None:
    """The processor time of the training; None where it is unknown."""
    value: Any = trial.user_attrs.get("train_seconds")
    return float(value) if type(value) in {int, float} and 0 <= value < math.inf else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
