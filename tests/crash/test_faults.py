"""Faults around a grid: it outlives them, or it stops in a clear state and the same command finishes."""

import re
import resource
import signal
import sqlite3
import subprocess
from contextlib import closing

import mlflow
import psutil
import pytest
import sqlalchemy.exc

from pipeline.tracking.store import Store
from tests.crash.grids import grid_in, until

pytestmark = pytest.mark.long

REFUSED = 8  # requests that fail in an outage before it is over
ONE_NETWORK = ("--activation", "sigmoid", "--loss", "hinge", "--hidden-sizes", "128")


@pytest.fixture
def alone(new_grid):
    """One of the grid's networks, trained in the command's own process."""
    with new_grid("alone", command="train", networks=ONE_NETWORK) as alone:
        yield alone


def test_a_grid_catches_up_after_an_outage(tmp_path, data_dir, proxy, uninterrupted):
    with grid_in(tmp_path / "grid", data_dir, uri=proxy.uri, experiment="short") as grid:
        command = grid.start()
        grid.wait_for_checkpoints(command)
        for fault, where in (("error", ""), ("drop", ""), ("error", "/mlflow-artifacts/"), ("drop", "/logged-models")):
            proxy.refuse(fault, where)
            until(lambda: proxy.refused >= REFUSED or command.ended, "requests that are refused")
            assert not command.ended, command.output
        proxy.serve()
        assert command.end() == 0, command.output
        assert grid.results() == uninterrupted


def test_a_longer_outage_stops_the_training_and_loses_nothing(tmp_path, data_dir, proxy, uninterrupted):
    where = {"uri": proxy.uri, "experiment": "long"}
    with grid_in(tmp_path / "alone", data_dir, command="train", networks=ONE_NETWORK, **where) as alone:
        command = alone.start(PIPELINE_OUTAGE_SECONDS="2")
        alone.wait_for_checkpoints(command)
        proxy.refuse("error")
        one_clear_line(command, "run the same command again as soon as it does.")
        proxy.serve()
        alone.finish()
        same(alone, uninterrupted)


@pytest.mark.parametrize("path", ["/runs/create", "/runs/log-batch", "/logged-models", "/runs/update"])
def test_a_request_whose_answer_is_lost_is_not_done_twice(tmp_path, data_dir, proxy, uninterrupted, path):
    where = {"uri": proxy.uri, "experiment": path.rpartition("/")[2]}
    with grid_in(tmp_path / "alone", data_dir, command="train", networks=ONE_NETWORK, **where) as alone:
        proxy.refuse("lose", path)
        command = alone.start()
        until(lambda: proxy.refused > 1 or command.ended, "requests whose answer is lost")
        proxy.serve()
        assert command.end() == 0, command.output
        same(alone, uninterrupted)


