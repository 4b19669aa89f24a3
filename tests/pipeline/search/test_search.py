"""Studies on the digits: their trials, their resumption, and what they refuse."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import optuna
import pytest

from pipeline.config import TrainingConfig
from pipeline.errors import PipelineError, UsageError
from pipeline.search.search import search
from pipeline.search.space import Space
from pipeline.tracking.store import Store
from pipeline.training.networks import Settings
from tests.conftest import REPOSITORY, copy_store
from tests.pipeline.test_commands import weights

BASE = TrainingConfig(
    dataset="digits", activation="sigmoid", learning_rate=0.1, init_std="he", max_epoch=20, test_epoch=2
)
SPACE = Space(learning_rate=(0.01, 1.0), max_epoch=(10, 40), epoch_step=10)
STUDY = "digits sigmoid-euclidean-1h"
COMMAND = [
    sys.executable, "-m", "pipeline", "search", "--dataset", "digits", "--learning-rate", "0.1", "--init-std", "he",
    "--max-epoch", "20", "--test-epoch", "2", "--learning-rates", "0.01,1", "--max-epochs", "10,40", "--workers", "1",
]  # fmt: skip


@pytest.fixture
def one_worker(data_dir):
    return Settings(data_dir=data_dir, workers=1, quiet=True)


def study_of(folder=None, name=STUDY):
    return optuna.load_study(
        study_name=name, storage=f"sqlite:///{folder}/optuna.db" if folder else "sqlite:///optuna.db"
    )


def trials_of(folder=None):
    return study_of(folder).get_trials()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, empty_store, data_dir):
    """A study of six trials, never interrupted: its folder and its store."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", copy_store(empty_store, folder))
        patch.chdir(folder)
        settings = Settings(data_dir=data_dir, workers=1, quiet=True)
        outcomes = search(BASE, SPACE, settings, {"dataset": "digits"}, trials=6)
        yield folder, Store.open(), outcomes


@pytest.fixture
def within_finished(finished, monkeypatch):
    folder, store, _ = finished
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.chdir(folder)
    return finished


def trial_runs(store):
    return {int(run.tags["trial"]): run for run in store.search("tags.trial LIKE '%'")}


def parent_of(store):
    return next(store.search("tags.space LIKE '%'"))


def test_study_has_its_trials_the_baseline_first(within_finished):
    trials = trials_of()
    assert len(trials) == 6
    assert all(trial.state.is_finished() for trial in trials)
    assert trials[0].params == {"learning_rate": 0.1, "max_epoch": 20}
    assert len({tuple(trial.params.values()) for trial in trials}) == 6
    for trial in trials:
        assert 0.01 <= trial.params["learning_rate"] <= 1
        assert trial.params["max_epoch"] in {10, 20, 30, 40}


def test_each_trial_is_a_child_run(within_finished):
    _, store, _ = within_finished
    runs = trial_runs(store)
    assert runs.keys() == set(range(6))
    expected = {"COMPLETE": "FINISHED", "PRUNED": "KILLED"}
    for trial in trials_of():
        run = runs[trial.number]
        assert trial.user_attrs["run_id"] == run.run_id
        assert run.tags["trial_state"] == trial.state.name
        assert run.status == expected[trial.state.name]
        assert run.parent_id == parent_of(store).run_id
        config = TrainingConfig.from_parameters(run.parameters)
        assert config == replace(BASE, validation=True, **trial.params)
        curve = {point.step // 12: point.value for point in store.history(run.run_id, "validation/accuracy")}
        assert trial.intermediate_values == curve
        assert "test/accuracy" not in run.metrics
        if trial.state.name == "COMPLETE":
            assert trial.value == run.metrics["validation_accuracy"]
        else:
            assert "median" in run.tags["reason"]


def test_best_is_retrained_on_all_images_and_set_beside_the_baseline(within_finished):
    _, store, outcomes = within_finished
    best = study_of().best_trial
    configs = {outcome.config for outcome in outcomes}
    assert configs == {replace(BASE, **best.params), BASE}
    parent = parent_of(store)
    assert parent.parameters["best_learning_rate"] == str(best.params["learning_rate"])
    assert parent.metrics["best_validation_accuracy"] == best.value
    assert parent.metrics["best_test_accuracy"] == outcomes[0].metrics["test_accuracy"]
    files = {file.path for file in store.client.list_artifacts(parent.run_id)}
    assert files == {"results.md", "trials.md", "study.html"}
    assert "best of the search" in parent.description


def test_asking_again_trains_nothing(within_finished, one_worker, capsys):
    _, store, outcomes = within_finished
    before = len(list(store.search("tags.fingerprint LIKE '%'")))
    again = search(BASE, SPACE, one_worker, {"dataset": "digits"}, trials=6)
    assert [outcome.run_id for outcome in again] == [outcome.run_id for outcome in outcomes]
    assert len(list(store.search("tags.fingerprint LIKE '%'"))) == before
    assert "6 of 6 trials finished" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("base", "space", "trials", "told"),
    [
        (BASE, replace(SPACE, learning_rate=(0.01, 2.0)), 6, r"is \[0.01, 1.0\] there and \[0.01, 2.0\] here"),
        (replace(BASE, batch_size=50), SPACE, 6, "batch_size is 100 there and 50 here"),
        (BASE, SPACE, 5, "trials is 5; the study 'digits sigmoid-euclidean-1h' has 6 already"),
    ],
)  # fmt: skip
def test_another_search_under_the_same_name_is_refused_and_changes_nothing(
    within_finished, one_worker, base, space, trials, told
):
    before = [(trial.state, trial.params) for trial in trials_of()]
    with pytest.raises(UsageError, match=told):
        search(base, space, one_worker, {}, trials=trials)
    assert [(trial.state, trial.params) for trial in trials_of()] == before


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/at/all/optuna.db", "nonsense", "postgresql://me:secret@127.0.0.1:1/x"]
)
def test_storage_that_cannot_be_used_is_told_without_its_password(one_worker, monkeypatch, url):
    monkeypatch.setenv("OPTUNA_STORAGE", url)
    with pytest.raises(PipelineError, match="OPTUNA_STORAGE") as caught:
        search(BASE, SPACE, one_worker, {}, trials=1)
    assert "secret" not in str(caught.value)


