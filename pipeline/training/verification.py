"""Verifying a finished run: its network is trained again, and every point of its metrics is compared."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from model.fit import evaluate, fit
from pipeline.config import TrainingConfig
from pipeline.data.datasets import Dataset
from pipeline.errors import UsageError
from pipeline.tracking.store import Store, TrackedRun
from pipeline.training.splits import split
from pipeline.training.task import Status, evaluation_split
from pipeline.training.trainer import build, is_due


class Value(NamedTuple):
    """A metric's value at a step of a training."""

    step: int
    key: str
    value: float


@dataclass(frozen=True)
class Verification:
    """The result of training a run's network again.

    Attributes:
        compared: how many points are equal, bit for bit.
        difference: the first point that differs, as a clause; empty if all are equal.
    """

    compared: int
    difference: str


def config_of(run: TrackedRun) -> TrainingConfig:
    """Return the configuration of the network of a finished run.

    Raises:
        UsageError: the run is not that of a network, or it is not finished.
    """
    if run.status != Status.FINISHED or "fingerprint" not in run.tags:
        raise UsageError(
            f"run is {run.run_id!r}, which is not the finished run of a network ({run.name}, {run.status}); give the "
            "id of one, as its page and the table of its grid show it."
        )
    return TrainingConfig.from_parameters(run.parameters)


def verify(
    store: Store, run: TrackedRun, config: TrainingConfig, dataset: Dataset, on_epoch: Callable[[int], None]
) -> Verification:
    """Train the network of a run again in this process and compare all points of its metrics; nothing is stored.

    Args:
        store: the store of the run.
        run: the finished run.
        config: the network's configuration.
        dataset: the data set that the network was trained on.
        on_epoch: called with the number of finished epochs.

    Raises:
        UsageError: the data are not those of the run.
    """
    from threadpoolctl import threadpool_limits

    if dataset.digest != run.parameters["dataset_digest"]:
        raise UsageError(
            f"run is {run.run_id!r}, which was trained on data with the digest {run.parameters['dataset_digest']}; "
            f"{dataset.name} here has {dataset.digest}. Give the folder of its data with -P data_dir= or -P source=."
        )
    curve = ("loss", "accuracy")
    keys = [f"{name}/{kind}" for name in ("train", evaluation_split(config)) for kind in curve]
    finals = [key.replace("/", "_") for key in keys]
    recorded = {(point.step, key): point.value for key in [*keys, *finals] for point in store.history(run.run_id, key)}
    compared = 0
    with threadpool_limits(1, user_api="blas"):
        for step, key, value in _values(config, dataset, on_epoch):
            theirs = recorded.pop((step, key), None)
            if theirs != value:
                had = "is not there" if theirs is None else f"is {theirs!r}"
                return Verification(compared, f"step {step}: {key} {had} in the run and {value!r} here")
            compared += 1
    if recorded:
        step, key = min(recorded)
        return Verification(compared, f"step {step}: {key} is {recorded[step, key]!r} in the run and not there here")
    return Verification(compared, "")


def _values(config: TrainingConfig, dataset: Dataset, on_epoch: Callable[[int], None]) -> Iterator[Value]:
    """Yield the metrics of a training, in the order of their steps."""
    network, loss, optimizer = build(config, dataset)
    examples, evaluated = split(config, dataset)
    name = evaluation_split(config)
    step = 0
    for progress in fit(
        network,
        loss,
        optimizer,
        examples,
        batch_size=config.batch_size,
        max_epoch=config.max_epoch,
        disp_freq=config.disp_freq,
        seed=config.seed,
    ):
        step = progress.step
        for window in progress.windows:
            yield Value(window.step, "train/loss", window.loss)
            yield Value(window.step, "train/accuracy", window.accuracy)
        if progress.epoch_ended and is_due(config, progress.epoch):
            result = evaluate(network, loss, evaluated)
            yield Value(step, f"{name}/loss", result.loss)
            yield Value(step, f"{name}/accuracy", result.accuracy)
        on_epoch(progress.epoch)
    for of, result in (("train", evaluate(network, loss, examples)), (name, evaluate(network, loss, evaluated))):
        yield Value(step, f"{of}_loss", result.loss)
        yield Value(step, f"{of}_accuracy", result.accuracy)
