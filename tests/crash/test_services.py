"""Grid, search and report on PostgreSQL, an MLflow server and a Dask cluster, each of which is struck once."""

import subprocess
import time
from contextlib import ExitStack

import pytest

from tests.crash.grids import THREE_NETWORKS, TRAINING, Command, grid_in, until
from tests.crash.services import services_in

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]
OUTAGE_SECONDS = 20.0
FEW_CHECKPOINTS = (*TRAINING, "--test-epoch", "6")  # with each, requests go through the server to PostgreSQL


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    pytest.importorskip("psycopg", reason="psycopg is not here (pip install 'psycopg[binary]')")
    with services_in(tmp_path_factory.mktemp("services")) as services:
        yield services


@pytest.fixture
def uninterrupted(results_of):
    return results_of(FEW_CHECKPOINTS)


@pytest.fixture
def grid(services, tmp_path, data_dir, request):
    """A grid on the services, in an experiment of its own."""
    for worker in ("first", "second"):
        for checkpoint in services.checkpoints(worker):  # of a worker that an earlier test killed
            checkpoint.unlink()
    where = {"uri": services.uri, "experiment": request.node.name}
    with grid_in(tmp_path / "grid", data_dir, training=FEW_CHECKPOINTS, **where) as grid:
        grid.networks = (*grid.networks, "--scheduler", services.scheduler_address)
        yield grid


def postgres_restarts(services, grid, command):
    services.postgres.restart()
    return command


def server_is_gone(services, grid, command):
    services.server.kill()
    time.sleep(OUTAGE_SECONDS)  # the outage itself, not a wait for something
    services.server.start()
    return command


def worker_is_killed(services, grid, command):
    services.workers[0].kill()
    services.workers[0].start()
    return command


def command_is_killed(services, grid, command):
    command.kill()
    return grid.start()


def scheduler_is_killed(services, grid, command):
    services.scheduler.kill()
    assert command.end() == 1
    assert command.last_line.startswith(f"Error: The Dask scheduler at {services.scheduler_address} is lost.")
    for worker in services.workers:
        worker.kill()  # the workers of a lost scheduler end by themselves after a while
    for service in (services.scheduler, *services.workers):
        service.start()
    return grid.start()


@pytest.mark.parametrize(
    "strike", [postgres_restarts, server_is_gone, worker_is_killed, command_is_killed, scheduler_is_killed]
)
def test_a_grid_ends_as_the_uninterrupted_one(services, grid, uninterrupted, strike):
    command = grid.start()
    until(lambda: command.ended or services.checkpoints("first"), "a checkpoint of the first worker")
    assert not command.ended, command.output
    command = strike(services, grid, command)
    assert command.end() == 0, command.output
    assert "Traceback" not in command.output
    assert grid.results() == uninterrupted
    if strike in (postgres_restarts, server_is_gone):  # the others lose a worker, or what it was working on
        assert not services.checkpoints("first") + services.checkpoints("second"), "checkpoints are left"


SEARCH = ("search", "--dataset", "digits", "--trials", "6", "--space", "learning_rate=0.01..0.3 log")
SEARCH += ("--max-epoch", "2", "--confirm", "0")


def test_two_commands_share_a_search_and_a_report_reads_it(services, tmp_path, data_dir):
    import optuna

    environment = {
        "MLFLOW_TRACKING_URI": services.uri,
        "MLFLOW_EXPERIMENT_NAME": "search",
        "OPTUNA_STORAGE": services.optuna,
    }
    folders = ("--data-dir", str(data_dir), "--checkpoint-dir", str(tmp_path / "checkpoints"))
    search = (*SEARCH, "--scheduler", services.scheduler_address, *folders)
    report = ("report", "--dataset", "digits", "--max-epoch", "2", "--output", str(tmp_path / "report"))
    with ExitStack() as stack:

        def start(arguments):
            command = Command(tmp_path, arguments, environment)
            stack.callback(command.kill)
            return command

        for command in [start(search), start(search)]:
            assert command.end() == 0, command.output
        [name] = optuna.get_all_study_names(services.optuna)
        trials = optuna.load_study(study_name=name, storage=services.optuna).get_trials()
        assert len(trials) == 6
        assert all(trial.state.is_finished() for trial in trials)
        command = start(report)
        assert command.end() == 0, command.output
    assert "6 of 6 trials finished" in (tmp_path / "report" / "results.md").read_text()


def test_a_full_artifact_folder_ends_in_one_line_and_goes_on_once_there_is_room(services, grid, uninterrupted):
    grid.networks = THREE_NETWORKS  # in processes of the command, which have its patience
    services.artifacts.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(services.artifacts)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here (only root may)")
    try:
        command = grid.start(PIPELINE_OUTAGE_SECONDS="10")
        assert command.end() == 1, command.output
        assert "Traceback" not in command.output
        assert command.last_line.startswith("Error: ")
        assert "cannot be written (the server failed; its log says why)" in command.last_line
        assert command.last_line.endswith("Make room or allow writing there. Run the same command again.")
        subprocess.run(["mount", "-o", "remount,size=64m", str(services.artifacts)], check=True)
        grid.finish()
        assert grid.results() == uninterrupted
    finally:
        subprocess.run(["umount", "--lazy", str(services.artifacts)], check=True)


def test_everything_listens_on_loopback_alone(services):
    listening = {
        connection.laddr
        for process in services.processes()
        for connection in process.net_connections("inet")
        if connection.status == "LISTEN"
    }
    assert len(listening) >= 5, "PostgreSQL, the server, the scheduler and two workers listen"
    assert {address.ip for address in listening} == {"127.0.0.1"}
