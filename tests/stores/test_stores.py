"""Small stores of earlier versions: this version reads them, and goes on with those since 0.2.0."""

import os
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing

import pytest

from tests.conftest import REPOSITORY
from tests.stores.make import ARCHIVES, GRID, KILLED, SEARCH

CONTINUED = ["0.2.0"]


@pytest.fixture
def unpacked(tmp_path, monkeypatch):
    """A function that unpacks the store of a version into a folder of its own, whose path its tables then have."""

    def unpack(version):
        folder = tmp_path / "store"
        with tarfile.open(ARCHIVES / f"{version}.tar.gz") as archive:
            archive.extractall(folder, filter="data")
        before = (folder / "PLACE").read_text()
        for database in ("mlflow.db", "optuna.db"):
            replace_everywhere(folder / database, before, str(folder))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        monkeypatch.chdir(folder)
        return folder

    return unpack


def replace_everywhere(database, before, after):
    """Replace a text in every column of every table."""
    with closing(sqlite3.connect(database)) as connection, connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for _, column, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                change = f'UPDATE "{table}" SET "{column}" = replace("{column}", ?, ?)'  # noqa: S608 - from the database
                connection.execute(f"{change} WHERE typeof(\"{column}\") = 'text'", [before, after])


def run(folder, *arguments):
    command = [sys.executable, "-m", "pipeline", *arguments]
    path = {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, cwd=folder, env=os.environ | path, capture_output=True, text=True, check=False)


def finished(folder):
    """The finished networks of the grid: name and id."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        query = "SELECT name, run_uuid FROM runs WHERE status = 'FINISHED' AND name LIKE '%hinge-1h%'"
        found = connection.execute(query).fetchall()
    assert len(found) == 2
    return found


@pytest.mark.parametrize("version", ["0.1.0", *CONTINUED])
def test_the_report_has_the_finished_networks(unpacked, version):
    folder = unpacked(version)
    setting = [*GRID[1 : GRID.index("--activations")]]
    ended = run(folder, "report", *setting)
    assert ended.returncode == 0, ended.stderr
    text = (folder / "results/results.md").read_text()
    assert [name for name, run_id in finished(folder) if run_id not in text] == []


@pytest.mark.long
def test_networks_of_the_version_before_are_trained_once_more(unpacked):
    folder = unpacked("0.1.0")
    first, second = run(folder, *GRID, "--hidden-sizes", "128"), run(folder, *GRID, "--hidden-sizes", "128")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stderr.count(": begins") == 2
    assert ": begins" not in second.stderr


@pytest.mark.long
def test_a_study_of_the_version_before_is_refused_by_name(unpacked):
    folder = unpacked("0.1.0")
    ended = run(folder, *SEARCH)
    assert ended.returncode in {1, 2}
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.strip().splitlines()[-1:]) == 1
    assert "study" in ended.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("version", CONTINUED)
def test_finished_networks_are_reused(unpacked, version):
    folder = unpacked(version)
    ended = run(folder, *GRID, "--hidden-sizes", "128")
    assert ended.returncode == 0, ended.stderr
    assert ": begins" not in ended.stderr
    assert len(finished(folder)) == 2


@pytest.mark.long
@pytest.mark.parametrize("version", CONTINUED)
def test_a_killed_training_goes_on_from_its_checkpoint(unpacked, version):
    folder = unpacked(version)
    ended = run(folder, *KILLED)
    assert ended.returncode == 0, ended.stderr
    assert "goes on after epoch" in ended.stderr


@pytest.mark.long
@pytest.mark.parametrize("version", CONTINUED)
def test_a_study_in_the_middle_is_brought_to_its_end(unpacked, version):
    folder = unpacked(version)
    ended = run(folder, *SEARCH)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("goes on after epoch") == 1
    assert "4 of 4 trials finished" in ended.stdout
