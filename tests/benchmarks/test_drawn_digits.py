"""The drawings of the benchmark, and the table that judges what came of them. Pens alone: fonts may be missing."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from benchmarks import drawn_digits
from benchmarks.drawings import CONDITIONS, FACES, glyph
from benchmarks.drawn_digits import Counts, of_condition, table

PENS = tuple(face for face in FACES if face.source == "pen")


def opened(content):
    return np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(content))).convert("L"), float)


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: condition.name)
def test_a_drawing_differs_from_its_blank_sheet_where_the_digit_is(condition):
    _, drawn = condition.picture(PENS[0], 8, np.random.default_rng(0))
    _, blank = condition.picture(None, 8, np.random.default_rng(0))
    assert opened(drawn).shape == opened(blank).shape == (condition.side, condition.side)
    assert np.abs(opened(drawn) - opened(blank)).max() > 15


@pytest.mark.parametrize("pen", PENS)
def test_pens_draw_ten_different_digits(pen):
    masks = [np.resize(glyph(pen, digit, 40), 1600) for digit in range(10)]
    assert all(mask.max() == 1 for mask in masks)
    assert len({mask.tobytes() for mask in masks}) == 10


def test_a_condition_is_counted(monkeypatch):
    monkeypatch.setattr(drawn_digits, "FACES", PENS[:1])

    def says_seven(images):
        scores = np.zeros((len(images), 10))
        scores[:, 7] = 1
        return [7] * len(images), scores.tolist()

    counts = of_condition(CONDITIONS[0], 2, (28, 28), says_seven)
    assert counts == Counts([digit == 7 for digit in range(10)], [False] * 10, 0, 0, 2, 2)


def row(text, name):
    [line] = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in line.split("|")[1:-1]]


@pytest.mark.parametrize(
    ("right", "refused", "aim"),
    [(97, 0, "97.0"), (96, 0, "97.0: **missed**"), (99, 1, "97.0: **missed**")],
)
def test_the_table_judges_each_condition(right, refused, aim):
    plain = Counts([True] * 100, [False] * 50 + [True] * 50)
    other = Counts([True] * right + [False] * (100 - right), plain.held_out, refused=refused)
    assert row(table(plain, {"plain": plain, "dust": other}), "dust")[-1] == aim
