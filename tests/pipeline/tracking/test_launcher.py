"""What a process does about the launcher that started it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from pipeline.tracking import launcher
from pipeline.tracking.launcher import prepare_for_launcher
from tests.conftest import REPOSITORY


@pytest.fixture
def run_id(store, monkeypatch):
    """The run of a launcher, with a name that MLflow drew."""
    monkeypatch.setattr("pipeline.training.signals.interruptible", lambda: None)
    run = store.client.create_run(store.experiment_id, run_name="whimsical-newt-17")
    monkeypatch.setenv("MLFLOW_RUN_ID", run.info.run_id)
    return run.info.run_id


@pytest.mark.parametrize(
    ("arguments", "name", "reason"),
    [
        (["train", "--dataset", "digits", "--batch-size", "1.5"], "train digits", "'1.5' is not a whole number."),
        (["train", "--dataset", "digits", "--activation", "Relu"], "train digits", "'Relu' is not one of"),
        (["train", "--dataset", "digits", "--batch-size", "5000"], "train digits", "it has to be at most 1437"),
        (["reproduce", "--seeds", "none"], "reproduction mnist", "'none' is not a whole number."),
        (["predict", "--model", "nowhere", "--images", "x.png"], "predict", "cannot be had"),
    ],
)
def test_a_failure_gives_the_launcher_s_run_its_name_and_the_reason(arguments, name, reason, run_id, store):
    assert CliRunner().invoke(main, arguments).exit_code in {1, 2}
    run = store.get(run_id)
    assert run.name == name
    assert reason in run.tags["reason"]


def test_a_name_that_the_user_chose_stays(run_id, store):
    store.client.update_run(run_id, name="baseline")
    CliRunner().invoke(main, ["train", "--dataset", "digits", "--loss", "mse"])
    assert store.get(run_id).name == "baseline"
    assert "'mse' is not one of" in store.get(run_id).tags["reason"]


@pytest.mark.parametrize("command", ["train", "grid", "sweep", "search", "reproduce"])
def test_a_dry_run_says_so_in_the_launcher_s_run(command, run_id, store, data_dir):
    arguments = ["--dataset", "digits", "--data-dir", str(data_dir), "--dry-run", "true"]
    done = CliRunner().invoke(main, [command, *arguments])
    assert done.exit_code == 0, done.output
    run = store.get(run_id)
    title = {"reproduce": "reproduction"}.get(command, command)
    assert run.name == f"dry run {title} digits"
    assert run.tags["mlflow.note.content"].startswith("A dry run: nothing was trained.")
    assert [each.run_id for each in store.search("")] == [run_id]


def test_a_run_that_is_finished_or_another_s_is_left_alone(run_id, store):
    store.client.set_terminated(run_id)
    CliRunner().invoke(main, ["train", "--dataset", "digits", "--loss", "mse"])
    assert store.get(run_id).name == "whimsical-newt-17"
    assert "reason" not in store.get(run_id).tags


PROGRAM = """
import os, sys
from pipeline.tracking.launcher import prepare_for_launcher
prepare_for_launcher(sys.argv[1:])
print(os.environ["MLFLOW_TRACKING_URI"])
"""
LAUNCHER = """
import subprocess, sys
subprocess.run(["bash", "-c", 'true; "$@"; true', "bash", *sys.argv[2:]], cwd=sys.argv[1], check=True)
"""


def launched(project, *arguments, uri):
    command = [sys.executable, "-c", LAUNCHER, str(project), sys.executable, "-c", PROGRAM, *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "MLFLOW_TRACKING_URI": uri}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)


def test_a_relative_store_is_the_one_beside_the_launcher(tmp_path):
    (tmp_path / "project").mkdir()
    done = launched(tmp_path / "project", uri="sqlite:///mlflow.db")
    assert (done.stdout, done.stderr) == (f"sqlite:///{tmp_path / 'mlflow.db'}\n", "")
    assert launched(tmp_path, uri="sqlite:///mlflow.db").stdout == "sqlite:///mlflow.db\n"
    assert launched(tmp_path / "project", uri="sqlite:////a/b.db").stdout == "sqlite:////a/b.db\n"


def test_a_temporary_copy_is_noticed_with_the_flags_that_keep_what_it_loses(monkeypatch, tmp_path, capsys):
    copy = tmp_path / "tmpabcd1234"
    copy.mkdir()
    monkeypatch.chdir(copy)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(launcher, "_folder_of_launcher", lambda: Path("/home/me"))
    prepare_for_launcher(["train", "--data-dir", "data", "--checkpoint-dir", "/kept"])
    assert capsys.readouterr().err == (
        f"This project runs in a temporary copy, {copy}, which no later command finds: the data are prepared again. "
        "Add: -P data_dir=/home/me/data\n"
    )
    prepare_for_launcher(["report", "--data-dir", "/data", "--output", "./out"])
    assert capsys.readouterr().err.endswith(
        "the report is left among the artifacts of its run alone. Add: -P output=/home/me/out\n"
    )
    prepare_for_launcher(["predict", "--images", "7.png"])
    assert capsys.readouterr().err == ""
    prepare_for_launcher(["train", "--data-dir", "/data", "--checkpoint-dir", "/kept"])
    assert capsys.readouterr().err == ""
