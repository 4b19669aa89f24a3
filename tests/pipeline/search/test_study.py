"""Studies without trainings: trials drawn, handed out, ended and resumed, in any order and by several commands."""

import sqlite3
from contextlib import closing
from functools import partial

import numpy as np
import optuna
import pytest

from pipeline.config import TrainingConfig
from pipeline.errors import UsageError
from pipeline.search.sampling import OUTSIDE, visible
from pipeline.search.space import Space
from pipeline.search.storage import Storage, storage_url
from pipeline.search.study import DRAWN, Definition, End, Study

BASE = TrainingConfig(dataset="digits", learning_rate=0.1, max_epoch=20, test_epoch=2, validation=True)
SPACE = Space.parse("learning_rate=0.01..1 log, max_epoch=10..40 step 10, activation=relu|sigmoid")
DEFINITION = Definition(BASE, SPACE, "digest")


def open_study(folder, trials=12, definition=DEFINITION, name="study"):
    return Study(
        Storage.open(f"sqlite:///{folder}/optuna.db"), name, definition, trials=trials, lock_dir=folder / "checkpoints"
    )


def curve(config):
    """Evaluations that stand for a training's: they depend on the configuration alone."""
    best = 0.9 - 0.1 * abs(np.log10(config.learning_rate) + 1) - 0.05 * (config.activation == "sigmoid")
    return [(epoch, float(best * (1 - 0.9**epoch))) for epoch in range(2, config.max_epoch + 1, 2)]


def train(study, trial):
    replay = trial.pruning.replay(curve(trial.config))
    state = "PRUNED" if replay.pruned else "COMPLETE"
    value = None if replay.pruned else max(replay.values.items())[1]
    study.finish(trial.number, End(state, value, replay.values, {"train_seconds": 1.0}))


def simulate(folder, workers, seed, kills=0, trials=12, before=None):
    """Run a study with so many workers that finish in an order of chance; a killed command forgets what it had."""
    order = np.random.default_rng(seed)
    study, living, under_way, generation = open_study(folder, trials), {"command 0"}, [], 0
    if before:
        before(study)
    while study.unfinished():
        if kills and order.random() < 0.2:
            kills, generation, under_way = kills - 1, generation + 1, []
            living = {f"command {generation}"}
            study = open_study(folder, trials)
        [owner] = living
        while len(under_way) < workers:
            mine = {trial.number for trial in under_way}
            trial = study.take(owner, mine=mine, is_alive=living.__contains__)
            if trial is None:
                break
            under_way.append(trial)
        if under_way:
            train(study, under_way.pop(order.integers(len(under_way))))
    return [(each.state, each.params, each.value, each.intermediate_values) for each in study.trials()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("alone"), workers=1, seed=0, trials=16)


@pytest.mark.parametrize(("workers", "seed", "kills"), [(2, 1, 0), (4, 2, 0), (9, 3, 0), (3, 4, 5)])
def test_study_is_the_same_with_any_workers_in_any_order_and_killed(alone, tmp_path, workers, seed, kills):
    assert simulate(tmp_path, workers, seed, kills, trials=16) == alone


def test_simulated_study_draws_prunes_and_learns(alone):
    states = [state.name for state, *_ in alone]
    assert {"COMPLETE", "PRUNED"} == set(states)
    assert len({tuple(params.values()) for _, params, *_ in alone}) == 16
    assert alone[0][1] == {"learning_rate": 0.1, "max_epoch": 20, "activation": "relu"}


def test_longer_lag_is_another_study(alone, tmp_path):
    folder = tmp_path
    longer = Definition(BASE, SPACE, "digest", lag=8)
    study = open_study(folder, 16, longer)
    while (trial := study.take("command", mine=set(), is_alive=lambda _: False)) is not None:
        train(study, trial)
    assert [trial.params for trial in study.trials()] != [params for _, params, *_ in alone]


def test_as_many_trials_run_at_once_as_the_lag_says(tmp_path):
    study = open_study(tmp_path)
    mine = set()
    while (trial := study.take("command", mine=mine, is_alive=lambda _: False)) is not None:
        mine.add(trial.number)
    assert mine == {0, 1, 2, 3}


def test_trial_of_a_living_command_is_left_to_it(tmp_path):
    study = open_study(tmp_path)
    assert study.take("first", mine=set(), is_alive=lambda _: True).number == 0
    assert study.take("second", mine=set(), is_alive=lambda _: True).number == 1
    taken_up = study.take("third", mine=set(), is_alive={"second"}.__contains__)
    assert taken_up.number == 0
    assert taken_up.config.learning_rate == 0.1


def test_user_enqueues_trials_that_come_next_and_count(tmp_path):
    study = open_study(tmp_path, trials=8)
    for number in range(2):
        train(study, study.take("command", mine=set(), is_alive=lambda _: False))
        assert study.trials()[number].user_attrs[DRAWN]
    study.optuna.enqueue_trial({"learning_rate": 0.5, "max_epoch": 30})
    study.optuna.enqueue_trial({"learning_rate": 5.0, "momentum": 0.5})
    study.optuna.enqueue_trial({"learning_rate": -1.0})
    while (trial := study.take("command", mine=set(), is_alive=lambda _: False)) is not None:
        train(study, trial)
    trials = study.trials()
    assert len(trials) == 8
    inside, outside, wrong = trials[2:5]
    assert inside.params.items() > {"learning_rate": 0.5, "max_epoch": 30}.items()
    assert DRAWN not in inside.user_attrs
    assert outside.user_attrs[OUTSIDE] == {"learning_rate": 5.0, "momentum": 0.5}
    assert study.config(outside).momentum == 0.5
    assert outside.state.name in {"COMPLETE", "PRUNED"}
    assert wrong.state.name == "FAIL"
    assert "learning_rate is -1.0" in wrong.user_attrs["reason"]
    assert len(visible(trials, 7, 1, SPACE)) == 5  # trials 0 to 6 but for the two outside the space


