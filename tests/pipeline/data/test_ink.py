"""Ink is found whatever the paper looks like: compared with the ideal mask of the same strokes."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.data.ink import find_ink

SIDE = 200


def strokes(draw, digit, colour, box=(60, 40, 140, 160), width=14):
    left, top, right, bottom = box
    if digit == 0:
        draw.ellipse(box, outline=colour, width=width)
    else:
        draw.line([(left, top), (right, top), (left + 20, bottom)], colour, width, joint="curve")


def mask(digit, **form):
    sheet = Image.new("L", (SIDE, SIDE))
    strokes(ImageDraw.Draw(sheet), digit, 255, **form)
    return np.asarray(sheet, float) / 255


def on(paper, digit, ink, **form):
    """Ink on paper, (height, width) or (height, width, 3)."""
    paper = np.broadcast_to(paper, (SIDE, SIDE, *np.shape(paper)[2:]))
    drawn = mask(digit, **form)
    drawn = drawn[..., None] if paper.ndim == 3 else drawn
    return paper * (1 - drawn) + ink * drawn


def found(picture):
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    return find_ink(picture if picture.ndim == 3 else picture[..., None])


def likeness(picture, digit, **form):
    """Correlation of the ink that is found with the ideal mask."""
    return np.corrcoef(found(picture).strength.ravel(), mask(digit, **form).ravel())[0, 1]


def slope(left, right):
    return np.linspace(left, right, SIDE)[None].repeat(SIDE, axis=0)


def shadow(angle=0.4):
    rows, columns = np.indices((SIDE, SIDE)) - SIDE / 2
    return np.where(rows * np.sin(angle) + columns * np.cos(angle) > 5, 235.0, 118.0)


def vignette():
    rows, columns = (np.indices((SIDE, SIDE)) - SIDE / 2) / (SIDE / 2)
    return 240 * (1 - 0.33 * (rows**2 + columns**2))


def noisy(sheet, sigma):
    return sheet + np.random.default_rng(0).normal(0, sigma, (SIDE, SIDE))


def with_lines(sheet, draw_lines, grey):
    marks = Image.new("L", (SIDE, SIDE))
    draw_lines(ImageDraw.Draw(marks))
    return np.where(np.asarray(marks) > 0, np.minimum(sheet, grey), sheet)


def rules(draw):
    for y in range(12, SIDE, 25):
        draw.line([(0, y), (SIDE, y + 2)], 255, 2)


def squares(draw):
    for at in range(12, SIDE, 25):
        draw.line([(0, at), (SIDE, at)], 255, 2)
        draw.line([(at, 0), (at, SIDE)], 255, 2)


def frame(margin):
    return lambda draw: draw.rectangle([margin, margin, SIDE - 1 - margin, SIDE - 1 - margin], outline=255, width=3)


def dust(draw):
    for x, y in np.random.default_rng(0).integers(0, SIDE, (40, 2)).tolist():
        draw.point((x, y), 255)


def speck(draw):
    draw.rectangle([4, 4, 6, 6], fill=255)


PAPERS = {
    "gradient": (slope(235, 150), 60),
    "steep gradient": (slope(120, 230), 60),
    "edge of a shadow": (shadow(), 40),
    "vignette": (vignette(), 50),
    "grey": (np.full((SIDE, SIDE), 120.0), 0),
    "grey, light ink": (np.full((SIDE, SIDE), 140.0), 255),
    "faint": (np.full((SIDE, SIDE), 250.0), 215),
    "blue": (np.full((SIDE, SIDE, 3), (0.0, 0.0, 255.0)), 0),
    "red": (np.full((SIDE, SIDE, 3), (255.0, 0.0, 0.0)), 0),
}
LINES = {"rules": rules, "squares": squares, "edge": frame(0), "frame": frame(8), "box": frame(25), "dust": dust,
         "speck": speck}  # fmt: skip


@pytest.mark.parametrize("digit", [0, 7])
@pytest.mark.parametrize("paper", PAPERS)
def test_ink_is_found_on_every_paper(paper, digit):
    sheet, ink = PAPERS[paper]
    assert likeness(on(sheet, digit, ink), digit) > 0.97


@pytest.mark.parametrize("digit", [0, 7])
@pytest.mark.parametrize("name", LINES)
def test_lines_frames_and_dust_are_no_ink(name, digit):
    assert likeness(with_lines(on(np.full((1, 1), 255.0), digit, 0), LINES[name], 60), digit) > 0.96


@pytest.mark.parametrize(("paper", "ink", "sigma"), [(230, 20, 25), (235, 190, 8), (20, 230, 25)])
def test_noise_is_no_ink(paper, ink, sigma):
    assert likeness(noisy(on(np.full((1, 1), float(paper)), 7, ink), sigma), 7) > 0.95


@pytest.mark.parametrize("paper", ["white", "black", *PAPERS])
@pytest.mark.parametrize("sigma", [0, 8])
def test_a_blank_sheet_has_no_ink(paper, sigma):
    sheet = {"white": np.full((SIDE, SIDE), 255.0), "black": np.zeros((SIDE, SIDE))}.get(paper)
    sheet = PAPERS[paper][0] if sheet is None else sheet
    assert found(noisy(sheet, sigma) if sheet.ndim == 2 else sheet) is None


@pytest.mark.parametrize("name", LINES)
def test_a_blank_sheet_with_lines_has_no_ink(name):
    assert found(with_lines(np.full((SIDE, SIDE), 255.0), LINES[name], 60)) is None


@pytest.mark.parametrize("ink", [0, 255])
def test_thick_strokes_that_fill_the_picture_are_ink(ink):
    form = {"box": (8, 8, 192, 192), "width": 44}
    assert likeness(on(np.full((1, 1), 255.0 - ink), 0, ink, **form), 0, **form) > 0.97


def test_a_digit_that_the_border_cuts_is_ink():
    form = {"box": (60, 60, 150, 230)}
    assert likeness(on(np.full((1, 1), 255.0), 7, 0, **form), 7, **form) > 0.97


@pytest.mark.parametrize("size", [(28, 28), (1, 1), (1, 300), (40, 700), (2400, 1800)])
def test_a_picture_of_any_size_can_be_searched(size):
    assert found(np.full(size, 255)) is None


def test_ink_that_breaks_off_is_kept_with_its_parts():
    sheet = on(np.full((1, 1), 255.0), 7, 0)
    sheet[90:96] = 255
    assert len(found(sheet).boxes) == 2


@pytest.mark.parametrize(
    ("box", "width"),
    [((20, 35, 180, 165), 26), ((15, 60, 185, 140), 26), ((25, 20, 175, 180), 20), ((8, 60, 192, 140), 20)],
)
def test_ink_near_the_border_does_not_brighten_the_paper_beyond_it(box, width):
    drawn = {"box": box, "width": width}
    assert likeness(on(vignette(), 0, 50, **drawn), 0, **drawn) > 0.98
