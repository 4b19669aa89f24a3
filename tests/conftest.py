"""What the tests share: a store and folders of their own, and the bundled digits prepared once."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pipeline.data import datasets
from pipeline.tracking.store import Store
from pipeline.training.networks import Settings

REPOSITORY = Path(__file__).resolve().parent.parent
BEGUN = time.monotonic()


def pytest_addoption(parser):
    parser.addoption("--schedules", type=int, default=2000, help="How many schedules the leases are simulated under.")
    parser.addoption("--minutes", type=float, default=None, help="Begin no test after so many minutes; skip the rest.")


def pytest_configure():
    """Hear what nohup and a shell's background have a process ignore, because the commands of the tests inherit it."""
    for each, handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        if signal.getsignal(each) is signal.SIG_IGN:
            signal.signal(each, handler)


def pytest_runtest_setup(item):
    minutes = item.config.getoption("minutes")
    if minutes is not None and time.monotonic() - BEGUN > 60 * minutes:
        pytest.skip(f"the {minutes:g} minutes that --minutes gives are over")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A store without runs: its tables take seconds to create, and no time to copy."""
    database = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")
        patch.chdir(database.parent)
        Store.open()
    return database


def copy_store(empty, folder):
    """Put the empty store into `folder`, its artifacts beside it."""
    database = folder / "mlflow.db"
    shutil.copy(empty, database)
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = ?", [str(folder / "mlruns" / "0")])
    return f"sqlite:///{database}"


@contextmanager
def working_in(folder, empty):
    """Work in `folder` with a copy of the empty store, inside the `with`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", copy_store(empty, folder))
        patch.chdir(folder)
        yield


@pytest.fixture(autouse=True)
def isolated(tmp_path, monkeypatch, empty_store):
    """Work in a folder with an empty store, with nothing in the environment that names another one."""
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_REGISTRY_URI",
                 "OPTUNA_STORAGE", "MNIST_DIR", "PIPELINE_VERBOSE"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", copy_store(empty_store, tmp_path))
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A folder in which the digits are prepared."""
    folder = tmp_path_factory.mktemp("data")
    datasets.prepare("digits", data_dir=folder, quiet=True)
    return folder


@pytest.fixture
def settings(data_dir):
    return Settings(data_dir=data_dir, quiet=True)


@pytest.fixture
def store():
    return Store.open()


@pytest.fixture
def pipeline(data_dir):
    """Run the real command in a process of its own."""

    def run(*arguments, **environment):
        command = [sys.executable, "-m", "pipeline", *arguments]
        if "--data-dir" not in arguments:
            command += ["--data-dir", str(data_dir)]
        path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            command, env=os.environ | {"PYTHONPATH": path} | environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture(scope="session")
def mnist():
    """The folder of the real MNIST files."""
    folder = Path(os.environ.get("MNIST_DIR", REPOSITORY.parent / "shared/data/mnist"))
    if not folder.is_dir():
        pytest.skip("MNIST is not here; name its folder in MNIST_DIR")
    return folder
