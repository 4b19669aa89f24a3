"""Pictures of a study: those of Optuna, and the accuracy of its trials against processor time."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.search.attributes import train_seconds
from pipeline.search.sampling import in_memory, is_inside
from pipeline.search.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna.trial import FrozenTrial

_COLLAPSED: Final = 10
"""A trial counts as collapsed if its accuracy is below this percentile of all trials; pictures begin there."""
_LABEL: Final = "validation accuracy"
_MARKS: Final = {"COMPLETE": ("o", "#0072B2"), "PRUNED": ("x", "#D55E00")}


def pictures(study: Study) -> Iterator[tuple[str, Callable[[], "Figure"]]]:
    """Yield the name of each picture of a study, with a function that draws the picture."""
    yield "history", partial(history, study.name, study.trials())
    trials = [
        trial for trial in study.trials() if trial.state.is_finished() and is_inside(trial, study.definition.space)
    ]
    yield "importances", partial(_drawn, "plot_param_importances", trials, clipped=False)  # uses ranks only
    yield "slice", partial(_drawn, "plot_slice", trials)
    if len(study.definition.space.values) > 1:
        yield "contour", partial(_drawn, "plot_contour", trials)
    yield "ranks", partial(_drawn, "plot_rank", trials)
    yield "timeline", partial(_drawn, "plot_timeline", trials, clipped=False)


def floor_of(trials: Sequence["FrozenTrial"]) -> float:
    """Return the accuracy below which a trial counts as collapsed: a low percentile of the accuracies."""
    values = [trial.value for trial in trials if trial.value is not None]
    return float(np.percentile(values, _COLLAPSED)) if values else 0.0


def history(title: str, trials: Sequence["FrozenTrial"]) -> "Figure":
    """Draw the accuracy of each trial, and the best so far, against processor time; arrows mark collapsed trials."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    floor = floor_of(trials)
    minutes = np.cumsum([train_seconds(trial) or 0.0 for trial in trials]) / 60
    for state, (marker, colour) in _MARKS.items():
        points = [
            (minute, 100 * trial.value)
            for minute, trial in zip(minutes, trials, strict=True)
            if trial.state.name == state and trial.value is not None
        ]
        above = [point for point in points if point[1] >= 100 * floor]
        below = [point for point in points if point[1] < 100 * floor]
        if above:
            axes.scatter(*np.transpose(above), marker=marker, color=colour, label=state.lower())
        if below:
            axes.scatter([minute for minute, _ in below], [100 * floor] * len(below), marker="v", color=colour,
                         label=f"{state.lower()}, below {floor:.1%}")  # fmt: skip
    _draw_best(axes, minutes, trials)
    axes.set(title=title, xlabel="processor time (minutes)", ylabel=f"{_LABEL} (%)")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _draw_best(axes: Any, minutes: Any, trials: Sequence["FrozenTrial"]) -> None:
    complete = [
        (minute, 100 * trial.value)
        for minute, trial in zip(minutes, trials, strict=True)
        if trial.state.name == "COMPLETE" and trial.value is not None
    ]
    if complete:
        times, values = np.transpose(complete)
        axes.step([*times, minutes[-1]], np.maximum.accumulate([*values, values[-1]]), where="post", color="black",
                  label="best so far")  # fmt: skip


def _drawn(name: str, trials: Sequence["FrozenTrial"], *, clipped: bool = True) -> "Figure":
    """Draw one of Optuna's pictures; if `clipped`, collapsed trials get the lowest accuracy that the axis shows.

    Without clipping, the few collapsed trials would compress the scale of all others.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from optuna.visualization import matplotlib as optuna_pictures

    floor = floor_of([trial for trial in trials if trial.state.name == "COMPLETE"])
    values: dict[str, Any] = {
        "target": lambda trial: max(trial.value, floor),
        "target_name": f"{_LABEL}, at least {floor:.1%}",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about experimental parts of Optuna, and about few trials
        axes = getattr(optuna_pictures, name)(in_memory(trials), **(values if clipped else {}))
    figure: Figure = np.ravel(axes)[0].figure
    plt.close(figure)  # pyplot forgets the figure, which stays as it is
    return figure
