"""Optuna's storage: locked, lost, created by two at once, of another version, and named without its password."""

import sqlite3
from contextlib import closing

import optuna
import pytest
from sqlalchemy.exc import OperationalError

from pipeline.errors import PipelineError, UsageError
from pipeline.search import storage as module
from pipeline.search.storage import Storage, storage_url


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SQLITE_SECONDS", 0)
    return Storage.open(f"sqlite:///{tmp_path}/optuna.db")


def is_out(text="database is locked"):
    return OperationalError("SELECT", {}, sqlite3.OperationalError(text))


@pytest.mark.parametrize("text", ["database is locked", "unable to open database file", "server closed the connection"])
def test_storage_that_is_out_is_waited_for_with_a_line(storage, monkeypatch, capsys, text):
    monkeypatch.setattr(module, "_SILENT_SECONDS", 0)
    attempts = []

    def operation():
        attempts.append(1)
        if len(attempts) < 3:
            raise is_out(text)
        return "done"

    assert storage.call(operation) == "done"
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"The Optuna storage {storage.url} does not answer ({text}); waits for up to 180 s."


def test_short_wait_is_silent(storage, capsys):
    attempts = []

    def operation():
        attempts.append(1)
        if len(attempts) < 2:
            raise is_out()

    storage.call(operation)
    assert capsys.readouterr().err == ""


def test_database_that_another_process_locks_is_waited_for(storage, tmp_path):
    other = sqlite3.connect(tmp_path / "optuna.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    attempts = []

    def create():
        attempts.append(1)
        if len(attempts) == 2:
            other.execute("ROLLBACK")
        return optuna.create_study(study_name="x", storage=storage.backend, load_if_exists=True)

    with closing(other):
        assert storage.call(create).study_name == "x"
    assert len(attempts) == 2


def test_storage_that_stays_out_is_one_line(storage, monkeypatch):
    monkeypatch.setattr(module, "OUTAGE_SECONDS", 0)

    def operation():
        raise is_out()

    with pytest.raises(PipelineError) as caught:
        storage.call(operation)
    assert str(caught.value) == (
        f"The Optuna storage {storage.url} does not answer (database is locked). Everything reached is kept: run the "
        "same command again when it does."
    )


def test_error_that_is_no_outage_is_not_tried_again(storage):
    attempts = []

    def operation():
        attempts.append(1)
        raise is_out("no such table: studies")

    with pytest.raises(PipelineError, match="no such table"):
        storage.call(operation)
    assert len(attempts) == 1


def test_tables_that_another_machine_creates_at_the_same_moment(tmp_path, monkeypatch):
    real, attempts = optuna.storages.RDBStorage, []

    def create(*arguments, **options):
        attempts.append(1)
        if len(attempts) < 3:
            raise is_out("table studies already exists")
        return real(*arguments, **options)

    monkeypatch.setattr(optuna.storages, "RDBStorage", create)
    storage = Storage.open(f"sqlite:///{tmp_path}/optuna.db")
    assert storage.call(storage.backend.get_all_studies) == []


@pytest.mark.parametrize(
    ("version", "line"),
    [
        (
            "v3.0.0.d",
            "older Optuna. Run 'optuna storage upgrade --storage \"sqlite:///{folder}/optuna.db\"', then the same",
        ),
        ("v9.0.0.a", "newer Optuna. Install that one, or set OPTUNA_STORAGE to another storage"),
    ],
)
def test_tables_of_another_version_are_left_as_they_are(tmp_path, version, line):
    Storage.open(f"sqlite:///{tmp_path}/optuna.db")
    module._connected.cache_clear()
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [version])
    with pytest.raises(PipelineError) as caught:
        Storage.open(f"sqlite:///{tmp_path}/optuna.db")
    assert line.format(folder=tmp_path) in str(caught.value)
    with closing(sqlite3.connect(tmp_path / "optuna.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(version,)]


@pytest.mark.parametrize("name", ["storage", "OPTUNA_STORAGE"])
@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db?user=me&password=***"),
        ("mysql+pymysql://host/db?passwd=secret", "mysql+pymysql://host/db?passwd=***"),
    ],
)
def test_password_in_the_address_is_refused(name, url, shown, monkeypatch):
    if name == "OPTUNA_STORAGE":
        monkeypatch.setenv("OPTUNA_STORAGE", url)
    with pytest.raises(UsageError) as caught:
        storage_url(url if name == "storage" else None)
    assert str(caught.value) == (
        f"{name} is '{shown}', with a password, which other processes would be sent. Leave it out, and give it to the "
        "database's driver: in a file that PGPASSFILE names for PostgreSQL, in an option file "
        "(?read_default_file=/ABSOLUTE/PATH) for MySQL."
    )


def test_address_without_a_password_is_taken(monkeypatch):
    monkeypatch.setenv("OPTUNA_STORAGE", "postgresql://me@host/db")
    assert storage_url(None) == "postgresql://me@host/db"


@pytest.mark.parametrize(
    "url",
    ["sqlite:////nowhere/at/all/optuna.db", "nonsense", "://me:secret@host", "postgresql://me@127.0.0.1:1/x"],
)
def test_storage_that_cannot_be_used_is_named_without_its_password(monkeypatch, url):
    monkeypatch.setenv("OPTUNA_STORAGE", url)
    with pytest.raises(PipelineError, match=r"OPTUNA_STORAGE|Install it: pip install 'psycopg\[binary\]'$") as caught:
        Storage.open(storage_url(None))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
