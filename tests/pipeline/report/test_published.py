import csv
from dataclasses import replace

import pytest

from pipeline.config import TrainingConfig
from pipeline.report import published
from tests.conftest import REPOSITORY

SOURCE = REPOSITORY.parent / "shared/published"


def test_every_network_and_study_is_there():
    assert len(published.networks()) == 18
    assert [run.study for run in published.studies()].count("learning_rate") == 6
    assert {run.study for run in published.studies()} == {"max_epoch", "learning_rate", "best_learning_rate_with_hinge"}


@pytest.mark.skipif(not SOURCE.is_dir(), reason="the published files are not here")
@pytest.mark.parametrize(
    ("name", "runs"), [("networks.csv", published.networks()), ("sweeps.csv", published.studies())]
)
def test_figures_are_the_published_ones(name, runs):
    with (SOURCE / name).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(runs)
    for row, run in zip(rows, runs, strict=True):
        for key, text in row.items():
            if key in run.metrics:
                assert float(text) == run.metrics[key]
            elif text and key != "study":
                assert str(getattr(run.config, key)) == text or float(text) == getattr(run.config, key)


def test_published_run_is_found_whatever_was_left_open():
    config = TrainingConfig(activation="gelu", loss="hinge", init_std="he", seed=7, test_epoch=1)
    assert (
        published.find(config).metrics["test_accuracy"]
        == published.find(replace(config, seed=0)).metrics["test_accuracy"]
    )
    assert published.find(replace(config, learning_rate=0.5)) is None
    assert published.find(replace(config, dataset="digits")) is None


def test_cross_entropy_is_brought_to_the_published_convention_alone():
    config = TrainingConfig(loss="softmax_cross_entropy")
    assert published.in_published_convention(config, "test_loss", 0.5) == 0.05
    assert published.in_published_convention(config, "test_accuracy", 0.5) == 0.5
    assert published.in_published_convention(replace(config, loss="hinge"), "test_loss", 0.5) == 0.5
    assert published.in_published_convention(replace(config, dataset="digits"), "test_loss", 0.5) == 0.5


def test_best_learning_rate():
    best = published.best_learning_rate()
    assert (best.config.learning_rate, best.metrics["test_accuracy"]) == (0.09, 0.9673)
