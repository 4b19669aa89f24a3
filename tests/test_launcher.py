"""The real `mlflow run`, read back through MLflow's client."""

import os
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


def test_prepare(launch, launched):
    assert launch("prepare").returncode == 0
    assert [run.status for run in named(launched, "prepare digits")] == ["FINISHED"]
