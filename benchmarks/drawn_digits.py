"""Count the drawn digits that a network gets right, by what they are drawn on: `python -m benchmarks.drawn_digits`."""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

import click
import numpy as np

from benchmarks.drawings import CONDITIONS, FACES, Condition, Face, glyph, two_digits
from benchmarks.machine import machine
from pipeline.data.doubt import Predict, Prediction, classify
from pipeline.data.drawn_digits import normalised, read_images
from pipeline.display.tables import markdown_table

_SHEETS: Final = 10
_PLAIN: Final = "plain"
_LENIENT: Final = ("noise of sigma 25", "box around the digit", "frame at the edge", "frame 8 pixels inside")
_HELD_OUT: Final = "Held-out faces, with which no threshold was set but the limits of the slant"
_AIMS: Final = {"masks": 0.5, "plain": 3.0, "lenient": 18.0}
"""Points that plain drawings may lose to masks, that other drawings may lose to plain ones, and lenient ones too."""


_DRAWINGS: Final = """Each condition has {count} drawings: the ten digits of {faces} faces. A drawing is a dark digit
130 pixels high on white paper of 200 x 200 pixels, unless the condition says otherwise: one thing is changed at a time.
Its {sheets} blank sheets are the same paper with nothing written on it."""
_COLUMNS: Final = """*Called blank*: drawings that are refused although a person reads them. *Wrong and doubted*:
drawings with a wrong class whose last column has a word of doubt. *Aim*: plain drawings lose at most 0.5 points to
ideal masks, all others at most 3 points to plain ones, boxes, frames and strong noise at most 18; no drawing is called
blank."""


class Counts(NamedTuple):
    """What came of the drawings of one condition.

    Attributes:
        right: for each drawing, whether its class is right.
        held_out: for each drawing, whether its face was kept out of all tuning.
        refused: drawings called blank.
        doubted: wrong classes that carry a word of doubt.
        blank: blank sheets called blank.
        sheets: blank sheets.
    """

    right: list[bool]
    held_out: list[bool]
    refused: int = 0
    doubted: int = 0
    blank: int = 0
    sheets: int = 0

    def percent(self, held_out: bool | None = None) -> float:
        """Drawings with the right class, of all faces or of one kind."""
        chosen = [right for right, held in zip(self.right, self.held_out, strict=True) if held_out in {None, held}]
        return 100 * sum(chosen) / max(len(chosen), 1)


def _drawn() -> Iterator[tuple[Face, int]]:
    return ((face, digit) for face in FACES for digit in range(10))


def of_masks(shape: tuple[int, int], predict: Predict) -> Counts:
    """The same digits as ideal masks, with no picture between."""
    images = np.stack([normalised(glyph(face, digit, 130), shape) for face, digit in _drawn()])
    classes, _ = predict(images)
    right = [found == digit for found, (_, digit) in zip(classes, _drawn(), strict=True)]
    return Counts(right, [face.held_out for face, _ in _drawn()])


def of_condition(condition: Condition, sheets: int, shape: tuple[int, int], predict: Predict) -> Counts:
    """The drawings and the blank sheets of a condition, as picture files."""
    seeds = [[digit, *face.name.encode(), *condition.name.encode()] for face, digit in _drawn()]
    pictures = [
        condition.picture(face, digit, np.random.default_rng(seed))
        for (face, digit), seed in zip(_drawn(), seeds, strict=True)
    ]
    found = _predictions(pictures, shape, predict)
    right = [each.predicted == digit for each, (_, digit) in zip(found, _drawn(), strict=True)]
    empty = [
        condition.picture(None, 0, np.random.default_rng([seed, *condition.name.encode()])) for seed in range(sheets)
    ]
    return Counts(
        right,
        [face.held_out for face, _ in _drawn()],
        refused=sum(each.doubt == "blank" for each in found),
        doubted=sum(bool(each.doubt) for each, fine in zip(found, right, strict=True) if not fine),
        blank=sum(each.doubt == "blank" for each in _predictions(empty, shape, predict)),
        sheets=sheets,
    )


def of_pairs(shape: tuple[int, int], predict: Predict) -> tuple[int, int]:
    """Pictures of two digits that are called several digits, and how many there are."""
    pictures = [(".png", two_digits(face, digit, (digit + 3) % 10)) for face, digit in _drawn()]
    found = _predictions(pictures, shape, predict)
    return sum(each.doubt == "several digits" for each in found), len(found)


