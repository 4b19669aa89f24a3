from dataclasses import replace

import pytest

from pipeline.report.comparison import compare, difference, epochs_to
from pipeline.report.measured import Runs
from tests.pipeline.report.conftest import BASE


def accuracy(run):
    return run.figures["test_accuracy"]


def test_one_seed_has_no_interval():
    found = difference([0.01])
    assert (found.mean, found.interval, found.tie, found.sign) == (0.01, None, False, 1)
    assert difference([0.0]).tie
    assert difference([-0.1]).sign == -1


def test_interval_is_students():
    found = difference([1.0, 2.0, 3.0])
    half = 4.302652729911275 / 3**0.5  # t(0.975, 2) * deviation / sqrt(n)
    assert found.interval == pytest.approx((2 - half, 2 + half))
    assert found.tie
    assert found.sign == 0


def test_difference_outside_its_interval_is_none():
    assert difference([1.0, 1.1, 0.9]).sign == 1
    assert difference([-1.0, -1.1, -0.9]).sign == -1
    assert difference([0.5, 0.5]).sign == 1


def test_seeds_are_paired(store, make):
    for seed in (0, 1, 2):
        make.run(replace(BASE, seed=seed), test_accuracy=0.90 + seed / 100)
        make.run(replace(BASE, activation="gelu", seed=seed), test_accuracy=0.901 + seed / 100)
    make.run(replace(BASE, seed=3), test_accuracy=0.1)
    found = compare(Runs(store, BASE), replace(BASE, activation="gelu"), BASE, accuracy)
    assert found.mean == pytest.approx(0.001)
    assert found.sign == 1


def test_networks_without_a_common_seed_cannot_be_compared(store, make):
    make.run(BASE)
    make.run(replace(BASE, activation="gelu", seed=1))
    assert compare(Runs(store, BASE), replace(BASE, activation="gelu"), BASE, accuracy) is None


def test_epochs_to_a_target():
    curve = [(5.0, 0.8), (10.0, 0.9), (15.0, 0.89), (20.0, 0.95)]
    assert [epochs_to(curve, target) for target in (0.5, 0.9, 0.93, 0.99)] == [5.0, 10.0, 20.0, None]
