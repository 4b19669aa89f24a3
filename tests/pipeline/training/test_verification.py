"""A finished run is trained again: it comes out the same, or the first point that differs is named."""

from dataclasses import replace

import pytest

from pipeline import commands
from pipeline.config import TrainingConfig
from pipeline.errors import PipelineError, UsageError
from pipeline.training.verification import config_of, verify

CONFIG = TrainingConfig(
    dataset="digits", loss="hinge", momentum=0.5, max_epoch=3, test_epoch=2, disp_freq=5, validation=True
)


@pytest.fixture
def run(settings):
    return commands.train_one(CONFIG, settings, {}).run_id


@pytest.fixture
def stored(store):
    """A function that gives all that the store has: it shall not change."""
    return lambda: [(each.run_id, each.status, each.tags, each.metrics) for each in store.search("")]


def test_an_untouched_run_is_identical_and_the_store_only_read(run, settings, stored, capsys):
    before = stored()
    capsys.readouterr()
    commands.verify_run(run, settings)
    said = capsys.readouterr().out
    batches, evaluations = 3 * 12, 2  # 1,198 images in batches of 100; after epochs 2 and 3
    points = 2 * (-(-batches // 5) + evaluations) + 4
    assert f"identical: relu-hinge-1h ({run}), trained again, has the same {points} points" in said
    assert "processor" in said
    assert "numpy" in said
    assert stored() == before


def test_the_first_point_that_differs_is_named(run, settings, store):
    first = store.history(run, "train/loss")[1]
    store.client.log_metric(run, "train/loss", first.value + 1e-12, step=first.step)
    with pytest.raises(
        PipelineError, match=rf"relu-hinge-1h \({run}\) differs first at step {first.step}: train/loss is"
    ):
        commands.verify_run(run, settings)


def test_a_point_too_many_is_named(run, settings, store):
    store.client.log_metric(run, "train/accuracy", 0.5, step=1)
    with pytest.raises(PipelineError, match=r"step 1: train/accuracy is 0\.5 in the run and not there here"):
        commands.verify_run(run, settings)


def test_what_is_no_finished_network_is_refused(run, settings, store):
    parent = store.get(run).parent_id
    with pytest.raises(UsageError, match="not the finished run of a network"):
        commands.verify_run(parent, settings)
    with pytest.raises(UsageError, match="run is 'nothing', which the experiment does not have"):
        commands.verify_run("nothing", settings)


def test_other_data_are_refused(run, settings, store):
    tracked, dataset = store.get(run), replace(commands.prepared("digits", settings), digest="other")
    with pytest.raises(UsageError, match="trained on data with the digest"):
        verify(store, tracked, config_of(tracked), dataset, lambda _epoch: None)
