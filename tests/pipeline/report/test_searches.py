"""The searches of the report: the best configuration with its interval, and how the study stands."""

from dataclasses import replace

import pytest

from pipeline.report.measured import Search, Trial
from pipeline.report.reading import Reading
from pipeline.report.searches import accuracy, baseline, configurations, sentence, standing, trials
from pipeline.report.statistics import paired
from tests.pipeline.report.conftest import BASE, NETWORKS

BASELINE = replace(BASE, activation="sigmoid")
BEST = replace(BASE, activation="sigmoid", learning_rate=0.1)


@pytest.fixture
def search():
    states = [("complete", 0.9), ("complete", 0.95), ("pruned", 0.5), ("fail", None)]
    made = [Trial(number, state, BEST if number else BASELINE, value, "id")
            for number, (state, value) in enumerate(states)]  # fmt: skip
    return Search("weak", "0" * 32, {"learning_rate": [0.003, 0.3]}, BEST, 0.95, made)


def test_one_seed_of_the_best_has_the_deviation_of_the_grid(made, search):
    for config in NETWORKS:
        for seed, step in enumerate((-1, 0, 1)):
            made.run(replace(config, seed=seed), test_accuracy=0.95 + step / 1000)
    made.run(BEST, test_accuracy=0.96)
    found = accuracy(Reading("made", made), search)
    assert (found.mean, found.error) == (0.96, pytest.approx(0.001))
    half = 2.178812829667229 * 0.1  # t(0.975, 6 networks * 2) * 0.1 points
    text = sentence(Reading("made", made), search)
    assert f"learning_rate 0.1 reaches 96.00 [{96 - half:.2f}, {96 + half:.2f}] % test accuracy" in text
    assert text.endswith("; the best published one has 96.73%.")


def test_gain_over_the_baseline_is_paired_by_seed(made, search):
    for seed, gain in enumerate((0.010, 0.011, 0.012)):
        made.run(replace(BEST, seed=seed), test_accuracy=0.95 + gain)
        made.run(replace(BASELINE, seed=seed), test_accuracy=0.95)
    low, high = paired([0.010, 0.011, 0.012]).interval()
    text = sentence(Reading("made", made), search)
    assert f", +1.10 [{100 * low:+.2f}, {100 * high:+.2f}] points more than the baseline" in text


def test_tables_have_a_column_for_each_searched_hyperparameter(made, search):
    wide = replace(search, space={"momentum": "0 to 0.9", "hidden_sizes": "64, 128"})
    for table in (trials(wide), configurations(Reading("made", made), wide)):
        heads = [head.strip() for head in table.splitlines()[0].split("|")]
        assert {"momentum", "hidden_sizes"} <= set(heads)


def test_best_without_a_run_says_so(made, search):
    assert "has not been retrained" in sentence(Reading("made", made), search)


def test_table_of_the_search_itself_comes_first(search):
    assert trials(replace(search, table="| all |")) == "| all |"


def test_standing_says_what_was_searched_and_how_far_it_is(search):
    text = standing(replace(search, space={"momentum": "0.0..0.95"}, summary="It has 4 of 4 trials finished."))
    assert "space: momentum 0.0..0.95. It has 4 of 4 trials finished. The validation images" in text


def test_baseline_that_is_no_trial(search):
    other = replace(BASELINE, momentum=0.5)
    assert baseline(replace(search, first=other, trials=[])) == other
