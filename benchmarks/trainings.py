"""One training of this project on one core: alone, and as a tracked run. The functions that the processes call."""

import os
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from pkgutil import resolve_name
from time import perf_counter
from typing import Any, Final, NamedTuple
from unittest import mock

from benchmarks.contenders import DenseLimit
from benchmarks.job import flops
from model.fit import fit
from pipeline.config import TrainingConfig
from pipeline.data.datasets import Dataset, load
from pipeline.tracking.store import Store
from pipeline.training.task import Outcome, Task
from pipeline.training.trainer import build, train

PARTS: Final = {
    "evaluation": "pipeline.training.trainer.evaluate",
    "creating the run": "pipeline.training.trainer.acquire",
    "metrics": "pipeline.tracking.runs.OwnedRun.send",
    "checkpoints": "pipeline.training.checkpoint.Checkpoints.save",
    "pictures": "pipeline.training.trainer._Training._decorate",
    "model": "pipeline.tracking.runs.OwnedRun.log_model",
}
"""What a tracked run does beside training, and the function that does it."""


class Alone(NamedTuple):
    """A training without evaluation and tracking.

    Attributes:
        seconds: an epoch.
        share: of the dense limit.
    """

    seconds: float
    share: float


class Tracked(NamedTuple):
    """A whole run.

    Attributes:
        seconds: of all of it.
        training: seconds of training alone.
        parts: seconds of each of PARTS.
        share: of the dense limit, all included.
    """

    seconds: float
    training: float
    parts: dict[str, float]
    share: float

    @property
    def tracking(self) -> float:
        """What all but training and evaluation takes, as a share of training."""
        return (self.seconds - self.training - self.parts["evaluation"]) / self.training


def train_alone(config: TrainingConfig, data_dir: Path) -> Alone:
    """Train without evaluation and tracking."""
    dataset = load(config.dataset, data_dir)
    network, loss, optimizer = build(config, dataset)
    training = fit(
        network,
        loss,
        optimizer,
        dataset.train,
        batch_size=config.batch_size,
        max_epoch=config.max_epoch,
        disp_freq=config.disp_freq,
        seed=config.seed,
    )
    with _limit() as limit:
        started = perf_counter()
        for _ in training:
            pass
        seconds = perf_counter() - started
    return Alone(seconds / config.max_epoch, _flops(config, dataset) / seconds / limit())


def train_tracked(config: TrainingConfig, data_dir: Path, uri: str, folder: Path) -> Tracked:
    """Train as `python -m pipeline train` does, tracked in the store at `uri`; files go to `folder`."""
    os.chdir(folder)
    os.environ |= {"MLFLOW_TRACKING_URI": uri, "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    task = new_task(config, Store.open(), data_dir, folder)
    with _limit() as limit, _parts_timed() as parts:
        started = perf_counter()
        outcome = finished(train(task, report=lambda _event: None, stop=threading.Event()))
        seconds = perf_counter() - started
    share = _flops(config, load(config.dataset, data_dir)) / seconds / limit()
    return Tracked(seconds, outcome.metrics["train_seconds"], dict(parts), share)


def new_task(config: TrainingConfig, store: Store, data_dir: Path, folder: Path) -> Task:
    """A training of which no finished run can be reused."""
    return Task(config, uuid.uuid4().hex, store, None, data_dir, folder / "checkpoints")


def finished(outcome: Outcome) -> Outcome:
    """An outcome that is as it should be.

    Raises:
        RuntimeError: if it is not.
    """
    if outcome.status != "FINISHED" or outcome.reused:
        raise RuntimeError(f"{outcome.config.name}: {outcome}")
    return outcome


def _flops(config: TrainingConfig, dataset: Dataset) -> float:
    return flops(len(dataset.train) * config.max_epoch, config.layer_sizes(len(dataset.pixel_order), dataset.classes))


@contextmanager
def _limit() -> Iterator[Callable[[], float]]:
    """Measure the dense limit before and after what is inside the `with`; yields what gives their mean."""
    dense, rates = DenseLimit(), list[float]()
    rates.append(dense.flops())
    yield lambda: sum(rates) / len(rates)
    rates.append(dense.flops())


@contextmanager
def _parts_timed() -> Iterator[Counter[str]]:
    """Sum up the seconds that each of PARTS takes inside the `with`."""
    clock: Counter[str] = Counter(dict.fromkeys(PARTS, 0))

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            started = perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                clock[part] += perf_counter() - started  # type: ignore[assignment]

        return call

    with ExitStack() as stack:
        for part, name in PARTS.items():
            stack.enter_context(mock.patch(name, timed(part, resolve_name(name))))
        yield clock
