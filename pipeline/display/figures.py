"""Pictures of runs: curves, confusion matrices, mistakes, accuracy maps and samples.

Figures are drawn without pyplot, because pyplot keeps every figure in memory.
"""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import TrainingConfig, format_sizes
from pipeline.data.datasets import Dataset, Images
from pipeline.data.doubt import Prediction
from pipeline.names import network_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Sequence[tuple[float, float]]
"""Points (epoch, value)."""

MISTAKES: Final = 40
_SHOWN: Final = 100
_TILES_A_ROW: Final = 10
_LABELS: Final = {"accuracy": "accuracy (%)", "loss": "loss (mean over images)"}
_LEGEND_WIDTH: Final = 2.6
_LETTER_WIDTH: Final = 0.1
"""Inches of a title's width for each letter, at most."""
_LOWEST: Final = 2.0
"""The least height in inches, without the title: the margins of the axes alone take 1.1."""
_STYLES: Final = ("-", "--", ":", "-.")
_MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")
_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that colour-blind people can distinguish (Okabe & Ito, 2008); styles and markers help in black and white."""


class ScoredPredictions(NamedTuple):
    """The scores that a network gave to images, and the right classes.

    Attributes:
        scores: (images, classes).
        labels: (images,), the right classes.
    """

    scores: NDArray[np.floating[Any]]
    labels: NDArray[np.integer[Any]]

    @property
    def predicted(self) -> NDArray[np.intp]:
        """(images,), the class with the highest score."""
        classes: NDArray[np.intp] = self.scores.argmax(axis=1)
        return classes

    def confusions(self) -> NDArray[np.intp]:
        """Count (classes, classes): the images of the row's class for which the column's class was predicted."""
        classes = self.scores.shape[1]
        pairs = self.labels.astype(np.intp) * classes + self.predicted
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)

    def mistakes(self, most: int = MISTAKES) -> NDArray[np.intp]:
        """Give the indices of misclassified images, those with the largest lead of the wrong class first."""
        wrong = np.flatnonzero(self.predicted != self.labels)
        lead = self.scores[wrong].max(axis=1) - self.scores[wrong, self.labels[wrong]]
        return wrong[np.argsort(-lead, kind="stable")[:most]]


def training_curves(title: str, curves: Mapping[str, Curve]) -> "Figure":
    """Draw loss and accuracy by epoch, side by side; the keys of `curves` are metrics, such as "train/loss"."""
    figure = _figure(title, 10, 4)
    for axes, kind in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for name, curve in curves.items():
            split, _, measured = name.partition("/")
            if measured == kind and curve:
                epochs, values = np.transpose(curve)
                thin = split == "train"
                style = {"color": _COLOURS[0 if thin else 1], "ls": "-" if thin else "--", "lw": 0.8 if thin else 1.8}
                axes.plot(epochs, 100 * values if kind == "accuracy" else values, label=split, **style)
        axes.set(xlabel="epoch", ylabel=_LABELS[kind])
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def confusion_matrix(title: str, predicted: ScoredPredictions) -> "Figure":
    """Draw how often each class was predicted for each true class; darker cells have a larger share of their row."""
    counts = predicted.confusions()
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _figure(title, 7, 6)
    axes = figure.subplots()
    texts = [[str(count or "") for count in row] for row in counts.tolist()]
    scale = _heat_map(axes, shares, texts, (0, 100), gamma=0.5)
    figure.colorbar(scale, ax=axes, label="share of the images of the class (%)", shrink=0.8)
    axes.set(xlabel="taken for", ylabel="class", xticks=range(len(counts)), yticks=range(len(counts)))
    return figure


def mistakes(title: str, images: Images, predicted: NDArray[Any], labels: NDArray[Any]) -> "Figure":
    """Draw images (n, rows, columns), each with its predicted class and its right class."""
    captions = [f"{wrong}, is {right}" for wrong, right in zip(predicted, labels, strict=True)]
    return _tiles(title if captions else f"{title}: none", images, captions)


def samples(dataset: Dataset) -> "Figure":
    """Draw the first training images of each class, one row for each class."""
    of_class = [np.flatnonzero(dataset.train.labels == label)[:_TILES_A_ROW] for label in range(dataset.classes)]
    indices = np.concatenate(of_class)
    captions = [str(label) for label in dataset.train.labels[indices]]
    return _tiles(f"{dataset.name}: training images", dataset.images("train", indices), captions)


def predictions(images: Images, found: Sequence[Prediction]) -> "Figure":
    """Draw the first hundred images (n, rows, columns) as the network saw them, with their predicted classes."""
    captions = [
        f"{each.name[:12]}: {'-' if each.predicted is None else each.predicted}{'?' * bool(each.doubt)}"
        for each in found[:_SHOWN]
    ]
    return _tiles("What the network saw and what it took that for; ? where there is doubt", images[:_SHOWN], captions)


def overlay(title: str, curves: Mapping[TrainingConfig, Curve], measured: str) -> "Figure":
    """Draw the curves of many networks over one epoch axis, with a panel for each `hidden_sizes`."""
    panels_of = _sizes(curves)
    networks = list(dict.fromkeys(replace(config, seed=0) for config in curves))
    plain = len({(each.hidden_sizes, each.activation, each.loss) for each in networks}) == len(networks)
    figure = _figure(title, 1 + _LEGEND_WIDTH + 5 * len(panels_of), 5)
    panels = dict(zip(panels_of, figure.subplots(1, len(panels_of), sharey=True, squeeze=False)[0], strict=True))
    names, named = network_names(networks), set()
    for config, curve in curves.items():
        network = replace(config, seed=0)
        number = list(ACTIVATIONS).index(config.activation) if plain else networks.index(network)
        style = _STYLES[list(LOSSES).index(config.loss) % len(_STYLES)]
        label = None if network in named else f"{config.activation}, {config.loss}" if plain else names[network]
        epochs, values = np.transpose(curve)
        panels[config.hidden_sizes].plot(
            epochs,
            100 * values,
            color=_COLOURS[number % len(_COLOURS)],
            marker=_MARKERS[number % len(_MARKERS)],
            markevery=max(len(curve) // 8, 1),
            markersize=5,
            ls=style,
            label=label,
        )
        named.add(network)
    lowest = min(curve[-1][1] for curve in curves.values())
    lines: dict[str, Any] = {}
    for sizes, axes in panels.items():
        axes.set_ylim(bottom=max(0.0, 100 * lowest - 10))
        axes.set(xlabel="epoch", ylabel=f"{measured} (%)", title=_layers(sizes))
        axes.grid(alpha=0.3)
        handles, labels = axes.get_legend_handles_labels()
        lines |= dict(zip(labels, handles, strict=True))
    figure.legend(list(lines.values()), list(lines), loc="center right", fontsize=8)
    figure.subplots_adjust(right=1 - _LEGEND_WIDTH / figure.get_figwidth())
    return figure


def by_learning_rate(title: str, accuracies: Mapping[str, Mapping[float, float]]) -> "Figure":
    """Draw accuracy by learning rate on a logarithmic axis, one line for each name."""
    figure = _figure(title, 7, 4.5)
    axes = figure.subplots()
    for number, (name, points) in enumerate(accuracies.items()):
        rates, values = sorted(points), [100 * points[rate] for rate in sorted(points)]
        marker = _MARKERS[number % len(_MARKERS)]
        axes.plot(rates, values, ls=_STYLES[number % len(_STYLES)], marker=marker, color=_COLOURS[number], label=name)
    axes.set_xscale("log")
    rates = sorted({rate for points in accuracies.values() for rate in points})
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.minorticks_off()
    axes.set(xlabel="learning rate", ylabel="accuracy (%)")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def accuracy_map(title: str, accuracies: Mapping[TrainingConfig, float]) -> "Figure":
    """Draw the mean accuracy of every activation with every loss, with a panel for each `hidden_sizes`."""
    panels_of = _sizes(accuracies)
    activations = [name for name in ACTIVATIONS if any(config.activation == name for config in accuracies)]
    losses = [name for name in LOSSES if any(config.loss == name for config in accuracies)]
    figure = _figure(title, 1 + 4.5 * len(panels_of), 1.6 + 0.9 * len(activations))
    lowest, highest = 100 * min(accuracies.values()), 100 * max(accuracies.values())
    limits = (lowest, max(highest, lowest + 1))  # accuracies that are equal leave no range
    for sizes, axes in zip(panels_of, figure.subplots(1, len(panels_of), squeeze=False)[0], strict=True):
        cells = np.array([[_mean(accuracies, sizes, name, loss) for loss in losses] for name in activations])
        texts = [["" if np.isnan(cell) else f"{cell:.2%}" for cell in row] for row in cells]
        scale = _heat_map(axes, 100 * cells, texts, limits)
        axes.set(title=_layers(sizes))
        axes.set_xticks(range(len(losses)), [loss.replace("_", "\n", 1) for loss in losses])
        axes.set_yticks(range(len(activations)), activations)
    figure.colorbar(scale, ax=figure.axes, label="accuracy (%)", aspect=12, pad=0.03)
    return figure


def _sizes(configs: Iterable[TrainingConfig]) -> list[tuple[int, ...]]:
    return sorted({config.hidden_sizes for config in configs}, key=lambda sizes: (len(sizes), sizes))


def _layers(sizes: tuple[int, ...]) -> str:
    return f"{len(sizes)} hidden layer{'s' if len(sizes) > 1 else ''} ({format_sizes(sizes)})"


def _mean(
    accuracies: Mapping[TrainingConfig, float], sizes: tuple[int, ...], activation: object, loss: object
) -> float:
    wanted = (sizes, activation, loss)
    found = [
        accuracy
        for config, accuracy in accuracies.items()
        if (config.hidden_sizes, config.activation, config.loss) == wanted
    ]
    return float(np.mean(found)) if found else np.nan


def _figure(title: str, width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    lines = textwrap.wrap(title, int(width / _LETTER_WIDTH))
    height = max(height, _LOWEST + 0.2 * len(lines))
    figure = Figure(figsize=(width, height))
    top = 1 - (0.5 + 0.2 * len(lines)) / height
    figure.subplots_adjust(left=0.8 / width, right=1 - 0.2 / width, bottom=0.6 / height, top=top)
    figure.suptitle("\n".join(lines), fontsize=11)
    return figure


def _heat_map(
    axes: Any, values: NDArray[Any], texts: Sequence[Sequence[str]], limits: tuple[float, float], gamma: float = 1
) -> Any:
    """Draw values as colours with texts on them; returns what `Figure.colorbar` takes.

    A `gamma` below 1 makes small values easier to distinguish.
    """
    from matplotlib.colors import PowerNorm

    norm = PowerNorm(gamma, *limits)
    image = axes.imshow(values, cmap="Blues", norm=norm)
    for row, column in np.ndindex(values.shape):
        colour = "white" if norm(values[row, column]) > 0.5 else "black"  # noqa: PLR2004 - the middle of the colours
        axes.text(column, row, texts[row][column], ha="center", va="center", color=colour, fontsize=9)
    return image


def _tiles(title: str, images: Images, captions: Sequence[str]) -> "Figure":
    """Draw images in rows on one canvas, because separate axes for each image would take a second to draw."""
    count, height, width = images.shape
    gap = max(height // 3, 3)
    lines = -(-count // _TILES_A_ROW)
    canvas = np.zeros((max(lines, 1) * (height + gap), _TILES_A_ROW * (width + 2)), np.uint8)
    figure = _figure(title, 9, 0.6 + 9 * canvas.shape[0] / canvas.shape[1])
    axes = figure.subplots()
    axes.set_axis_off()
    for number, (image, caption) in enumerate(zip(images, captions, strict=True)):
        top, left = number // _TILES_A_ROW * (height + gap) + gap, number % _TILES_A_ROW * (width + 2) + 1
        canvas[top : top + height, left : left + width] = image
        axes.text(left + width / 2, top - 1, caption, ha="center", va="bottom", fontsize=9)
    axes.imshow(canvas, cmap="gray_r", vmin=0, vmax=255)
    return figure
