"""The report's pictures as SVG: learning curves, networks beside published values, and claims."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.config import TrainingConfig
from pipeline.report.measured import SEEDS_WITH_CURVES
from pipeline.report.networks import DEPTHS, PUBLISHED_ACTIVATIONS, PUBLISHED_LOSSES, label, network, shown
from pipeline.report.reading import Reading
from pipeline.report.reproduced import Cell, OverSeeds
from pipeline.report.statements import Claim, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

TRAINING: Final = "#0072B2"
TEST: Final = "#D55E00"
"""Blue and vermilion, because colour-blind readers can distinguish them, too (Okabe & Ito, 2008)."""
_VERDICT_STYLES: Final = {
    Verdict.HOLDS: ("#009E73", "o"),
    Verdict.REFUTED: ("#D55E00", "X"),
    Verdict.OPEN: ("#000000", "s"),
}
_BOUND: Final[dict[str, Any]] = {"ls": "", "marker": "|", "markersize": 12, "color": "grey", "markeredgewidth": 2}
_SERIES: Final = ((TRAINING, "o"), ("#009E73", "s"), ("#CC79A7", "^"), ("#E69F00", "v"), ("#000000", "P"))
_SPLITS: Final = {"train": (TRAINING, "-"), "test": (TEST, "--")}
_LABELS: Final = {"loss": "loss", "accuracy": "accuracy (%)"}


def save(figure: "Figure", file: Path) -> None:
    """Write a figure as SVG; the same figure always gives the same bytes."""
    import matplotlib as mpl

    with mpl.rc_context({"svg.hashsalt": file.stem, "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})


def curves(reading: Reading, kind: str) -> "Figure | None":
    """Draw loss or accuracy of each network by epoch; a band shows the lowest and the highest seed.

    Args:
        reading: the reading with the runs.
        kind: "loss" or "accuracy".

    Returns:
        The figure, with a panel for each network; None if no network has a curve.
    """
    from matplotlib.figure import Figure

    rows = [(depth, activation) for depth in DEPTHS for activation in PUBLISHED_ACTIVATIONS]
    figure = Figure(figsize=(9, 10))
    figure.subplots_adjust(left=0.1, right=0.99, bottom=0.05, top=0.97, wspace=0.05, hspace=0.1)
    panels = figure.subplots(len(rows), len(PUBLISHED_LOSSES), sharex=True, sharey=True)
    drawn = [
        _panel(panels[row, column], reading, network(reading.base, depth, activation, loss), kind)
        for row, (depth, activation) in enumerate(rows)
        for column, loss in enumerate(PUBLISHED_LOSSES)
    ]
    for column, loss in enumerate(PUBLISHED_LOSSES):
        panels[0, column].set_title(shown(loss), fontsize=10)
        panels[-1, column].set_xlabel("epoch")
    for row, (depth, activation) in enumerate(rows):
        panels[row, 0].set_ylabel(f"{shown(activation)}, {depth} layer{'s'[: depth - 1]}\n{_LABELS[kind]}")
    _legend(panels[0, 0])
    return figure if any(drawn) else None


def _panel(axes: "Axes", reading: Reading, config: TrainingConfig, kind: str) -> bool:
    """Draw the curves of one network; return whether it has any."""
    axes.grid(alpha=0.3)
    if kind == "loss":
        axes.set_yscale("log")
        _plain_numbers(axes.yaxis)
    drawn = False
    for split, (colour, style) in _SPLITS.items():
        epochs, seeds = curve_by_seed(reading, config, f"{split}/{kind}")
        if seeds.size:
            values = 100 * seeds if kind == "accuracy" else seeds
            name = "training" if split == "train" else split
            axes.plot(epochs, values.mean(axis=0), color=colour, ls=style, lw=1.2, label=name)
            axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.25, lw=0)
            drawn = True
    return drawn


def curve_by_seed(reading: Reading, config: TrainingConfig, metric: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the epochs of evaluations, and the curve of each seed (seeds, epochs); training curves are averaged."""
    grid = np.arange(config.test_epoch, config.max_epoch + 1, config.test_epoch, dtype=float)
    found = [curve for run in reading.of(config)[:SEEDS_WITH_CURVES] if (curve := reading.runs.curve(run, metric))]
    return grid, np.array([_thinned(np.asarray(curve), grid) for curve in found])


def _thinned(curve: NDArray[Any], grid: NDArray[Any]) -> NDArray[Any]:
    """Average a curve's points up to each epoch of the grid since the one before; interpolate where there are none."""
    positions = np.searchsorted(grid, curve[:, 0] - 1e-9)
    inside = positions < len(grid)
    counts = np.bincount(positions[inside], minlength=len(grid))
    sums = np.bincount(positions[inside], weights=curve[inside, 1], minlength=len(grid))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.interp(grid, curve[:, 0], curve[:, 1]))