def test_diverging_trials_fail_and_the_study_goes_on(one_worker, store):
    space = replace(SPACE, learning_rate=(0.09, 1e30))
    search(BASE, space, one_worker, {}, trials=4)
    states = [trial.state.name for trial in trials_of()]
    assert states[0] == "COMPLETE"
    assert "FAIL" in states
    failed = next(trial for trial in trials_of() if trial.state.name == "FAIL")
    run = store.get(failed.user_attrs["run_id"])
    assert (run.status, run.tags["trial_state"]) == ("FAILED", "FAIL")
    assert "epoch" in run.tags["reason"]


def test_more_trials_are_added_to_those_there_are(one_worker, store):
    search(BASE, SPACE, one_worker, {}, trials=1)
    [first] = trials_of()
    search(BASE, SPACE, one_worker, {}, trials=3)
    assert len(trials_of()) == 3
    assert trials_of()[0].user_attrs["run_id"] == first.user_attrs["run_id"]


def begin(folder, data_dir, *more):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    return subprocess.Popen(
        [*COMMAND, "--trials", "6", "--data-dir", str(data_dir), *more],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def under_way(process):
    """Read on until a training has begun; returns the line."""
    for line in process.stderr:
        if "begins" in line or "goes on" in line:
            return line
    return ""


def test_study_killed_again_and_again_ends_like_one_never_interrupted(finished, tmp_path, data_dir):
    whole, whole_store, _ = finished
    draw = np.random.default_rng(7)
    kills = 0
    while kills < 5:
        process = begin(tmp_path, data_dir)
        if not under_way(process):
            break
        time.sleep(draw.uniform(0, 1.5))  # not to wait for anything: the moment of the kill
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
    last = begin(tmp_path, data_dir)
    _, errors = last.communicate()
    assert last.returncode == 0, errors
    assert kills > 1
    store = Store(f"sqlite:///{tmp_path}/mlflow.db", whole_store.experiment_id)
    assert [(trial.state, trial.params, trial.value, trial.intermediate_values) for trial in trials_of(tmp_path)] == [
        (trial.state, trial.params, trial.value, trial.intermediate_values) for trial in trials_of(whole)
    ]
    runs, expected = trial_runs(store), trial_runs(whole_store)
    assert len(list(store.search("tags.trial LIKE '%'"))) == 6
    assert not list(store.search("attributes.status = 'RUNNING'"))
    for number, run in runs.items():
        assert run.status == expected[number].status
        for key in ("train/loss", "validation/loss", "validation/accuracy"):
            points = [(point.step, point.value) for point in store.history(run.run_id, key)]
            assert points == [(point.step, point.value) for point in whole_store.history(expected[number].run_id, key)]
        if run.status == "FINISHED":
            first, second = weights(store, run.run_id), weights(whole_store, expected[number].run_id)
            assert all(np.array_equal(first[name], second[name]) for name in second)


def test_two_processes_share_a_study(tmp_path, data_dir, store):
    both = [begin(tmp_path, data_dir) for _ in range(2)]
    told = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert len(trials_of(tmp_path)) == 6
    assert all(trial.state.is_finished() for trial in trials_of(tmp_path))
    runs = list(store.search("tags.trial LIKE '%'"))
    assert sorted(int(run.tags["trial"]) for run in runs) == list(range(6))
    fingerprints = [run.tags["fingerprint"] for run in store.search("tags.fingerprint LIKE '%'")]
    assert len(fingerprints) == len(set(fingerprints))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_study_says_what_it_has_and_goes_on(tmp_path, data_dir, store, number):
    process = begin(tmp_path, data_dir)
    assert under_way(process)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 130
    last = errors.splitlines()[-1]
    assert "of 6 trials finished" in last
    assert "Run the same command again to go on." in last
    assert not list(store.search("attributes.status = 'RUNNING'"))
    again = begin(tmp_path, data_dir)
    _, errors = again.communicate()
    assert again.returncode == 0, errors
    assert len(trials_of(tmp_path)) == 6
    assert len(list(store.search("tags.trial LIKE '%'"))) == 6
