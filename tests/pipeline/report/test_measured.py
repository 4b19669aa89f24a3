from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import TrainingConfig
from pipeline.report.measured import Runs
from tests.pipeline.report.conftest import BASE, DIGEST, answers

ONE = replace(BASE, activation="gelu")


def ids(runs, config=ONE):
    return [run.run_id for run in runs.of(config)]


def test_run_is_found_by_its_configuration(store, make):
    run_id = make.run(ONE, test_accuracy=0.97)
    make.run(replace(ONE, activation="relu"))
    runs = Runs(store, BASE)
    [found] = runs.of(ONE)
    assert (found.run_id, found.metrics["test_accuracy"]) == (run_id, 0.97)
    assert runs.digest == DIGEST


@pytest.mark.parametrize(
    "other",
    [
        {"weight_decay": 0.1},
        {"momentum": 0.9},
        {"batch_size": 50},
        {"init_std": "he"},
        {"hinge_margin": 1.0},
        {"learning_rate": 0.1},
        {"max_epoch": 10},
        {"dataset": "digits"},
    ],
)
def test_runs_with_other_hyperparameters_or_data_are_left_out(store, make, other):
    run_id = make.run(ONE)
    make.run(replace(ONE, **other), digest="1" * 32 if "dataset" in other else DIGEST)
    assert ids(Runs(store, BASE)) == [run_id]


def test_run_of_the_version_before_is_found(store, make):
    two = replace(ONE, hidden_sizes=(256, 64))
    run_id = make.run(two, without=["hidden_sizes"])
    assert ids(Runs(store, BASE), two) == [run_id]
    assert ids(Runs(store, BASE)) == []


@pytest.mark.parametrize("status", ["FAILED", "KILLED", "RUNNING"])
def test_runs_that_are_not_finished_are_left_out(store, make, status):
    make.run(replace(ONE, activation="relu"))
    make.run(ONE, status=status)
    assert ids(Runs(store, BASE)) == []


def test_deleted_pruned_broken_and_foreign_runs_are_left_out(store, make):
    kept = make.run(ONE)
    store.client.delete_run(make.run(ONE))
    make.run(replace(ONE, validation=True))
    make.run(ONE, lacking=["test_loss"])
    foreign = store.client.create_run(store.experiment_id)
    store.client.log_param(foreign.info.run_id, "learning_rate", "0.003")
    store.client.set_terminated(foreign.info.run_id)
    assert ids(Runs(store, BASE)) == [kept]


def test_of_runs_on_other_data_of_the_same_name_the_last_data_count(store, make):
    make.run(ONE, digest="1" * 32)
    run_id = make.run(ONE)
    runs = Runs(store, BASE)
    assert ids(runs) == [run_id]
    assert runs.other_data


def test_last_run_of_a_seed_counts_and_seeds_are_in_order(store, make):
    make.run(ONE)
    expected = {seed: make.run(replace(ONE, seed=seed)) for seed in (2, 0, 1)}
    runs = Runs(store, BASE)
    assert ids(runs) == [expected[0], expected[1], expected[2]]
    assert not runs.other_data


def test_how_often_a_curve_was_sampled_makes_no_other_network(store, make):
    run_id = make.run(replace(ONE, disp_freq=7, test_epoch=100))
    assert ids(Runs(store, TrainingConfig())) == [run_id]


def test_curve_is_by_epoch(store, make):
    make.run(ONE, curve=[(50, 0.5), (200, 0.9)])
    runs = Runs(store, BASE)
    assert runs.curve(runs.of(ONE)[0], "test/accuracy") == [(50.0, 0.5), (200.0, 0.9)]


def test_curves_of_a_run_ask_for_its_last_step_once(store, make, monkeypatch):
    make.run(ONE)
    runs = Runs(store, BASE)
    [run] = runs.of(ONE)
    asked = []
    history = store.history
    monkeypatch.setattr(store, "history", lambda run_id, key: asked.append(key) or history(run_id, key))
    for metric in ("test/accuracy", "test/loss", "test/accuracy"):
        assert runs.curve(run, metric)
    assert asked == ["test/accuracy", "test_accuracy", "test/loss"]


def test_run_of_a_command_is_no_network(store, make):
    run_id = make.run(ONE)
    command = store.client.create_run(store.experiment_id, run_name="search").info.run_id
    for name, value in ONE.parameters().items():
        store.client.log_param(command, name, value)
    store.client.set_terminated(command)
    assert ids(Runs(store, BASE)) == [run_id]


def test_empty_store_has_nothing(store):
    runs = Runs(store, BASE)
    assert runs.digest is None
    assert runs.of(ONE) == []
    assert runs.searches == []


def test_search_is_read_with_its_trials(store, make):
    trials = [("complete", 0.003, 0.9), ("complete", 0.1, 0.95), ("pruned", 0.2, 0.5), ("fail", 0.3, 0.1)]
    make.search(trials=[(state, replace(ONE, learning_rate=rate), value) for state, rate, value in trials], best=1)
    [search] = Runs(store, BASE).searches
    assert [trial.state for trial in search.trials] == ["complete", "complete", "pruned", "fail"]
    assert search.best == replace(ONE, learning_rate=0.1)
    assert search.trials[2].accuracy == 0.5