def test_a_locked_database_is_waited_for(alone, uninterrupted):
    command = alone.start()
    alone.wait_for_checkpoints(command)
    with closing(sqlite3.connect(alone.folder / "mlflow.db", isolation_level=None, timeout=60)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        # Longer than the five seconds that SQLite itself waits: as the training's, this connection's patience ends.
        with (
            closing(sqlite3.connect(alone.folder / "mlflow.db", timeout=7)) as other,
            pytest.raises(sqlite3.OperationalError, match="database is locked"),
        ):
            other.execute("BEGIN IMMEDIATE")
        assert not command.ended, command.output
        holder.execute("ROLLBACK")
    assert command.end() == 0, command.output
    same(alone, uninterrupted)


def test_a_database_that_is_locked_at_the_start_is_said_to_be(alone, uninterrupted):
    with closing(sqlite3.connect(alone.folder / "mlflow.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        command = alone.start(PIPELINE_OUTAGE_SECONDS="5")
        one_clear_line(command, "database is locked")
    alone.finish()
    same(alone, uninterrupted)


def test_a_worker_s_first_look_at_a_locked_database_is_not_its_last(store, monkeypatch):
    whole, looks = mlflow.MlflowClient, []

    def locked_at_first(**kwargs):
        looks.append(kwargs)
        if len(looks) == 1:
            raise sqlalchemy.exc.OperationalError("SELECT", {}, sqlite3.OperationalError("database is locked"))
        return whole(**kwargs)

    monkeypatch.setattr(mlflow, "MlflowClient", locked_at_first)
    fresh = Store(f"{store.uri}?", store.experiment_id)  # an address that this process has not used yet
    assert fresh.call("get_experiment", store.experiment_id).experiment_id == store.experiment_id
    assert len(looks) == 2


@pytest.mark.parametrize(
    ("what", "room"),
    [
        ("checkpoint|cannot be written", 10_000),
        ("tracking store .* cannot be written", 400_000),
    ],  # a checkpoint has 80 kB, the database 900
)
def test_a_limit_on_the_size_of_files(new_grid, uninterrupted, what, room):
    networks = ("--activations", "sigmoid", "--losses", "hinge", "--hidden-sizes", "128", "--workers", "1")
    with new_grid("grid", networks=networks) as grid:
        command = grid.start()
        grid.wait_for_checkpoints(command)
        for worker in command.workers():  # so that the command itself can still say, and store, what happened
            worker.rlimit(psutil.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        one_clear_line(command, what)
        grid.finish()
        same(grid, uninterrupted)


@pytest.fixture
def disk(tmp_path):
    """A function that makes `folder` a disk of `size`, or gives it that size."""
    mounted = []

    def mount(folder, size):
        folder.mkdir(parents=True, exist_ok=True)
        options = f"size={size}" if folder not in mounted else f"remount,size={size}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("no tmpfs can be mounted here")
        mounted.append(folder)

    yield mount
    for folder in set(mounted):
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("what", ["checkpoints", "mlruns"])
def test_a_full_disk(alone, uninterrupted, disk, what):
    disk(alone.folder / what, "100k" if what == "checkpoints" else "20k")  # one checkpoint; not one picture
    one_clear_line(alone.start(), "No space left on device")
    disk(alone.folder / what, "50m")
    alone.finish()
    same(alone, uninterrupted)


def test_a_full_disk_under_everything_in_the_middle_of_a_grid(grid, uninterrupted, disk):
    disk(grid.folder, "50m")
    command = grid.start()
    grid.wait_for_checkpoints(command)
    ballast = grid.folder / "ballast"
    with pytest.raises(OSError, match="No space left"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    one_clear_line(command, "")
    ballast.unlink()
    grid.finish()
    assert grid.results() == uninterrupted


def test_a_killed_worker_disturbs_nobody_else(grid, uninterrupted):
    command = grid.start()
    grid.wait_for_checkpoints(command)
    command.workers()[0].send_signal(signal.SIGKILL)
    command.say("its worker process died; another one goes on after epoch")
    assert command.end() == 0, command.output
    assert command.trainings == len(uninterrupted) + 1
    assert grid.results() == uninterrupted


def test_a_training_that_diverges_takes_nobody_down(new_grid):
    networks = ("--activations", "relu", "--losses", "euclidean,hinge", "--hidden-sizes", "128", "--workers", "1")
    training = ("--dataset", "digits", "--init-std", "he", "--learning-rate", "30", "--max-epoch", "3")
    with new_grid("grid", networks=networks, training=training) as grid:
        command = grid.start()
        assert command.end() == 1
        assert "1 of 2 networks are not finished" in command.last_line
        runs = {run.info.run_name.split()[0]: run for run in grid.runs()}
        assert runs["relu-hinge-1h"].info.status == "FINISHED"
        assert runs["relu-euclidean-1h"].info.status == "FAILED"
        reason = runs["relu-euclidean-1h"].data.tags["reason"]
        assert re.search(r"loss is \S+ in epoch \d+, step \d+", reason)
        assert reason in command.last_line
        assert runs["grid"].info.status == "FAILED"
        assert not grid.checkpointed()


def one_clear_line(command, text):
    assert command.end() == 1, command.output
    assert re.search(text, command.last_line)
    assert command.output.count("Error: ") == 1
    assert "Traceback" not in command.output


def same(alone, uninterrupted):
    [(name, result)] = alone.results().items()
    assert result == uninterrupted[name]
