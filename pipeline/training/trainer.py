"""Training one network: one task and one MLflow run, whose result does not depend on interruptions."""

import gc
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from model.activations import ACTIVATIONS
from model.examples import Examples
from model.fit import EVALUATED_TOGETHER, Diverged, Position, Progress, Window, evaluate, fit
from model.losses import Loss, make_loss
from model.network import Network
from model.optimizers import Sgd
from pipeline.config import TrainingConfig
from pipeline.data.datasets import Dataset, load
from pipeline.display import figures
from pipeline.errors import Interrupted, Lost, PipelineError
from pipeline.output import decoration
from pipeline.tracking.acquisition import AlreadyFinished, Busy, acquire, reparent
from pipeline.tracking.runs import OwnedRun
from pipeline.tracking.store import EARLY_STOP_TAG, NOTE_TAG, Point
from pipeline.training import provenance
from pipeline.training.checkpoint import Checkpoint, Checkpoints
from pipeline.training.description import describe_network, network_title
from pipeline.training.predictions import ARTIFACT, keep
from pipeline.training.splits import batches_an_epoch, check_batch_size, lineage, split
from pipeline.training.state import State, check_arrays
from pipeline.training.task import Event, EventKind, Outcome, Report, Status, Stop, Task, evaluation_split

CHECKPOINT_SECONDS: Final = 30.0
DIVERGED_BEYOND: Final = 1e6
"""A training has diverged if its loss exceeds the loss of its first window by this factor."""


def reuse(task: Task) -> Outcome | None:
    """Give the finished run of a network as an outcome, or None; `reparent` may move the run to this task's parent."""
    run = task.store.find_finished(task.fingerprint)
    if run is None or (task.force and run.parent_id != task.parent_id):
        return None
    if task.parent_id:
        reparent(task.store, run, task.parent_id)
    Checkpoints(
        task.checkpoint_dir / run.run_id
    ).remove()  # because its process may have been killed before it removed them
    return Outcome(task.config, Status.FINISHED, run.run_id, dict(run.metrics), reused=True, conclusive=True)


def train(task: Task, *, report: Report, stop: threading.Event) -> Outcome:
    """Train the network of `task` in this process, or resume its training from a checkpoint.

    Args:
        task: what to train, and where.
        report: called with each event of the training.
        stop: once set, the training saves its state and its run becomes KILLED.

    Returns:
        The outcome. Divergence, a stop and an outage of the store are outcomes, not exceptions.
    """
    from threadpoolctl import threadpool_limits

    try:
        dataset = load(task.config.dataset, task.data_dir)
        check_batch_size(task.config, dataset)
        run = acquire(
            task.store,
            task.fingerprint,
            name=task.name,
            parent_id=task.parent_id,
            parameters={**task.config.parameters(), "dataset_digest": dataset.digest},
            tags={**provenance.tags(), **task.tags},
            lineage=lineage(dataset, "training", task.data_dir),
            lock=task.checkpoint_dir / "claims.lock",
            already_done=lambda: reuse(task) is not None,
            notify=lambda text: report(Event(EventKind.NOTICE, task.name, task.config.max_epoch, text=text)),
            stop=stop,
        )
    except AlreadyFinished:  # by another process, or by a worker that died before it reported the outcome
        return cast("Outcome", reuse(task))
    except Busy as error:
        return Outcome(task.config, Status.RUNNING, reason=str(error))
    except Interrupted as error:
        return Outcome(task.config, Status.KILLED, reason=str(error))
    except PipelineError as error:
        return Outcome(task.config, Status.FAILED, reason=str(error))
    training = _Training(task, run, dataset, report)
    _spare_what_is_loaded()
    try:
        with run.heartbeat(), threadpool_limits(1, user_api="blas"):
            metrics = training.complete(stop)
    except Lost as error:
        outcome = Outcome(task.config, Status.RUNNING, run.run_id, reason=str(error))
    except Interrupted as error:
        outcome = Outcome(task.config, Status.KILLED, run.run_id, reason=str(error), conclusive=isinstance(error, Stop))
    except (PipelineError, Diverged) as error:
        outcome = Outcome(
            task.config, Status.FAILED, run.run_id, reason=str(error), conclusive=isinstance(error, Diverged)
        )
    else:
        outcome = Outcome(task.config, Status.FINISHED, run.run_id, metrics, conclusive=True)
    if outcome.conclusive:
        training.checkpoints.remove()
    return outcome


