"""The best of a search confirmed over seeds: its order, what the seeds distinguish, and what is tested."""

from dataclasses import replace

import pytest

from pipeline.config import TrainingConfig
from pipeline.errors import PipelineError
from pipeline.search import tables
from pipeline.search.confirmation import Candidate, confirm, differences
from pipeline.search.confirmation import test as retrain
from pipeline.search.space import Space
from pipeline.search.storage import Storage
from pipeline.search.study import Definition, End, Study
from pipeline.training.task import Outcome, Status

BASE = TrainingConfig(dataset="digits", learning_rate=0.1, validation=True)
SPACE = Space.parse("learning_rate=0.01..1 log, activation=relu|sigmoid")


@pytest.fixture
def study(tmp_path):
    study = Study(
        Storage.open(f"sqlite:///{tmp_path}/optuna.db"), "study", Definition(BASE, SPACE, "digest"),
        trials=6, lock_dir=tmp_path,
    )  # fmt: skip
    for number in range(6):
        trial = study.take("command", mine=set(), is_alive=lambda _: False)
        value = [0.90, 0.93, 0.91, None, 0.93, 0.92][number]
        end = End("PRUNED", None, {10: 0.5}) if value is None else End("COMPLETE", value, {10: 0.8, 200: value})
        study.finish(
            trial.number, replace(end, attributes={"run_id": f"run-{number}", "train_seconds": 40.0 if value else 2.0})
        )
    return study


def trained(accuracies):
    """Stands for `run_networks`: an accuracy for each learning rate and seed; None diverges."""

    def train(title, configs):
        outcomes = []
        for config in configs:
            value = accuracies(config)
            metrics = dict.fromkeys(("validation_accuracy", "train_accuracy", "test_accuracy"), value)
            status = Status.FAILED if value is None else Status.FINISHED
            outcomes.append(Outcome(config, status, f"{title} {config.name}", metrics, reason="diverged"))
        return outcomes

    return train


def test_best_by_mean_over_fresh_seeds_comes_first(study):
    rates = {trial.params["learning_rate"]: trial.number for trial in study.trials()}
    means = {1: 0.90, 4: 0.92, 5: 0.91}
    asked = []

    def accuracies(config):
        asked.append(config)
        return means[rates[config.learning_rate]] + 0.001 * config.seed

    candidates = confirm(study, 3, trained(accuracies))
    assert [each.number for each in candidates] == [4, 5, 1]
    assert [each.value for each in candidates] == [0.93, 0.92, 0.93]
    assert sorted(config.seed for config in asked) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert all(config.validation for config in asked)


def test_candidate_that_diverges_with_a_seed_comes_last(study):
    rates = {trial.params["learning_rate"]: trial.number for trial in study.trials()}
    candidates = confirm(
        study, 2, trained(lambda config: None if rates[config.learning_rate] == 1 and config.seed == 2 else 0.5)
    )
    assert [each.number for each in candidates] == [4, 1]
    assert differences(candidates) == [None, None]


def test_without_confirmation_the_best_of_the_search_is_taken(study):
    [best] = confirm(study, 0, trained(lambda _: pytest.fail("nothing is to be trained")))
    assert (best.number, best.value, best.confirmed) == (1, 0.93, {})


def test_search_without_a_complete_trial_says_what_to_do(tmp_path):
    study = Study(
        Storage.open(f"sqlite:///{tmp_path}/optuna.db"), "study", Definition(BASE, SPACE, "digest"),
        trials=1, lock_dir=tmp_path,
    )  # fmt: skip
    study.finish(study.take("command", mine=set(), is_alive=lambda _: False).number, End("FAIL"))
    with pytest.raises(PipelineError, match="Widen the space, or lower the learning rates"):
        confirm(study, 3, trained(lambda _: 0.5))


def candidate(number, *values):
    config = replace(BASE, learning_rate=0.1 + number / 100)
    return Candidate(number, config, 0.9, "run", dict(enumerate(values, start=1)))


def test_only_a_difference_beyond_chance_tells_candidates_apart():
    best, near, far = candidate(0, 0.95, 0.96, 0.94), candidate(1, 0.94, 0.965, 0.935), candidate(2, 0.85, 0.862, 0.84)
    none, small, large = differences([best, near, far])
    assert none is None
    assert not small.told_apart
    assert small.interval[0] < 0 < small.interval[1]
    assert large.told_apart
    assert large.interval[0] > 0


def test_table_names_what_is_not_distinguished(study):
    text = tables.confirmation(
        study, [candidate(0, 0.95, 0.96, 0.94), candidate(1, 0.94, 0.965, 0.935), candidate(2, 0.85, 0.862, 0.84)]
    )
    assert text.splitlines()[-1] == "These seeds do not distinguish from the best: trial 1."
    assert "mean of seeds 1, 2 and 3" in text
    assert "95.00% ± 1.00" in text


def test_best_and_baseline_are_tested_with_each_seed(study):
    best = replace(BASE, learning_rate=0.2)
    found = retrain(best, BASE, [3, 4], trained(lambda config: config.learning_rate + config.seed / 100))
    assert [each.config for each in found] == [replace(best, validation=False), replace(BASE, validation=False)]
    assert found[0].values("test_accuracy") == pytest.approx([0.23, 0.24])
    text = tables.comparison(study, found)
    assert "Test accuracy above that of the baseline: 10.00 points (+10.00 to +10.00)." in text
    assert "23.50% ± 0.71" in text
    assert "published" not in text


def test_weak_network_on_mnist_stands_beside_the_published_best(tmp_path):
    base = TrainingConfig(activation="sigmoid", validation=True)
    study = Study(
        Storage.open(f"sqlite:///{tmp_path}/optuna.db"), "study", Definition(base, SPACE, "digest"),
        trials=1, lock_dir=tmp_path,
    )  # fmt: skip
    found = retrain(replace(base, learning_rate=0.2), base, [0, 1], trained(lambda config: 0.97 + config.seed / 1000))
    text = tables.comparison(study, found)
    assert "published best" in text
    assert "Test accuracy above that of the published best, 96.73%: 0.32 points (-0.32 to +0.96)." in text


def test_processor_time_and_what_pruning_saved(study):
    assert tables.spent(study) == (
        "The trials took 202 s of processor time; pruning saved 38 s, 16% of what all epochs would have taken."
    )


def test_table_of_trials_has_every_searched_hyperparameter_and_marks_the_users(study):
    study.optuna.enqueue_trial({"learning_rate": 7.0, "activation": "relu"})
    study.wanted = 7
    trial = study.take("command", mine=set(), is_alive=lambda _: False)
    study.finish(trial.number, End("COMPLETE", 0.1, {200: 0.1}, {"run_id": "abc"}))
    lines = tables.trials(study).splitlines()
    for name in ("learning_rate", "activation", "reached"):
        assert name in lines[0]
    assert "complete, enqueued outside the space with learning_rate=7.0" in lines[-1]
    assert "abc" in lines[-1]
    assert "pruned" in lines[5]