def test_best_of_a_search_of_any_hyperparameter_is_no_missing_network(store, make):
    best = replace(ONE, momentum=0.9, init_std="he", batch_size=32)
    make.run(ONE)
    tested = make.run(best)
    make.search(trials=[("complete", best, 0.9)], best=0)
    runs = Runs(store, BASE)
    assert runs.searches[0].best == best
    assert [run.run_id for run in runs.of(best)] == [tested]


def test_search_whose_trials_reused_runs_is_read_with_what_its_run_keeps(store, make):
    make.run(ONE)
    trial = make.run(replace(ONE, learning_rate=0.2, validation=True), validation_accuracy=0.9)
    make.search(trials=[("complete", ONE, 0.9)], best=0)
    [command] = store.search("tags.space LIKE '%'")
    for tag, value in (("best_run", trial), ("baseline_run", make.run(replace(ONE, momentum=0.5)))):
        store.client.set_tag(command.run_id, tag, value)
    store.client.set_tag(command.run_id, "mlflow.note.content", "summary\n\ntables")
    for path in ("trials.md", "confirmation.md", "analysis/history.png"):
        store.client.log_text(command.run_id, path, path)
    [search] = Runs(store, BASE).searches
    assert (search.best.learning_rate, search.first.momentum) == (0.2, 0.5)
    assert (search.summary, search.table, search.confirmation) == ("summary", "trials.md", "confirmation.md")
    assert search.pictures == {"history": b"analysis/history.png"}


def test_correct_answers_are_those_of_the_kept_predictions(store, make):
    right = answers(0.9, 0)
    make.run(ONE, right=right)
    runs = Runs(store, BASE)
    assert np.array_equal(runs.correct(runs.of(ONE)[0]), right)


@pytest.fixture
def older(trained, monkeypatch):
    """A trained network and its run, as it was before predictions were kept."""
    monkeypatch.setattr("pipeline.training.predictions.ARTIFACT", "not-there.npz")
    config = replace(trained.outcome.config, seed=0)
    return trained.store, config


def test_run_without_predictions_has_them_from_its_model(older, data_dir):
    store, config = older
    runs = Runs(store, config, data_dir)
    [run] = runs.of(config)
    assert runs.correct(run).mean() == pytest.approx(run.metrics["test_accuracy"])


def test_without_the_data_of_the_run_its_answers_are_unknown(older, tmp_path, monkeypatch, data_dir):
    store, config = older
    for folder in (None, tmp_path):
        runs = Runs(store, config, folder)
        assert runs.correct(runs.of(config)[0]) is None
    runs = Runs(store, config, data_dir)
    [run] = runs.of(config)
    monkeypatch.setattr(runs, "digest", "of other data")
    assert runs.correct(run) is None


def test_initialisations_are_numbers_in_their_order_and_then_rules(store, make):
    for init_std in (0.1, "he", (0.05, 0.15), 0.02, BASE.init_std):
        make.run(replace(ONE, init_std=init_std))
    make.run(replace(ONE, init_std=0.5, learning_rate=0.1))
    assert Runs(store, BASE).initialisations() == [0.02, 0.1, (0.05, 0.15), "he"]


def test_run_says_what_computed_it(store, make):
    make.run(ONE, tags={"processor": "Haswell AVX2", "numpy": "2.4.6"})
    make.run(replace(ONE, seed=1))
    assert [run.machine for run in Runs(store, BASE).of(ONE)] == ["Haswell AVX2 with NumPy 2.4.6", ""]


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("space", "{"),
        ("space", "[1]"),
        ("space", "3"),
        ("best_run", "no' run"),
        ("best_run", "\x1b[2J"),
        ("study", "o'x"),
    ],
)
def test_a_search_that_others_have_changed_is_read_or_left_out_with_a_warning(store, make, tag, value, capsys):
    make.run(ONE)
    make.search(trials=[("complete", ONE, 0.9)], best=0)
    [command] = store.search("tags.space LIKE '%'")
    store.client.set_tag(command.run_id, tag, value)
    searches = Runs(store, BASE).searches
    warned = capsys.readouterr().err
    if tag == "space":
        assert searches == []
        assert f"({command.run_id}) cannot be read" in warned
        assert len(warned.splitlines()) == 1
    else:
        assert warned == ""
        assert len(searches) == (tag == "best_run")


@pytest.mark.parametrize("number", ["", "1e3", "-1", "9" * 5000, "\x1b[2J"])
def test_a_trial_without_a_number_is_left_out(store, make, number):
    make.run(ONE)
    make.search(trials=[("complete", ONE, 0.9), ("complete", replace(ONE, learning_rate=0.2), 0.8)], best=0)
    run = next(store.search("tags.trial = '1'"))
    store.client.set_tag(run.run_id, "trial", number)
    [search] = Runs(store, BASE).searches
    assert [trial.number for trial in search.trials] == [0]
