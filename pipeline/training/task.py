"""What travels between processes: the task of training a network, the events of a training, and its outcome."""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import TrainingConfig
from pipeline.errors import Interrupted

if TYPE_CHECKING:
    from pipeline.tracking.store import Store


class Status(StrEnum):
    """The status of a run, in MLflow's words."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    KILLED = "KILLED"
    FAILED = "FAILED"


class EventKind(StrEnum):
    """The kinds of events."""

    WORKERS = "workers"
    STARTED = "started"
    EPOCH = "epoch"
    EVALUATED = "evaluated"
    ENDED = "ended"
    NOTICE = "notice"
    WARNING = "warning"


@dataclass(frozen=True)
class Task:
    """One network to train, with the addresses that a process on any machine needs to train it."""

    config: TrainingConfig
    fingerprint: str
    store: "Store"
    parent_id: str | None
    data_dir: Path
    checkpoint_dir: Path
    name: str = ""
    """The name of a new run and in the display; by default the network's name."""
    tags: dict[str, str] = field(default_factory=dict)
    force: bool = False
    """Whether to reuse a finished run only under the same parent, because a resumed command trained that run itself."""
    on_evaluation: Callable[[int, float], None] | None = None
    """Called with the epoch and the accuracy of every evaluation; it may raise `Stop`."""

    def __post_init__(self) -> None:
        """Name the run."""
        object.__setattr__(self, "name", self.name or self.config.network)


@dataclass(frozen=True)
class Event:
    """A message that a training sends while it runs; `kind` says which fields are set."""

    kind: EventKind
    name: str
    max_epoch: int
    epoch: int = 0
    accuracy: float | None = None
    loss: float | None = None
    seconds: float = 0.0
    text: str = ""

    def as_message(self) -> tuple[Any, ...]:
        """Give the fields as types that Dask can send, because its msgpack refuses an enum."""
        kind, *others = astuple(self)
        return (kind.value, *others)

    @classmethod
    def from_message(cls, message: Sequence[Any]) -> "Event":
        """Restore the event from the result of `as_message`."""
        kind, *others = message
        return cls(EventKind(kind), *others)


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        config: the network's configuration.
        status: FINISHED, KILLED, FAILED, or RUNNING in another process.
        run_id: the run's id, or None if no run could be created.
        metrics: the last value of every metric.
        reused: whether the run was finished before this task.
        reason: why the run is not FINISHED.
        conclusive: whether another training would end in the same way: it finished, diverged, or was ended by `Stop`.
    """

    config: TrainingConfig
    status: Status
    run_id: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    reused: bool = False
    reason: str = ""
    conclusive: bool = False


class Stop(Interrupted):
    """Raised by `Task.on_evaluation` to end a training early; the run becomes KILLED with this reason."""


Report = Callable[[Event], None]


def evaluation_split(config: TrainingConfig) -> str:
    """Return the split that a network is evaluated on: "validation" or "test"."""
    return "validation" if config.validation else "test"


def accuracy(outcome: Outcome) -> float:
    """Return the accuracy of a finished network on its evaluation split."""
    return outcome.metrics[f"{evaluation_split(outcome.config)}_accuracy"]
