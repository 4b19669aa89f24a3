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
    """How a run stands, in MLflow's words."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    KILLED = "KILLED"
    FAILED = "FAILED"


class EventKind(StrEnum):
    """What an event says."""

    WORKERS = "workers"
    STARTED = "started"
    EPOCH = "epoch"
    EVALUATED = "evaluated"
    ENDED = "ended"
    NOTICE = "notice"
    WARNING = "warning"


@dataclass(frozen=True)
class Task:
    """One network to train and the addresses that a process needs for it, wherever it runs."""

    config: TrainingConfig
    fingerprint: str
    store: "Store"
    parent_id: str | None
    data_dir: Path
    checkpoint_dir: Path
    name: str = ""
    """Of the run, where it is created, and in what is shown; by default the network's."""
    tags: dict[str, str] = field(default_factory=dict)
    force: bool = False
    """Whether a finished run is reused only if it is under the same parent: the command that goes on has trained it."""
    on_evaluation: Callable[[int, float], None] | None = None
    """Called with the epoch and the accuracy of every evaluation; it may raise `Stop`."""

    def __post_init__(self) -> None:
        """Name the run."""
        object.__setattr__(self, "name", self.name or self.config.network)


@dataclass(frozen=True)
class Event:
    """What a training tells while it runs; `kind` says what."""

    kind: EventKind
    name: str
    max_epoch: int
    epoch: int = 0
    accuracy: float | None = None
    loss: float | None = None
    seconds: float = 0.0
    text: str = ""

    def as_message(self) -> tuple[Any, ...]:
        """The fields as Dask's msgpack takes them; it refuses an enum."""
        kind, *others = astuple(self)
        return (kind.value, *others)

    @classmethod
    def from_message(cls, message: Sequence[Any]) -> "Event":
        """The event whose `as_message` was sent."""
        kind, *others = message
        return cls(EventKind(kind), *others)


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes:
        config: of the network.
        status: FINISHED, or MLflow's word for what it is instead: KILLED, FAILED, or RUNNING in another process.
        run_id: None where no run could be made.
        metrics: the last value of every metric.
        reused: whether the run was finished before this task.
        reason: why it is not FINISHED.
        conclusive: whether training it again would end the same: it is finished, was stopped by its watch, or diverged.
    """

    config: TrainingConfig
    status: Status
    run_id: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    reused: bool = False
    reason: str = ""
    conclusive: bool = False


class Stop(Interrupted):
    """Raised by a `watch` to end a training early: its run is KILLED for the reason given."""


Report = Callable[[Event], None]


def evaluation_split(config: TrainingConfig) -> str:
    """What a network is evaluated on: "validation" or "test"."""
    return "validation" if config.validation else "test"


def accuracy(outcome: Outcome) -> float:
    """The accuracy of a finished network on the images that it was evaluated on."""
    return outcome.metrics[f"{evaluation_split(outcome.config)}_accuracy"]