def test_study_with_more_trials_keeps_them(tmp_path):
    study = open_study(tmp_path, trials=2)
    for _ in range(3):
        study.optuna.enqueue_trial({"max_epoch": 10})
    while (trial := study.take("command", mine=set(), is_alive=lambda _: False)) is not None:
        train(study, trial)
    again = open_study(tmp_path, trials=1)
    assert again.unfinished() == 0
    assert again.summary() == "The study 'study' has 3 of 3 trials finished (3 complete)."


def test_trial_that_two_machines_created_at_once_is_not_one_too_many(tmp_path):
    study = open_study(tmp_path, trials=1)
    waiting = partial(optuna.trial.create_trial, state=optuna.trial.TrialState.WAITING, user_attrs={DRAWN: True})
    study.optuna.add_trials([waiting(), waiting()])
    train(study, study.take("command", mine=set(), is_alive=lambda _: False))
    assert study.take("command", mine=set(), is_alive=lambda _: False) is None
    assert study.unfinished() == 0
    assert len(study.trials()) == 1


def test_two_trials_of_one_configuration_have_an_end_each(tmp_path):
    def enqueue(study):
        for _ in range(9):
            study.optuna.enqueue_trial({"learning_rate": 0.1, "max_epoch": 40, "activation": "relu"})
        for _ in range(2):
            study.optuna.enqueue_trial({"learning_rate": 0.9, "max_epoch": 40, "activation": "sigmoid"})

    first, second = simulate(tmp_path, workers=3, seed=5, trials=11, before=enqueue)[-2:]
    assert first[0].name == second[0].name == "PRUNED"
    assert first[3] == second[3]
    assert max(first[3]) < 40


def contents(folder):
    with closing(sqlite3.connect(f"{folder}/optuna.db")) as connection:
        return list(connection.iterdump())


def made(folder, **settings):
    storage = Storage.open(f"sqlite:///{folder}/optuna.db")
    return optuna.create_study(study_name="study", storage=storage.backend, **settings)


def minimising(folder):
    made(folder)


def of_two_objectives(folder):
    made(folder, directions=["maximize", "minimize"])


def with_foreign_trials(folder):
    made(folder, direction="maximize").optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)


def of_another_space(folder):
    open_study(folder, definition=Definition(BASE, Space.parse("momentum=0..0.5"), "digest"))


def of_another_network(folder):
    open_study(folder, definition=Definition(TrainingConfig(dataset="digits", batch_size=50), SPACE, "digest"))


def with_other_distributions(folder):
    choices = optuna.distributions.CategoricalDistribution([0.1, 0.2])
    open_study(folder).optuna.add_trial(
        optuna.trial.create_trial(value=0.5, params={"learning_rate": 0.1}, distributions={"learning_rate": choices})
    )


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (minimising, "The study 'study' minimises its objective; a search maximises the validation accuracy."),
        (of_two_objectives, "The study 'study' has 2 objectives; a search has one, the validation accuracy."),
        (with_foreign_trials, "The study 'study' has 2 trials that no search of this pipeline made."),
        (of_another_space, "space is 'momentum=0.0..0.5' there and 'learning_rate=0.01..1.0 log"),
        (of_another_network, "batch_size is '50' there and '100' here"),
        (with_other_distributions, "has learning_rate as CategoricalDistribution(choices=(0.1, 0.2)) in trial 0"),
    ],
)
def test_study_that_is_not_ours_is_refused_in_one_line_and_left_as_it_is(tmp_path, make, line):
    make(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(UsageError) as caught:
        open_study(tmp_path)
    assert line in str(caught.value)
    assert str(caught.value).endswith("Choose another study name.")
    assert "\n" not in str(caught.value)
    assert contents(tmp_path) == before


def test_definition_names_no_default_so_that_a_new_hyperparameter_changes_no_study():
    attribute = DEFINITION.as_attribute()
    assert "momentum" not in attribute
    assert attribute["learning_rate"] == "0.1"
    assert Definition.from_attribute(attribute) == DEFINITION


def test_trials_enqueued_before_the_first_command_are_taken_over(tmp_path):
    made(tmp_path, direction="maximize").enqueue_trial({"max_epoch": 40})
    trial = open_study(tmp_path).take("command", mine=set(), is_alive=lambda _: False)
    assert (trial.number, trial.config.max_epoch, trial.config.learning_rate) == (0, 40, 0.1)


def test_default_storage_is_found_under_a_path_with_special_characters(tmp_path, monkeypatch):
    folder = tmp_path / "a%20b {c} %d?e#f"
    folder.mkdir()
    monkeypatch.chdir(folder)
    storage = Storage.open(storage_url(None))
    assert storage.call(storage.backend.get_all_studies) == []
    assert (folder / "optuna.db").is_file()
