"""Training is a generator: it yields a record now and then, and its caller decides what to log, save or stop."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np

from model.arrays import Floats, Integers
from model.examples import Examples
from model.losses import Loss
from model.network import Network
from model.optimizers import Optimizer
from model.randomness import rng

EVALUATED_TOGETHER = 250
"""Images in a slice of `evaluate`: enough for a fast product, few enough to stay in cache."""

CHUNK = 2000
"""Images in a chunk. Losses are computed once for each chunk, because a step needs the gradient but not the loss.

A chunk has at least one mini-batch; it ends early where a window of the training curve or an epoch ends.
"""


@dataclass(frozen=True)
class Position:
    """How far a training has come, in numbers that JSON keeps exactly.

    Attributes:
        epoch: epochs finished.
        batch: mini-batches finished in the current epoch.
        window_loss: sum of the losses of the images in the unfinished window of the training curve.
        window_correct: how many of these images were classified right.
        window_examples: how many images these are.
    """

    epoch: int = 0
    batch: int = 0
    window_loss: float = 0.0
    window_correct: int = 0
    window_examples: int = 0


@dataclass(frozen=True)
class Window:
    """A point of the training curve: means over the images since the previous point.

    Attributes:
        step: mini-batches seen since training began.
        loss: the mean loss; each image is judged by the weights before the step that uses the image.
        accuracy: the share classified right, from 0 to 1.
    """

    step: int
    loss: float
    accuracy: float


@dataclass(frozen=True)
class Progress:
    """What happened since the last record.

    Attributes:
        epoch: epochs finished.
        step: mini-batches seen since training began.
        epoch_ended: whether an epoch has just ended.
        windows: the points of the training curve since the last record.
        seconds: spent on training alone since the last record.
        position: where `fit` can continue, given the states that network and optimizer have now.
    """

    epoch: int
    step: int
    epoch_ended: bool
    windows: tuple[Window, ...]
    seconds: float
    position: Position


class Diverged(ArithmeticError):  # noqa: N818 - it says what happened
    """A loss was not finite.

    Attributes:
        epoch: the epoch of the loss, counted from 1.
        step: the mini-batch of the loss, counted from 1 since training began.
        loss: infinite, or not a number.
        windows: the points of the training curve since the last record.
    """

    def __init__(self, epoch: int, step: int, loss: float, windows: tuple[Window, ...]) -> None:
        """Keep where the loss occurred."""
        super().__init__(epoch, step, loss, windows)
        self.epoch = epoch
        self.step = step
        self.loss = loss
        self.windows = windows

    def __str__(self) -> str:
        """Give the message."""
        return f"training diverged: the loss is {self.loss:.3g} in epoch {self.epoch}, step {self.step}"


class Evaluation(NamedTuple):
    """Means over examples.

    Attributes:
        loss: the mean loss.
        accuracy: the share classified right, from 0 to 1.
    """

    loss: float
    accuracy: float


def fit(
    network: Network,
    loss: Loss,
    optimizer: Optimizer,
    examples: Examples,
    *,
    batch_size: int,
    max_epoch: int,
    disp_freq: int,
    seed: int,
    position: Position = Position(),
    interval: float = 0.5,
) -> Iterator[Progress]:
    """Train a network by mini-batch gradient descent.

    Args:
        network: trained in place.
        loss: the function to minimise.
        optimizer: moves the network's parameters.
        examples: each epoch uses every example once, in a new random order; the last mini-batch may be smaller.
        batch_size: images in a mini-batch.
        max_epoch: epochs of the complete training, including those before `position`.
        disp_freq: mini-batches in a window of the training curve; the last window may be smaller.
        seed: seed of the order of the examples.
        position: where to continue; `network` and `optimizer` must have the states that belong to this position. The
            result is the same, bit for bit, as that of an uninterrupted training.
        interval: seconds of training after which a record comes at the end of a chunk, even inside an epoch.

    Yields:
        A record at the end of each epoch, and one inside the epoch whenever `interval` has passed. All losses up to a
        record are finite.

    Raises:
        Diverged: a loss was not finite. The network has still been trained to the end of the chunk.
    """
    batches = math.ceil(len(examples) / batch_size)
    one_hot = np.eye(network.classes, dtype=network.dtype)
    step = position.epoch * batches + position.batch
    total, correct, seen = position.window_loss, position.window_correct, position.window_examples
    windows: list[Window] = []
    started = perf_counter()
    for epoch in range(position.epoch, max_epoch):
        order = examples.nearest_first(rng(seed, "order", epoch).permutation(len(examples)), batch_size)
        done = position.batch if epoch == position.epoch else 0
        while done < batches:
            # The end of a chunk depends on its start alone, so a resumed training has the same chunks.
            count = min(batches - done, disp_freq - step % disp_freq, max(1, CHUNK // batch_size))
            indices = order[done * batch_size : (done + count) * batch_size]
            labels = examples.labels[indices]
            targets = one_hot.take(labels, axis=0)
            scores = _train(network, loss, optimizer, examples, indices, targets, batch_size)
            value, right = _judge(loss, scores, targets, labels)
            if not math.isfinite(value):
                number, value = _first_not_finite(loss, scores, targets, batch_size)
                raise Diverged(epoch + 1, step + number, value, tuple(windows))

            done, step = done + count, step + count
            total, correct, seen = total + value * len(indices), correct + right, seen + len(indices)
            if step % disp_freq == 0 or step == max_epoch * batches:
                windows.append(Window(step, total / seen, correct / seen))
                total, correct, seen = 0.0, 0, 0

            ended = done == batches
            seconds = perf_counter() - started
            if ended or seconds >= interval:
                now = Position(epoch + ended, 0 if ended else done, total, correct, seen)
                yield Progress(now.epoch, step, ended, tuple(windows), seconds, now)
                windows = []
                started = perf_counter()


def evaluate(network: Network, loss: Loss, examples: Examples) -> Evaluation:
    """Give mean loss and accuracy over one or more examples; the network does not change."""
    one_hot = np.eye(network.classes, dtype=network.dtype)
    # Images with similar extents are evaluated together, because the largest extent decides the cost of all.
    order = np.argsort(examples.extents, kind="stable")
    total, correct = 0.0, 0
    for start in range(0, len(examples), EVALUATED_TOGETHER):
        indices = order[start : start + EVALUATED_TOGETHER]
        with np.errstate(over="ignore", invalid="ignore"):
            scores = network.forward(examples.batch(indices))
        labels = examples.labels[indices]
        value, right = _judge(loss, scores, one_hot.take(labels, axis=0), labels)
        total, correct = total + value * len(labels), correct + right
    return Evaluation(total / len(examples), correct / len(examples))


def _train(
    network: Network,
    loss: Loss,
    optimizer: Optimizer,
    examples: Examples,
    indices: Integers,
    targets: Floats,
    batch_size: int,
) -> Floats:
    """Train on the mini-batches of a chunk; give the scores of its images, each computed before the step."""
    scores = np.empty_like(targets)
    # An overflow makes the loss infinite, and that ends the training, so NumPy need not warn as well.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(indices), batch_size):
            rows = slice(start, start + batch_size)
            outputs = scores[rows] = network.forward(examples.batch(indices[rows]))
            gradient = loss.backward(outputs, targets[rows])
            gradient *= optimizer.gradient_scale
            network.backward(gradient)
            optimizer.step()
    return scores


def _judge(loss: Loss, scores: Floats, targets: Floats, labels: Integers) -> tuple[float, int]:
    """Give the mean loss of images, and how many are classified right."""
    with np.errstate(over="ignore", invalid="ignore"):
        value = loss.forward(scores, targets)
    return value, int(np.count_nonzero(scores.argmax(axis=1) == labels))


def _first_not_finite(loss: Loss, scores: Floats, targets: Floats, batch_size: int) -> tuple[int, float]:
    """Give the number, from 1, and the loss of the first mini-batch of a chunk whose loss is not finite.

    If every mini-batch has a finite loss and only their sum overflows, give the number of the last one.
    """
    for start in range(0, len(scores), batch_size):
        rows = slice(start, start + batch_size)
        with np.errstate(over="ignore", invalid="ignore"):
            value = loss.forward(scores[rows], targets[rows])
        if not math.isfinite(value):
            return start // batch_size + 1, value
    return math.ceil(len(scores) / batch_size), math.inf
