"""What commands print and log, as markdown tables."""

from collections.abc import Sequence

from pipeline.datasets import Dataset
from pipeline.training import Outcome

_FIGURES = {
    "train accuracy": ("train_accuracy", ".2%"),
    "train loss": ("train_loss", ".4f"),
    "test accuracy": ("test_accuracy", ".2%"),
    "test loss": ("test_loss", ".4f"),
    "seconds": ("train_seconds", ".1f"),
}


def results_table(outcomes: Sequence[Outcome]) -> str:
    """A row for each network with its final figures; what is not finished says why instead."""
    from tabulate import tabulate

    rows = [
        [
            outcome.config.name,
            *(_figure(outcome, key, form) for key, form in _FIGURES.values()),
            "reused" if outcome.reused else outcome.status.lower(),
        ]
        for outcome in outcomes
    ]
    right = ("right",) * len(_FIGURES)
    return tabulate(
        rows, ["network", *_FIGURES, "run"], tablefmt="github", disable_numparse=True, colalign=("left", *right, "left")
    )


def class_counts(dataset: Dataset) -> str:
    """How many images each class has."""
    from tabulate import tabulate

    counts = {
        "class": range(dataset.classes),
        "training images": dataset.counts["train"],
        "test images": dataset.counts["test"],
    }
    return tabulate(counts, headers="keys", tablefmt="github")


def _figure(outcome: Outcome, key: str, form: str) -> str:
    return format(outcome.metrics[key], form) if key in outcome.metrics else "-"
