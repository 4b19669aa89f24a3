"""Each published conclusion, turned both ways by made-up runs."""

from dataclasses import replace

import pytest

from pipeline.report.claims import Verdict, judge
from pipeline.report.measured import Runs
from tests.pipeline.report.conftest import BASE, NETWORKS, SWEPT

ORDER = {"gelu": 2, "relu": 1, "sigmoid": 0, "hinge": 2, "softmax_cross_entropy": 1, "euclidean": 0}
TIME_ORDER = {**ORDER, "sigmoid": 1, "relu": 0}


def claims(store):
    return {claim.number: claim for claim in judge(Runs(store, BASE))}


def verdict(store, number):
    return claims(store)[number].verdict


def rank(config, order=ORDER):
    """Rises with each step of the published orders."""
    return 3 * order[config.activation] + order[config.loss]


def as_claimed(make, *, turned=False, depth_gain=0.004, seed=0, noise=0.0):
    """The 18 networks, with figures that bear out claims 1 to 5, or all of them turned round."""
    for config in NETWORKS:
        two = config.hidden_layers == 2
        better = (-1 if turned else 1) * rank(config)
        accuracy = 0.95 + better / 1000 + depth_gain * two + noise * (-1) ** seed * (config.activation == "gelu")
        slow = (-1 if turned else 1) * rank(config, TIME_ORDER)
        # ReLU and GELU reach the targets together, Sigmoid later; hinge before cross-entropy before Euclidean.
        step = (4 - 2 * (config.activation != "sigmoid") + 4 * (2 - ORDER[config.loss])) * 10
        step = 140 - step if turned else step
        curve = [(step, 0.951), (200, accuracy)]
        make.run(
            replace(config, seed=seed),
            curve=curve,
            test_accuracy=accuracy,
            test_loss=1 - accuracy,
            train_seconds=60 + slow + 60 * two,
        )


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_claims_on_the_networks_hold_where_the_runs_say_so(store, make, number):
    as_claimed(make)
    assert verdict(store, number) is Verdict.HOLDS, claims(store)[number]


@pytest.mark.parametrize(("number", "expected"), [(1, Verdict.FAILS), (2, Verdict.IN_PART), (3, Verdict.FAILS)])
def test_claims_on_the_networks_fall_where_the_runs_are_turned(store, make, number, expected):
    as_claimed(make, turned=True)
    assert verdict(store, number) is expected, claims(store)[number]


def test_depth_that_costs_accuracy_and_no_time_turns_claim_4(store, make):
    for config in NETWORKS:
        two = config.hidden_layers == 2
        make.run(config, test_accuracy=0.9 - 0.01 * two, test_loss=0.1 + 0.1 * two, train_seconds=60)
    assert verdict(store, 4) is Verdict.FAILS


def test_depth_that_gains_much_holds_in_part(store, make):
    as_claimed(make, depth_gain=0.03)
    assert verdict(store, 4) is Verdict.IN_PART


def test_one_exception_makes_it_hold_in_part(store, make):
    as_claimed(make)
    exception = next(config for config in NETWORKS if (config.activation, config.loss) == ("gelu", "hinge"))
    make.run(exception, test_accuracy=0.5, train_seconds=1.0)
    found = claims(store)
    assert {found[1].verdict, found[3].verdict} == {Verdict.IN_PART}
    assert any("gelu-hinge-1h" in finding.figures for finding in found[3].findings)


def test_difference_inside_its_interval_is_a_tie(store, make):
    for seed in (0, 1):
        as_claimed(make, seed=seed, noise=0.05)
    found = claims(store)[3]
    assert found.verdict is Verdict.IN_PART
    assert "6 ties" in found.findings[0].figures
    assert found.findings[0].holding == 0


def sweep(make, *, longer=(0.9605, 0.9567), hinge=(1.0, 0.98), best=0.09, sign=-1, still=True):
    longest, *rates, hinged = SWEPT
    curve = [(350, longer[1] - (0 if still else 0.05)), (400, longer[1])]
    make.run(longest, train_accuracy=longer[0], test_accuracy=longer[1], curve=curve)
    for config in rates:
        make.run(config, test_accuracy=0.8 + sign * abs(config.learning_rate - best))
    make.run(hinged, train_accuracy=hinge[0], test_accuracy=hinge[1])


def test_claims_on_the_studies_hold(store, make):
    as_claimed(make)
    sweep(make)
    found = claims(store)
    assert {found[number].verdict for number in (5, 6, 7)} == {Verdict.HOLDS}


def test_claims_on_the_studies_fall(store, make):
    as_claimed(make, turned=True)
    sweep(make, longer=(0.5, 0.5), hinge=(0.9, 0.9), sign=1, still=False)
    found = claims(store)
    assert found[5].verdict is Verdict.FAILS
    assert found[6].verdict is Verdict.FAILS
    assert found[7].verdict is Verdict.FAILS


def test_learning_rate_in_part(store, make):
    sweep(make, best=0.06)
    assert verdict(store, 6) is Verdict.IN_PART


def test_hinge_in_part(store, make):
    sweep(make, hinge=(1.0, 0.9))
    assert verdict(store, 7) is Verdict.IN_PART


def test_half_a_grid_cannot_be_judged_and_names_what_is_missing(store, make):
    for config in NETWORKS[:9]:
        make.run(config)
    found = claims(store)
    assert {claim.verdict for claim in found.values() if claim.number != 1} == {Verdict.OPEN}
    assert found[1].verdict is not Verdict.OPEN
    assert set(found[3].missing) == {replace(config, test_epoch=50) for config in NETWORKS[9:]}
    assert len(found[6].missing) == 6


def test_nothing_can_be_judged_from_nothing(store):
    assert {claim.verdict for claim in claims(store).values()} == {Verdict.OPEN}
