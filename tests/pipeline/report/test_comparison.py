"""Two networks compared: what is paired, what counts as chance, and what is borrowed."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pipeline.report.comparison import ACCURACY, EPOCHS, LOSS, SECONDS, compare, epochs_to
from pipeline.report.measured import Runs
from pipeline.report.reading import Reading
from pipeline.report.statistics import crossed
from tests.pipeline.report.conftest import BASE, answers

GELU = replace(BASE, activation="gelu")
PAIR = (GELU, BASE)


def reading(store, **fields):
    return Reading("made", Runs(store, BASE), **fields)


def test_accuracies_are_paired_by_seed_and_by_image(store, make):
    tables = []
    for seed in (2, 0, 1):
        ours, theirs = answers(0.96, seed), answers(0.95, seed + 10)
        make.run(replace(GELU, seed=seed), right=ours)
        make.run(replace(BASE, seed=seed), right=theirs)
        tables.append(ours.astype(int) - theirs)
    make.run(replace(BASE, seed=3), right=answers(0.1, 0))
    found = compare(reading(store), ACCURACY, [PAIR]).estimate
    expected = crossed(np.stack([tables[1], tables[2], tables[0]]))
    assert found == expected
    assert found.of_images > 0


def test_runs_without_predictions_are_paired_by_seed_alone(store, make):
    for seed in (0, 1, 2):
        make.run(replace(BASE, seed=seed), test_accuracy=0.90 + seed / 100)
        make.run(replace(GELU, seed=seed), test_accuracy=0.901 + seed / 100 + seed / 1000)
    found = compare(reading(store), ACCURACY, [PAIR]).estimate
    assert (found.mean, found.of_images) == (pytest.approx(0.002), 0)
    assert found.interval() == pytest.approx((0.002 - 4.302652729911275 * 0.001 / 3**0.5,
                                              0.002 + 4.302652729911275 * 0.001 / 3**0.5))  # fmt: skip


def test_mean_over_pairs_is_of_the_seeds_that_all_have(store, make):
    hinge = [replace(config, loss="hinge") for config in PAIR]
    for seed, gain in ((0, 0.01), (1, 0.02)):
        for first, second in (PAIR, hinge):
            make.run(replace(first, seed=seed), test_accuracy=0.9 + gain)
            make.run(replace(second, seed=seed), test_accuracy=0.9)
    for config in PAIR:
        make.run(replace(config, seed=5), test_accuracy=0.9)
    found = compare(reading(store), ACCURACY, [PAIR, tuple(hinge)])
    assert found.estimate.seeds == 2
    assert found.values == pytest.approx([0.01, 0.02])


def test_networks_without_a_common_seed_cannot_be_compared(store, make):
    make.run(BASE)
    make.run(replace(GELU, seed=1))
    assert compare(reading(store), ACCURACY, [PAIR]) is None
    assert compare(reading(store), ACCURACY, []) is None


@pytest.mark.parametrize(("measure", "name"), [(SECONDS, "train_seconds"), (LOSS, "test_loss")])
def test_times_and_losses_are_compared_as_ratios(store, make, measure, name):
    for seed, ratio in ((0, 2.0), (1, 4.0)):
        make.run(replace(GELU, seed=seed), **{name: 3 * ratio})
        make.run(replace(BASE, seed=seed), **{name: 3.0})
    found = compare(reading(store), measure, [PAIR]).estimate
    assert measure.number(found.mean) == f"{8**0.5:.2f}"
    assert measure.text(found).endswith(" times")


def test_epochs_are_compared_over_the_targets_that_one_of_the_two_reaches(store, make):
    make.run(GELU, curve=[(10, 0.86), (20, 0.91), (200, 0.92)])
    make.run(BASE, curve=[(20, 0.86), (200, 0.87)])
    found = compare(reading(store), EPOCHS, [PAIR]).estimate
    assert found.mean == pytest.approx((math.log(10 / 20) + math.log(20 / 201)) / 2)


def test_networks_that_reach_no_target_are_equal(store, make):
    for config in PAIR:
        make.run(config, curve=[(200, 0.5)])
    assert compare(reading(store), EPOCHS, [PAIR]).values == [0.0]


def test_reading_of_one_seed_borrows_the_variance_of_another_reading(store, make):
    for seed in range(4):
        make.run(replace(GELU, seed=seed), test_accuracy=0.91 + seed / 1000)
        make.run(replace(BASE, seed=seed), test_accuracy=0.90)
    for config, accuracy in zip(PAIR, (0.95, 0.90), strict=True):
        make.run(replace(config, init_std="he"), test_accuracy=accuracy)
    lender = reading(store)
    he = reading(store, init_std="he", losses=("euclidean",), lender=lender)
    found, lent = (compare(each, ACCURACY, [PAIR]).estimate for each in (he, lender))
    assert found.mean == pytest.approx(0.05)
    assert found.error == pytest.approx(lent.error * 2)  # one seed in place of four


def test_reading_leaves_the_networks_of_other_losses_as_they_are(store, make):
    he = reading(store, init_std="he", losses=("euclidean",))
    assert he.config(BASE).init_std == "he"
    assert he.config(replace(BASE, loss="hinge")).init_std == BASE.init_std


def test_epochs_to_a_target():
    curve = [(5.0, 0.8), (10.0, 0.9), (15.0, 0.89), (20.0, 0.95)]
    assert [epochs_to(curve, target) for target in (0.5, 0.9, 0.93, 0.99)] == [5.0, 10.0, 20.0, None]
