"""The figures for other programs: every one of them, and the same as in the document."""

from dataclasses import replace

import pandas as pd
import pytest

from pipeline.report.claims import judge_claims
from pipeline.report.longform import COMPARISONS_FILE, FIGURES_FILE, write
from pipeline.report.measured import FIGURES
from pipeline.report.reading import Reading
from tests.pipeline.report.conftest import BASE, NETWORKS


@pytest.fixture
def frames(made, tmp_path):
    for seed in (0, 1, 2):
        made.published(NETWORKS, seed=seed, test_accuracy=lambda _config, value, seed=seed: value + seed / 1000)
    write(tmp_path, made, [*NETWORKS, *NETWORKS], judge_claims(Reading("made", made)))
    return pd.read_csv(tmp_path / FIGURES_FILE), pd.read_csv(tmp_path / COMPARISONS_FILE)


def test_every_figure_of_every_run_has_one_row(frames):
    figures, _ = frames
    assert len(figures) == 18 * 3 * len(FIGURES)
    assert not figures.duplicated(["run", "metric"]).any()
    accuracy = figures[(figures.metric == "test_accuracy") & (figures.seed == 2)]
    assert (accuracy.measured - accuracy.published).tolist() == pytest.approx([0.002] * 18)


def test_other_data_have_neither_published_figures_nor_comparisons(made, tmp_path):
    made.base = replace(BASE, dataset="digits")
    made.run(made.base)
    folder = tmp_path / "tables"
    folder.mkdir()
    write(folder, made, [made.base], [])
    assert [path.name for path in folder.iterdir()] == [FIGURES_FILE]
    frame = pd.read_csv(folder / FIGURES_FILE)
    assert frame.columns.tolist()[-3:] == ["run", "metric", "measured"]
    assert len(frame) == len(FIGURES)


def test_losses_are_in_the_published_convention(frames):
    figures, _ = frames
    losses = figures[figures.metric == "test_loss"]
    assert losses.measured.tolist() == pytest.approx(losses.published.tolist())


def test_every_comparison_has_one_row(frames):
    _, comparisons = frames
    order = comparisons[comparisons.statement == "GELU is more accurate than ReLU"]
    assert order.pair.tolist()[0] == "mean"
    assert len(order) == 1 + 6
    assert order.difference.iloc[0] == pytest.approx(order.difference.iloc[1:].mean())
    assert set(comparisons.verdict) <= {"holds", "refuted", "not decided"}
