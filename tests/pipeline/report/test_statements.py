"""Statements judged: what decides them, what does not, and what would."""

import math

import pytest

from pipeline.report.comparison import ACCURACY, SECONDS, Comparison
from pipeline.report.statements import ABOVE_ZERO, BELOW_ZERO, Claim, Judgement, Region, Statement, Verdict, judge
from pipeline.report.statistics import Estimate, paired
from tests.pipeline.report.conftest import NETWORKS

PAIR = (NETWORKS[1], NETWORKS[0])
CLEAR = [0.010, 0.011, 0.012, 0.011, 0.010]
UNCLEAR = [0.010, -0.011, 0.012, -0.004, 0.003]


def comparison(values, pair=PAIR):
    return Comparison([pair], paired(values), values)


def statement(values, *, region=ABOVE_ZERO, pairs=(), measure=ACCURACY):
    return Statement("it is so", measure, region, comparison(values), [comparison(each) for each in pairs])


def verdict(values, **fields):
    [judged] = judge([statement(values, **fields)])
    return judged.verdict


@pytest.mark.parametrize(
    ("values", "region", "expected"),
    [
        (CLEAR, ABOVE_ZERO, Verdict.HOLDS),
        (CLEAR, BELOW_ZERO, Verdict.REFUTED),
        (UNCLEAR, ABOVE_ZERO, Verdict.OPEN),
        (CLEAR, Region(high=0.02), Verdict.HOLDS),
        (CLEAR, Region(low=0.02), Verdict.REFUTED),
        (CLEAR, Region(low=0.0105), Verdict.OPEN),
        (CLEAR, Region(-0.02, 0.02), Verdict.HOLDS),
        (CLEAR, Region(-0.005, 0.005), Verdict.REFUTED),
        (UNCLEAR, Region(-0.005, 0.005), Verdict.OPEN),
        ([0.0] * 5, ABOVE_ZERO, Verdict.OPEN),
        ([0.01], ABOVE_ZERO, Verdict.OPEN),
    ],
)
def test_verdict(values, region, expected):
    assert verdict(values, region=region) is expected


def test_mean_over_the_pairs_decides_and_the_reversed_pairs_are_named():
    reversed_pair = [-value for value in CLEAR]
    [judged] = judge([statement(CLEAR, pairs=[CLEAR, CLEAR, reversed_pair, UNCLEAR])])
    assert judged.verdict is Verdict.HOLDS
    assert [pair.verdict for pair in judged.pairs] == [Verdict.HOLDS, Verdict.HOLDS, Verdict.REFUTED, Verdict.OPEN]
    assert [pair.name for pair in judged.reversed_pairs] == [NETWORKS[1].name.split(" ")[0]]


def test_statements_of_a_claim_are_corrected_together():
    weak = [0.010, 0.001, 0.009, 0.004, 0.002]  # p = 0.043
    assert verdict(weak) is Verdict.HOLDS
    judged = judge([statement(weak), statement(UNCLEAR), statement(UNCLEAR)])
    assert judged[0].verdict is Verdict.OPEN
    assert judged[0].p == pytest.approx(3 * paired(weak).p())
    assert judged[0].level == pytest.approx(1 - 0.05 / 3)


def test_number_has_the_interval_of_its_own_test():
    judged = judge([statement(CLEAR), statement(UNCLEAR)])
    low, high = paired(CLEAR).interval(0.975)
    assert judged[0].number == f"+1.08 [{100 * low:+.2f}, {100 * high:+.2f}] points"


def test_ratio_is_shown_as_one():
    [judged] = judge([statement([math.log(2)] * 3, measure=SECONDS)])
    assert judged.number == "2.00 [2.00, 2.00] times"


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (paired(UNCLEAR), "seeds would decide it at this effect"),
        (paired([0.01]), "one seed leaves its chance unknown"),
        (Estimate(0.0001, 5, 1e-8, 4, of_images=1e-6, image_freedom=999), "seeds cannot: the test images are too few"),
        (Estimate(1e-6, 5, 1e-4, 4), "more than 1000 seeds would be needed at this effect"),
    ],
)
def test_what_is_not_decided_says_what_would_decide_it(estimate, words):
    [judged] = judge([Statement("it is so", ACCURACY, ABOVE_ZERO, Comparison([PAIR], estimate, [estimate.mean]))])
    assert judged.verdict is Verdict.OPEN
    assert judged.sentence.startswith("not decided by these runs: ")
    assert judged.sentence.endswith(words)


def test_statement_without_runs_names_what_is_missing():
    [judged] = judge([Statement("it is so", ACCURACY, ABOVE_ZERO, None, missing=PAIR)])
    assert (judged.verdict, judged.missing) == (Verdict.MISSING, PAIR)


def test_claim_counts_its_statements():
    verdicts = [Verdict.HOLDS] * 3 + [Verdict.REFUTED, Verdict.OPEN]
    claim = Claim(3, "", "", [Judgement("", verdict, "") for verdict in verdicts])
    assert claim.verdict == "3 of 5 hold, 1 refuted, 1 open"
    assert Claim(1, "", "", [Judgement("", Verdict.HOLDS, "")]).verdict == "1 of 1 holds"
    assert Claim(1, "", "", [Judgement("", Verdict.MISSING, "")]).verdict == "0 of 1 holds, 1 without runs"


def test_share_is_that_of_the_seeds_inside_the_region_and_ties_count_half():
    assert ABOVE_ZERO.share([1.0, 0.0, -1.0, 2.0]) == 0.625
    assert BELOW_ZERO.share([1.0, 0.0, -1.0, -2.0]) == 0.625
