"""What a dry run says, and that it changes nothing."""

import threading
from dataclasses import replace

import pytest

from pipeline import commands
from pipeline.config import TrainingConfig
from pipeline.data import datasets
from pipeline.tracking.acquisition import create
from pipeline.tracking.store import FINGERPRINT_TAG
from pipeline.training.plan import Planned, Step, describe_plan, duration, plan_networks, seconds
from pipeline.training.task import Task
from pipeline.training.trainer import train

QUICK = TrainingConfig(dataset="digits", learning_rate=0.1, init_std="he", max_epoch=3, test_epoch=1)


@pytest.fixture
def dataset(settings):
    return datasets.load("digits", settings.data_dir)


class StopAfterAnEpoch(threading.Event):
    """Set once it was asked for: after the first stretch of the training."""

    def is_set(self):
        asked, self.asked = getattr(self, "asked", 0), getattr(self, "asked", 0) + 1
        return asked > 0


def test_each_network_has_its_step_and_the_reason(settings, store, dataset, tmp_path):
    settings = replace(settings, checkpoint_dir=tmp_path)
    new, reused, stopped, busy = (replace(QUICK, seed=seed) for seed in range(4))
    finished = commands.train_one(reused, settings, {})
    task = Task(stopped, stopped.fingerprint(dataset.digest), store, None, settings.data_dir, tmp_path)
    assert train(task, report=lambda _event: None, stop=StopAfterAnEpoch()).status == "KILLED"
    held = create(store, "busy", {FINGERPRINT_TAG: busy.fingerprint(dataset.digest)})
    before = [(run.run_id, run.status, run.tags) for run in store.search("")]
    planned = plan_networks(store, [new, reused, stopped, busy], dataset, settings)
    assert [(run.run_id, run.status, run.tags) for run in store.search("")] == before
    assert planned[0] == Planned(new, Step.TRAIN, "no run of it is here", 3)
    assert planned[1] == Planned(reused, Step.REUSE, f"finished in run {finished.run_id}")
    assert planned[2].step is Step.GO_ON
    assert planned[2].why.startswith(f"from epoch {3 - planned[2].epochs} of 3; stopped in epoch")
    assert planned[3].step is Step.BUSY
    assert planned[3].epochs == 0
    assert seconds(store, planned) > 0
    held.stop_renewing()
    [again] = plan_networks(store, [reused], dataset, replace(settings, force=True))
    assert (again.step, again.why) == (Step.TRAIN, "force is set")


def test_the_time_is_that_of_earlier_runs_by_their_multiplications(settings, store, dataset):
    new = Planned(replace(QUICK, seed=1, max_epoch=6), Step.TRAIN, "", 6)
    assert seconds(store, [new]) is None
    earlier = commands.train_one(QUICK, settings, {})
    assert seconds(store, [new]) == pytest.approx(2 * earlier.metrics["train_seconds"])
    assert seconds(store, [replace(new, epochs=3)]) == pytest.approx(earlier.metrics["train_seconds"])
    assert seconds(store, []) == 0


def test_the_plan_is_a_table_and_a_sentence():
    planned = [
        Planned(QUICK, Step.REUSE, "finished in run 0123"),
        Planned(replace(QUICK, loss="hinge"), Step.GO_ON, "from epoch 1 of 3; stopped by SIGTERM", 2),
    ]
    assert describe_plan("grid digits", planned, 250.0, 2) == (
        "grid digits: nothing is trained, this is a dry run.\n\n"
        "network            step    why\n"
        "-----------------  ------  -------------------------------------\n"
        "relu-euclidean-1h  reuse   finished in run 0123\n"
        "relu-hinge-1h      go on   from epoch 1 of 3; stopped by SIGTERM\n\n"
        "1 to reuse, 1 to go on. About 2 min of training on 2 workers, by the seconds of earlier runs."
    )


@pytest.mark.parametrize(("time", "text"), [(0.2, "1 s"), (59, "59 s"), (600, "10 min"), (5400, "1.5 h")])
def test_a_time_has_the_unit_that_suits_it(time, text):
    assert duration(time) == text


@pytest.mark.parametrize("command", ["train", "grid", "sweep", "reproduce"])
def test_a_dry_run_stores_nothing(command, pipeline, store):
    done = pipeline(command, "--dataset", "digits", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "nothing is trained, this is a dry run." in done.stdout
    assert "No earlier run tells how long it takes." in done.stdout
    assert list(store.search("")) == []


def test_a_dry_run_prepares_no_data(pipeline, tmp_path):
    done = pipeline("grid", "--dataset", "digits", "--dry-run", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 0
    assert done.stdout == ("grid digits: 18 networks; what is finished is known once the data set is prepared.\n")
    assert not (tmp_path / "data").exists()
