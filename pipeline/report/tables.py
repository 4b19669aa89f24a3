"""The report's tables: measured beside published, in the order and orientation of the publication."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from statistics import mean, stdev
from typing import Final

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import TrainingConfig
from pipeline.display.tables import markdown_table
from pipeline.report import published
from pipeline.report.claims import TARGETS, mean_epochs
from pipeline.report.comparison import compare
from pipeline.report.measured import SEEDS_WITH_CURVES, Measured, Runs, Search

MISSING: Final = "missing"
NETWORK_FIGURES: Final = {
    "train_accuracy": "Final training accuracy (%)",
    "train_loss": "Final training loss",
    "test_accuracy": "Final test accuracy (%)",
    "test_loss": "Final test loss",
    "train_seconds": "Training time (s)",
}
"""The figures of a network with their captions, in the published order."""


def networks(runs: Runs, depth: int, metric: str) -> str:
    """One figure of all networks of a depth: activations down, losses across."""
    rows = [
        [activation, *(cell(runs, replace(runs.base, hidden_layers=depth, activation=activation, loss=loss), metric)
                       for loss in LOSSES)]
        for activation in ACTIVATIONS
    ]  # fmt: skip
    return markdown_table(rows, ["activation", *LOSSES])


def study(runs: Runs, configs: Sequence[TrainingConfig]) -> str:
    """The networks of a study, a row for each, with both accuracies."""
    rows = [
        [
            f"{config.activation} + {config.loss}",
            f"{config.learning_rate:g}",
            config.max_epoch,
            cell(runs, config, "train_accuracy"),
            cell(runs, config, "test_accuracy"),
        ]
        for config in configs
    ]
    return markdown_table(rows, ["network", "learning rate", "epochs", "training accuracy (%)", "test accuracy (%)"])


def cell(runs: Runs, config: TrainingConfig, metric: str) -> str:
    """The measured figure, leading to its run, then the published one and the difference where there is one."""
    found = runs.of(config)
    if not found:
        return MISSING
    values = [_shown(run, metric) for run in found]
    digits = _digits(metric)
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    told = f"[{mean(values):.{digits}f}{spread}](#{anchor(config)})"
    theirs = _published(config, metric)
    if theirs is None:
        return told
    return f"{told} / {theirs:.{digits}f} / {mean(values) - theirs:+.{digits}f}"


def depths(runs: Runs) -> str:
    """What the second hidden layer gains and what it costs, for each pair of twins."""
    rows = []
    for activation in ACTIVATIONS:
        for loss in LOSSES:
            one, two = (replace(runs.base, hidden_layers=n, activation=activation, loss=loss) for n in (1, 2))
            rows.append([f"{activation} + {loss}", *_gain(runs, one, two)])
    heads = [
        "network",
        "one layer (%)",
        "two layers (%)",
        "gain (points)",
        "time one (s)",
        "time two (s)",
        "times as long",
    ]
    return markdown_table(rows, heads)


def convergence(runs: Runs) -> str:
    """Epochs to reach given test accuracies, a row for each network."""
    rows = []
    for depth in (1, 2):
        for activation in ACTIVATIONS:
            for loss in LOSSES:
                config = replace(runs.base, hidden_layers=depth, activation=activation, loss=loss)
                rows.append([config.name, *(_reached(runs, config, target) for target in TARGETS)])
    return markdown_table(rows, ["network", *(f"epochs to {target:.0%}" for target in TARGETS)])


def search(runs: Runs, found: Search) -> str:
    """The best configuration of a search beside the published best and the baseline."""
    of_trials = {trial.config: trial.accuracy for trial in found.trials if trial.state == "complete"}
    first = found.trials[0].config
    rows = []
    for label, config in (("best of the search", found.best), ("first trial", replace(first, validation=False))):
        accuracy = of_trials.get(replace(config, validation=True))
        rows.append(
            [
                label,
                f"{config.learning_rate:.4g}",
                config.max_epoch,
                "-" if accuracy is None else f"{100 * accuracy:.2f}",
                cell(runs, config, "train_accuracy"),
                cell(runs, config, "test_accuracy"),
            ]
        )
    best = published.best_learning_rate()
    rate, epochs = best.config.learning_rate, best.config.max_epoch
    if published.find(replace(found.best, learning_rate=rate, max_epoch=epochs)) == best:
        figures = [f"{100 * best.figures[name]:.2f}" for name in ("train_accuracy", "test_accuracy")]
        rows.append(["published best", f"{rate:.4g}", epochs, "-", *figures])
    heads = ["configuration", "learning rate", "epochs", "validation (%)", "training (%)", "test (%)"]
    return markdown_table(rows, heads)


def trials(found: Search) -> str:
    """Every trial of a search."""
    rows = [
        [
            trial.number,
            trial.state,
            f"{trial.config.learning_rate:.4g}",
            trial.config.max_epoch,
            "-" if trial.accuracy is None else f"{100 * trial.accuracy:.2f}",
            f"`{trial.run_id}`",
        ]
        for trial in found.trials
    ]
    return markdown_table(rows, ["trial", "state", "learning rate", "epochs", "validation accuracy (%)", "run"])


def run_ids(runs: Runs, configs: Iterable[TrainingConfig]) -> str:
    """The runs behind the figures, and the command that makes each again."""
    rows = []
    for config in configs:
        for number, run in enumerate(runs.of(config)):
            mark = f'<a id="{anchor(config)}"></a>' if number == 0 else ""
            rows.append([f"{mark}{config.name}", run.config.seed, f"`{run.run_id}`", f"`{command(run.config)}`"])
    return markdown_table(rows, ["network", "seed", "run", "made again by"], texts=4)


def command(config: TrainingConfig) -> str:
    """The command that trains a network."""
    changed = [
        f"-P {item.name}={getattr(config, item.name)}"
        for item in fields(config)
        if getattr(config, item.name) != item.default
    ]
    return " ".join(["mlflow run . -e train", *changed])


def anchor(config: TrainingConfig) -> str:
    """The place of a network in the table of runs."""
    return "run-" + re.sub(r"[^a-z0-9]+", "-", config.name.lower())


def _shown(run: Measured, metric: str) -> float:
    """A figure of a run in the unit and the convention that the tables have."""
    value = published.in_published_convention(run.config, metric, run.figures[metric])
    return 100 * value if metric.endswith("_accuracy") else value


def _published(config: TrainingConfig, metric: str) -> float | None:
    known = published.find(config)
    value = known.figures.get(metric) if known else None
    return 100 * value if value is not None and metric.endswith("_accuracy") else value


def _digits(metric: str) -> int:
    return 2 if metric.endswith("_accuracy") else 1 if metric.endswith("_seconds") else 4


def _gain(runs: Runs, one: TrainingConfig, two: TrainingConfig) -> list[str]:
    accuracies = [_mean(runs, config, lambda run: 100 * run.figures["test_accuracy"]) for config in (one, two)]
    seconds = [_mean(runs, config, lambda run: run.figures["train_seconds"]) for config in (one, two)]
    gain = compare(runs, two, one, lambda run: 100 * run.figures["test_accuracy"])
    told = MISSING if gain is None else f"{gain.mean:+.2f}"
    if gain and gain.interval:
        told += f" ({gain.interval[0]:+.2f} to {gain.interval[1]:+.2f}{', a tie' if gain.tie else ''})"
    ratio = MISSING if None in seconds else f"{float(seconds[1] or 0) / float(seconds[0] or 1):.2f}"
    return [*(_plain(value, 2) for value in accuracies), told, *(_plain(value, 1) for value in seconds), ratio]


def _mean(runs: Runs, config: TrainingConfig, figure: Callable[[Measured], float]) -> float | None:
    found = runs.of(config)
    return mean(map(figure, found)) if found else None


def _plain(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def _reached(runs: Runs, config: TrainingConfig, target: float) -> str:
    if not runs.of(config)[:SEEDS_WITH_CURVES]:
        return MISSING
    epochs = mean_epochs(runs, config, target)
    return "not reached" if epochs > config.max_epoch else f"{epochs:g}"
