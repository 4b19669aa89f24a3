"""What commands print and log, as markdown tables."""

from collections.abc import Sequence

from pipeline.data.datasets import Dataset
from pipeline.training.task import Outcome

_SHOWN = 100
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


def markdown_table(rows: Sequence[Sequence[object]], headers: Sequence[str], *, texts: int = 1) -> str:
    """Rows under headers; the first columns, `texts` of them, are text, the others are aligned to the right."""
    from tabulate import tabulate

    align = (*("left",) * texts, *("right",) * (len(headers) - texts))
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True, colalign=align if rows else None)


def class_counts(dataset: Dataset) -> str:
    """How many images each class has."""
    from tabulate import tabulate

    counts = {
        "class": range(dataset.classes),
        "training images": dataset.counts["train"],
        "test images": dataset.counts["test"],
    }
    return tabulate(counts, headers="keys", tablefmt="github")


def predictions_table(names: Sequence[str], classes: Sequence[int], scores: Sequence[Sequence[float]]) -> str:
    """A row for each image: its class and the one after it, with their scores; the first hundred."""
    from tabulate import tabulate

    rows = [
        [name, said, f"{max(of_all):.3f}", second := _second(of_all), f"{of_all[second]:.3f}"]
        for name, said, of_all in zip(names[:_SHOWN], classes, scores, strict=False)
    ]
    headers = ["image", "class", "score", "next class", "its score"]
    table = tabulate(
        rows, headers, tablefmt="github", disable_numparse=True, colalign=("left", *("right",) * (len(headers) - 1))
    )
    left = len(names) - _SHOWN
    return f"{table}\n\n{left} more are in predictions.csv." if left > 0 else table


def predictions_csv(names: Sequence[str], classes: Sequence[int], scores: Sequence[Sequence[float]]) -> str:
    """A line for each image: name, class, and the score of every class."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "class", *(f"score_{number}" for number in range(len(scores[0])))])
    writer.writerows([name, said, *of_all] for name, said, of_all in zip(names, classes, scores, strict=True))
    return text.getvalue()


def _second(scores: Sequence[float]) -> int:
    return sorted(range(len(scores)), key=scores.__getitem__)[-2]


def _figure(outcome: Outcome, key: str, form: str) -> str:
    return format(outcome.metrics[key], form) if key in outcome.metrics else "-"
