"""The report's tables: measured beside published values, in the layout of the publication."""

import re
from collections.abc import Iterable, Sequence
from statistics import mean, stdev
from typing import Final

from model.activations import ACTIVATIONS
from model.losses import LOSSES
from pipeline.config import TrainingConfig, format_init_std
from pipeline.display.tables import markdown_table
from pipeline.report import published
from pipeline.report.comparison import ACCURACY, SECONDS, TARGETS, compare, epochs_by_seed
from pipeline.report.measured import Runs
from pipeline.report.networks import all_networks, depth_twins, label, network
from pipeline.report.reading import Reading
from pipeline.report.reproduced import by_accuracy as networks_by_accuracy
from pipeline.report.reproduced import cell as published_cell
from pipeline.report.reproduced import shown_values
from pipeline.report.statements import Claim

MISSING: Final = "missing"
NETWORK_FIGURES: Final = {
    "train_accuracy": "Final training accuracy (%)",
    "train_loss": "Final training loss",
    "test_accuracy": "Final test accuracy (%)",
    "test_loss": "Final test loss",
    "train_seconds": "Training time (s)",
}
"""The metrics of a network with their captions, in the published order."""


def networks(reading: Reading, depth: int, metric: str) -> str:
    """Format a metric of all networks of a depth: a row for each activation, a column for each loss."""
    rows = [
        [activation, *(cell(reading, network(reading.base, depth, activation, loss), metric) for loss in LOSSES)]
        for activation in ACTIVATIONS
    ]
    return markdown_table(rows, ["activation", *LOSSES])


def by_difference(reading: Reading) -> str:
    """Format test accuracy and training time of every network, the one farthest below its published accuracy first."""
    found = sorted(all_networks(reading.base), key=lambda config: _difference(reading, config))
    heads = ["network", "test (%)", "95 % of seeds", "published", "diff.", "", "time (s)"]
    return markdown_table([_network_row(reading, config) for config in found], heads)


def by_accuracy(reading: Reading) -> str:
    """Format every network that has runs, the most accurate first."""
    rows = [
        [
            _link(each.config),
            len(each.values),
            measured(reading, each.config, "test_accuracy"),
            each.ends or "-",
            *(measured(reading, each.config, metric) for metric in ("train_accuracy", "train_seconds")),
        ]
        for each in networks_by_accuracy(reading, all_networks(reading.base))
    ]
    return markdown_table(rows, ["network", "seeds", "test (%)", "95 % of seeds", "training (%)", "time (s)"])


def other_sizes(reading: Reading, configs: Sequence[TrainingConfig]) -> str:
    """Format networks of sizes that were not published, one in each row."""
    metrics = {
        "test_accuracy": "test accuracy (%)",
        "train_accuracy": "training (%)",
        "train_seconds": "time (s)",
    }
    rows = [
        [label(config), len(reading.of(config)), *(measured(reading, config, metric) for metric in metrics)]
        for config in configs
    ]
    return markdown_table(rows, ["network", "seeds", *metrics.values()])


def _link(config: TrainingConfig) -> str:
    return f"[{label(config)}](#{anchor(config)})"


def _difference(reading: Reading, config: TrainingConfig) -> float:
    found = published_cell(reading, config, "test_accuracy")
    return found.difference if found else 0.0


def _network_row(reading: Reading, config: TrainingConfig) -> list[str]:
    found = published_cell(reading, config, "test_accuracy")
    row = [_link(config), measured(reading, config, "test_accuracy")]
    if found is None:
        return [*row, "-", "-", "-", "-", measured(reading, config, "train_seconds")]
    ends = f"{found.format(found.interval[0])}-{found.format(found.interval[1])}" if found.interval else "-"
    theirs, difference = found.format(found.theirs), f"{100 * found.difference:+.2f}"
    return [*row, ends, theirs, difference, found.sign, measured(reading, config, "train_seconds")]


def study(readings: Sequence[Reading], configs: Sequence[TrainingConfig]) -> str:
    """Format the networks of a study, a row for each initialisation with which a network was trained."""
    rows: dict[TrainingConfig, list[object]] = {}
    for number, reading in enumerate(readings):
        for config in configs:
            if number == 0 or reading.of(config):
                rows.setdefault(reading.config(config), _study_row(reading, config))
    heads = ["network", "rate", "epochs", "init_std", "training accuracy (%)", "test accuracy (%)"]
    return markdown_table(list(rows.values()), heads)


def _study_row(reading: Reading, config: TrainingConfig) -> list[object]:
    accuracies = (cell(reading, config, metric) for metric in ("train_accuracy", "test_accuracy"))
    named = f"{config.activation} + {config.loss}"
    init_std = format_init_std(reading.config(config).init_std)
    return [named, f"{config.learning_rate:g}", config.max_epoch, init_std, *accuracies]


def cell(reading: Reading, config: TrainingConfig, metric: str) -> str:
    """Format the measured value, and if there is a published one, also that, the difference and the result's sign."""
    if not reading.of(config):
        return MISSING
    ours = measured(reading, config, metric)
    if metric == "train_seconds":
        theirs = published_seconds(config)
        if ratio := _ratio(reading, config):
            ours = f"{ours} ({ratio:.2f})"
        return f"{ours} / {theirs:.1f} ({theirs / _first_published_seconds():.2f})" if theirs else ours
    found = published_cell(reading, config, metric)
    if found is None:
        return ours
    scale, digits = (100, 2) if metric.endswith("_accuracy") else (1, 4)
    return f"{ours} / {found.format(found.theirs)} / {scale * found.difference:+.{digits}f} {found.sign}"


