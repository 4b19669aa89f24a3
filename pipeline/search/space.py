"""The searched hyperparameters: their names and Optuna distributions, read from a text."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import TrainingConfig
from pipeline.errors import UsageError

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DEFAULT_SPACE: Final = "learning_rate=0.003..0.3 log, max_epoch=50..400 step 10"
_FIXED: Final = ("dataset", "seed", "validation", "disp_freq", "test_epoch")
"""What all trials have in common: data, seed, and the epochs after which trials are compared."""
SEARCHABLE: Final = tuple(item.name for item in fields(TrainingConfig) if item.name not in _FIXED)
_EXAMPLES: Final = "learning_rate=0.003..0.3 log, max_epoch=50..400 step 10, activation=relu|sigmoid"
_ALIGNED: Final = 1e-8


@dataclass(frozen=True)
class _Range:
    """Numbers from `low` to `high`, written `low..high`, `low..high log` or `low..high step width`."""

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __str__(self) -> str:
        step = "" if self.step is None else f" step {self.step}"
        return f"{self.low}..{self.high}{' log' * self.log}{step}"

    def distribution(self) -> "BaseDistribution":
        """Return the range as an Optuna distribution."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if isinstance(self.low, int):
            return IntDistribution(self.low, int(self.high), log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def holds(self, value: Any) -> bool:
        """Whether a trial can draw the value."""
        if isinstance(value, bool | str) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < _ALIGNED and (isinstance(value, int) or isinstance(self.low, float))


@dataclass(frozen=True)
class _Choices:
    """Alternatives, written `a|b|c`."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return "|".join(map(str, self.values))

    def distribution(self) -> "BaseDistribution":
        """Return the alternatives as an Optuna distribution."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def holds(self, value: Any) -> bool:
        """Whether a value is one of the alternatives."""
        return value in self.values


@dataclass(frozen=True)
class Space:
    """The searched hyperparameters: the values that a trial may draw, by name.

    Example:
        >>> space = Space.parse("momentum=0..0.95, batch_size=32|64")
        >>> str(space)
        'momentum=0.0..0.95, batch_size=32|64'
        >>> space.configure(TrainingConfig(), {"momentum": 0.5, "batch_size": 32}).batch_size
        32
    """

    values: Mapping[str, _Range | _Choices]

    def __str__(self) -> str:
        """The text from which `parse` reads this space."""
        return ", ".join(f"{name}={values}" for name, values in self.values.items())

    @classmethod
    def parse(cls, text: str) -> "Space":
        """Read a space: names with ranges or alternatives, separated by commas.

        Raises:
            UsageError: an entry cannot be read; the message names it and shows how entries are written.
        """
        values: dict[str, _Range | _Choices] = {}
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, equals, given = (part.strip() for part in entry.partition("="))
            if not equals or not given:
                raise UsageError(f"space has {entry!r}; an entry has to be a name with its values, as in {_EXAMPLES}.")
            if name not in SEARCHABLE:
                raise UsageError(f"space has {name!r}; what can be searched is {', '.join(SEARCHABLE)}.")
            if name in values:
                raise UsageError(f"space has {name!r} twice; name it once, with all its values.")
            values[name] = _range(name, given) if ".." in given else _choices(name, given)
        if not values:
            raise UsageError(f"space is {text!r}; it has to name what is searched, as in {_EXAMPLES}.")
        return cls(values)

    @cached_property
    def distributions(self) -> "dict[str, BaseDistribution]":
        """The Optuna distribution of each name."""
        return {name: values.distribution() for name, values in self.values.items()}

    def holds(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a trial can draw all of these values."""
        return all(name in self.values and self.values[name].holds(value) for name, value in parameters.items())

    def of(self, config: TrainingConfig) -> dict[str, Any]:
        """Return a configuration's values of the searched hyperparameters, as an Optuna trial has them."""
        return {name: _plain(config, name) for name in self.values}

    def configure(self, base: TrainingConfig, parameters: Mapping[str, Any]) -> TrainingConfig:
        """Return `base` with the parameters of a trial; they may include hyperparameters that the space does not have.

        Raises:
            UsageError: a name is not that of a hyperparameter, or no training can use its value.
        """
        for name in parameters:
            if name not in SEARCHABLE:
                raise UsageError(f"{name!r} is no hyperparameter that a trial can have; {', '.join(SEARCHABLE)} are.")
        texts = {name: str(value) for name, value in parameters.items()}
        try:
            return TrainingConfig.from_parameters({**base.parameters(), **texts})
        except ValueError as error:
            raise UsageError(f"The trial's {texts} cannot be read: {error}.") from error

    def extremes(self, base: TrainingConfig, name: str) -> list[TrainingConfig]:
        """Return `base` with each end of `name`'s range, or each alternative; only `base` if `name` is not searched."""
        values = self.values.get(name)
        if values is None:
            return [base]
        ends = (values.low, values.high) if isinstance(values, _Range) else values.values
        return [self.configure(base, {name: value}) for value in ends]


def _range(name: str, given: str) -> _Range:
    """Read `low..high`, with `log` or `step width` after it."""
    kind = type(getattr(TrainingConfig(), name))
    if kind not in {int, float}:
        raise UsageError(f"space has {name}={given}; {name} has alternatives, as in {name}=a|b, and no range.")
    ends, *words = given.split()
    low, _, high = ends.partition("..")
    log = words == ["log"]
    stepped = len(words) == 2 and words[0] == "step"  # noqa: PLR2004 - the word and its number
    if words and not (log or stepped):
        raise UsageError(f"space has {name}={given}; after a range stands nothing, log, or step with a number.")
    numbers = [_number(name, given, text, kind) for text in (low, high, *(words[1:] if stepped else ()))]
    found = _Range(numbers[0], numbers[1], log, numbers[2] if stepped else None)
    _check(name, given, found)
    return found


def _number(name: str, given: str, text: str, kind: type) -> Any:
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        whole = "whole, " * (kind is int)
        raise UsageError(f"space has {name}={given}; {text!r} has to be a {whole}finite number.")
    return number


def _check(name: str, given: str, found: _Range) -> None:
    if not found.low < found.high:
        raise UsageError(f"space has {name}={given}; the lower end has to be below the upper one.")
    if found.log and found.low <= 0:
        raise UsageError(f"space has {name}={given}; with log, the lower end has to be above 0.")
    if found.step is not None:
        steps = (found.high - found.low) / found.step if found.step > 0 else 0.5
        if abs(steps - round(steps)) > _ALIGNED:
            raise UsageError(
                f"space has {name}={given}; the step has to be above 0 and to divide the range, "
                f"{found.high - found.low}."
            )
    for end in (found.low, found.high):
        TrainingConfig.from_parameters({**TrainingConfig().parameters(), name: str(end)})


def _choices(name: str, given: str) -> _Choices:
    """Read `a|b|c`; each alternative has to be a value that the hyperparameter can have."""
    texts = [text.strip() for text in given.split("|")]
    base = TrainingConfig().parameters()
    try:
        values = [_plain(TrainingConfig.from_parameters({**base, name: text}), name) for text in texts]
    except ValueError as error:
        raise UsageError(f"space has {name}={given}; {error}.") from error
    if len(values) == 1:
        raise UsageError(
            f"space has {name}={given}, a single value; give a range, as in {name}=low..high, or alternatives, "
            f"as in {name}=a|b, or set {name} itself."
        )
    if len(set(values)) < len(values):
        raise UsageError(f"space has {name}={given}; each alternative has to be there once.")
    return _Choices(tuple(values))


def _plain(config: TrainingConfig, name: str) -> Any:
    """Return the value of a hyperparameter as a number or text, because Optuna stores nothing else."""
    value = getattr(config, name)
    return value if isinstance(value, int | float | str) else config.parameters()[name]
