"""The real `mlflow run`, read back through MLflow's client."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from pipeline.tracking.store import Store
from tests.conftest import REPOSITORY, copy_store

NARROW = [
    "hidden_sizes=128",
    "activations=relu,gelu",
    "losses=hinge",
    "learning_rate=0.1",
    "init_std=he",
    "max_epoch=3",
]


@pytest.fixture(scope="module")
def launch(tmp_path_factory, empty_store, data_dir):
    """Start an entry point in a store that the module's tests share."""
    folder = tmp_path_factory.mktemp("launched")
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": copy_store(empty_store, folder),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_LOGGING_LEVEL": "INFO",  # as in a shell; this process has made its own MLflow quiet
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }

    def run(entry_point, *parameters):
        given = list(parameters)
        if entry_point != "predict":
            given += ["dataset=digits", f"data_dir={data_dir}"]
        if entry_point in {"train", "grid"}:
            given.append(f"checkpoint_dir={folder / 'checkpoints'}")
        command = ["mlflow", "run", str(REPOSITORY), "-e", entry_point, "--env-manager", "local"]
        for parameter in given:
            command += ["-P", parameter]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    run.folder = folder
    run.environment = environment
    run.uri = environment["MLFLOW_TRACKING_URI"]
    return run


@pytest.fixture
def launched(launch, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", launch.uri)
    return Store.open()


def named(store, name):
    return list(store.search(f"attributes.run_name = '{name}'"))


GRID = "grid digits, lr 0.1, he, 3 epochs"


def test_grid_is_the_run_that_the_launcher_made(launch, launched):
    done = launch("grid", *NARROW)
    assert done.returncode == 0, done.stderr
    [parent] = named(launched, GRID)
    assert parent.status == "FINISHED"
    assert parent.parameters["activations"] == "relu,gelu"
    children = list(launched.search(f"tags.mlflow.parentRunId = '{parent.run_id}'"))
    assert {(run.parameters["activation"], run.status) for run in children} == {
        ("relu", "FINISHED"),
        ("gelu", "FINISHED"),
    }
    for child in children:
        assert f"{child.metrics['test_accuracy']:.2%}" in done.stdout
        assert {point.step for point in launched.history(child.run_id, "test/accuracy")} == {3 * 15}
        assert launched.client.get_run(child.run_id).inputs.dataset_inputs


def test_second_call_reuses_and_trains_what_is_new(launch, launched):
    done = launch("grid", *[text.replace("relu,gelu", "relu,gelu,sigmoid") for text in NARROW])
    assert done.returncode == 0, done.stderr
    assert "3 of 3 networks are finished, 2 of them by earlier commands" in done.stdout
    for name in ("relu-hinge-1h", "gelu-hinge-1h", "sigmoid-hinge-1h"):
        assert len(list(launched.search(f"attributes.run_name LIKE '{name}%'"))) == 1


def test_images_are_looked_for_where_the_launcher_was_started(launch, launched):
    [network] = named(launched, "relu-hinge-1h")
    Image.new("L", (40, 40), 255).save(launch.folder / "sheet.png")
    done = launch("predict", f"model=runs:/{network.run_id}/model", "images=./sheet.png")
    assert done.returncode == 0, done.stderr
    assert "sheet.png" in done.stdout
    missing = launch("predict", f"model=runs:/{network.run_id}/model", "images=./none.png")
    assert missing.returncode != 0
    assert "none.png" in missing.stderr


def test_failed_command_fails_the_launcher(launch, launched):
    done = launch("train", "loss=mse")
    assert done.returncode == 1
    assert "'mse'" in done.stderr


def test_a_report_is_shown_where_it_lies(launch, launched, tmp_path):
    output = os.path.relpath(tmp_path / "out", REPOSITORY)
    done = launch("report", f"output={output}", "learning_rate=0.1", "init_std=he", "max_epoch=3")
    assert done.returncode == 0, done.stderr
    assert f"The report is {tmp_path / 'out' / 'results.md'}." in done.stdout
    assert (tmp_path / "out" / "results.md").exists()


@pytest.fixture
def project(tmp_path):
    """The files that a project's user fetches."""
    folder = tmp_path / "project"
    for name in ("model", "pipeline"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("MLproject", "conda.yaml"):
        shutil.copy(REPOSITORY / name, folder)
    return folder


def zipped(project):
    return shutil.make_archive(str(project.parent / "fetched"), "zip", project), {}


def in_git(project):
    """An address of a git server, for which git takes the folder itself: no network is needed."""
    address = "https://git.example/project"
    identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    for words in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "--message", "all"]):
        subprocess.run(["git", "-C", str(project), *words], check=True)
    replaced = {"GIT_CONFIG_KEY_0": f"url.{project}.insteadOf", "GIT_CONFIG_VALUE_0": address}
    return address, {"GIT_CONFIG_COUNT": "1", **replaced}


@pytest.mark.long
@pytest.mark.parametrize("fetched", [zipped, in_git])
def test_a_project_that_is_fetched_says_what_its_temporary_copy_loses(fetched, project, launch, tmp_path):
    uri, variables = fetched(project)
    work = tmp_path / "work"
    work.mkdir()
    command = ["mlflow", "run", uri, "-e", "train", "--env-manager", "local", "-P", "dataset=digits"]
    command += ["-P", "max_epoch=1", "-P", f"data_dir={tmp_path / 'data'}"]
    environment = launch.environment | variables
    done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stderr.splitlines() if "temporary copy" in line]
    before, _, after = line.partition(", which no later command finds: ")
    copy = Path(before.removeprefix("This project runs in a temporary copy, "))
    assert (copy / "MLproject").exists()
    shutil.rmtree(copy)
    assert after == f"a stopped training starts over. Add: -P checkpoint_dir={work / 'checkpoints'}"
    assert (tmp_path / "data").exists()


def test_prepare(launch, launched):
    assert launch("prepare").returncode == 0
    assert [run.status for run in named(launched, "prepare digits")] == ["FINISHED"]
