"""What the first command meets: no store, a slow one, an experiment that cannot be had."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.tracking import first_contact
from pipeline.tracking.faults import Address
from pipeline.tracking.first_contact import announced, make_sqlite_store
from pipeline.tracking.store import Store
from tests.conftest import REPOSITORY

OPEN = "from pipeline.tracking.store import Store; print(len(list(Store.open().search(''))))"


def open_at_once(uri, count):
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", OPEN]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=environment, **pipes) for _ in range(count)]
    return [(process.communicate(), process.returncode) for process in processes]


@pytest.mark.parametrize("tries", [1, pytest.param(20, marks=pytest.mark.long)])
@pytest.mark.timeout(900)
def test_two_first_commands_share_one_new_store(tries, tmp_path):
    for number in range(tries):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert open_at_once(f"sqlite:///{folder / 'new.db'}", 2) == [(("0\n", ""), 0)] * 2
        assert [file.name for file in folder.iterdir()] == ["new.db"]


def test_the_tables_of_a_new_store_are_never_seen_half_made(tmp_path, empty_store, monkeypatch):
    database = tmp_path / "new.db"

    class Other:
        """A process that gives the store its name first, while this one makes its own."""

        def __init__(self, uri, _root):
            database.write_bytes(empty_store.read_bytes())
            path = Path(uri.removeprefix("sqlite:///"))
            assert path != database
            path.touch()
            self.engine = self

        def dispose(self):
            pass

    monkeypatch.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore", Other)
    make_sqlite_store(f"sqlite:///{database}")
    assert database.read_bytes() == empty_store.read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_a_long_wait_is_announced_once_and_a_short_one_not(monkeypatch, capsys):
    said = threading.Event()

    def say(text):
        print(text)
        said.set()

    monkeypatch.setattr(first_contact, "notice", say)
    with announced(Address("http://me:sesame@host"), 180):
        pass
    monkeypatch.setattr(first_contact, "_SILENT_SECONDS", 0)
    with announced(Address("http://me:sesame@host"), 180):
        assert said.wait(60)
    assert capsys.readouterr().out == (
        "Waiting for the tracking store http://me:***@host to answer, for up to 180 s; Ctrl-C stops.\n"
    )


@pytest.mark.parametrize("variable", ["MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"])
def test_an_empty_experiment_names_its_variable(variable, monkeypatch):
    monkeypatch.setenv(variable, "")
    with pytest.raises(UsageError, match=f"^{variable} is empty; unset it, or set it to an experiment of"):
        Store.open()


@pytest.mark.parametrize("identity", ["77", "none"])
def test_an_unknown_experiment_id_names_its_variable(identity, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", identity)
    with pytest.raises(UsageError, match=f"^MLFLOW_EXPERIMENT_ID is '{identity}', which the tracking store sqlite"):
        Store.open()


@pytest.mark.parametrize("variable", ["MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"])
def test_a_deleted_experiment_is_restored_or_another_one_named(variable, store, monkeypatch):
    identity = store.call("create_experiment", "gone")
    store.call("delete_experiment", identity)
    monkeypatch.setenv(variable, "gone" if variable.endswith("NAME") else identity)
    with pytest.raises(UsageError) as failure:
        Store.open()
    assert str(failure.value) == (
        "The experiment 'gone' was deleted. Restore it: mlflow experiments restore --experiment-id "
        f"{identity} - or set {variable} to another one."
    )


def test_an_experiment_that_another_process_makes_meanwhile_is_used(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "new")
    find = store.client.get_experiment_by_name
    found = []

    def late(name):
        found.append(find(name))
        if len(found) == 1:
            store.client.create_experiment(name)
            return None
        return find(name)

    monkeypatch.setattr("mlflow.MlflowClient.get_experiment_by_name", lambda _client, name: late(name))
    assert Store.open().experiment_id == find("new").experiment_id
