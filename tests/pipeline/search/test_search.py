"""Searches on the digits: their trials, runs, tables and pictures, and what they refuse."""

import threading
from dataclasses import replace

import optuna
import pytest

from pipeline.config import TrainingConfig
from pipeline.errors import PipelineError
from pipeline.report.measured import Runs
from pipeline.search import analysis, trials
from pipeline.search.search import Plan, search
from pipeline.search.space import Space
from pipeline.tracking.store import Store
from pipeline.training import networks
from pipeline.training.networks import Settings
from pipeline.training.trainer import train
from tests.conftest import working_in

BASE = TrainingConfig(
    dataset="digits", activation="sigmoid", learning_rate=0.1, init_std="he", max_epoch=20, test_epoch=2
)
SPACE = Space.parse("learning_rate=0.01..1 log, max_epoch=10..40 step 10")
STUDY = "digits sigmoid-euclidean-1h"


@pytest.fixture
def one_worker(data_dir):
    return Settings(data_dir=data_dir, workers=1, quiet=True)


@pytest.fixture
def in_process(monkeypatch):
    """Train in this process, which takes less time than beginning others."""

    def run_tasks(tasks, *, report, **_):
        for task in tasks:
            yield train(task, report=report, stop=threading.Event())

    monkeypatch.setattr(trials, "run_tasks", run_tasks)
    monkeypatch.setattr(networks, "run_tasks", run_tasks)


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
    with working_in(folder, empty_store):
        settings = Settings(data_dir=data_dir, workers=1, quiet=True)
        outcomes = search(BASE, SPACE, Plan(6, confirm=1), settings, {"dataset": "digits"})
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
    found = trials_of()
    assert len(found) == 6
    assert all(trial.state.is_finished() for trial in found)
    assert found[0].params == {"learning_rate": 0.1, "max_epoch": 20}
    assert len({tuple(trial.params.values()) for trial in found}) == 6
    for trial in found:
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


def test_the_run_of_the_search_has_the_metrics_of_a_grid_after_each_trial(within_finished):
    _, store, _ = within_finished
    parent, ended = parent_of(store), trials_of()
    assert [point.value for point in store.history(parent.run_id, "networks_finished")] == [0, 1, 2, 3, 4, 5, 6]
    assert parent.metrics["networks_asked"] == 6
    assert parent.metrics["networks_finished"] == 6
    assert parent.metrics["seconds"] == pytest.approx(sum(trial.user_attrs["train_seconds"] for trial in ended))
    *during, final = [point.value for point in store.history(parent.run_id, "best_validation_accuracy")]
    assert during == sorted(during)
    assert during[-1] == max(trial.value for trial in ended if trial.state.name == "COMPLETE")
    assert final == parent.metrics["best_validation_accuracy"]


def test_best_is_retrained_on_all_images_and_set_beside_the_baseline(within_finished):
    _, store, outcomes = within_finished
    best = study_of().best_trial
    configs = {outcome.config for outcome in outcomes}
    assert configs == {replace(BASE, **best.params), BASE}
    seeds = [TrainingConfig.from_parameters(run.parameters) for run in store.search("params.seed != '0'")]
    assert sorted(config.seed for config in seeds) == [1, 2, 3]
    assert {replace(config, seed=0) for config in seeds} == {replace(BASE, validation=True, **best.params)}
    parent = parent_of(store)
    assert parent.parameters["best_learning_rate"] == str(best.params["learning_rate"])
    assert parent.metrics["best_validation_accuracy"] == best.value
    assert parent.metrics["best_test_accuracy"] == outcomes[0].metrics["test_accuracy"]
    files = {file.path for file in store.client.list_artifacts(parent.run_id)}
    assert files == {"results.md", "confirmation.md", "trials.md", "networks.json", "analysis"}
    drawn = {file.path for file in store.client.list_artifacts(parent.run_id, "analysis")}
    names = ("contour", "history", "importances", "ranks", "slice", "timeline")
    assert drawn == {f"analysis/{name}.png" for name in names}
    assert "best of the search" in parent.description
    assert "s of processor time; pruning saved" in parent.description


def test_asking_again_trains_nothing(within_finished, one_worker, capsys):
    _, store, outcomes = within_finished
    before = len(list(store.search("tags.fingerprint LIKE '%'")))
    again = search(BASE, SPACE, Plan(6, confirm=1), one_worker, {"dataset": "digits"})
    assert [outcome.run_id for outcome in again] == [outcome.run_id for outcome in outcomes]
    assert len(list(store.search("tags.fingerprint LIKE '%'"))) == before
    assert "6 of 6 trials finished" in capsys.readouterr().out