def _predictions(pictures: Sequence[tuple[str, bytes]], shape: tuple[int, int], predict: Predict) -> list[Prediction]:
    with tempfile.TemporaryDirectory() as folder:
        for number, (suffix, content) in enumerate(pictures):
            Path(folder, f"{number:04}{suffix}").write_bytes(content)
        drawings = read_images(Path(folder), shape)
    return classify(drawings.names, drawings.images, drawings.doubts, predict)


def table(masks: Counts, counts: dict[str, Counts]) -> str:
    """A row for each condition."""
    plain = counts[_PLAIN].percent()
    rows = [["ideal masks", *_shares(masks), "-", "-", "-", "-"]]
    for name, each in counts.items():
        least = masks.percent() - _AIMS["masks"] if name == _PLAIN else plain - _AIMS["plain"]
        least = plain - _AIMS["lenient"] if name in _LENIENT else least
        wrong = len(each.right) - sum(each.right)
        reached = each.percent() >= least and not each.refused
        rows.append(
            [
                name,
                *_shares(each),
                str(each.refused),
                f"{each.doubted} of {wrong}",
                f"{each.blank} of {each.sheets}",
                f"{least:.1f}{'' if reached else ': **missed**'}",
            ]
        )
    headers = ["condition", "right, %", "tuned faces", "held-out faces", "called blank", "wrong and doubted",
               "blank sheets called blank", "aim"]  # fmt: skip
    return markdown_table(rows, headers)


def _shares(counts: Counts) -> list[str]:
    return [f"{counts.percent(held_out):.1f}" for held_out in (None, False, True)]


def faces(chosen: Iterable[Face]) -> str:
    """Names with their packages, in a sentence."""
    return ", ".join(each.name if each.source == "pen" else f"{each.name} (`{each.source}`)" for each in chosen)


def document(model: str, sheets: int, shape: tuple[int, int], predict: Predict) -> str:
    """Measure everything, and write the report."""
    started = monotonic()
    counts = {}
    for condition in CONDITIONS:
        counts[condition.name] = of_condition(condition, sheets, shape, predict)
        click.echo(f"  {condition.name}: {counts[condition.name].percent():.1f} % right", err=True)
    rows = table(of_masks(shape, predict), counts)
    several, pairs = of_pairs(shape, predict)
    minutes = (monotonic() - started) / 60
    command = "python -m benchmarks.drawn_digits --model runs:/RUN/model"
    command += f" --sheets {sheets}" if sheets != _SHEETS else ""
    parts = [
        "# Drawn digits",
        f"Every number was measured in one run of\n\n    {command}",
        f"on {datetime.now(UTC):%Y-%m-%d}, in {minutes:.0f} minutes. {model}",
        _DRAWINGS.format(count=10 * len(FACES), faces=len(FACES), sheets=sheets),
        rows,
        f'Of {pairs} pictures of two digits side by side, {several} are called "several digits".',
        _COLUMNS,
        f"Tuned faces: {faces(each for each in FACES if not each.held_out)}.",
        f"{_HELD_OUT}: {faces(each for each in FACES if each.held_out)}.",
        machine(),
    ]
    return "\n\n".join(parts) + "\n"


@click.command()
@click.option("--model", required=True, help="runs:/RUN/model of a network that was trained on MNIST.")
@click.option("--sheets", default=_SHEETS, show_default=True, help="Blank sheets of each condition.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="docs/drawn_digits.md",
    show_default=True,
    help="Report to write.",
)
def main(model: str, sheets: int, output: Path) -> None:
    """Draw digits on many kinds of paper, classify them, and write a report in markdown."""
    from pipeline.errors import PipelineError
    from pipeline.tracking.models import load_served

    try:
        served = load_served(model)
        text = document(_described(model), sheets, served.image_shape, served.predict)
    except PipelineError as error:
        raise click.ClickException(str(error)) from error
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
    click.echo(text)


def _described(model: str) -> str:
    """The network and its accuracy, as its run has them."""
    from pipeline.tracking.store import Store

    run_id = model.removeprefix("runs:/").partition("/")[0]
    if run_id == model:
        return ""
    run = Store.open().get(run_id)
    accuracy = f", right on {run.metrics['test_accuracy']:.2%} of the test images" if run.metrics else ""
    return f"The network is `{run.name}`{accuracy}."


if __name__ == "__main__":
    main()
