"""What commands print and log, as markdown tables."""

from collections.abc import Sequence

from pipeline.data.datasets import Dataset
from pipeline.data.doubt import Prediction
from pipeline.training.task import Outcome, Status, accuracy

_SHOWN = 100
_FIGURES = {
    "train accuracy": ("train_accuracy", ".2%"),
    "train loss": ("train_loss", ".4f"),
    "test accuracy": ("test_accuracy", ".2%"),
    "test loss": ("test_loss", ".4f"),
    "seconds": ("train_seconds", ".1f"),
}


def best_results(outcomes: Sequence[Outcome], characters: int) -> str:
    """The table of results where it fits into so many characters, else that of the best, and where the others are."""
    whole = results_table(outcomes)
    if len(whole) <= characters:
        return whole
    row = max(len(line) for line in whole.splitlines())
    count = max(characters // (row + 1) - 4, 1)  # the heads take two lines, the sentence below two more
    best = sorted(outcomes, key=_accuracy_or_nothing, reverse=True)[:count]
    return f"{results_table(best)}\n\nThese are the best {len(best)} of {len(outcomes)}; `results.md` has all."


def _accuracy_or_nothing(outcome: Outcome) -> float:
    return accuracy(outcome) if outcome.status == Status.FINISHED else -1.0


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


def predictions_table(predictions: Sequence[Prediction]) -> str:
    """A row for each image: its class and the one after it, with their scores, and doubt; the first hundred."""
    from tabulate import tabulate

    headers = ["image", "class", "score", "next class", "its score", "doubt"]
    align = ("left", *("right",) * (len(headers) - 2), "left")
    rows = [_prediction(each) for each in predictions[:_SHOWN]]
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True, colalign=align)
    left = len(predictions) - _SHOWN
    return f"{table}\n\n{left} more are in predictions.csv." if left > 0 else table


def _prediction(prediction: Prediction) -> list[object]:
    if prediction.predicted is None:
        return [prediction.name, "-", "-", "-", "-", prediction.doubt]
    scores = prediction.scores
    *_, second, _ = sorted(range(len(scores)), key=scores.__getitem__)
    numbers = [prediction.predicted, f"{max(scores):.3f}", second, f"{scores[second]:.3f}"]
    return [prediction.name, *numbers, prediction.doubt]


def predictions_csv(predictions: Sequence[Prediction]) -> str:
    """A line for each image: name, class, the score of every class, and doubt; a blank one has neither."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "class", *(f"score_{number}" for number in range(len(predictions[0].scores))), "doubt"])
    for name, predicted, scores, doubt in predictions:
        is_blank = predicted is None
        writer.writerow([name, "" if is_blank else predicted, *([""] * len(scores) if is_blank else scores), doubt])
    return text.getvalue()


def _figure(outcome: Outcome, key: str, form: str) -> str:
    return format(outcome.metrics[key], form) if key in outcome.metrics else "-"