def test_space_of_every_kind_from_text_to_tables(one_worker, store, in_process, capsys):
    space = Space.parse(
        "hidden_sizes=8|16x8, activation=relu|gelu, init_std=0.05|he, batch_size=50|100, momentum=0..0.9, "
        "learning_rate=0.001..0.1 log, max_epoch=2..6 step 2"
    )
    base = replace(BASE, max_epoch=4, hidden_sizes=(8,), activation="relu", batch_size=50, momentum=0.5)
    outcomes = search(base, space, Plan(4, confirm=1), one_worker, {"dataset": "digits"})
    output = capsys.readouterr()
    assert "Warning" not in output.err
    assert {
        trial.params.keys() == space.values.keys() for trial in study_of(name="digits relu-euclidean-8").get_trials()
    }
    assert outcomes[-1].config == base
    assert output.out.count(" hidden_sizes |") == 2
    [found] = Runs(store, BASE).searches
    assert found.best == outcomes[0].config
    assert "16x8" in found.table
    assert found.pictures.keys() == {"contour", "history", "importances", "ranks", "slice", "timeline"}
    assert found.summary.startswith("The study 'digits relu-euclidean-8' has 4 of 4 trials finished")


def test_enqueued_trial_outside_the_space_is_trained_and_marked(one_worker, store, in_process):
    made = optuna.create_study(study_name=STUDY, storage="sqlite:///optuna.db", direction="maximize")
    made.enqueue_trial({"learning_rate": 0.05, "max_epoch": 10, "momentum": 0.5})
    search(BASE, SPACE, Plan(1, confirm=0), one_worker, {"dataset": "digits"})
    [trial] = trials_of()
    assert trial.state.name == "COMPLETE"
    assert trial.user_attrs["outside_space"] == {"momentum": 0.5}
    assert store.get(trial.user_attrs["run_id"]).parameters["momentum"] == "0.5"
    assert "enqueued outside the space with momentum=0.5" in Runs(store, BASE).searches[0].table


def test_lag_below_the_workers_is_said(data_dir, store, capsys, in_process):
    settings = Settings(data_dir=data_dir, workers=3)
    search(BASE, SPACE, Plan(1, confirm=0, lag=1), settings, {})
    assert (
        "lag is 1, and no more trials than that run at once: 2 of 3 workers will wait. A study with a larger lag keeps "
        "more of them busy."
    ) in capsys.readouterr().err.splitlines()


def test_picture_that_cannot_be_drawn_is_a_warning(within_finished, one_worker, capsys, monkeypatch):
    def fail(*_):
        raise ValueError("no colours left")

    monkeypatch.setattr(analysis, "history", fail)
    search(BASE, SPACE, Plan(6, confirm=1), one_worker, {"dataset": "digits"})
    output = capsys.readouterr()
    assert output.err.splitlines() == [
        "Warning: analysis/history.png is missing (no colours left); the results do not need it."
    ]
    assert "best of the search" in output.out


@pytest.mark.parametrize(
    "url",
    ["sqlite:////nowhere/at/all/optuna.db", "nonsense", "://me:secret@host", "postgresql://me@127.0.0.1:1/x"],
)
def test_storage_that_cannot_be_used_is_named_without_its_password(one_worker, monkeypatch, url):
    monkeypatch.setenv("OPTUNA_STORAGE", url)
    with pytest.raises(PipelineError, match=r"OPTUNA_STORAGE|The Optuna storage postgresql://me@") as caught:
        search(BASE, SPACE, Plan(1, confirm=0), one_worker, {})
    assert "secret" not in str(caught.value)


def test_diverging_trials_fail_and_the_study_goes_on(one_worker, store, in_process):
    search(BASE, Space.parse("learning_rate=0.09..1e30 log"), Plan(4, confirm=0), one_worker, {})
    states = [trial.state.name for trial in trials_of()]
    assert states[0] == "COMPLETE"
    assert "FAIL" in states
    failed = next(trial for trial in trials_of() if trial.state.name == "FAIL")
    run = store.get(failed.user_attrs["run_id"])
    assert (run.status, run.tags["trial_state"]) == ("FAILED", "FAIL")
    assert "epoch" in run.tags["reason"]


def test_more_trials_are_added_to_those_there_are(one_worker, store, in_process):
    search(BASE, SPACE, Plan(1, confirm=0), one_worker, {})
    [first] = trials_of()
    search(BASE, SPACE, Plan(3, confirm=0), one_worker, {})
    assert len(trials_of()) == 3
    assert trials_of()[0].user_attrs["run_id"] == first.user_attrs["run_id"]
