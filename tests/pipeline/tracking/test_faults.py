"""Stores that refuse, are out, or lack something: one line that names what helps."""

import sqlite3
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from mlflow.entities import Dataset, DatasetInput
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import BAD_REQUEST

from pipeline.errors import PipelineError
from pipeline.tracking.connection import Connection
from pipeline.tracking.faults import Address, explained, passes
from pipeline.tracking.store import Store


@pytest.fixture
def refusing():
    """Start a server that answers every request with one status and text; returns its address."""
    servers = []

    def start(status, text="no"):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text.encode())

            do_POST = do_GET  # noqa: N815 - the name that http.server asks for

            def log_message(self, *_):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def failing_to_open(uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(PipelineError) as failure:
        Store.open()
    message = str(failure.value)
    assert "\n" not in message
    assert "sesame" not in message
    return message


@pytest.mark.parametrize(
    ("uri", "package"),
    [
        ("postgresql://me:sesame@host/db", "'psycopg[binary]'"),
        ("postgresql+psycopg2://me:sesame@host/db", "psycopg2-binary"),
        ("mysql+pymysql://me:sesame@host/db", "pymysql"),
        ("mysql://me:sesame@host/db", "mysqlclient"),
        ("mssql+pyodbc://me:sesame@host/db", "pyodbc"),
    ],
)
def test_a_database_without_its_driver_names_the_package(uri, package, monkeypatch):
    for module in ("psycopg", "psycopg2", "pymysql", "MySQLdb", "pyodbc"):
        monkeypatch.setitem(sys.modules, module, None)
    message = failing_to_open(uri, monkeypatch)
    assert message.startswith(
        f"The tracking store {uri.replace('sesame', '***')} needs a package that is not installed ("
    )
    assert message.endswith(f"). Install it: pip install {package}")


@pytest.mark.parametrize(("status", "named"), [(401, "refuses the credentials"), (403, "does not permit open")])
def test_credentials_and_permissions_are_named_at_once(status, named, refusing, monkeypatch):
    message = failing_to_open(refusing(status), monkeypatch)
    assert named in message
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in message
    assert "does not answer" not in message


def test_a_store_that_is_out_is_waited_for_and_then_named(refusing, monkeypatch):
    monkeypatch.setattr("pipeline.tracking.connection.OUTAGE_SECONDS", 0.5)
    uri = refusing(503)
    message = failing_to_open(uri, monkeypatch)
    assert message.startswith(f"The tracking store {uri} does not answer (")
    assert message.endswith(
        "start it, or set MLFLOW_TRACKING_URI to one that answers, and run the same command again as soon as it does."
    )


@pytest.mark.parametrize(
    ("version", "advice"),
    [
        ("451aebb31d03", "was made by an older MLflow. Make a copy of the database, then run: mlflow db upgrade {}"),
        ("ffffffffffff", "Run: pip install --upgrade mlflow"),
    ],
)
def test_a_store_of_another_mlflow_names_the_command(version, advice, tmp_path, empty_store, monkeypatch):
    database = tmp_path / "other.db"
    database.write_bytes(Path(empty_store).read_bytes())
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [version])
    uri = f"sqlite:///{database}"
    assert failing_to_open(uri, monkeypatch).endswith(advice.format(uri))


def test_a_file_that_is_no_database_is_named(tmp_path, monkeypatch):
    (tmp_path / "notes.db").write_text("not a database" * 1000)
    message = failing_to_open(f"sqlite:///{tmp_path / 'notes.db'}", monkeypatch)
    assert "is no database" in message
    assert message.endswith("Set MLFLOW_TRACKING_URI to another file.")


def test_a_run_that_is_deleted_while_it_is_written_is_named(store):
    run_id = store.call("create_run", store.experiment_id).info.run_id
    store.call("delete_run", run_id)
    with pytest.raises(PipelineError) as failure:
        store.call("set_terminated", run_id)
    assert str(failure.value) == (
        f"The run {run_id} was deleted while it was in use. Restore it: mlflow runs restore --run-id {run_id}"
    )
    with pytest.raises(PipelineError, match=r"The run 0{32} is no longer in the tracking store sqlite:"):
        store.call("get_run", "0" * 32)


def test_a_wrong_password_of_a_database_is_not_waited_for():
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

    error = MlflowException('password authentication failed for user "me"', error_code=TEMPORARILY_UNAVAILABLE)
    address = Address("postgresql://me:sesame@host/db")
    assert not passes(error, address)
    assert explained(error, address, "open") == (
        "The tracking store postgresql://me:***@host/db refuses its user or password (password authentication failed "
        'for user "me"). Correct them in MLFLOW_TRACKING_URI.'
    )


def test_the_error_of_a_database_is_said_without_sqlalchemy_s_hint():
    hint = "(raised as a result of Query-invoked autoflush; consider using a session.no_autoflush block if ...)\n"
    error = MlflowException(f"{hint}(sqlite3.OperationalError) database is locked\n[SQL: SELECT 1]")
    line = explained(error, Address("sqlite:///mlflow.db"), "log_batch")
    assert "((sqlite3.OperationalError) database is locked)" in line
    assert "autoflush" not in line


def test_a_server_that_cannot_store_an_artifact_is_named_without_the_library_s_words():
    error = MlflowException(
        "API request to http://host/serving.py failed with exception HTTPConnectionPool(host='host', port=80): Max "
        "retries exceeded with url: /serving.py (Caused by ResponseError('too many 500 error responses'))"
    )
    assert explained(error, Address.of_artifacts("of model m-1"), "artifacts") == (
        "The artifact store of model m-1 cannot be written (the server failed; its log says why). Make room or allow "
        "writing there. Run the same command again."
    )


def test_an_error_of_the_program_is_not_taken_for_the_stores(store):
    def broken():
        raise TypeError("a mistake")

    with pytest.raises(TypeError, match="a mistake"):
        Connection.patiently(store, "request", broken)


def test_a_data_set_that_two_processes_log_at_one_moment_is_logged_by_both(store, monkeypatch):
    data = [DatasetInput(Dataset("digits", "digest", "local", "here"))]
    first, second = (store.client.create_run(store.experiment_id).info.run_id for _ in range(2))
    log_inputs, asked = store.client.log_inputs, []

    def beaten_at_first(run_id, inputs):
        asked.append(run_id)
        if len(asked) == 1:  # MLflow has looked for the data set, and the other process inserts it
            log_inputs(first, inputs)
            raise MlflowException(
                "(sqlite3.IntegrityError) UNIQUE constraint failed: datasets.experiment_id", error_code=BAD_REQUEST
            )
        log_inputs(run_id, inputs)

    monkeypatch.setattr(store.client, "log_inputs", beaten_at_first)
    store.call("log_inputs", second, data)
    assert asked == [second, second]
    for run_id in (first, second):
        assert [each.dataset.name for each in store.client.get_run(run_id).inputs.dataset_inputs] == ["digits"]