def measured(reading: Reading, config: TrainingConfig, metric: str) -> str:
    """Format the mean of a metric over seeds, with its standard deviation."""
    runs = reading.of(config)
    if not runs:
        return MISSING
    scale, digits = (100, 2) if metric.endswith("_accuracy") else (1, 1 if metric.endswith("_seconds") else 4)
    values = [scale * value for value in shown_values(runs, metric)]
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{spread}"


def published_seconds(config: TrainingConfig) -> float | None:
    """Return the published training time, or None."""
    known = published.find(config)
    return known.metrics.get("train_seconds") if known else None


def _ratio(reading: Reading, config: TrainingConfig) -> float | None:
    """Divide a training time by that of the first published network; None if either has no runs."""
    times = [
        [run.metrics["train_seconds"] for run in reading.of(each)]
        for each in (config, network(reading.base, 1, "relu", "euclidean"))
    ]
    return mean(times[0]) / mean(times[1]) if times[0] and times[1] else None


def _first_published_seconds() -> float:
    return published.networks()[0].metrics["train_seconds"]


def depths(reading: Reading) -> str:
    """Format what a second hidden layer gains in accuracy and costs in time, for each pair of twins."""
    rows = []
    for two, one in depth_twins(reading.base):
        gain, ratio = (compare(reading, measure, [(two, one)]) for measure in (ACCURACY, SECONDS))
        rows.append(
            [
                f"{two.activation} + {two.loss}",
                *(measured(reading, config, "test_accuracy") for config in (one, two)),
                ACCURACY.text(gain.estimate).removesuffix(" points") if gain else MISSING,
                *(measured(reading, config, "train_seconds") for config in (one, two)),
                SECONDS.text(ratio.estimate).removesuffix(" times") if ratio else MISSING,
            ]
        )
    heads = ["network", "one layer (%)", "two layers (%)", "gain (points)", "one (s)", "two (s)", "times as long"]
    return markdown_table(rows, heads)


def convergence(reading: Reading) -> str:
    """Format the epochs that each network needs to reach given test accuracies."""
    rows = []
    for config in all_networks(reading.base):
        by_seed = list(epochs_by_seed(reading, config).values())
        reached = [_reached(config, [each[number] for each in by_seed]) for number in range(len(TARGETS))]
        rows.append([label(config), *reached])
    return markdown_table(rows, ["network", *(f"epochs to {target:.0%}" for target in TARGETS)])


def _reached(config: TrainingConfig, epochs: Sequence[float]) -> str:
    if not epochs:
        return MISSING
    short = sum(each > config.max_epoch for each in epochs)
    if short == len(epochs):
        return "not reached"
    reached = f"{mean(each for each in epochs if each <= config.max_epoch):g}"
    return f"{reached} ({short} of {len(epochs)} seeds do not)" if short else reached


def statements(claims: Iterable[Claim]) -> str:
    """Format every statement of the claims, with its verdict and the number that decides."""
    rows: list[list[object]] = []
    for claim in claims:
        rows.append([f"[{claim.number}](#claim-{claim.number})", f"**{claim.title}: {claim.verdict}**", "", ""])
        rows += [["", each.text, each.verdict.short, each.number] for each in claim.judgements]
    return markdown_table(rows, ["claim", "statement", "verdict", "the number that decides"], texts=4)


def pairs(claims: Iterable[Claim]) -> str:
    """Format every comparison behind the claims: the mean of each statement, and its pairs."""
    rows = []
    for claim in claims:
        for each in claim.judgements:
            if each.measure is None or each.overall is None:
                continue
            for name, comparison, level, p, verdict, share in (
                ("mean", each.overall, each.level, each.p or 0.0, each.verdict, each.share or 0.0),
                *((pair.name, pair.comparison, pair.level, pair.p, pair.verdict, pair.share) for pair in each.pairs),
            ):
                number = each.measure.text(comparison.estimate, level)
                row = [claim.number, each.text, name, number, f"{p:.2g}", f"{share:.1f}", verdict.short]
                rows.append(row)
    heads = ["claim", "statement", "pair", "difference", "adjusted p", "P", "verdict"]
    return markdown_table(rows, heads, texts=4)


def run_ids(readings: Sequence[Reading], configs: Sequence[TrainingConfig]) -> str:
    """Format the runs that the report uses, with the command that trains each again."""
    rows = []
    every = dict.fromkeys(reading.config(config) for reading in readings for config in configs)
    marked: set[str] = set()
    for config in every:
        for run in readings[0].runs.of(config):
            mark = "" if anchor(config) in marked else f'<a id="{anchor(config)}"></a>'
            marked.add(anchor(config))
            rows.append([f"{mark}{config.name}", run.config.seed, f"`{run.run_id}`", f"`{command(run.config)}`"])
    return markdown_table(rows, ["network", "seed", "run", "made again by"], texts=4)


def command(config: TrainingConfig) -> str:
    """Return the command that trains a network."""
    changes = [f"-P {name}={text}" for name, text in config.changes().items()]
    return " ".join(["mlflow run . -e train", *changes])


def anchor(config: TrainingConfig) -> str:
    """Return the id of a network's HTML anchor in the table of runs."""
    return "run-" + re.sub(r"[^a-z0-9]+", "-", label(config).lower())


def seeds(runs: Runs, configs: Iterable[TrainingConfig]) -> list[int]:
    """Return all seeds with which any of the networks was trained."""
    return sorted({run.config.seed for config in configs for run in runs.of(config)})
