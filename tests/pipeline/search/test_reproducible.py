"""A study is the same whoever works on it: with any number of workers, killed, shared, and whatever the store holds."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import optuna
import pytest

from pipeline.commands import train_all
from pipeline.config import TrainingConfig
from pipeline.search.search import Plan, search
from pipeline.search.space import Space
from pipeline.tracking.store import Store
from pipeline.training.networks import Settings
from tests.conftest import REPOSITORY, copy_store, working_in
from tests.pipeline.test_commands import weights

pytestmark = pytest.mark.long

BASE = TrainingConfig(
    dataset="digits", activation="sigmoid", learning_rate=0.1, init_std="he", max_epoch=20, test_epoch=2
)
SPACE = Space.parse("learning_rate=0.01..1 log, max_epoch=10..40 step 10")
PLAN = Plan(12, confirm=0)
STUDY = "digits sigmoid-euclidean-1h"
COMMAND = [
    sys.executable, "-m", "pipeline", "search", "--dataset", "digits", "--learning-rate", "0.1", "--init-std", "he",
    "--max-epoch", "20", "--test-epoch", "2", "--space", str(SPACE), "--confirm", "0", "--trials", "12",
]  # fmt: skip


def trials_of(folder, name=STUDY):
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{folder}/optuna.db")
    return [(each.state, each.params, each.value, each.intermediate_values) for each in study.get_trials()]


def trial_runs(store):
    return {int(run.tags["trial"]): run for run in store.search("tags.trial LIKE '%'")}


def histories(store):
    """Every point of every trial's run, and the weights of those that are finished."""
    keys = ("train/loss", "train/accuracy", "validation/loss", "validation/accuracy")
    points = {
        (number, key): [(point.step, point.value) for point in store.history(run.run_id, key)]
        for number, run in trial_runs(store).items()
        for key in keys
    }
    return points, {
        number: {name: array.tobytes() for name, array in weights(store, run.run_id).items()}
        for number, run in trial_runs(store).items()
        if run.status == "FINISHED"
    }


@pytest.fixture(scope="module")
def alone(tmp_path_factory, empty_store, data_dir):
    """A study of twelve trials, never interrupted, with one worker: its folder and its store."""
    folder = tmp_path_factory.mktemp("alone")
    with working_in(folder, empty_store):
        search(BASE, SPACE, PLAN, Settings(data_dir=data_dir, workers=1, quiet=True), {"dataset": "digits"})
        return folder, Store.open()


def assert_same(folder, store, alone):
    whole, whole_store = alone
    assert trials_of(folder) == trials_of(whole)
    assert histories(store) == histories(whole_store)
    assert not list(store.search("attributes.status = 'RUNNING'"))


@pytest.mark.parametrize("workers", [2, 4])
def test_study_is_the_same_with_more_workers(alone, tmp_path, data_dir, store, workers):
    search(BASE, SPACE, PLAN, Settings(data_dir=data_dir, workers=workers, quiet=True), {})
    assert_same(tmp_path, store, alone)
    assert {state.name for state, *_ in trials_of(tmp_path)} == {"COMPLETE", "PRUNED"}


def test_other_study_reuses_every_run_and_takes_none_over(alone, monkeypatch, data_dir):
    whole, store = alone
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store.uri)
    monkeypatch.chdir(whole)
    before = {run.run_id: (run.status, run.tags, run.end_time) for run in store.search("tags.trial LIKE '%'")}
    search(BASE, SPACE, replace(PLAN, study="another"), Settings(data_dir=data_dir, workers=1, quiet=True), {})
    assert trials_of(whole, "another") == trials_of(whole)
    after = {run.run_id: (run.status, run.tags, run.end_time) for run in store.search("tags.trial LIKE '%'")}
    assert after == before


def test_finished_run_is_pruned_where_training_would_have_been(alone, tmp_path, data_dir, store):
    whole, _ = alone
    number, params = next((n, each[1]) for n, each in enumerate(trials_of(whole)) if each[0].name == "PRUNED")
    settings = Settings(data_dir=data_dir, workers=1, quiet=True)
    config = replace(BASE, validation=True, **params)
    [trained] = train_all("grid", [config], settings, {})
    search(BASE, SPACE, PLAN, settings, {})
    assert trials_of(tmp_path) == trials_of(whole)
    study = optuna.load_study(study_name=STUDY, storage="sqlite:///optuna.db")
    assert study.get_trials()[number].user_attrs["run_id"] == trained.run_id
    assert store.get(trained.run_id).status == "FINISHED"


def begin(folder, data_dir, *more):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    return subprocess.Popen(
        [*COMMAND, "--data-dir", str(data_dir), *more],
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


@pytest.mark.parametrize("seed", [7, 8])
def test_study_killed_again_and_again_ends_like_one_never_interrupted(alone, tmp_path, data_dir, store, seed):
    draw = np.random.default_rng(seed)
    kills = 0
    while kills < 5:
        process = begin(tmp_path, data_dir, "--workers", str(draw.integers(1, 4)))
        if not under_way(process):
            break
        time.sleep(draw.uniform(0, 2.5))  # not to wait for anything: the moment of the kill
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kills += 1
    last = begin(tmp_path, data_dir, "--workers", "2")
    _, errors = last.communicate()
    assert last.returncode == 0, errors
    assert kills > 1
    assert_same(tmp_path, store, alone)
    assert len(list(store.search("tags.trial LIKE '%'"))) == 12


def test_two_processes_share_a_study(alone, tmp_path, data_dir, store):
    both = [begin(tmp_path, data_dir, "--workers", "1") for _ in range(2)]
    output = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(errors for _, errors in output)
    assert_same(tmp_path, store, alone)
    fingerprints = [run.tags["fingerprint"] for run in store.search("tags.fingerprint LIKE '%'")]
    assert len(fingerprints) == len(set(fingerprints))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_study_says_what_it_has_and_goes_on(alone, tmp_path, data_dir, store, number):
    process = begin(tmp_path, data_dir)
    assert under_way(process)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == 130
    last = errors.splitlines()[-1]
    assert "of 12 trials finished" in last
    assert "Run the same command again to go on." in last
    assert not list(store.search("attributes.status = 'RUNNING'"))
    again = begin(tmp_path, data_dir)
    _, errors = again.communicate()
    assert again.returncode == 0, errors
    assert_same(tmp_path, store, alone)


@pytest.mark.parametrize(
    ("variables", "encoding", "study"),
    [
        ({"PYTHONIOENCODING": "cp1252"}, "cp1252", "五 ±"),
    ],
    ids=["cp1252"],
)
def test_a_search_ends_well_in_any_encoding(variables, encoding, study, data_dir, empty_store, tmp_path):
    uri = copy_store(empty_store, tmp_path)
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONIOENCODING", "PYTHONUTF8"}}
    environment = kept | {"PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": uri} | variables
    command = [
        sys.executable,
        "-m",
        "pipeline",
        "search",
        "--dataset",
        "digits",
        "--init-std",
        "he",
        "--max-epoch",
        "2",
    ]
    command += ["--space", "learning_rate=0.01..1 log, momentum=0..0.9", "--trials", "4", "--confirm", "1"]
    command += ["--study", study, "--workers", "1", "--data-dir", str(data_dir)]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    shown = (ended.stdout + ended.stderr).decode(encoding)
    assert ended.returncode == 0, shown
    assert "Traceback" not in shown
    assert "is missing" not in shown
    assert "best of the search" in shown
    texts = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.rglob("*.md")}
    assert {"results.md", "trials.md", "confirmation.md"} <= texts.keys()
    assert not texts["confirmation.md"].isascii()