def networks(measured: Sequence[OverSeeds]) -> "Figure":
    """Draw a row for each network: mean, prediction interval of one more seed, and published value."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1 + 0.27 * len(measured)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(measured))[::-1]
    for row, each in zip(rows, measured, strict=True):
        if each.interval:
            axes.plot(100 * np.array(each.interval), [row, row], color=TRAINING, lw=2.5, alpha=0.6)
    axes.plot([100 * float(np.mean(each.values)) for each in measured], rows, "o", color=TRAINING, label="measured")
    known = [(100 * each.theirs, row) for row, each in zip(rows, measured, strict=True) if isinstance(each, Cell)]
    if known:
        axes.plot(*zip(*known, strict=True), "D", color=TEST, mfc="none", mew=1.6, label="published")
    axes.set_yticks(rows, [label(each.config) for each in measured])
    axes.set_xlabel("test accuracy (%); a line reaches where one more seed would lie with 95 %")
    axes.grid(alpha=0.3)
    _legend(axes)
    return figure


def forest(claims: Sequence[Claim]) -> "Figure | None":
    """Draw the mean difference of each statement with its interval: accuracies in points, all others as ratios."""
    from matplotlib.figure import Figure

    found = [(claim, each) for claim in claims for each in claim.judgements if each.measure and each.overall]
    groups = [
        [each for each in found if each[1].measure and each[1].measure.is_ratio is ratio] for ratio in (False, True)
    ]
    if not any(groups):
        return None
    heights = [max(len(group), 1) for group in groups]
    figure = Figure(figsize=(9, 1.6 + 0.3 * sum(heights)), layout="constrained")
    panels = figure.subplots(2, 1, height_ratios=heights)
    for axes, group, ratio in zip(panels, groups, (False, True), strict=True):
        _forest_panel(axes, group, ratio=ratio)
    handles = _verdict_handles()
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), fontsize=9, frameon=False)
    return figure


def _forest_panel(axes: "Axes", group: Sequence[tuple[Claim, Any]], *, ratio: bool) -> None:
    scale = math.exp if ratio else lambda value: 100 * value
    for row, (_, each) in enumerate(reversed(group)):
        colour, marker = _VERDICT_STYLES[each.verdict]
        if interval := each.overall.estimate.interval(each.level):
            axes.plot([scale(end) for end in interval], [row, row], color=colour, lw=2)
        axes.plot([scale(each.overall.estimate.mean)], [row], marker, color=colour)
        bounds = [bound for bound in (each.region.low, each.region.high) if bound and math.isfinite(bound)]
        axes.plot([scale(bound) for bound in bounds], [row] * len(bounds), **_BOUND)
    axes.axvline(1 if ratio else 0, color="grey", lw=0.8)
    axes.set_yticks(range(len(group)), [f"{claim.number}: {each.text}" for claim, each in reversed(group)], fontsize=8)
    if ratio:
        axes.set_xscale("log")
        _plain_numbers(axes.xaxis)
        axes.set_xlabel("the first as a multiple of the second")
    else:
        axes.set_xlabel("difference in percentage points")
    axes.grid(alpha=0.3, axis="x")


def _plain_numbers(axis: "Axis") -> None:
    """Label a logarithmic axis with 0.2, 0.5, 1, 2 instead of powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _verdict_handles() -> list[Any]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], color=colour, marker=marker, ls="-", label=verdict.short)
        for verdict, (colour, marker) in _VERDICT_STYLES.items()
    ] + [Line2D([], [], label="claimed bound, where it is not the line", **_BOUND)]


def by_learning_rate(lines: Mapping[str, Mapping[float, Sequence[float]]], known: Mapping[float, float]) -> "Figure":
    """Draw test accuracy by learning rate.

    Args:
        lines: for each line's name the accuracies by learning rate, one for each seed.
        known: the published accuracies by learning rate, drawn without a line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for number, (name, points) in enumerate(lines.items()):
        rates = sorted(points)
        values = [100 * float(np.mean(points[rate])) for rate in rates]
        spread = [100 * float(np.std(points[rate], ddof=1)) if len(points[rate]) > 1 else 0.0 for rate in rates]
        colour, marker = _SERIES[number % len(_SERIES)]
        axes.errorbar(rates, values, spread, color=colour, marker=marker, capsize=3, label=name)
    if known:
        values = [100 * value for value in known.values()]
        axes.plot(list(known), values, "D", color=TEST, mfc="none", mew=1.6, ms=8, label="published")
    rates = sorted({rate for points in (*lines.values(), known) for rate in points})
    axes.set_xscale("log")
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.minorticks_off()
    axes.set(xlabel="learning rate", ylabel="test accuracy (%)")
    axes.grid(alpha=0.3)
    _legend(axes)
    return figure


def _legend(axes: "Axes") -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
