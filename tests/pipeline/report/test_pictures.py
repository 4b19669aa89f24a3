"""The report's pictures: vectors that show what is there, and are the same each time."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.report import pictures
from pipeline.report.claims import judge_claims
from pipeline.report.reading import Reading
from pipeline.report.reproduced import cell, over_seeds
from tests.pipeline.report.conftest import NETWORKS


@pytest.fixture
def reading(made):
    for seed in (0, 1):
        curve = [(epoch, 1 - 0.9 * np.exp(-epoch / 20) - seed / 100) for epoch in range(5, 201, 5)]
        for config in NETWORKS[:3]:
            made.run(replace(config, seed=seed), curve=curve)
    return Reading("made", made)


def test_curves_share_axes_and_have_bands_over_seeds(reading):
    figure = pictures.curves(reading, "loss")
    panels = figure.get_axes()
    assert len(panels) == 18
    assert {axes.get_yscale() for axes in panels} == {"log"}
    assert len({axes.get_ylim() for axes in panels}) == 1
    drawn = [axes for axes in panels if axes.lines]
    assert len(drawn) == 3
    assert all(len(axes.collections) == len(axes.lines) == 2 for axes in drawn)
    band = drawn[0].collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() - band.min() > 0.01


def test_without_curves_there_is_no_figure(made):
    assert pictures.curves(Reading("made", made), "loss") is None


def test_curve_is_thinned_to_means_since_the_last_point():
    curve = [(1.0, 1.0), (5.0, 3.0), (6.0, 10.0)]
    reading = type("Made", (), {})()
    reading.of = lambda _config: [None]
    reading.runs = type("Runs", (), {"curve": lambda *_: curve})()
    config = replace(NETWORKS[0], max_epoch=10, test_epoch=5)
    assert pictures.curve_by_seed(reading, config, "train/loss")[1].tolist() == [[2.0, 10.0]]


def test_forest_has_a_row_for_each_compared_statement(made):
    for seed in (0, 1, 2):
        made.published(NETWORKS, seed=seed)
    claims = judge_claims(Reading("made", made))
    figure = pictures.forest(claims)
    rows = [text.get_text() for axes in figure.get_axes() for text in axes.get_yticklabels()]
    compared = [each.text for claim in claims for each in claim.judgements if each.overall]
    assert sorted(text.partition(": ")[2] for text in rows) == sorted(compared)
    assert pictures.forest([]) is None


def test_forest_marks_the_bounds_that_a_statement_claims(made):
    for seed in (0, 1, 2):
        made.published(NETWORKS, seed=seed)
    ratios = pictures.forest(judge_claims(Reading("made", made))).get_axes()[1]
    marked = {round(float(x), 3) for line in ratios.lines if line.get_marker() == "|" for x in line.get_xdata()}
    assert marked == {0.75, round(4 / 3, 3), 1.2}  # about equal, and clearly longer


def test_networks_are_shown_beside_their_published_figures(made):
    made.published(NETWORKS[:4], test_accuracy=lambda _config, value: value + 0.01)
    cells = [cell(Reading("made", made), config, "test_accuracy") for config in NETWORKS[:4]]
    axes = pictures.networks(cells).get_axes()[0]
    measured, published = (axes.lines[-2].get_xdata(), axes.lines[-1].get_xdata())
    assert np.subtract(measured, published) == pytest.approx([1.0] * 4)


def test_networks_without_published_figures_stand_alone(made):
    for config in NETWORKS[:4]:
        made.run(config)
    measured = [over_seeds(Reading("made", made), config, "test_accuracy") for config in NETWORKS[:4]]
    axes = pictures.networks(measured).get_axes()[0]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["measured"]


@pytest.mark.parametrize(("known", "labels"), [({}, ["measured"]), ({0.1: 0.92, 0.2: 0.9}, ["measured", "published"])])
def test_learning_rates_have_published_points_where_there_are_any(known, labels):
    axes = pictures.by_learning_rate({"measured": {0.1: [0.9, 0.91]}}, known).get_axes()[0]
    assert sorted(text.get_text() for text in axes.get_legend().get_texts()) == labels
    assert list(axes.get_xticks()) == sorted({0.1, *known})


def test_figures_are_vectors_and_the_same_each_time(reading, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        figure = pictures.by_learning_rate({"measured": {0.1: [0.9, 0.91]}}, {0.1: 0.92})
        pictures.save(figure, tmp_path / name / "rate.svg")
    first, second = ((tmp_path / name / "rate.svg").read_bytes() for name in ("one", "two"))
    assert first == second
    assert b"<svg" in first