@cache
def _spare_what_is_loaded() -> None:
    """Leave what this process has loaded out of garbage collection: it stays for good.

    To look at each of the 300,000 objects of the libraries again takes as long as to draw all pictures of a network.
    """
    gc.freeze()


def build(config: TrainingConfig, dataset: Dataset) -> tuple[Network, Loss, Sgd]:
    """Make what a training begins with: the network with its initial weights, its loss and its optimizer."""
    network = Network.create(
        config.layer_sizes(len(dataset.pixel_order), dataset.classes),
        ACTIVATIONS[config.activation](),
        init_std=config.init_std,
        seed=config.seed,
        pixel_order=dataset.pixel_order,
        kernels=provenance.kernels(),
    )
    optimizer = Sgd(network.parameters, config.learning_rate, config.momentum, config.weight_decay)
    return network, make_loss(config.loss, config.hinge_margin), optimizer


def is_due(config: TrainingConfig, epoch: int) -> bool:
    """Whether the network is evaluated after this epoch."""
    return epoch % config.test_epoch == 0 or epoch == config.max_epoch


class _Training:
    """The state of one training, and the metrics that are not sent to MLflow yet."""

    def __init__(self, task: Task, run: OwnedRun, dataset: Dataset, report: Report) -> None:
        config = self.config = task.config
        self.name = task.name
        self.on_evaluation = task.on_evaluation
        self.run = run
        self.dataset = dataset
        self.report = report
        self.checkpoints = Checkpoints(task.checkpoint_dir / run.run_id)
        self.examples, self.evaluation_examples = split(config, dataset)
        self.evaluation_split = evaluation_split(config)
        self.batches = batches_an_epoch(config, dataset)
        self.network, self.loss, self.optimizer = build(config, dataset)
        self.position = Position()
        self.seconds = 0.0
        self.core_seconds = -time.thread_time()
        """Processor seconds of earlier processes, minus what this thread had used before the training."""
        self.pending: list[Point] = []
        self.evaluated: list[tuple[int, float]] = []
        self.first_loss: float | None = None
        self.saved = time.monotonic()

    def complete(self, stop: threading.Event) -> dict[str, float]:
        """Train from the last checkpoint to the end; returns the final metrics."""
        self._tell(EventKind.STARTED, text=self._restore())
        for (
            evaluation
        ) in self.evaluated:  # because the earlier process may have died between its evaluation and its decision
            self._decide(*evaluation)
        try:
            for progress in self._fit():
                self._advance(progress)
                if stop.is_set():
                    self._save()
                    raise Interrupted(f"stopped in epoch {self.position.epoch + 1}")
        except Diverged as divergence:
            self._tag_core_seconds()
            with suppress(Diverged):
                self._note_curve(divergence.windows)
            self.run.send(self.pending)
            raise
        return self._conclude()

    def _fit(self) -> Iterator[Progress]:
        config = self.config
        return fit(
            self.network,
            self.loss,
            self.optimizer,
            self.examples,
            batch_size=config.batch_size,
            max_epoch=config.max_epoch,
            disp_freq=config.disp_freq,
            seed=config.seed,
            position=self.position,
        )

    def _advance(self, progress: Progress) -> None:
        self.position = progress.position
        self.seconds += progress.seconds
        self._note_curve(progress.windows)
        if progress.epoch_ended and is_due(self.config, progress.epoch):
            accuracy = self._evaluate(progress)
            self._save()
            if progress.epoch < self.config.max_epoch or self.on_evaluation:
                self._send()
            self._decide(progress.epoch, accuracy)
        else:
            if time.monotonic() - self.saved >= CHECKPOINT_SECONDS:
                self._save()
            self._tell(EventKind.EPOCH)

    def _send(self) -> None:
        self.run.send(self.pending)
        self.pending = []

    def _decide(self, epoch: int, accuracy: float) -> None:
        """Ask `on_evaluation` whether to go on; tag a run that ends here, because no process may resume the run.

        Raises:
            Stop: the training ends here.
        """
        if self.on_evaluation is None:
            return
        try:
            self.on_evaluation(epoch, accuracy)
        except Stop:
            self.run.send([Point("train_seconds", self.seconds, _milliseconds(), epoch * self.batches)])
            self.run.tag(EARLY_STOP_TAG, "true")
            raise

    def _evaluate(self, progress: Progress) -> float:
        result = evaluate(self.network, self.loss, self.evaluation_examples)
        self._note(
            progress.step,
            {f"{self.evaluation_split}/loss": result.loss, f"{self.evaluation_split}/accuracy": result.accuracy},
        )
        self.evaluated.append((progress.epoch, result.accuracy))
        self._tell(EventKind.EVALUATED, accuracy=result.accuracy, loss=result.loss)
        return result.accuracy

    def _conclude(self) -> dict[str, float]:
        train = evaluate(self.network, self.loss, self.examples)
        evaluated = evaluate(self.network, self.loss, self.evaluation_examples)
        metrics = {
            "train_accuracy": train.accuracy,
            "train_loss": train.loss,
            f"{self.evaluation_split}_accuracy": evaluated.accuracy,
            f"{self.evaluation_split}_loss": evaluated.loss,
            "train_seconds": self.seconds,
        }
        model_id = self.run.log_model(self.config.network, self._write_model, self.config.parameters())
        self._note(self.config.max_epoch * self.batches, metrics)
        data = (self.dataset.name, self.dataset.digest)
        tags = {provenance.CORE_SECONDS_TAG: self._core_seconds()}
        with decoration("The description", self._warn):
            tags[NOTE_TAG] = self._description(metrics)
        self.run.send(self.pending, model_id=model_id, data=data, of_model=metrics, tags=tags)
        self._decorate()  # last: the result is complete without
        return metrics

    def _core_seconds(self) -> str:
        return f"{self.core_seconds + time.thread_time():.2f}"

    def _tag_core_seconds(self) -> None:
        self.run.tag(provenance.CORE_SECONDS_TAG, self._core_seconds())

    def _decorate(self) -> None:
        """Store predictions and pictures; the curves are read from the run, which has the points of every process."""
        title = network_title(self.config)
        predictions = figures.ScoredPredictions(
            _scores(self.network, self.evaluation_examples), self.evaluation_examples.labels
        )
        with decoration(ARTIFACT, self._warn):  # the report can compute them again with the model
            keep(self.run, predictions.predicted, predictions.labels)
        with decoration("training_curves.png", self._warn):
            history = {
                f"{split_name}/{kind}": [
                    (point.step / self.batches, point.value) for point in self.run.history(f"{split_name}/{kind}")
                ]
                for split_name in ("train", self.evaluation_split)
                for kind in ("loss", "accuracy")
            }
            self.run.log_figure(figures.training_curves(title, history), "training_curves.png")
        with decoration("confusion_matrix.png", self._warn):
            on_images = f"{title}: {self.evaluation_split} images"
            self.run.log_figure(figures.confusion_matrix(on_images, predictions), "confusion_matrix.png")
        with decoration("mistakes.png", self._warn):
            worst = predictions.mistakes()
            images = (
                self.dataset.images("test", worst)
                if self.evaluation_split == "test"
                else self.dataset.images("train", worst + len(self.examples))
            )
            among = f"{title}: most confident mistakes among the {self.evaluation_split} images"
            figure = figures.mistakes(among, images, predictions.predicted[worst], predictions.labels[worst])
            self.run.log_figure(figure, "mistakes.png")

    def _description(self, metrics: Mapping[str, float]) -> str:
        counts = {"train": len(self.examples), self.evaluation_split: len(self.evaluation_examples)}
        uri = f"runs:/{self.run.run_id}/{self.config.network}"
        return describe_network(self.config, metrics, counts, uri)

    def _warn(self, text: str) -> None:
        self._tell(EventKind.WARNING, text=text)

    def _write_model(self, folder: Path, model_id: str) -> None:
        from pipeline.training import serving

        shape = self.dataset.image_shape
        serving.save(folder, self.network, self.config.activation, shape, run_id=self.run.run_id, model_id=model_id)

    def _note_curve(self, windows: Iterable[Window]) -> None:
        """Keep the points of the training curve, to be sent later.

        Raises:
            Diverged: the loss is finite but has grown beyond DIVERGED_BEYOND, as a weight decay of 50 makes it.
        """
        for window in windows:
            self._note(window.step, {"train/loss": window.loss, "train/accuracy": window.accuracy})
            if self.first_loss is None:
                self.first_loss = window.loss
            if window.loss > DIVERGED_BEYOND * self.first_loss:
                raise Diverged(-(-window.step // self.batches), window.step, window.loss, ())

    def _note(self, step: int, values: dict[str, float]) -> None:
        now = _milliseconds()
        self.pending.extend(Point(key, value, now, step) for key, value in values.items())

    def _save(self) -> None:
        self.run.check()  # because a process that took the run over may use the same folder
        arrays = {
            **{f"network/{name}": array for name, array in self.network.state().items()},
            **{f"optimizer/{name}": array for name, array in self.optimizer.state().items()},
        }
        state = State(
            self.position,
            self.seconds,
            self.core_seconds + time.thread_time(),
            provenance.arithmetic(),
            self.pending,
            self.evaluated,
            self.first_loss,
        )
        self.checkpoints.save(self.position.epoch * self.batches + self.position.batch, arrays, state.as_notes())
        self.saved = time.monotonic()

    def _state(self, checkpoint: Checkpoint) -> State:
        """Read a checkpoint.

        Raises:
            KeyError, TypeError, ValueError: it is none of this training.
        """
        check_arrays(_under("network/", checkpoint), self.network.state())
        check_arrays(_under("optimizer/", checkpoint), self.optimizer.state())
        return State.from_notes(checkpoint.notes, max_epoch=self.config.max_epoch, batches=self.batches)

    def _restore(self) -> str:
        """Load the last checkpoint, if there is one, and send its pending metrics; returns a clause for the user."""
        checkpoint = self.checkpoints.latest(self._state)
        if checkpoint is None:
            return ""
        state = self._state(checkpoint)
        self.network.load_state(_under("network/", checkpoint))
        self.optimizer.load_state(_under("optimizer/", checkpoint))
        self.position, self.seconds, self.evaluated = state.position, state.seconds, state.evaluated
        self.first_loss = state.first_loss
        self.core_seconds += state.core_seconds
        if text := provenance.difference(state.computed_with):
            self._tell(EventKind.NOTICE, text=text)
            self.run.tag(provenance.BIT_EXACT_TAG, "false")
        self.run.send(state.pending)
        damaged = f", {checkpoint.damaged} damaged checkpoint passed over" if checkpoint.damaged else ""
        return f"goes on after epoch {self.position.epoch}{damaged}"

    def _tell(
        self, kind: EventKind, *, accuracy: float | None = None, loss: float | None = None, text: str = ""
    ) -> None:
        config = self.config
        self.report(Event(kind, self.name, config.max_epoch, self.position.epoch, accuracy, loss, self.seconds, text))


def _scores(network: Network, examples: Examples) -> NDArray[np.floating[Any]]:
    """Compute the scores (images, classes), in the order of the images."""
    order, parts = np.arange(len(examples)), range(0, len(examples), EVALUATED_TOGETHER)
    batches = (examples.batch(order[start : start + EVALUATED_TOGETHER]) for start in parts)
    return np.concatenate([network.forward(batch) for batch in batches])


def _under(prefix: str, checkpoint: Checkpoint) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): array for name, array in checkpoint.arrays.items() if name.startswith(prefix)}


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
