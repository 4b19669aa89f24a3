"""What the searches found, as text and tables."""

from dataclasses import replace

import numpy as np

from pipeline.display.tables import markdown_table
from pipeline.report import published
from pipeline.report.measured import Search, Trial
from pipeline.report.networks import published_networks
from pipeline.report.reading import Reading
from pipeline.report.reproduced import shown_values
from pipeline.report.statistics import Estimate, pooled
from pipeline.report.tables import cell


def sentence(reading: Reading, search: Search) -> str:
    """The test accuracy of a search's best configuration, with its interval."""
    best = search.best
    named = f"`{search.study}`: learning rate {best.learning_rate:.4g}, {best.max_epoch} epochs"
    estimate = accuracy(reading, search)
    if estimate is None:
        return f"{named}; the best configuration has not been retrained."
    interval = estimate.interval()
    ends = f" [{100 * interval[0]:.2f}, {100 * interval[1]:.2f}]" if interval else ", its chance unknown"
    theirs = published.best_learning_rate()
    comparable = published.find(replace(best, learning_rate=theirs.config.learning_rate, max_epoch=200)) == theirs
    beside = f"; the best published one has {theirs.figures['test_accuracy']:.2%}" if comparable else ""
    return f"{named} reaches {100 * estimate.mean:.2f}{ends} % test accuracy{beside}."


def accuracy(reading: Reading, search: Search) -> Estimate | None:
    """The test accuracy of the best configuration, with the chance of seeds and images; None without a run.

    One seed has the variance over seeds of the grid's networks with the same loss.
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
    """How the study of a search stands."""
    states = [trial.state for trial in search.trials]
    space = ", ".join(f"{name} {value}" for name, value in search.space.items())
    return (
        f"Run `{search.run_id}`; space: {space}. {len(states)} trials: {states.count('complete')} complete, "
        f"{states.count('pruned')} pruned, {states.count('fail')} failed. The validation images are the last sixth of "
        "the training images; the best configuration was retrained on all of them and tested once."
    )


def configurations(reading: Reading, search: Search) -> str:
    """The best configuration of a search beside the published best and the first trial."""
    of_trials = {trial.config: trial.accuracy for trial in search.trials if trial.state == "complete"}
    first = replace(search.trials[0].config, validation=False)
    rows = []
    for label, config in (("best of the search", search.best), ("first trial", first)):
        validation = of_trials.get(replace(config, validation=True))
        rows.append(
            [
                label,
                f"{config.learning_rate:.4g}",
                config.max_epoch,
                "-" if validation is None else f"{100 * validation:.2f}",
                cell(reading, config, "train_accuracy"),
                cell(reading, config, "test_accuracy"),
            ]
        )
    best = published.best_learning_rate()
    rate, epochs = best.config.learning_rate, best.config.max_epoch
    if published.find(replace(search.best, learning_rate=rate, max_epoch=epochs)) == best:
        figures = [f"{100 * best.figures[name]:.2f}" for name in ("train_accuracy", "test_accuracy")]
        rows.append(["published best", f"{rate:.4g}", epochs, "-", *figures])
    heads = ["configuration", "learning rate", "epochs", "validation (%)", "training (%)", "test (%)"]
    return markdown_table(rows, heads)


def trials(search: Search) -> str:
    """Every trial of a search."""
    heads = ["trial", "state", "learning rate", "epochs", "validation accuracy (%)", "run"]
    return markdown_table([_trial(trial) for trial in search.trials], heads)


def _trial(trial: Trial) -> list[object]:
    accuracy = "-" if trial.accuracy is None else f"{100 * trial.accuracy:.2f}"
    rate, epochs = f"{trial.config.learning_rate:.4g}", trial.config.max_epoch
    return [trial.number, trial.state, rate, epochs, accuracy, f"`{trial.run_id}`"]


def points(search: Search) -> dict[str, list[tuple[int, float]]]:
    """The accuracies of the trials by number, for each state that has any."""
    states = {}
    for state in ("complete", "pruned"):
        found = [(each.number, each.accuracy) for each in search.trials
                 if each.state == state and each.accuracy is not None]  # fmt: skip
        if found:
            states[state] = found
    return states
