"""The results of finished searches, as sentences and tables."""

from dataclasses import replace

import numpy as np

from pipeline.config import TrainingConfig
from pipeline.display.tables import markdown_table
from pipeline.report import published
from pipeline.report.comparison import ACCURACY, compare
from pipeline.report.measured import Search
from pipeline.report.networks import published_networks
from pipeline.report.reading import Reading
from pipeline.report.reproduced import shown_values
from pipeline.report.statistics import Estimate, pooled
from pipeline.report.tables import cell


def sentence(reading: Reading, search: Search) -> str:
    """Say in a sentence which test accuracy a search's best configuration has, and its gain over the baseline."""
    named = f"`{search.study}`: {_values(search, search.best)}"
    estimate = accuracy(reading, search)
    if estimate is None:
        return f"{named}; the best configuration has not been retrained."
    interval = estimate.interval()
    ends = f" [{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]" if interval else ", its chance unknown"
    text = f"{named} reaches {100 * estimate.mean:.2f}{ends} % test accuracy"
    if gain := compare(reading, ACCURACY, [(search.best, baseline(search))]):
        text += f", {ACCURACY.text(gain.estimate)} more than the baseline"
    theirs = published.best_learning_rate()
    changes = {name: getattr(theirs.config, name) for name in ("learning_rate", "max_epoch")}
    if published.find(replace(baseline(search), **changes)) == theirs:
        text += f"; the best published one has {theirs.metrics['test_accuracy']:.2%}"
    return f"{text}."


def baseline(search: Search) -> TrainingConfig:
    """Return the baseline of a search, as it is retrained on all training images."""
    return replace(search.first or search.trials[0].config, validation=False)


def _searched(search: Search) -> list[str]:
    """Return the names of the hyperparameters that a search varied."""
    return [name for name in search.space if name in search.best.parameters()]


def _value(config: TrainingConfig, name: str) -> str:
    value = getattr(config, name)
    return f"{value:.4g}" if isinstance(value, float) else config.parameters()[name]


def _values(search: Search, config: TrainingConfig) -> str:
    return ", ".join(f"{name} {_value(config, name)}" for name in _searched(search))


def accuracy(reading: Reading, search: Search) -> Estimate | None:
    """Estimate the test accuracy of the best configuration, with its variance over seeds and images, or return None.

    If there is only one seed, the variance over seeds is that of the grid's networks with the same loss.
    """
    runs = reading.runs.of(search.best)
    if not runs:
        return None
    values = shown_values(runs, "test_accuracy")
    alike = [each for each in published_networks(reading.base) if each.loss == search.best.loss]
    spread = pooled([values]) or pooled(shown_values(reading.of(each), "test_accuracy") for each in alike)
    mean = float(np.mean(values))
    correct = reading.runs.correct(runs[0])
    images = len(correct) if correct is not None else 0
    of_images = mean * (1 - mean) / images if images else 0.0
    of_seeds = spread.deviation**2 / len(values) if spread else None
    return Estimate(mean, len(values), of_seeds, spread.freedom if spread else 0, of_images, max(images - 1, 1))


def standing(search: Search) -> str:
    """Describe the study of a search: its run, its space, its trials, and how its best configuration was tested."""
    space = ", ".join(f"{name} {value}" for name, value in search.space.items())
    return (
        f"Run `{search.run_id}`; space: {space}. {search.summary} The validation images are the last sixth of the "
        "training images; the best configuration and the baseline were retrained on all of them and tested."
    )


def configurations(reading: Reading, search: Search) -> str:
    """Format the best configuration of a search, the baseline, and the published best if it is of the same network."""
    of_trials = {trial.config: trial.accuracy for trial in search.trials if trial.state == "complete"}
    names = _searched(search)
    rows = []
    for label, config in (("best of the search", search.best), ("baseline", baseline(search))):
        validation = of_trials.get(replace(config, validation=True))
        accuracies = (cell(reading, config, metric) for metric in ("train_accuracy", "test_accuracy"))
        values = (_value(config, name) for name in names)
        rows.append([label, *values, "-" if validation is None else f"{100 * validation:.2f}", *accuracies])
    best = published.best_learning_rate()
    changes = {name: getattr(best.config, name) for name in ("learning_rate", "max_epoch")}
    if published.find(replace(baseline(search), **changes)) == best:
        figures = [f"{100 * best.metrics[name]:.2f}" for name in ("train_accuracy", "test_accuracy")]
        rows.append(["published best", *(_value(best.config, name) for name in names), "-", *figures])
    return markdown_table(rows, ["configuration", *names, "validation (%)", "training (%)", "test (%)"])


def trials(search: Search) -> str:
    """Format all trials of a search; if its run has no such table, only the trials that have a run of this study."""
    if search.table:
        return search.table
    names = _searched(search)
    rows = [[trial.number, trial.state, *(_value(trial.config, name) for name in names),
             "-" if trial.accuracy is None else f"{100 * trial.accuracy:.2f}", f"`{trial.run_id}`"]
            for trial in search.trials]  # fmt: skip
    return markdown_table(rows, ["trial", "state", *names, "validation accuracy (%)", "run"])
