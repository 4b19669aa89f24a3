"""What a checkpoint holds of a training besides its arrays; read with care, because others may write to the folder."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.fit import Position
from pipeline.tracking.store import Point


@dataclass(frozen=True)
class State:
    """How far a training is.

    Attributes:
        position: in the order of the mini-batches.
        seconds: of training.
        core_seconds: of processor time.
        computed_with: the processor and NumPy, by tag.
        pending: the metrics that the store may lack.
        evaluated: the evaluations, as pairs of an epoch and an accuracy.
        first_loss: the loss of the first window of the training curve.
    """

    position: Position
    seconds: float
    core_seconds: float = 0.0
    computed_with: Mapping[str, str] = field(default_factory=dict)
    pending: list[Point] = field(default_factory=list)
    evaluated: list[tuple[int, float]] = field(default_factory=list)
    first_loss: float | None = None

    def as_notes(self) -> dict[str, Any]:
        """Give the state as JSON values by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)} | {"position": asdict(self.position)}

    @classmethod
    def from_notes(cls, notes: Mapping[str, Any], *, max_epoch: int, batches: int) -> "State":
        """Restore the state from the result of `as_notes`.

        A checkpoint of version 0.1.0 lacks the fields that have defaults here.

        Args:
            notes: JSON values that anybody may have written.
            max_epoch: of the training.
            batches: mini-batches in an epoch.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: no training of this length has such a state.
        """
        place = Position(**notes["position"])
        counts = (place.epoch, place.batch, place.window_correct, place.window_examples)
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError(f"its position is {place}")
        if place.epoch > max_epoch or place.batch >= batches or place.window_correct > place.window_examples:
            raise ValueError(f"its position is {place}")
        _number(place.window_loss)
        known = {item.name: notes[item.name] for item in fields(cls) if item.name in notes}
        first_loss = known.get("first_loss")
        return cls(
            **known
            | {
                "position": place,
                "seconds": _seconds(notes["seconds"]),
                "core_seconds": _seconds(notes.get("core_seconds", 0.0)),
                "computed_with": {_text(key): _text(value) for key, value in notes.get("computed_with", {}).items()},
                "pending": [_point(*point) for point in notes["pending"]],
                "evaluated": [(_count(epoch), _number(accuracy)) for epoch, accuracy in notes["evaluated"]],
                "first_loss": None if first_loss is None else _number(first_loss),
            }
        )


def check_arrays(found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]) -> None:
    """Refuse arrays that cannot replace the expected ones.

    Raises:
        KeyError: an array is missing.
        ValueError: an array is of another shape or type.
    """
    for name, array in expected.items():
        shape, kind = np.shape(array), np.asarray(array).dtype
        if found[name].shape != shape or found[name].dtype != kind:
            raise ValueError(f"{name} is {found[name].dtype} of shape {found[name].shape}, not {kind} of shape {shape}")


def _point(key: Any, value: Any, timestamp: Any, step: Any) -> Point:
    return Point(_text(key), _number(value), _count(timestamp), _count(step))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.100} is no text")
    return value


def _number(value: Any) -> float:
    if type(value) not in {int, float}:
        raise TypeError(f"{value!r:.100} is no number")
    return float(value)


def _seconds(value: Any) -> float:
    if not (math.isfinite(_number(value)) and value >= 0):
        raise ValueError(f"{value!r:.100} is no time")
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise TypeError(f"{value!r:.100} is no count")
    return value
