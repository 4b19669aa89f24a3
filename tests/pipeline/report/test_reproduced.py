"""Published figures marked as reproduced, outside, or too uncertain to tell."""

from dataclasses import replace

import pytest

from pipeline.report.reading import Reading
from pipeline.report.reproduced import Mark, cell, cells, mark, sum_of_squares
from tests.pipeline.report.conftest import BASE, NETWORKS

NARROW = (-0.0005, 0.0, 0.0005)


def made_cell(made, values, metric="test_accuracy", theirs=0.95, **fields):
    for seed, value in enumerate(values):
        made.run(replace(BASE, seed=seed), **{metric: value})
    return mark(Reading("made", made, **fields), BASE, metric, theirs)


def test_figure_that_a_further_seed_could_give_is_reproduced(made):
    found = made_cell(made, [0.95 + each for each in NARROW])
    assert (found.kind, found.sign, found.beyond) == (Mark.REPRODUCED, "✓", 0.0)
    half = 4.302652729911275 * 0.0005 * (1 + 1 / 3) ** 0.5  # t(0.975, 2) * s * sqrt(1 + 1/n)
    assert found.interval == pytest.approx((0.95 - half, 0.95 + half))


@pytest.mark.parametrize("shift", [-0.01, 0.01])
def test_figure_outside_says_by_how_much(made, shift):
    found = made_cell(made, [0.95 + shift + each for each in NARROW])
    half = 4.302652729911275 * 0.0005 * (1 + 1 / 3) ** 0.5
    assert found.kind is Mark.OUTSIDE
    assert found.beyond == pytest.approx(-shift + half * (1 if shift > 0 else -1))
    assert found.sign == f"✗ by {100 * (0.01 - half):.2f}"


@pytest.mark.parametrize(("beyond", "kind"), [(0.00004, Mark.REPRODUCED), (0.00006, Mark.OUTSIDE)])
def test_the_rounding_of_the_publication_is_no_difference(made, beyond, kind):
    half = 4.302652729911275 * 0.0005 * (1 + 1 / 3) ** 0.5
    assert made_cell(made, [0.95 + each for each in NARROW], theirs=0.95 + half + beyond).kind is kind
    assert mark(Reading("made", made), BASE, "test_accuracy", 0.95 - half - beyond).kind is kind


def test_interval_wider_than_half_a_point_tells_nothing_unless_the_figure_is_outside(made):
    assert made_cell(made, [0.945, 0.95, 0.955]).kind is Mark.TOO_WIDE
    assert mark(Reading("made", made), BASE, "test_accuracy", 0.5).kind is Mark.OUTSIDE


def test_interval_of_a_loss_is_too_wide_from_a_tenth_up(made):
    assert made_cell(made, [0.09, 0.1, 0.11], "test_loss", 0.1).kind is Mark.TOO_WIDE
    assert made_cell(made, [0.099, 0.1, 0.101], "test_loss", 0.1).kind is Mark.REPRODUCED


def test_one_seed_without_others_is_unknown(made):
    found = made_cell(made, [0.95])
    assert (found.kind, found.interval, found.sign) == (Mark.UNKNOWN, None, "?")


def test_one_seed_has_the_pooled_deviation_of_networks_with_its_loss(made):
    for config in NETWORKS:
        spread = 0.0005 if config.loss == "euclidean" else 0.1
        for seed, step in enumerate((-1, 0, 1)):
            made.run(replace(config, seed=seed), test_accuracy=0.95 + step * spread)
    made.run(replace(BASE, init_std="he"), test_accuracy=0.95)
    lender = Reading("made", made)
    found = cell(Reading("he", made, "he", ["euclidean"], lender), BASE, "test_accuracy")
    half = 2.178812829667229 * 0.0005 * 2**0.5  # t(0.975, 6 networks * 2) * s * sqrt(1 + 1/1)
    assert found.interval == pytest.approx((0.95 - half, 0.95 + half))


def test_cells_are_those_with_a_published_figure(made):
    made.published(NETWORKS[:2])
    reading = Reading("made", made)
    found = cells(reading, NETWORKS)
    assert len(found) == 8
    assert all(each.difference == pytest.approx(0) for each in found)
    assert cell(reading, replace(BASE, learning_rate=0.5), "test_accuracy") is None


def test_squares_are_of_percentage_points(made):
    made.published(NETWORKS[:2], test_accuracy=lambda _config, value: value + 0.02)
    assert sum_of_squares(cells(Reading("made", made), NETWORKS)) == pytest.approx(8)
