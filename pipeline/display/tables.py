"""Tables that commands print and log."""

from collections.abc import Sequence

from pipeline.data.datasets import Dataset
from pipeline.data.doubt import Prediction
from pipeline.output import one_line

_SHOWN = 100


def markdown_table(rows: Sequence[Sequence[object]], headers: Sequence[str], *, texts: int = 1) -> str:
    """Format rows as a markdown table; the first `texts` columns are aligned to the left, the others to the right."""
    return _markdown(rows, headers, (*("left",) * texts, *("right",) * (len(headers) - texts)))


def _markdown(rows: Sequence[Sequence[object]], headers: Sequence[str], align: Sequence[str]) -> str:
    from tabulate import tabulate

    cells = [[_cell(each) for each in row] for row in rows]
    heads = [_cell(each) for each in headers]
    return tabulate(cells, heads, tablefmt="github", disable_numparse=True, colalign=align if rows else None)


def _cell(value: object) -> str:
    """Escape what would end a cell or its row, because names come from a store or a folder that others write to."""
    return one_line(str(value)).replace("|", r"\|")


def text_table(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    """Format rows as a table for a terminal."""
    from tabulate import tabulate

    return tabulate(rows, headers, tablefmt="simple", disable_numparse=True)


def class_counts(dataset: Dataset) -> str:
    """Format how many images each class has, as a markdown table."""
    from tabulate import tabulate

    counts = {
        "class": range(dataset.classes),
        "training images": dataset.counts["train"],
        "test images": dataset.counts["test"],
    }
    return tabulate(counts, headers="keys", tablefmt="github")


def predictions_table(predictions: Sequence[Prediction]) -> str:
    """Format a row for each of the first hundred images: the two best classes with their scores, and the doubt."""
    headers = ["image", "class", "score", "next class", "its score", "doubt"]
    align = ("left", *("right",) * (len(headers) - 2), "left")
    rows = [_prediction(each) for each in predictions[:_SHOWN]]
    table = _markdown(rows, headers, align)
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
    """Format a CSV line for each image: name, class, scores, doubt; a blank image has neither class nor scores."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "class", *(f"score_{number}" for number in range(len(predictions[0].scores))), "doubt"])
    for name, predicted, scores, doubt in predictions:
        is_blank = predicted is None
        writer.writerow([name, "" if is_blank else predicted, *([""] * len(scores) if is_blank else scores), doubt])
    return text.getvalue()
