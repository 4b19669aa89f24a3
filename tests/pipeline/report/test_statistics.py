"""Intervals that keep their promise: simulated where the truth is known, and compared with SciPy's where it can be."""

import numpy as np
import pytest
from scipy import stats

from pipeline.report.statistics import (
    MOST_SEEDS,
    Estimate,
    MeanSquares,
    crossed,
    from_mean_squares,
    holm,
    paired,
    pooled,
    prediction_interval,
)

IMAGES = 10_000
DRAWS = 4_000
MEASURED = (0.0008, 0.14, 0.10)
"""Standard deviations of seeds, images and residual between two networks of the grid on MNIST, as measured."""


def coverage(seeds, of_seeds, of_images, of_residual):
    """How many intervals cover the true mean, 0; the mean squares of normal tables are drawn, which is exact."""
    draw = np.random.default_rng(0)
    degrees = (seeds - 1, IMAGES - 1, (seeds - 1) * (IMAGES - 1))
    residual = of_residual**2
    expected = (IMAGES * of_seeds**2 + residual, seeds * of_images**2 + residual, residual)
    squares = [value * draw.chisquare(freedom, DRAWS) / freedom
               for value, freedom in zip(expected, degrees, strict=True)]  # fmt: skip
    variance = of_seeds**2 / seeds + of_images**2 / IMAGES + residual / (seeds * IMAGES)
    means = draw.normal(0, variance**0.5, DRAWS)
    covered = 0
    for mean, *table in zip(means, *squares, strict=True):
        low, high = from_mean_squares(mean, seeds, IMAGES, MeanSquares(*table)).interval()
        covered += low <= 0 <= high
    return covered / DRAWS


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_cover_what_they_promise_at_the_measured_variances(seeds):
    assert 0.93 <= coverage(seeds, *MEASURED) <= 0.97


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("components", [(0, 0.14, 0.10), (0.0008, 0, 0.10)], ids=["no seeds", "no images"])
def test_intervals_cover_with_a_component_of_zero(seeds, components):
    assert coverage(seeds, *components) >= 0.93


def test_intervals_cover_on_tables_of_right_and_wrong_answers():
    """Differences are -1, 0 and 1 there, not normal: each image has its own chance of either answer."""
    draw = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        lean = draw.choice([-0.9, 0.0, 0.9], p=[0.02, 0.96, 0.02], size=IMAGES) + draw.normal(0, 0.0008, (5, 1))
        chance = draw.random((5, IMAGES))
        table = (chance < lean).astype(int) - (chance < -lean).astype(int)
        low, high = crossed(table).interval()
        covered += low <= 0 <= high
    assert covered / 300 >= 0.91


def test_mean_squares_are_those_of_the_two_way_analysis():
    table = np.random.default_rng(0).normal(size=(4, 6))
    residual = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    squares = MeanSquares(
        6 * table.mean(1).var(ddof=1), 4 * table.mean(0).var(ddof=1), (residual**2).sum() / ((4 - 1) * (6 - 1))
    )
    found, expected = crossed(table), from_mean_squares(table.mean(), 4, 6, squares)
    assert found.mean == pytest.approx(expected.mean)
    assert (found.of_seeds, found.of_images) == pytest.approx((expected.of_seeds, expected.of_images))


def test_images_add_to_the_error_of_seeds():
    images = np.array([1.0] * 20 + [0.0] * 80)
    alike = np.tile(images, (5, 1)) + np.array([[-0.01], [0.0], [0.01], [0.0], [0.0]])
    low, high = crossed(alike).interval()
    only_seeds = paired(alike.mean(axis=1)).interval()
    assert high - low > 5 * (only_seeds[1] - only_seeds[0])


def test_one_seed_decides_nothing():
    for found in (paired([0.3]), crossed(np.array([[1, 0, 1, 0]]))):
        assert (found.interval(), found.error, found.p(), found.deciding_seeds()) == (None, None, 1.0, None)


def test_paired_interval_and_p_are_students():
    values = [0.1, 0.3, 0.2, 0.4]
    expected = stats.ttest_1samp(values, 0)
    found = paired(values)
    assert found.p() == pytest.approx(expected.pvalue)
    assert found.interval(0.99) == pytest.approx(tuple(expected.confidence_interval(0.99)))
    assert found.p(0.25) == pytest.approx(1)


def test_values_without_spread_are_decided():
    assert paired([0.5, 0.5]).p() == 0
    assert paired([0.5, 0.5]).interval() == (0.5, 0.5)
    assert paired([0.0, 0.0]).p() == 1


def test_holm_is_statsmodels_and_its_levels_agree_with_its_decisions():
    # statsmodels 0.14: multipletests([0.01, 0.04, 0.03, 0.005], method="holm")
    corrected = holm([0.01, 0.04, 0.03, 0.005])
    assert [p for p, _ in corrected] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert [level for _, level in corrected] == pytest.approx([1 - 0.05 / 3, 0.975, 0.975, 1 - 0.05 / 4])


@pytest.mark.parametrize("seed", range(5))
def test_an_interval_excludes_zero_exactly_where_holm_decides(seed):
    draw = np.random.default_rng(seed)
    found = [paired(draw.normal(0.6, 1, 8)) for _ in range(6)]
    for each, (p, level) in zip(found, holm([each.p() for each in found]), strict=True):
        low, high = each.interval(level)
        assert (p <= 0.05) == (not low <= 0 <= high)


def test_number_of_deciding_seeds_decides_and_one_fewer_does_not():
    found = paired([0.3, -0.2, 0.4, -0.1, 0.2])
    seeds = found.deciding_seeds()
    assert found.with_seeds(seeds).p() <= 0.05 < found.with_seeds(seeds - 1).p()


def test_seeds_cannot_decide_what_the_images_leave_open():
    assert Estimate(0.001, 5, 1e-8, 4, of_images=1e-6, image_freedom=9999).deciding_seeds() is None
    assert Estimate(0.003, 5, 1e-5, 4, of_images=1e-6, image_freedom=9999).deciding_seeds() is not None
    assert Estimate(1e-6, 5, 1e-4, 4).deciding_seeds() > MOST_SEEDS


def test_one_seed_borrows_the_variance_of_five():
    five = paired([0.1, 0.3, 0.2, 0.4, 0.3])
    assert paired([0.2]).with_variances_of(five).error == pytest.approx(np.std([0.1, 0.3, 0.2, 0.4, 0.3], ddof=1))
    assert paired([0.2]).with_variances_of(paired([0.1])).interval() is None


def test_prediction_interval_is_wider_than_that_of_the_mean():
    values = [1.0, 2.0, 3.0]
    low, high = prediction_interval(values)
    half = stats.t.ppf(0.975, 2) * 1.0 * (1 + 1 / 3) ** 0.5
    assert (low, high) == pytest.approx((2 - half, 2 + half))


def test_one_value_has_the_pooled_prediction_interval():
    spread = pooled([[1.0, 3.0], [5.0, 5.0, 5.0], [7.0]])
    assert spread == pytest.approx(((2 / 3) ** 0.5, 3))
    _, high = prediction_interval([4.0], spread)
    assert high - 4 == pytest.approx(stats.t.ppf(0.975, 3) * (2 / 3 * 2) ** 0.5)
    assert prediction_interval([4.0]) is None
    assert pooled([[1.0]]) is None
