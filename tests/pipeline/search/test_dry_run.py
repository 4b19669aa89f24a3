"""What a dry run says of a search."""

from dataclasses import replace
from pathlib import Path

import optuna

from pipeline.config import TrainingConfig
from pipeline.search.dry_run import describe_search
from pipeline.search.search import Plan

BASE = TrainingConfig(dataset="digits", activation="sigmoid")
AFTER = "After them the 3 best are confirmed, and the best and the baseline are tested."


def test_without_a_study_all_trials_are_left_and_none_is_created(settings, store):
    said = describe_search(BASE, Plan(5, storage="sqlite:///new.db"), settings)
    assert said == (
        "search digits sigmoid-euclidean-1h: nothing is trained, this is a dry run.\n\n"
        f"0 of 5 trials are finished. 5 trials are left: no earlier run tells how long. {AFTER}"
    )
    assert not Path("new.db").exists()


def test_what_is_left_takes_as_long_as_the_trials_before(settings):
    study = optuna.create_study(storage="sqlite:///known.db", study_name="known", direction="maximize")
    for time in (50.0, 100.0, 600.0):
        trial = study.ask()
        trial.set_user_attr("train_seconds", time)
        study.tell(trial, 0.5)
    plan = Plan(5, study="known", storage="sqlite:///known.db")
    said = describe_search(BASE, plan, replace(settings, workers=2))
    assert said.endswith(f"3 of 5 trials are finished. 2 trials are left: about 2 min at 2 at once. {AFTER}")
    assert len(study.get_trials()) == 3
    assert "None is left." in describe_search(BASE, replace(plan, trials=3), settings)


def test_the_command_says_so(pipeline, store):
    done = pipeline("search", "--dataset", "digits", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "0 of 30 trials are finished." in done.stdout
    assert list(store.search("")) == []
