"""What a search costs beyond its trials, on made-up studies."""

import pytest

from benchmarks.searches import makespan, opened, regret_table, waiting_table
from pipeline.config import TrainingConfig
from pipeline.errors import UsageError
from pipeline.search.space import Space
from pipeline.search.storage import Storage
from pipeline.search.study import Definition, End, Study
from pipeline.training.task import Outcome, Status


@pytest.mark.parametrize(
    ("workers", "lag", "seconds"),
    [
        (1, 1, 6),  # one after the other
        (1, 4, 6),
        (2, float("inf"), 3),  # the long one beside the three short ones
        (2, 2, 4),  # the third waits for the first, which takes 3; the last begins beside it
        (4, 4, 3),
        (4, 1, 6),  # each waits for all before it
    ],
)
def test_time_of_a_study_by_workers_and_lag(workers, lag, seconds):
    assert makespan([3, 1, 1, 1], workers, lag) == seconds


def test_lag_of_at_least_the_trials_costs_nothing():
    seconds = [5, 3, 8, 1, 9, 2, 7]
    for workers in (1, 2, 3, 9):
        assert makespan(seconds, workers, len(seconds)) == makespan(seconds, workers, float("inf"))
    assert "(+0%)" in waiting_table(seconds).splitlines()[2]


@pytest.fixture
def study(tmp_path):
    base = TrainingConfig(dataset="digits", validation=True)
    space = Space.parse("learning_rate=0.001..1 log")
    storage = Storage.open(f"sqlite:///{tmp_path}/optuna.db")
    study = Study(storage, "study", Definition(base, space, "digest", 2, 3), trials=5, lock_dir=tmp_path)
    for value in (0.8, 0.9, None, 0.7, None):
        number = study.take("command", mine=set(), is_alive=lambda _: False).number
        end = End("PRUNED", None, {50: 0.4}) if value is None else End("COMPLETE", value, {200: value})
        study.finish(number, end)
    return study


def test_study_is_opened_with_its_definition(study):
    again = opened("study", study.storage.url)
    assert again.definition == study.definition
    assert again.unfinished() == 0
    with pytest.raises(UsageError, match="study is 'other'; the storage has 'study'"):
        opened("other", study.storage.url)


def test_regret_counts_what_would_have_been_better(study):
    ends = dict(zip((2, 4), (0.85, 0.95), strict=True))
    outcomes = [
        Outcome(study.config(trial), Status.FINISHED, "run", {"validation_accuracy": ends[trial.number]})
        for trial in study.trials()
        if trial.number in ends
    ]
    text = regret_table(study, outcomes)
    assert text.startswith("1 of 2 pruned configurations would have been better than the best one, 90.00%; 2 would")
    assert "95.00%" in text.splitlines()[-1]
