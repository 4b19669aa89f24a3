"""What running tasks on Dask leaves to a user's eyes; what it does is tested with the commands, and in tests/crash."""

import importlib.metadata
import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.crash.grids import REPOSITORY

AFTER_THE_CLUSTER = """
import logging
from pipeline.training.executor import run_tasks
if __name__ == "__main__":
    assert list(run_tasks([], workers=1, scheduler=None, report=print)) == []
    for name in ("distributed.batched", "distributed.client", "asyncio"):
        logging.getLogger(name).error("a connection closed while the process ended")
"""


@pytest.mark.parametrize(("asked", "said"), [({}, 0), ({"PIPELINE_VERBOSE": "1"}, 3)])
def test_dask_s_log_is_shown_only_if_asked_for_also_after_the_cluster_is_closed(tmp_path, asked, said):
    script = tmp_path / "script.py"
    script.write_text(AFTER_THE_CLUSTER)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
    command = subprocess.run(
        [sys.executable, str(script)],
        env=environment | {"PYTHONPATH": str(REPOSITORY)} | asked,
        capture_output=True,
        text=True,
        check=True,
    )
    assert command.stderr.count("a connection closed") == said
    assert bool(command.stderr) == bool(said)


EARLY = """
from multiprocessing import active_children
from pipeline.training.cluster import local_workers
if __name__ == "__main__":
    with local_workers(4, 1) as ready:
        print(len(ready().workers), len(active_children()))
    try:
        with local_workers(1, 1):
            raise RuntimeError("nothing to train")
    except RuntimeError as error:
        print(error, len(active_children()))
"""


def test_workers_that_start_early_are_as_many_as_tasks_and_end_with_a_command_that_fails(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(EARLY)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True)
    assert (command.stdout, command.stderr) == ("1 1\nnothing to train 0\n", "")


GIVEN_UP = """
from distributed import Client
from pipeline.training.cluster import local_workers, replace_lost_workers
if __name__ == "__main__":
    with local_workers(2, 2) as ready, Client(ready(), set_as_default=False) as client:
        local = ready()
        local.sync(local.workers.pop(0).close)  # as Dask does with a worker that died while it started
        client.wait_for_workers(1)
        replace_lost_workers(client)
        client.wait_for_workers(2, timeout=120)
        print(len(client.nthreads()))
"""


@pytest.mark.timeout(180)
def test_a_worker_that_dask_gave_up_is_replaced(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(GIVEN_UP)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True)
    assert command.stdout == "2\n"


GRID = ("grid", "--dataset", "digits", "--max-epoch", "2", "--test-epoch", "1", "--init-std", "he", "--losses", "hinge")


@pytest.fixture
def cluster():
    """A Dask cluster of another party, without workers at first."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, host="127.0.0.1", protocol="tcp", dashboard_address=None
    ) as cluster:
        yield cluster


def test_a_cluster_without_workers_is_waited_for_only_so_long(cluster, pipeline):
    ended = pipeline(*GRID, "--scheduler", cluster.scheduler_address, "--worker-timeout", "0.1")
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1] == (
        f"Error: No worker joined the Dask scheduler at {cluster.scheduler_address} within 0.1 s. Start some: "
        f"dask worker {cluster.scheduler_address} --nthreads 1. Then run the same command again."
    )


def test_an_outcome_whose_worker_died_is_waited_for_without_blocking(cluster, data_dir, monkeypatch):
    from distributed import Future

    fetch, fetched = Future.result, []

    def result(future, timeout=None):
        fetched.append(timeout)
        if len(fetched) == 1:
            raise TimeoutError
        return fetch(future, timeout)

    monkeypatch.setattr(Future, "result", result)
    cluster.scale(1)
    cluster.wait_for_workers(1)
    one = ("--activations", "relu", "--hidden-sizes", "128", "--data-dir", str(data_dir))
    ended = CliRunner().invoke(main, [*GRID, *one, "--scheduler", cluster.scheduler_address])
    assert ended.exit_code == 0, ended.output
    assert len(fetched) == 2
    assert None not in fetched


def test_a_worker_with_another_version_is_refused_by_name(cluster, pipeline, monkeypatch):
    cluster.scale(1)
    cluster.wait_for_workers(1)
    [address] = cluster.scheduler_info["workers"]
    monkeypatch.setattr(importlib.metadata, "version", lambda _name: "9.9.9")
    ended = pipeline(*GRID, "--scheduler", cluster.scheduler_address)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith(
        f"Error: The Dask worker at {address} cannot train these networks: it has mlp-experiments 9.9"
    )
    assert "Traceback" not in ended.stderr


def test_a_worker_uses_the_folders_that_its_environment_names(cluster, pipeline, data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("PIPELINE_DATA_DIR", str(data_dir))  # of the worker, which is a thread of this process
    monkeypatch.setenv("PIPELINE_CHECKPOINT_DIR", str(tmp_path / "of the worker"))
    shutil.copytree(data_dir, tmp_path / "data")
    cluster.scale(1)
    cluster.wait_for_workers(1)
    ended = pipeline(
        *(*GRID, "--activations", "relu", "--hidden-sizes", "128", "--scheduler", cluster.scheduler_address),
        *("--data-dir", str(tmp_path / "data"), "--checkpoint-dir", str(tmp_path / "of the command")),
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "of the worker" / "claims.lock").exists()
    assert [file.name for file in (tmp_path / "of the command").iterdir()] == [".folder-id"]


def test_a_worker_without_this_project_is_refused_by_name(cluster, pipeline, monkeypatch):
    cluster.scale(1)
    cluster.wait_for_workers(1)
    monkeypatch.setitem(sys.modules, "pipeline.training.workers", None)
    ended = pipeline(*GRID, "--scheduler", cluster.scheduler_address)
    assert ended.returncode == 1
    assert "it cannot load this project" in ended.stderr.strip().splitlines()[-1]
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("address", "status", "named"),
    [("http://127.0.0.1:8787", 2, "tcp://HOST:PORT"), ("tls://127.0.0.1:8786", 1, "distributed.comm.tls.ca-file")],
)
def test_an_address_that_is_no_scheduler_s_is_refused(pipeline, address, status, named):
    ended = pipeline(*GRID, "--scheduler", address)
    assert ended.returncode == status
    [line] = ended.stderr.strip().splitlines()
    assert address in line
    assert named in line


HANGS_UP = """
import os, signal, sys
from pipeline.training.signals import interruptible
{before}
interruptible()
try:
    os.kill(os.getpid(), signal.SIGHUP)
    print("goes on")
except KeyboardInterrupt as stop:
    print("stopped by", stop)
"""


@pytest.mark.parametrize(
    ("before", "said", "announced"),
    [
        ("", "stopped by SIGHUP\n", "Stopping (SIGHUP): what is reached is being saved.\n"),
        ("signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does", "goes on\n", ""),
    ],
)
def test_a_closed_terminal_stops_as_ctrl_c_does_but_not_under_nohup(before, said, announced):
    command = [sys.executable, "-c", HANGS_UP.format(before=before)]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == (said, announced)
