"""Training is a loop that hands control back now and then, so that its caller decides what to log, save or stop."""

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
"""Images in a chunk of training, after which their scores are looked at together: a step itself needs no loss.

At least one mini-batch is in it; the end of a window of the training curve and of an epoch end it earlier.
"""


@dataclass(frozen=True)
class Position:
    """Where a training stands: numbers that JSON keeps exactly.

    Attributes:
        epoch: epochs finished.
        batch: mini-batches done of the epoch after those.
        window_loss: sum of the losses of the images seen since a window of the training curve was last closed.
        window_correct: how many of these images were classified right.
        window_examples: how many they are.
    """

    epoch: int = 0
    batch: int = 0
    window_loss: float = 0.0
    window_correct: int = 0
    window_examples: int = 0


@dataclass(frozen=True)
class Window:
    """A point of the training curve: means over the images of the mini-batches up to `step`, since the point before.

    Attributes:
        step: mini-batches seen since training began.
        loss: the mean loss, each image with the weights of its time.
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
        epoch_ended: whether the last of an epoch's mini-batches is the last one seen.
        windows: the points of the training curve since the last record.
        seconds: spent on training alone since the last record.
        position: where to go on from, with the states of network and optimizer as they are now.
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
        epoch: in which it happened, counted from 1.
        step: the mini-batch at which it happened, counted from 1 since training began.
        loss: infinite, or not a number.
        windows: the points of the training curve since the last record.
    """

    def __init__(self, epoch: int, step: int, loss: float, windows: tuple[Window, ...]) -> None:
        """Say where."""
        super().__init__(epoch, step, loss, windows)
        self.epoch = epoch
        self.step = step
        self.loss = loss
        self.windows = windows

    def __str__(self) -> str:
        """Say it in words."""
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
        loss: what is made small.
        optimizer: moves the network's parameters.
        examples: all are seen once in each epoch, in an order drawn anew; the last mini-batch may be smaller.
        batch_size: images in a mini-batch.
        max_epoch: epochs in the whole training, those before `position` included.
        disp_freq: mini-batches in a window of the training curve. A smaller last one closes with the training.
        seed: of the order of the examples.
        position: where to go on; the states of `network` and `optimizer` must be those of that moment. The result is
            the same, bit for bit, as that of a training without a stop.
        interval: seconds of training after which there is a record at the end of a chunk, even inside an epoch.

    Yields:
        A record at the end of each epoch, and inside it whenever `interval` has passed. All losses before it are
        finite.

    Raises:
        Diverged: a loss was not finite. The steps to the end of the chunk have been taken.
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
            # Where a chunk ends depends on its start alone: a training that goes on there has the same ones.
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
    """Give mean loss and accuracy over all examples, of which there is at least one; the network stays as it is."""
    one_hot = np.eye(network.classes, dtype=network.dtype)
    # Images of about the same extent go together, so that none is multiplied farther than it needs.
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
    """Take the steps of a chunk; give the scores that each of its images had in its mini-batch."""
    scores = np.empty_like(targets)
    # Numbers too large for their type show in the loss, which ends the training: no warning is needed as well.
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(indices), batch_size):
            part = slice(start, start + batch_size)
            outputs = scores[part] = network.forward(examples.batch(indices[part]))
            gradient = loss.backward(outputs, targets[part])
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

    It is the last one where only the sum of all is too large for its type.
    """
    for start in range(0, len(scores), batch_size):
        part = slice(start, start + batch_size)
        with np.errstate(over="ignore", invalid="ignore"):
            value = loss.forward(scores[part], targets[part])
        if not math.isfinite(value):
            return start // batch_size + 1, value
    return math.ceil(len(scores) / batch_size), math.inf
